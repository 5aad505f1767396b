# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Datamodules with domains."""

from .base import PlacesDataModule
from .domain import DomainDataModule
from .dynamicearthnet import DynamicEarthNetDataModule
from .fmow import FMoWDataModule
from .image_table import ImageTableDataModule
from .iwildcam import IWildCamDataModule
from .muds import MUDSDataModule
from .oscd_domains import OSCDDomainsDataModule
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
    'DynamicEarthNetDataModule',
    'FMoWDataModule',
    'FilePlaces',
    'GridDomains',
    'IWildCamDataModule',
    'ImageTableDataModule',
    'MUDSDataModule',
    'OSCDDomainsDataModule',
    'PlacesDataModule',
    'PolygonDomains',
    'SyntheticEarthDataModule',
    'TableDomains',
    'TablePlaces',
)
