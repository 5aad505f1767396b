# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What tells the places of samples, and what names their domains."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

#: Longitudes and latitudes in degrees WGS 84, float64, shape (N,), NaN where unknown.
type LonLat = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Samples:
    """Some samples of a data set, not read yet.

    Args:
        dataset: Data set, not a subset of another one.
        rows: Which of its samples.
    """

    dataset: Any
    rows: Sequence[int]


class Places(ABC):
    """Tells where the samples of a data set are.

    A :class:`~torchgeo.datasets.GeoDataset` needs none: it knows.
    """

    @abstractmethod
    def locate(self, samples: Samples) -> LonLat:
        """Find the places of samples.

        Args:
            samples: N samples of one data set.

        Returns:
            Longitudes and latitudes in degrees WGS 84, NaN where unknown.
        """


class DomainRule(ABC):
    """Names the domain of each sample: by the sample itself, or by its place."""


class SampleRule(DomainRule):
    """Names domains by what is known of each sample."""

    @abstractmethod
    def names(self, samples: Samples) -> list[str | None]:
        """Name the domains of samples.

        Args:
            samples: N samples of one data set.

        Returns:
            Name of each sample's domain, None where there is none.
        """

    @property
    def places(self) -> Places | None:
        """What tells the places of samples, if the rule knows that too."""
        return None


class PlaceRule(DomainRule):
    """Names domains by longitude and latitude."""

    def fit(self, lon: Tensor, lat: Tensor) -> None:
        """Learn from the places of the training samples what the domains are.

        Args:
            lon: Longitudes in degrees WGS 84, shape (N,), NaN where unknown.
            lat: Latitudes in degrees WGS 84, shape (N,), NaN where unknown.
        """

    @abstractmethod
    def names(self, lon: Tensor, lat: Tensor) -> list[str | None]:
        """Name the domains of places.

        Args:
            lon: Longitudes in degrees WGS 84, shape (N,), NaN where unknown.
            lat: Latitudes in degrees WGS 84, shape (N,), NaN where unknown.

        Returns:
            Name of the domain of each place, None for a place in no domain.
        """
