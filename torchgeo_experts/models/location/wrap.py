# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""WRAP: sines and cosines of longitude and latitude."""

from typing import ClassVar

import torch
from torch import Tensor

from ..affinity import positive
from .base import LocationEncoder
from .nets import FCNet


class WrapEncoder(LocationEncoder):
    r"""Sines and cosines of both angles, and a residual network.

    :math:`(\sin\lambda, \sin\varphi, \cos\lambda, \cos\varphi)` of longitude
    :math:`\lambda` and latitude :math:`\varphi` in radians, then :class:`FCNet
    <torchgeo_experts.models.location.nets.FCNet>`. Learned from scratch.

    Both angles have period 360 degrees, as in Crasto and Rolf, "Latent Domain Modeling
    Improves Robustness to Geographic Shifts", 2025, whose results MoGE compares with. In
    Mac Aodha et al. (2019, section 3.3) both coordinates are scaled to [-1, 1] before
    :math:`\sin \pi x` and :math:`\cos \pi x`, so that latitude has period 180 degrees,
    and both poles look the same: not so here. A pole is no single point here: its
    features depend on the longitude.
    """

    periodic: ClassVar[bool] = True

    def __init__(
        self, width: int = 256, num_layers: int = 4, dropout: float = 0.5
    ) -> None:
        """Initialize a new WrapEncoder instance.

        Args:
            width: Number of features of all layers.
            num_layers: Number of residual layers.
            dropout: Share of the hidden features that is dropped in training.
        """
        super().__init__()
        self.width = self.out_features = int(positive('width', width))
        self.num_layers = num_layers
        self.dropout = dropout
        self.net = FCNet(4, width, num_layers, dropout)

    def positions(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the input of the network.

        Args:
            lon: Longitudes in degrees, shape (B,).
            lat: Latitudes in degrees, shape (B,).

        Returns:
            Sines of both, then cosines of both, shape (B, 4).
        """
        angles = torch.deg2rad(torch.stack([lon, lat], dim=1))
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    def encode(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the features of places that were checked."""
        features: Tensor = self.net(self.positions(lon, lat))
        return features
