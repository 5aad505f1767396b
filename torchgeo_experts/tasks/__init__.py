# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Tasks: LightningModules for ``torchgeo fit``."""

from .change import CoDEXChangeTask, DomainChangeTask
from .classification import CoDEXClassificationTask, DomainClassificationTask
from .moge import MoGEClassificationTask
from .segmentation import CoDEXSegmentationTask, DomainSegmentationTask

__all__ = (
    'CoDEXChangeTask',
    'CoDEXClassificationTask',
    'CoDEXSegmentationTask',
    'DomainChangeTask',
    'DomainClassificationTask',
    'DomainSegmentationTask',
    'MoGEClassificationTask',
)
