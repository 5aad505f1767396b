# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Data sets whose samples know their domain."""

from .image_table import ImageTable
from .synthetic_change import SyntheticEarthChange
from .synthetic_earth import SyntheticEarth
from .synthetic_segmentation import SyntheticEarthSegmentation
from .synthetic_series import SyntheticEarthSeries

__all__ = (
    'ImageTable',
    'SyntheticEarth',
    'SyntheticEarthChange',
    'SyntheticEarthSegmentation',
    'SyntheticEarthSeries',
)
