# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Callbacks: what goes on top of a trained model."""

from .prior_adaptation import PriorAdaptation
from .site_selection import SiteSelection

__all__ = ('PriorAdaptation', 'SiteSelection')
