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
from commands import torchgeo
from PIL import Image

import torchgeo_experts
from datamodules.domain_files import write_eurosat
from datasets.dynamicearthnet_files import TEST, TRAIN, VAL, write_processed
from datasets.fmow_files import random_rows, write_wilds
from datasets.iwildcam_files import write_iwildcam
from datasets.muds_files import write_spacenet7
from datasets.oscd_files import RGB, write_oscd
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
    data = '--data.init_args.'
    places = [f'{data}num_{split}_domains' for split in ('train', 'val', 'test')]
    return [f'{data}samples_per_domain', '8', *(x for p in places for x in (p, '8'))]


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


def iwildcam_overrides(folder: Path) -> list[str]:
    write_iwildcam(folder / 'iwildcam', num_classes=12, per_camera=4)
    data = '--data.init_args.'
    return [
        # Lightning takes a second to log five numbers of each of 182 classes.
        *('--model.init_args.num_classes', '12'),
        *(f'{data}root', str(folder / 'iwildcam'), f'{data}size', '32'),
        # Ten cameras: fewer clusters. (The configurations of ERM and MoGE have none.)
        *(f'{data}domains', 'torchgeo_experts.ClusterDomains'),
        *(f'{data}domains.init_args.count', '2'),
    ]


def oscd_overrides(folder: Path) -> list[str]:
    write_oscd(folder / 'oscd', bands=RGB)
    data = '--data.init_args.'
    # 16 training tiles.
    return [f'{data}root', str(folder / 'oscd'), f'{data}tiling', 'native']


#: Samples of places are of one size: there are few of them instead. (One would mean all.)
FEW = [
    argument
    for split in ('train', 'val', 'test', 'predict')
    for argument in (f'--trainer.limit_{split}_batches', '2')
]


def dynamicearthnet_overrides(folder: Path) -> list[str]:
    splits = {'train': TRAIN[:2], 'val': VAL, 'test': TEST}
    write_processed(folder / 'cubes', splits, months=[0, 12, 23])
    data = '--data.init_args.'
    return [
        *(
            f'{data}root',
            str(folder / 'cubes'),
            f'{data}cache',
            str(folder / 'decoded'),
        ),
        *(f'{data}batch_size', '1'),
    ]


def fmow_overrides(folder: Path) -> list[str]:
    write_wilds(folder / 'fmow', random_rows(600, seed=1), size=32)
    data = '--data.init_args.'
    return [
        *(f'{data}root', str(folder / 'fmow'), f'{data}size', '32'),
        *(f'{data}train_countries', '4', f'{data}val_countries', '2'),
        *(f'{data}test_countries', '3'),
    ]


def fmow_regions_overrides(folder: Path) -> list[str]:
    return [*fmow_overrides(folder), '--data.init_args.min_samples', '5']


def fmow_few_overrides(folder: Path) -> list[str]:
    return [
        *fmow_overrides(folder),
        '--data.init_args.few_samples',
        '8',
        '--data.init_args.batch_size',
        '8',
    ]


def muds_overrides(folder: Path) -> list[str]:
    write_spacenet7(folder / 'muds', months=['2018_01'])
    data = '--data.init_args.'
    return [
        *(f'{data}root', str(folder / 'muds'), f'{data}cache', str(folder / 'drawn')),
        *(f'{data}batch_size', '1'),
    ]


#: What makes the data of a configuration small.
SMALL: dict[str, Callable[[Path], list[str]]] = {
    'synthetic_earth': earth_overrides,
    'synthetic_earth_segmentation': map_overrides,
    'synthetic_earth_series': map_overrides,
    'synthetic_earth_change': map_overrides,
    'eurosat_countries': table_overrides,
    'image_table': table_overrides,
    'dynamicearthnet': dynamicearthnet_overrides,
    'fmow': fmow_overrides,
    'fmow_lao': fmow_regions_overrides,
    'fmow_lao_few': fmow_few_overrides,
    'iwildcam': iwildcam_overrides,
    'muds': muds_overrides,
    'oscd': oscd_overrides,
    'wrapped_eurosat': eurosat_overrides,
}


def count_steps(folder: Path) -> int:
    """Read the number of training steps from the log."""
    with (folder / 'metrics.csv').open() as file:
        return 1 + max(int(row['step']) for row in csv.DictReader(file))


MOGE = 'MoGEClassificationTask'


def small_network(text: str) -> str:
    """Name a small network of the kind that a configuration has."""
    if 'multiutae' in text:
        return 'multiutae'
    return 'test_vit' if MOGE in text else 'test_resnet'


#: Configurations of whole runs; variants change one of these.
PARTS = ('backbones/', 'moge_variants/', 'objectives/', 'sites/')
WHOLE = [name for name in config_names() if not name.startswith(PARTS)]
VARIANTS = [name for name in config_names() if name.startswith('moge_variants/')]


@pytest.mark.slow
@pytest.mark.parametrize('name', VARIANTS)
def test_variants_of_moge(name: str, tmp_path: Path) -> None:
    """A variant goes on top of a whole configuration, from a checkpoint if it needs one."""
    arguments = [
        *('--config', str(config_path('moge/fmow'))),
        *('--trainer.default_root_dir', str(tmp_path), '--trainer.accelerator', 'cpu'),
        *('--trainer.enable_progress_bar', 'false'),
        *('--data.init_args.batch_size', '16', '--data.init_args.num_workers', '0'),
        *('--trainer.num_sanity_val_steps', '0'),
        *fmow_overrides(tmp_path),
    ]
    model = '--model.init_args.'
    weights = [f'{model}weights', 'null']  # they would be downloaded
    small = [
        *(f'{model}model', 'test_vit', *weights, *FEW),
        *(f'{model}model_args', '{img_size: 32, patch_size: 8}'),
        *('--trainer.max_epochs', '1'),
    ]
    experts = [f'{model}blocks', '[3, 5]']
    variant = ['--config', str(config_path(name))]
    text = config_path(name).read_text()
    needs = 'init_args.checkpoint' in text
    if needs:
        torchgeo(['fit', *arguments, *small, *experts])
        (first,) = tmp_path.glob('lightning_logs/*/checkpoints/last.ckpt')
        experts += [f'{model}checkpoint', str(first)]
    if MOGE in text:
        small += experts
    torchgeo(['fit', *arguments, *variant, *small])
    last = tmp_path / f'lightning_logs/version_{int(needs)}/checkpoints/last.ckpt'
    torchgeo(['test', *arguments, *variant, *weights, '--ckpt_path', str(last)])
    folder = f'version_{int(needs) + 1}'
    assert (tmp_path / 'lightning_logs' / folder / 'domains.csv').is_file()
    given = yaml.safe_load(text)['model']
    kept = torch.load(last, weights_only=True)['hyper_parameters']
    for key, value in given.get('init_args', {}).items():
        found = kept[key]
        if isinstance(found, dict):
            assert found['class_path'].endswith(
                (value or {'class_path': 'ERM'})['class_path'].rpartition('.')[2]
            )
        elif key != 'lr':
            assert found == value


@pytest.mark.slow
@pytest.mark.parametrize('name', WHOLE)
def test_fit_test_predict(name: str, tmp_path: Path) -> None:
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
        *('--trainer.num_sanity_val_steps', '0', *FEW),
        *SMALL[name.split('/')[1]](tmp_path),
    ]
    if 'num_workers' in text:
        arguments += [f'--data.init_args.{inner}num_workers', '0']
    stages = ['--model.init_args.expert_epochs', '1'] if 'expert_epochs' in text else []
    small = ['--trainer.max_epochs', '2' if stages else '1']
    network = small_network(text)
    size = ['model', network] if network != 'multiutae' else ['num_filters', '32']
    small += [f'--model.init_args.{size[0]}', size[1]]
    # Weights would be downloaded.
    if 'weights: true' in text:
        arguments += ['--model.init_args.weights', 'null']
    if 'SatCLIP' in text:
        arguments += ['--model.init_args.location', 'torchgeo_experts.WrapEncoder']
    if MOGE in text:
        arguments += ['--model.init_args.blocks', '[3, 5]']
        arguments += ['--model.init_args.model_args', '{img_size: 32, patch_size: 8}']
    torchgeo(['fit', *arguments, *small, *stages])
    (last,) = tmp_path.glob('lightning_logs/*/checkpoints/last.ckpt')
    steps = torch.load(last, weights_only=True)['global_step']
    # The last epoch's, even if another one was better.
    assert steps == count_steps(last.parents[1])
    for command in ('test', 'predict'):
        extra = ['--return_predictions', 'false'] if command == 'predict' else []
        torchgeo([command, *arguments, '--ckpt_path', str(last), *extra])
    (table,) = tmp_path.glob('lightning_logs/*/domains.csv')
    with table.open() as file:
        assert all(int(row['samples']) for row in csv.DictReader(file))

    kind = torch.load(last, weights_only=True)['hyper_parameters']
    path = yaml.safe_load(text)['model']['class_path']
    task = getattr(torchgeo_experts, path.rpartition('.')[2])
    loaded = task.load_from_checkpoint(last, weights_only=True)
    assert loaded.hparams['model'] == kind['model'] == network


@pytest.mark.parametrize(('data', 'classes'), [('fmow', 62), ('iwildcam', 182)])
def test_numbers_of_classes(data: str, classes: int) -> None:
    names = [name for name in WHOLE if data in name]
    assert len(names) >= 3
    for name in names:
        model = yaml.safe_load(config_path(name).read_text())['model']
        assert model['init_args']['num_classes'] == classes


def test_objective_and_affinity_from_yaml(tmp_path: Path) -> None:
    """Nested classes keep their arguments in the checkpoint."""
    affinity = '--model.init_args.affinity'
    arguments = [
        *('--config', str(config_path('codex/synthetic_earth'))),
        *(affinity, 'torchgeo_experts.D3GAffinity'),
        *(f'{affinity}.init_args.fixed_share', '0.25'),
        *('--trainer.default_root_dir', str(tmp_path)),
        *('--trainer.max_epochs', '1', '--trainer.accelerator', 'cpu'),
        *('--trainer.enable_progress_bar', 'false'),
        *earth_overrides(tmp_path),
    ]
    torchgeo(['fit', *arguments])
    (last,) = tmp_path.glob('lightning_logs/*/checkpoints/last.ckpt')
    torchgeo(['validate', *arguments, '--ckpt_path', str(last)])
    task = torchgeo_experts.CoDEXClassificationTask
    loaded = task.load_from_checkpoint(last, weights_only=True)
    assert loaded.affinity.fixed_share == 0.25
    assert loaded.hparams['num_domains'] == 8


def test_names_and_paths() -> None:
    assert {'erm/synthetic_earth', 'codex/eurosat_countries'} <= set(config_names())
    assert config_path('codex/image_table').is_file()
    with pytest.raises(ValueError, match='choose one of: backbones/'):
        config_path('codex/nothing')
