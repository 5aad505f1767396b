# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training methods, one class each."""

from .base import Objective, Outcome, Step
from .codex import ExpertTraining, SelectorTraining
from .erm import ERM
from .moge import MoGE, RobustMoGE

__all__ = (
    'ERM',
    'ExpertTraining',
    'MoGE',
    'Objective',
    'Outcome',
    'RobustMoGE',
    'SelectorTraining',
    'Step',
)
