# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Datamodules with domains."""

from .base import PlacesDataModule
from .image_table import ImageTableDataModule

__all__ = ('ImageTableDataModule', 'PlacesDataModule')
