# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Datamodules with domains."""

from .base import PlacesDataModule
from .image_table import ImageTableDataModule
from .synthetic_earth import SyntheticEarthDataModule

__all__ = ('ImageTableDataModule', 'PlacesDataModule', 'SyntheticEarthDataModule')
