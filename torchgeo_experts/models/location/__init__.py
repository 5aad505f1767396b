# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Location encoders: longitude and latitude as features that a gate can read."""

from .base import LocationEncoder
from .constant import ConstantEncoder
from .fourier import FourierEncoder
from .geoclip import GeoCLIPEncoder
from .harmonics import HarmonicsEncoder
from .pretrained import PretrainedEncoder
from .satclip import SatCLIPEncoder
from .wrap import WrapEncoder

__all__ = (
    'ConstantEncoder',
    'FourierEncoder',
    'GeoCLIPEncoder',
    'HarmonicsEncoder',
    'LocationEncoder',
    'PretrainedEncoder',
    'SatCLIPEncoder',
    'WrapEncoder',
)
