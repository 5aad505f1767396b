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
        FilePlaces,
        GridDomains,
        ImageTableDataModule,
        PolygonDomains,
        SyntheticEarthDataModule,
        TableDomains,
        TablePlaces,
    )
    from .datasets import (
        ImageTable,
        SyntheticEarth,
        SyntheticEarthChange,
        SyntheticEarthSegmentation,
        SyntheticEarthSeries,
    )
    from .domains import Domains
    from .metrics import DomainScores
    from .models import (
        D3GAffinity,
        ExpertNet,
        FactorizedAffinity,
        HandcraftedAffinity,
        LearnedAffinity,
        MultiUTAE,
        MultiUTAEBackbone,
        SMPBackbone,
        TimmBackbone,
    )
    from .objectives import ERM, Objective
    from .samplers import DomainBalancedSampler
    from .tasks import (
        CoDEXChangeTask,
        CoDEXClassificationTask,
        CoDEXSegmentationTask,
        DomainChangeTask,
        DomainClassificationTask,
        DomainSegmentationTask,
    )

#: Where each public name lives.
_HOMES = {
    'AttributeDomains': 'datamodules',
    'AttributePlaces': 'datamodules',
    'ClusterDomains': 'datamodules',
    'CoDEXChangeTask': 'tasks',
    'CoDEXClassificationTask': 'tasks',
    'CoDEXSegmentationTask': 'tasks',
    'D3GAffinity': 'models',
    'DomainBalancedSampler': 'samplers',
    'DomainChangeTask': 'tasks',
    'DomainClassificationTask': 'tasks',
    'DomainDataModule': 'datamodules',
    'DomainScores': 'metrics',
    'DomainSegmentationTask': 'tasks',
    'Domains': 'domains',
    'ERM': 'objectives',
    'ExpertNet': 'models',
    'FactorizedAffinity': 'models',
    'FilePlaces': 'datamodules',
    'GridDomains': 'datamodules',
    'HandcraftedAffinity': 'models',
    'ImageTable': 'datasets',
    'ImageTableDataModule': 'datamodules',
    'LearnedAffinity': 'models',
    'MultiUTAE': 'models',
    'MultiUTAEBackbone': 'models',
    'Objective': 'objectives',
    'PolygonDomains': 'datamodules',
    'SMPBackbone': 'models',
    'SyntheticEarth': 'datasets',
    'SyntheticEarthChange': 'datasets',
    'SyntheticEarthDataModule': 'datamodules',
    'SyntheticEarthSegmentation': 'datasets',
    'SyntheticEarthSeries': 'datasets',
    'TableDomains': 'datamodules',
    'TablePlaces': 'datamodules',
    'TimmBackbone': 'models',
}

__all__ = (
    'ERM',
    'AttributeDomains',
    'AttributePlaces',
    'ClusterDomains',
    'CoDEXChangeTask',
    'CoDEXClassificationTask',
    'CoDEXSegmentationTask',
    'D3GAffinity',
    'DomainBalancedSampler',
    'DomainChangeTask',
    'DomainClassificationTask',
    'DomainDataModule',
    'DomainScores',
    'DomainSegmentationTask',
    'Domains',
    'ExpertNet',
    'FactorizedAffinity',
    'FilePlaces',
    'GridDomains',
    'HandcraftedAffinity',
    'ImageTable',
    'ImageTableDataModule',
    'LearnedAffinity',
    'MultiUTAE',
    'MultiUTAEBackbone',
    'Objective',
    'PolygonDomains',
    'SMPBackbone',
    'SyntheticEarth',
    'SyntheticEarthChange',
    'SyntheticEarthDataModule',
    'SyntheticEarthSegmentation',
    'SyntheticEarthSeries',
    'TableDomains',
    'TablePlaces',
    'TimmBackbone',
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
