# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Location as a further input of a classifier: "ERM + LE" of MoGE's tables."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample

from ..configurable import Configurable
from .backbones import Backbone, Features, OuterBackbone
from .location import LocationEncoder, WrapEncoder


class LocationFusion(Configurable, ABC):
    """Base class of ways to join pooled features and a location embedding."""

    def __init__(self, location: LocationEncoder | None = None) -> None:
        """Initialize a new LocationFusion instance.

        Args:
            location: Location encoder. Default: WRAP.
        """
        super().__init__()
        self.location = location or WrapEncoder()

    @abstractmethod
    def build(self, in_features: int) -> int:
        """Make what depends on the backbone.

        Args:
            in_features: Number of pooled features.

        Returns:
            Number of features after fusion.
        """

    @abstractmethod
    def fuse(self, features: Tensor, embedding: Tensor, known: Tensor) -> Tensor:
        """Join features and location.

        Args:
            features: Pooled features, shape (B, F).
            embedding: Location embeddings, shape (B, L).
            known: Whether the place is known, bool, shape (B, 1).

        Returns:
            Features, shape (B, F').
        """

    def forward(self, features: Tensor, lon: Tensor, lat: Tensor) -> Tensor:
        """Join features and location.

        Args:
            features: Pooled features, shape (B, F).
            lon: Longitudes in degrees, shape (B,), NaN where unknown.
            lat: Latitudes in degrees, shape (B,), NaN where unknown.

        Returns:
            Features, shape (B, F').
        """
        embedding, known = self.location.locate(lon, lat)
        return self.fuse(features, embedding.to(features.dtype), known[:, None])


class ConcatFusion(LocationFusion):
    """Features and embedding side by side, for the head to read.

    Where the place is unknown, a learned vector stands for the embedding; it learns from
    training images of unknown place only.
    """

    def build(self, in_features: int) -> int:
        """Make the vector of unknown places."""
        size = self.location.out_features
        self.unknown = nn.Parameter(torch.zeros(size))
        return in_features + size

    def fuse(self, features: Tensor, embedding: Tensor, known: Tensor) -> Tensor:
        """Put them side by side."""
        embedding = embedding.where(known, self.unknown.to(embedding.dtype))
        return torch.cat([features, embedding], dim=1)


class FiLMFusion(LocationFusion):
    """Features scaled and shifted by the place.

    Feature-wise linear modulation (Perez et al., AAAI 2018), as "DCP + LE" of Crasto and
    Rolf, 2025. It starts as the identity, which it stays where the place is unknown.
    """

    def build(self, in_features: int) -> int:
        """Make the layer that tells factors and shifts."""
        self.layer = nn.Linear(self.location.out_features, 2 * in_features)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        return in_features

    def fuse(self, features: Tensor, embedding: Tensor, known: Tensor) -> Tensor:
        """Scale and shift."""
        scale, shift = (self.layer(embedding) * known).chunk(2, dim=1)
        return features * (1 + scale) + shift


class LocatedBackbone(OuterBackbone):
    """A backbone whose pooled features also tell the place."""

    def __init__(self, inner: Backbone, fusion: LocationFusion) -> None:
        """Initialize a new LocatedBackbone instance.

        Args:
            inner: Backbone with pooled features.
            fusion: How to join them with the place.
        """
        super().__init__(inner)
        self.fusion = fusion
        self.out_features = fusion.build(inner.out_features)
        if fusion.location.frozen:
            self.fix(fusion.location)

    def read(self, batch: Sample) -> Features:
        """Compute the features of a batch.

        Args:
            batch: A batch, with its images, and ``lon`` and ``lat`` in degrees (NaN where
                unknown).

        Returns:
            Features.
        """
        found = self.inner.read(batch)
        head = self.fusion(found.head, batch['lon'], batch['lat'])
        return found._replace(head=head)
