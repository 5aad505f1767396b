# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Tasks: LightningModules for ``torchgeo fit``."""

from .classification import CoDEXClassificationTask, DomainClassificationTask

__all__ = ('CoDEXClassificationTask', 'DomainClassificationTask')
