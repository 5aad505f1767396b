# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training methods, one class each."""

from .advent import AdvEnt
from .base import Objective, Outcome, Spec, Step
from .codex import ExpertTraining, SelectorTraining
from .coral import CORAL, DeepCORAL
from .dann import DANN, TargetDANN
from .erm import ERM
from .fish import Fish
from .group_dro import GroupDRO
from .irm import IRM
from .mixing import ClassMix, Mixup
from .moge import MoGE, RobustMoGE
from .own_experts import D3G, OwnExperts
from .pixel_contrast import PixelContrast
from .rdm import RDM
from .self_training import MaxSquare, MinEnt, PseudoLabels
from .style import StyleAugment, TargetStyle
from .vrex import VREx

__all__ = (
    'CORAL',
    'D3G',
    'DANN',
    'ERM',
    'IRM',
    'RDM',
    'AdvEnt',
    'ClassMix',
    'DeepCORAL',
    'ExpertTraining',
    'Fish',
    'GroupDRO',
    'MaxSquare',
    'MinEnt',
    'Mixup',
    'MoGE',
    'Objective',
    'Outcome',
    'OwnExperts',
    'PixelContrast',
    'PseudoLabels',
    'RobustMoGE',
    'SelectorTraining',
    'Spec',
    'Step',
    'StyleAugment',
    'TargetDANN',
    'TargetStyle',
    'VREx',
)
