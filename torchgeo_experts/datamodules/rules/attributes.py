# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains and places that a data set tells itself."""

import math

import torch
from torch import Tensor

from .base import LonLat, Places, SampleRule, Samples
from .values import as_text, find_values, read_values

#: Names under which data sets keep longitudes and latitudes in degrees.
USUAL_NAMES = (('lon', 'lat'), ('longitude', 'latitude'))


class AttributeDomains(SampleRule):
    """Domains that the data set knows: cities, countries, sensors, seasons."""

    def __init__(self, name: str) -> None:
        """Initialize a new AttributeDomains instance.

        Args:
            name: An attribute of the data set with one value a sample, or a column of a
                table that the data set holds (for OSCD ``region``, a key of its
                ``files``), or a key of its samples. For the last one all samples are
                read once, images too.
        """
        self.name = name

    def names(self, samples: Samples) -> list[str | None]:
        """Name the domains of samples.

        Args:
            samples: N samples of one data set.

        Returns:
            Name of each sample's domain, None where the value is missing.
        """
        return [as_text(value) for value in read_values(samples, self.name)]


class AttributePlaces(Places):
    """Places that the data set knows."""

    def __init__(self, lon: str = 'lon', lat: str = 'lat') -> None:
        """Initialize a new AttributePlaces instance.

        Args:
            lon: Where longitudes in degrees WGS 84 are: an attribute of the data set with
                one value a sample, a column of a table that it holds, or a key of its
                samples (then all samples are read once, images too).
            lat: Where latitudes are, likewise.
        """
        self.lon, self.lat = lon, lat

    def locate(self, samples: Samples) -> LonLat:
        """Find the places of samples.

        Args:
            samples: N samples of one data set.

        Returns:
            Longitudes and latitudes in degrees WGS 84, NaN where unknown.
        """
        return self._degrees(samples, self.lon), self._degrees(samples, self.lat)

    def _degrees(self, samples: Samples, name: str) -> Tensor:
        values = read_values(samples, name)
        try:
            numbers = [math.nan if v is None else float(v) for v in values]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f'{name!r} of {type(samples.dataset).__name__} are no degrees: {error}'
            ) from error
        return torch.tensor(numbers, dtype=torch.float64)


class UsualPlaces(Places):
    """Places that the data set knows, under one of the usual names."""

    def locate(self, samples: Samples) -> LonLat:
        """Find the places of samples, without reading any.

        Args:
            samples: N samples of one data set.

        Returns:
            Longitudes and latitudes in degrees WGS 84, NaN where unknown.
        """
        for names in USUAL_NAMES:
            if all(find_values(samples.dataset, name) is not None for name in names):
                return AttributePlaces(*names).locate(samples)
        unknown = torch.full((len(samples.rows),), torch.nan, dtype=torch.float64)
        return unknown, unknown
