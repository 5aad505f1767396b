# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Networks and their parts."""

from .affinity import Affinity, D3GAffinity, HandcraftedAffinity, LearnedAffinity
from .backbones import Backbone, Features, TimmBackbone
from .experts import ConvExperts, ExpertBank, LinearExperts
from .nets import ExpertNet, SingleNet
from .selectors import LinearSelector

__all__ = (
    'Affinity',
    'Backbone',
    'ConvExperts',
    'D3GAffinity',
    'ExpertBank',
    'ExpertNet',
    'Features',
    'HandcraftedAffinity',
    'LearnedAffinity',
    'LinearExperts',
    'LinearSelector',
    'SingleNet',
    'TimmBackbone',
)
