# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Datamodules with domains."""

from .base import PlacesDataModule
from .domain import DomainDataModule
from .image_table import ImageTableDataModule
from .rules import (
    AttributeDomains,
    AttributePlaces,
    ClusterDomains,
    FilePlaces,
    GridDomains,
    PolygonDomains,
    TableDomains,
    TablePlaces,
)
from .synthetic_earth import SyntheticEarthDataModule

__all__ = (
    'AttributeDomains',
    'AttributePlaces',
    'ClusterDomains',
    'DomainDataModule',
    'FilePlaces',
    'GridDomains',
    'ImageTableDataModule',
    'PlacesDataModule',
    'PolygonDomains',
    'SyntheticEarthDataModule',
    'TableDomains',
    'TablePlaces',
)
