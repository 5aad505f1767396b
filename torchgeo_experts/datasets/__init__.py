# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Data sets whose samples know their domain."""

from .image_table import ImageTable

__all__ = ('ImageTable',)
