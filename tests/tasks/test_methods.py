# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Every training method through the real command line, for each task it is made for."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import torchgeo

import torchgeo_experts
from torchgeo_experts.shipped import config_names, config_path

METHODS = [name for name in config_names() if name.startswith('objectives/')]
#: Methods for maps, and those that change detection has no use for.
MAPS, NO_CHANGE = {'class_mix', 'pixel_contrast'}, {'pixel_contrast'}
DATA = {
    'synthetic_earth': lambda name: name not in MAPS,
    'synthetic_earth_segmentation': lambda name: True,
    'synthetic_earth_series': lambda name: name in MAPS | {'advent', 'mixup'},
    'synthetic_earth_change': lambda name: name not in NO_CHANGE,
}
RUNS = [
    (data, method)
    for data, applies in DATA.items()
    for method in METHODS
    if applies(method.split('/')[1])
]


def arguments(data: str, method: str, folder: Path) -> list[str]:
    given = [
        *('--config', str(config_path(f'erm/{data}'))),
        *('--config', str(config_path(method))),
        *('--trainer.accelerator', 'cpu', '--trainer.default_root_dir', str(folder)),
        *('--trainer.enable_progress_bar', 'false'),
        *('--trainer.limit_train_batches', '2', '--trainer.limit_val_batches', '2'),
        *('--trainer.limit_test_batches', '2', '--trainer.num_sanity_val_steps', '0'),
        *('--trainer.logger', 'false'),  # it takes a quarter of the time
        *('--data.init_args.samples_per_domain', '4'),
        *('--data.init_args.batch_size', '8'),
    ]
    if data == 'synthetic_earth':
        return [*given, '--model.init_args.model', 'test_resnet']
    return [
        *given,
        '--data.init_args.size',
        '32',
        '--model.init_args.num_filters',
        '32',
    ]


@pytest.mark.slow
@pytest.mark.parametrize(('data', 'method'), RUNS)
def test_fit_resume_test_reload(data: str, method: str, tmp_path: Path) -> None:
    command = arguments(data, method, tmp_path)
    torchgeo(['fit', *command, '--trainer.max_epochs', '1'])
    last = tmp_path / 'checkpoints/last.ckpt'
    resumed = ['--trainer.max_epochs', '2', '--ckpt_path', str(last)]
    torchgeo(['fit', *command, *resumed])
    torchgeo(['test', *command, '--ckpt_path', str(last)])
    assert (tmp_path / 'domains.csv').is_file()

    saved = torch.load(last, weights_only=True)
    assert saved['global_step'] == 4
    given = yaml.safe_load(config_path(f'erm/{data}').read_text())['model']
    kind: Any = getattr(torchgeo_experts, given['class_path'].split('.')[-1])
    task = kind.load_from_checkpoint(last, weights_only=True)
    asked = yaml.safe_load(config_path(method).read_text()).get('model')
    if asked is not None:
        asked = asked['init_args']['objective']
        name = asked['class_path'].split('.')[-1]
        assert isinstance(task.objective, getattr(torchgeo_experts, name))
        for key, value in asked.get('init_args', {}).items():
            assert getattr(task.objective, key) == value
    own = {k for k in saved['state_dict'] if k.startswith('method.')}
    kept = task.state_dict()
    assert own == {k for k in kept if k.startswith('method.')}
    tensors = {k for k in saved['state_dict'] if 'extra_state' not in k}
    assert all(torch.equal(saved['state_dict'][k], kept[k]) for k in tensors)


def test_without_targets(tmp_path: Path) -> None:
    command = arguments('synthetic_earth', 'objectives/max_square', tmp_path)
    given = ['--data.init_args.target_split', 'null', '--trainer.max_epochs', '1']
    with pytest.raises(
        ValueError, match=r'MaxSquare needs unlabelled images .*target_split'
    ):
        torchgeo(['fit', *command, *given])


def test_for_maps_only() -> None:
    with pytest.raises(ValueError, match='ClassMix needs maps as targets'):
        torchgeo_experts.DomainClassificationTask(
            'test_resnet', num_classes=3, objective=torchgeo_experts.ClassMix()
        )
    with pytest.raises(ValueError, match='ClassMix needs classes that exclude'):
        torchgeo_experts.DomainSegmentationTask(
            'multiutae',
            task='multilabel',
            num_labels=3,
            loss='bce',
            objective=torchgeo_experts.ClassMix(),
        )
