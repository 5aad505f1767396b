# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training methods, one class each."""

from .base import Objective, Outcome, Step
from .codex import ExpertTraining, SelectorTraining
from .erm import ERM

__all__ = ('ERM', 'ExpertTraining', 'Objective', 'Outcome', 'SelectorTraining', 'Step')
