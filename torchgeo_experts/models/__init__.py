# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Networks and their parts."""

from .affinity import (
    Affinity,
    D3GAffinity,
    FactorizedAffinity,
    HandcraftedAffinity,
    LearnedAffinity,
)
from .backbones import Backbone, Features, TimmBackbone
from .experts import ChangeExperts, ConvExperts, ExpertBank, LinearExperts
from .multiutae import MultiUTAE
from .nets import ExpertNet, SingleNet
from .selectors import ConvSelector, DatewiseSelector, LinearSelector
from .series_backbones import MultiUTAEBackbone, PooledMultiUTAEBackbone
from .smp_backbone import SMPBackbone

__all__ = (
    'Affinity',
    'Backbone',
    'ChangeExperts',
    'ConvExperts',
    'ConvSelector',
    'D3GAffinity',
    'DatewiseSelector',
    'ExpertBank',
    'ExpertNet',
    'FactorizedAffinity',
    'Features',
    'HandcraftedAffinity',
    'LearnedAffinity',
    'LinearExperts',
    'LinearSelector',
    'MultiUTAE',
    'MultiUTAEBackbone',
    'PooledMultiUTAEBackbone',
    'SMPBackbone',
    'SingleNet',
    'TimmBackbone',
)
