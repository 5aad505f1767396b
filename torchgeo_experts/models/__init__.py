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
from .located import ConcatFusion, FiLMFusion, LocatedBackbone, LocationFusion
from .location import (
    ConstantEncoder,
    FourierEncoder,
    GeoCLIPEncoder,
    HarmonicsEncoder,
    LocationEncoder,
    SatCLIPEncoder,
    WrapEncoder,
)
from .moge import MoGEBackbone, MoGEConfig, insert_experts
from .multiutae import MultiUTAE
from .nets import ExpertNet, RelatedNet, SingleNet
from .relations import OwnDomain, PlaceRelation, Relation
from .selectors import ConvSelector, DatewiseSelector, LinearSelector
from .series_backbones import MultiUTAEBackbone, PooledMultiUTAEBackbone
from .smp_backbone import SMPBackbone
from .torchgeo_vits import DOFABackbone, ScaleMAEBackbone, make_image_backbone

__all__ = (
    'Affinity',
    'Backbone',
    'ChangeExperts',
    'ConcatFusion',
    'ConstantEncoder',
    'ConvExperts',
    'ConvSelector',
    'D3GAffinity',
    'DOFABackbone',
    'DatewiseSelector',
    'ExpertBank',
    'ExpertNet',
    'FactorizedAffinity',
    'Features',
    'FiLMFusion',
    'FourierEncoder',
    'GeoCLIPEncoder',
    'HandcraftedAffinity',
    'HarmonicsEncoder',
    'LearnedAffinity',
    'LinearExperts',
    'LinearSelector',
    'LocatedBackbone',
    'LocationEncoder',
    'LocationFusion',
    'MoGEBackbone',
    'MoGEConfig',
    'MultiUTAE',
    'MultiUTAEBackbone',
    'OwnDomain',
    'PlaceRelation',
    'PooledMultiUTAEBackbone',
    'RelatedNet',
    'Relation',
    'SMPBackbone',
    'SatCLIPEncoder',
    'ScaleMAEBackbone',
    'SingleNet',
    'TimmBackbone',
    'WrapEncoder',
    'insert_experts',
    'make_image_backbone',
)
