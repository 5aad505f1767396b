# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Losses: plain functions of tensors, and the criterion that tasks use."""

from .criterion import Criterion, make_criterion
from .focal import sigmoid_focal, softmax_focal

__all__ = ('Criterion', 'make_criterion', 'sigmoid_focal', 'softmax_focal')
