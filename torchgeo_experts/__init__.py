# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Experts per place for TorchGeo: models that work where they were not trained.

Every public name is available here and resolved on first use, so that the import costs
milliseconds, and a YAML file may say ``class_path: torchgeo_experts.CoDEXClassificationTask``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datamodules import ImageTableDataModule, SyntheticEarthDataModule
    from .datasets import ImageTable, SyntheticEarth
    from .domains import Domains
    from .metrics import DomainScores
    from .models import (
        D3GAffinity,
        ExpertNet,
        HandcraftedAffinity,
        LearnedAffinity,
        TimmBackbone,
    )
    from .objectives import ERM, Objective
    from .samplers import DomainBalancedSampler
    from .tasks import CoDEXClassificationTask, DomainClassificationTask

#: Where each public name lives.
_HOMES = {
    'CoDEXClassificationTask': 'tasks',
    'D3GAffinity': 'models',
    'DomainBalancedSampler': 'samplers',
    'DomainClassificationTask': 'tasks',
    'DomainScores': 'metrics',
    'Domains': 'domains',
    'ERM': 'objectives',
    'ExpertNet': 'models',
    'HandcraftedAffinity': 'models',
    'ImageTable': 'datasets',
    'ImageTableDataModule': 'datamodules',
    'LearnedAffinity': 'models',
    'Objective': 'objectives',
    'SyntheticEarth': 'datasets',
    'SyntheticEarthDataModule': 'datamodules',
    'TimmBackbone': 'models',
}

__all__ = (
    'ERM',
    'CoDEXClassificationTask',
    'D3GAffinity',
    'DomainBalancedSampler',
    'DomainClassificationTask',
    'DomainScores',
    'Domains',
    'ExpertNet',
    'HandcraftedAffinity',
    'ImageTable',
    'ImageTableDataModule',
    'LearnedAffinity',
    'Objective',
    'SyntheticEarth',
    'SyntheticEarthDataModule',
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
