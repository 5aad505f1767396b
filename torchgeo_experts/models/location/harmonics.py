# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Spherical harmonics of the place."""

from typing import ClassVar

import torch
from torch import Tensor
from torchgeo.models.satclip import SphericalHarmonics

from ..affinity import positive
from .base import LocationEncoder
from .nets import Net, make_net


class HarmonicsEncoder(LocationEncoder):
    """Real spherical harmonics and a network.

    Russwurm et al., "Geographic Location Encoding with Spherical Harmonics and
    Sinusoidal Representation Networks", 2024. TorchGeo's harmonics are SatCLIP's: those
    of order 0 are larger than orthonormal ones by a factor of pi, and latitudes end at
    89.95 degrees, so that a pole is a circle of 6 km. Learned from scratch.
    """

    periodic: ClassVar[bool] = True

    def __init__(
        self,
        legendre_polys: int = 10,
        net: Net = 'siren',
        width: int = 256,
        num_layers: int = 2,
        dropout: bool = True,
    ) -> None:
        """Initialize a new HarmonicsEncoder instance.

        Args:
            legendre_polys: Number L of degrees 0, ..., L - 1, which give L * L harmonics.
                The finest has a wavelength of 360 / (L - 1) degrees.
            net: Network that reads them: 'siren', 'fcnet' or 'linear'.
            width: Number of hidden features, and of those that come out.
            num_layers: Number of hidden layers. 'linear' has none.
            dropout: Whether half of the hidden features are dropped in training, as in
                SatCLIP's SIREN and in FCNet. 'linear' has none.
        """
        super().__init__()
        self.legendre_polys = int(positive('legendre_polys', legendre_polys))
        self.net = net
        self.width = self.out_features = int(positive('width', width))
        self.num_layers = num_layers
        self.dropout = dropout
        # Its constants are float64, which some accelerators do not have.
        self.positions = SphericalHarmonics(self.legendre_polys).float()
        harmonics = self.positions.embedding_dim
        self.layers = make_net(net, harmonics, width, num_layers, dropout)

    def encode(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the features of places that were checked."""
        harmonics = self.positions(torch.stack([lon, lat], dim=1))
        features: Tensor = self.layers(harmonics)
        return features
