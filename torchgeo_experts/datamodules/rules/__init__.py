# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Rules that give the samples of any data set places and domains."""

from .attributes import AttributeDomains, AttributePlaces, UsualPlaces
from .base import DomainRule, PlaceRule, Places, SampleRule, Samples
from .clusters import ClusterDomains
from .geotiff import FilePlaces
from .grid import GridDomains
from .polygons import PolygonDomains
from .tables import TableDomains, TablePlaces

__all__ = (
    'AttributeDomains',
    'AttributePlaces',
    'ClusterDomains',
    'DomainRule',
    'FilePlaces',
    'GridDomains',
    'PlaceRule',
    'Places',
    'PolygonDomains',
    'SampleRule',
    'Samples',
    'TableDomains',
    'TablePlaces',
    'UsualPlaces',
)
