# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Experts per place for TorchGeo: models that work where they were not trained.

Every public name is available here and resolved on first use, so that the import costs
milliseconds, and a YAML file may say ``class_path: torchgeo_experts.CoDEXClassificationTask``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datamodules import (
        AttributeDomains,
        AttributePlaces,
        ClusterDomains,
        DomainDataModule,
        DynamicEarthNetDataModule,
        FilePlaces,
        FMoWDataModule,
        GridDomains,
        ImageTableDataModule,
        IWildCamDataModule,
        MUDSDataModule,
        OSCDDomainsDataModule,
        PolygonDomains,
        SyntheticEarthDataModule,
        TableDomains,
        TablePlaces,
    )
    from .datasets import (
        MUDS,
        DynamicEarthNet,
        FMoW,
        ImageTable,
        IWildCam,
        OSCDDomains,
        SyntheticEarth,
        SyntheticEarthChange,
        SyntheticEarthSegmentation,
        SyntheticEarthSeries,
    )
    from .domains import Domains
    from .metrics import DomainScores
    from .models import (
        ConcatFusion,
        ConstantEncoder,
        D3GAffinity,
        ExpertNet,
        FactorizedAffinity,
        FiLMFusion,
        FourierEncoder,
        GeoCLIPEncoder,
        HandcraftedAffinity,
        HarmonicsEncoder,
        LearnedAffinity,
        MoGEBackbone,
        MoGEConfig,
        MultiUTAE,
        MultiUTAEBackbone,
        SatCLIPEncoder,
        SMPBackbone,
        TimmBackbone,
        WrapEncoder,
        insert_experts,
    )
    from .objectives import ERM, MoGE, Objective, RobustMoGE
    from .samplers import DomainBalancedSampler
    from .tasks import (
        CoDEXChangeTask,
        CoDEXClassificationTask,
        CoDEXSegmentationTask,
        DomainChangeTask,
        DomainClassificationTask,
        DomainSegmentationTask,
        MoGEClassificationTask,
    )

#: Where each public name lives.
_HOMES = {
    'AttributeDomains': 'datamodules',
    'AttributePlaces': 'datamodules',
    'ClusterDomains': 'datamodules',
    'CoDEXChangeTask': 'tasks',
    'CoDEXClassificationTask': 'tasks',
    'CoDEXSegmentationTask': 'tasks',
    'ConcatFusion': 'models',
    'ConstantEncoder': 'models',
    'D3GAffinity': 'models',
    'DomainBalancedSampler': 'samplers',
    'DomainChangeTask': 'tasks',
    'DomainClassificationTask': 'tasks',
    'DomainDataModule': 'datamodules',
    'Domains': 'domains',
    'DomainScores': 'metrics',
    'DomainSegmentationTask': 'tasks',
    'DynamicEarthNet': 'datasets',
    'DynamicEarthNetDataModule': 'datamodules',
    'ERM': 'objectives',
    'ExpertNet': 'models',
    'FactorizedAffinity': 'models',
    'FilePlaces': 'datamodules',
    'FiLMFusion': 'models',
    'FMoW': 'datasets',
    'FMoWDataModule': 'datamodules',
    'FourierEncoder': 'models',
    'GeoCLIPEncoder': 'models',
    'GridDomains': 'datamodules',
    'HandcraftedAffinity': 'models',
    'HarmonicsEncoder': 'models',
    'ImageTable': 'datasets',
    'ImageTableDataModule': 'datamodules',
    'insert_experts': 'models',
    'IWildCam': 'datasets',
    'IWildCamDataModule': 'datamodules',
    'LearnedAffinity': 'models',
    'MoGE': 'objectives',
    'MoGEBackbone': 'models',
    'MoGEClassificationTask': 'tasks',
    'MoGEConfig': 'models',
    'MUDS': 'datasets',
    'MUDSDataModule': 'datamodules',
    'MultiUTAE': 'models',
    'MultiUTAEBackbone': 'models',
    'Objective': 'objectives',
    'OSCDDomains': 'datasets',
    'OSCDDomainsDataModule': 'datamodules',
    'PolygonDomains': 'datamodules',
    'RobustMoGE': 'objectives',
    'SatCLIPEncoder': 'models',
    'SMPBackbone': 'models',
    'SyntheticEarth': 'datasets',
    'SyntheticEarthChange': 'datasets',
    'SyntheticEarthDataModule': 'datamodules',
    'SyntheticEarthSegmentation': 'datasets',
    'SyntheticEarthSeries': 'datasets',
    'TableDomains': 'datamodules',
    'TablePlaces': 'datamodules',
    'TimmBackbone': 'models',
    'WrapEncoder': 'models',
}

__all__ = (
    'ERM',
    'MUDS',
    'AttributeDomains',
    'AttributePlaces',
    'ClusterDomains',
    'CoDEXChangeTask',
    'CoDEXClassificationTask',
    'CoDEXSegmentationTask',
    'ConcatFusion',
    'ConstantEncoder',
    'D3GAffinity',
    'DomainBalancedSampler',
    'DomainChangeTask',
    'DomainClassificationTask',
    'DomainDataModule',
    'DomainScores',
    'DomainSegmentationTask',
    'Domains',
    'DynamicEarthNet',
    'DynamicEarthNetDataModule',
    'ExpertNet',
    'FMoW',
    'FMoWDataModule',
    'FactorizedAffinity',
    'FiLMFusion',
    'FilePlaces',
    'FourierEncoder',
    'GeoCLIPEncoder',
    'GridDomains',
    'HandcraftedAffinity',
    'HarmonicsEncoder',
    'IWildCam',
    'IWildCamDataModule',
    'ImageTable',
    'ImageTableDataModule',
    'LearnedAffinity',
    'MUDSDataModule',
    'MoGE',
    'MoGEBackbone',
    'MoGEClassificationTask',
    'MoGEConfig',
    'MultiUTAE',
    'MultiUTAEBackbone',
    'OSCDDomains',
    'OSCDDomainsDataModule',
    'Objective',
    'PolygonDomains',
    'RobustMoGE',
    'SMPBackbone',
    'SatCLIPEncoder',
    'SyntheticEarth',
    'SyntheticEarthChange',
    'SyntheticEarthDataModule',
    'SyntheticEarthSegmentation',
    'SyntheticEarthSeries',
    'TableDomains',
    'TablePlaces',
    'TimmBackbone',
    'WrapEncoder',
    'insert_experts',
)


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(importlib.import_module(f'.{_HOMES[name]}', __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
