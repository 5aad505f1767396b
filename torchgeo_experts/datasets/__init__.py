# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Data sets whose samples know their domain."""

from .dynamicearthnet import DynamicEarthNet
from .fmow import FMoW
from .image_table import ImageTable
from .iwildcam import IWildCam
from .muds import MUDS
from .oscd_domains import OSCDDomains
from .synthetic_change import SyntheticEarthChange
from .synthetic_earth import SyntheticEarth
from .synthetic_segmentation import SyntheticEarthSegmentation
from .synthetic_series import SyntheticEarthSeries

__all__ = (
    'MUDS',
    'DynamicEarthNet',
    'FMoW',
    'IWildCam',
    'ImageTable',
    'OSCDDomains',
    'SyntheticEarth',
    'SyntheticEarthChange',
    'SyntheticEarthSegmentation',
    'SyntheticEarthSeries',
)
