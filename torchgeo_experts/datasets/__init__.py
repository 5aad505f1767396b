# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Data sets whose samples know their domain."""

from .image_table import ImageTable
from .synthetic_earth import SyntheticEarth

__all__ = ('ImageTable', 'SyntheticEarth')
