# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Shipped YAML of pretrained backbones, with a small network of random weights."""

from inspect import signature
from pathlib import Path

import pytest
import torch
import yaml
from commands import torchgeo
from torchgeo.models import DOFA, get_weight

from torchgeo_experts import DomainClassificationTask
from torchgeo_experts.models import DOFABackbone
from torchgeo_experts.shipped import config_names, config_path

FILES = [name for name in config_names() if name.startswith('backbones/')]
SMALL = {'img_size': 32, 'patch_size': 8, 'embed_dim': 24, 'depth': 4, 'num_heads': 3}


@pytest.mark.parametrize('name', FILES)
def test_weights_are_those_of_the_model(name: str) -> None:
    given = yaml.safe_load(config_path(name).read_text())
    model = given['model']['init_args']
    weights = get_weight(model['weights'])
    assert weights.meta['model'] == model['model']
    size = signature(DOFA).parameters['img_size'].default
    assert given['data']['init_args']['size'] == size


@pytest.mark.parametrize('name', FILES)
def test_fit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On top of ERM. The whole network would take long, and its weights a download."""
    monkeypatch.setattr('torchgeo.models.dofa_base_patch16_224', DOFA)
    model, data = '--model.init_args.', '--data.init_args.'
    torchgeo(
        [
            *('fit', '--config', str(config_path('erm/synthetic_earth'))),
            *('--config', str(config_path(name))),
            *(f'{model}weights', 'null'),
            *(w for k, v in SMALL.items() for w in (f'{model}model_args.{k}', str(v))),
            *(f'{data}size', '32', f'{data}samples_per_domain', '2'),
            *(f'{data}batch_size', '32', '--trainer.max_epochs', '1'),
            *('--trainer.accelerator', 'cpu', '--trainer.enable_progress_bar', 'false'),
            *('--trainer.default_root_dir', str(tmp_path)),
        ]
    )
    (last,) = tmp_path.glob('lightning_logs/*/checkpoints/last.ckpt')
    kind = DomainClassificationTask
    task = kind.load_from_checkpoint(last, weights_only=True)
    backbone = task.model.backbone
    assert isinstance(backbone, DOFABackbone)
    assert list(backbone.wavelengths) == [0.665, 0.56, 0.49]
    trained = sum(p.requires_grad for p in backbone.parameters())
    assert bool(trained) == (name == 'backbones/dofa_tuned')
    # Those of the head, and of the backbone.
    moments = torch.load(last, weights_only=True)['optimizer_states'][0]['state']
    assert len(moments) == 2 + trained
