# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Every shipped YAML through the real command line, on small data."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchgeo.main import main as torchgeo

import torchgeo_experts
from datamodules.domain_files import write_eurosat
from torchgeo_experts.shipped import config_names, config_path

COUNTRIES = ['France', 'Spain', 'Italy', 'Greece', 'Norway', 'Poland']


def write_images(folder: Path) -> None:
    """Write a zip of ten classes and its table, with the columns of both configs."""
    generator = np.random.default_rng(0)
    rows = []
    with zipfile.ZipFile(folder / 'images.zip', 'w') as archive:
        for country in COUNTRIES:
            for number in range(20):
                name = f'class{number % 10}/{country}_{number}.png'
                pixels = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(pixels).save(buffer, 'png')
                archive.writestr(f'2750/{name}', buffer.getvalue())
                place = {'lon': 3 * len(rows) % 90, 'lat': 40}
                row = {'filename': name, 'label': name[:6], 'country': country}
                rows.append(row | {'domain': country} | place)
    with (folder / 'table.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def table_overrides(folder: Path) -> list[str]:
    write_images(folder)
    data = '--data.init_args.'
    return [
        *(f'{data}images', str(folder / 'images.zip')),
        *(f'{data}table', str(folder / 'table.csv')),
        *(f'{data}folder', '2750', f'{data}min_samples', '5'),
        *(f'{data}val_domains', '[Greece]', f'{data}test_domains', '[Norway, Poland]'),
    ]


def earth_overrides(folder: Path) -> list[str]:
    return ['--data.init_args.samples_per_domain', '8']


def map_overrides(folder: Path) -> list[str]:
    data = '--data.init_args.'
    return [f'{data}samples_per_domain', '2', f'{data}size', '16']


def eurosat_overrides(folder: Path) -> list[str]:
    write_eurosat(folder / 'eurosat', size=32)
    data = '--data.init_args.'
    return [
        *(f'{data}datamodule.dict_kwargs.root', str(folder / 'eurosat')),
        *(f'{data}domains.init_args.count', '12', f'{data}min_samples', '2'),
    ]


#: What makes the data of a configuration small.
SMALL: dict[str, Callable[[Path], list[str]]] = {
    'synthetic_earth': earth_overrides,
    'synthetic_earth_segmentation': map_overrides,
    'synthetic_earth_series': map_overrides,
    'synthetic_earth_change': map_overrides,
    'eurosat_countries': table_overrides,
    'image_table': table_overrides,
    'wrapped_eurosat': eurosat_overrides,
}


def count_steps(folder: Path) -> int:
    """Read the number of training steps from the log."""
    with (folder / 'metrics.csv').open() as file:
        return 1 + max(int(row['step']) for row in csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize('name', config_names())
def test_fit_validate_test_predict(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command works from the checkpoint that fit produced."""
    # A datamodule inside another one has its own size of batches.
    text = config_path(name).read_text()
    wrapped = 'datamodule:' in text
    inner = 'datamodule.init_args.' if wrapped else ''
    arguments = [
        *('--config', str(config_path(name)), '--trainer.accelerator', 'cpu'),
        *('--trainer.default_root_dir', str(tmp_path)),
        *('--trainer.enable_progress_bar', 'false'),
        *(f'--data.init_args.{inner}batch_size', '16'),
        *SMALL[name.split('/')[1]](tmp_path),
    ]
    if 'num_workers' in text:
        arguments += [f'--data.init_args.{inner}num_workers', '0']
    stages = ['--model.init_args.expert_epochs', '1'] if 'expert_epochs' in text else []
    small = ['--trainer.max_epochs', '2']
    if 'multiutae' not in text:
        small += ['--model.init_args.model', 'test_resnet']
    torchgeo(['fit', *arguments, *small, *stages])
    (last,) = tmp_path.glob('lightning_logs/*/checkpoints/last.ckpt')
    steps = torch.load(last, weights_only=True)['global_step']
    # The last epoch's, even if another one was better.
    assert steps % 2 == 0 and steps == count_steps(last.parents[1])
    for command in ('validate', 'test', 'predict'):
        extra = ['--return_predictions', 'false'] if command == 'predict' else []
        torchgeo([command, *arguments, '--ckpt_path', str(last), *extra])
    (table,) = tmp_path.glob('lightning_logs/*/domains.csv')
    with table.open() as file:
        assert all(int(row['samples']) for row in csv.DictReader(file))

    kind = torch.load(last, weights_only=True)['hyper_parameters']
    path = yaml.safe_load(text)['model']['class_path']
    task = getattr(torchgeo_experts, path.rpartition('.')[2])
    loaded = task.load_from_checkpoint(last, weights_only=True)
    assert loaded.hparams['model'] == kind['model'] in ('test_resnet', 'multiutae')


def test_objective_and_affinity_from_yaml(tmp_path: Path) -> None:
    """Nested classes keep their arguments in the checkpoint."""
    affinity = '--model.init_args.affinity'
    torchgeo(
        [
            *('fit', '--config', str(config_path('codex/synthetic_earth'))),
            *(affinity, 'torchgeo_experts.D3GAffinity'),
            *(f'{affinity}.init_args.fixed_share', '0.25'),
            *('--trainer.default_root_dir', str(tmp_path)),
            *('--trainer.max_epochs', '1', '--trainer.accelerator', 'cpu'),
            *('--trainer.enable_progress_bar', 'false'),
            *earth_overrides(tmp_path),
        ]
    )
    (last,) = tmp_path.glob('lightning_logs/*/checkpoints/last.ckpt')
    task = torchgeo_experts.CoDEXClassificationTask
    loaded = task.load_from_checkpoint(last, weights_only=True)
    assert loaded.affinity.fixed_share == 0.25
    assert loaded.hparams['num_domains'] == 16


def test_names_and_paths() -> None:
    assert {'erm/synthetic_earth', 'codex/eurosat_countries'} <= set(config_names())
    assert config_path('codex/image_table').is_file()
    with pytest.raises(ValueError, match='choose one of: codex/'):
        config_path('codex/nothing')
