# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Random Fourier features of the place."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from ..affinity import positive
from .base import LocationEncoder
from .nets import FCNet


class FourierEncoder(LocationEncoder):
    r"""Random Fourier features of the point on the unit sphere, and a residual network.

    :math:`\cos 2 \pi b \cdot x` and :math:`\sin 2 \pi b \cdot x` of the unit vector
    :math:`x`, with fixed random frequencies :math:`b \sim N(0, \sigma^2 I_3)` (Tancik et
    al., "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional
    Domains", 2020), then :class:`FCNet <torchgeo_experts.models.location.nets.FCNet>`.
    The unit vector knows neither dateline nor poles, unlike longitude and latitude, of
    which Crasto and Rolf (2025) take such features. Learned from scratch.
    """

    periodic: ClassVar[bool] = True
    frequencies: Tensor

    def __init__(
        self,
        sigma: float = 1.0,
        num_frequencies: int = 256,
        width: int = 256,
        num_layers: int = 4,
        dropout: float = 0.5,
    ) -> None:
        """Initialize a new FourierEncoder instance.

        Args:
            sigma: Standard deviation of the frequencies along each axis, in cycles a
                radian of arc. The likeness of two places, the mean product of their
                Fourier features, falls by a factor of e over 1,400 km / *sigma*.
            num_frequencies: Number of frequencies, each with a cosine and a sine.
            width: Number of features of all layers.
            num_layers: Number of residual layers.
            dropout: Share of the hidden features that is dropped in training.
        """
        super().__init__()
        self.sigma = positive('sigma', sigma)
        self.num_frequencies = int(positive('num_frequencies', num_frequencies))
        self.width = self.out_features = int(positive('width', width))
        self.num_layers = num_layers
        self.dropout = dropout
        # Part of the model: a checkpoint must bring them back.
        self.register_buffer('frequencies', sigma * torch.randn(3, num_frequencies))
        self.net = FCNet(2 * num_frequencies, width, num_layers, dropout)

    def positions(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the input of the network.

        Args:
            lon: Longitudes in degrees, shape (B,).
            lat: Latitudes in degrees, shape (B,).

        Returns:
            Cosines, then sines, shape (B, 2 * num_frequencies).
        """
        lon, lat = torch.deg2rad(lon), torch.deg2rad(lat)
        x, y, z = lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()
        cycles = torch.stack([x, y, z], dim=1) @ self.frequencies
        angles = 2 * math.pi * cycles
        return torch.cat([angles.cos(), angles.sin()], dim=1)

    def encode(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the features of places that were checked."""
        features: Tensor = self.net(self.positions(lon, lat))
        return features
