# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from datasets.muds_files import PLACES, write_processed, write_spacenet7
from torchgeo_experts.datamodules.muds import MUDSDataModule
from torchgeo_experts.datasets import MUDS
from torchgeo_experts.datasets import muds as muds_module
from torchgeo_experts.datasets.archives import Archive

MEAN = torch.tensor([119.9347, 105.3608, 77.5125]).view(3, 1, 1)
STD = torch.tensor([59.5921, 48.2708, 44.7296]).view(3, 1, 1)
KEYS = ('mask', 'dates', 'valid', 'domain', 'group', 'lon', 'lat')
#: One month of six places; 2018-04 is the fourth of the 24.
MONTH = 3


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('muds_datamodule')
    write_spacenet7(root / 'train', months=['2018_04'])
    return root


def make(root: Path, **kwargs: Any) -> MUDSDataModule:
    return MUDSDataModule(root, **({'batch_size': 4} | kwargs))


def test_splits(root: Path) -> None:
    datamodule = make(root)
    for stage in ('fit', 'test', 'predict'):
        datamodule.setup(stage)
    seen = datamodule.split_domains
    assert seen['train'] == tuple(datamodule.domains) == datamodule.groups[:4]
    assert datamodule.num_domains == 4
    assert set(datamodule.groups) == set(PLACES)
    assert seen['predict'] == seen['test']
    names = [name for split in ('train', 'val', 'test') for name in seen[split]]
    assert sorted(names) == sorted(PLACES)
    assert datamodule.classes == ('no building', 'building')
    assert datamodule.num_classes == 2
    sizes = [len(getattr(datamodule, f'{s}_dataset')) for s in ('train', 'val', 'test')]
    assert sizes == [256, 64, 64]
    # The first two are 6 km from each other.
    assert any(set(PLACES[:2]) <= set(places) for places in seen.values())


def test_seed(root: Path) -> None:
    splits = set()
    for seed in range(6):
        datamodule = make(root, split_seed=seed)
        datamodule.setup('test')
        splits.add(datamodule.split_domains['test'])
    assert len(splits) > 1


def test_normalization_leaves_the_rest_alone(root: Path) -> None:
    datamodule = make(root)
    datamodule.setup('test')
    batch = next(iter(datamodule.test_dataloader()))
    before = {key: value.clone() for key, value in batch.items()}
    after = datamodule.aug(batch)
    torch.testing.assert_close(after['image'], (before['image'] - MEAN) / STD)
    for key in KEYS:
        assert torch.equal(after[key], before[key])


def test_augmentations_of_the_configurations(root: Path) -> None:
    """Images of all months and their masks turn alike, and no class is made up."""
    augmentations = [
        K.RandomHorizontalFlip(),
        K.RandomVerticalFlip(),
        K.RandomRotation90(times=(0, 3), p=1.0),
    ]
    datamodule = make(root, augmentations=augmentations)
    datamodule.setup('fit')
    assert datamodule.train_dataset is not None
    sample = datamodule.train_dataset[0]
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(128), indexing='ij')
    sample['image'][MONTH, 0] = 119.9347 + 59.5921 * rows
    sample['image'][MONTH, 1] = 105.3608 + 48.2708 * columns
    sample['mask'][MONTH, 50:60, 3:9] = 255
    batch = {key: torch.stack([value] * 16) for key, value in sample.items()}
    torch.manual_seed(0)
    after = datamodule.train_aug({key: value.clone() for key, value in batch.items()})
    turns = set()
    for image, mask in zip(after['image'], after['mask'], strict=True):
        row, column = image[MONTH, :2].round().long()
        assert torch.equal(mask[MONTH], sample['mask'][MONTH, row, column])
        assert mask[:MONTH].eq(255).all() and mask[MONTH + 1 :].eq(255).all()
        turns.add((row[0, 0].item(), column[0, 0].item(), row[0, 1].item()))
    assert len(turns) > 4
    for key in KEYS[1:]:
        assert torch.equal(after[key], batch[key])


def test_domains_per_batch(root: Path) -> None:
    datamodule = make(root, domains_per_batch=2)
    datamodule.setup('fit')
    batch = next(iter(datamodule.train_dataloader()))
    assert sorted(np.unique(batch['domain'], return_counts=True)[1]) == [2, 2]


def test_download(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'SN7_buildings_train.tar.gz'
    with tarfile.open(path, 'w:gz', compresslevel=1) as file:
        file.add(root / 'train', 'train')
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(muds_module, 'ORIGINAL', Archive(path.name, path.as_uri(), md5))
    datamodule = make(tmp_path / 'root', download=True)
    datamodule.prepare_data()
    assert (tmp_path / 'root' / 'train' / PLACES[0] / 'labels').is_dir()
    datamodule.setup('fit')
    assert datamodule.num_domains == 4


def test_overlapping_splits(tmp_path: Path) -> None:
    splits = {'train': ['1_2_13'], 'val': ['500_400_13'], 'test': ['900_8_13']}
    write_processed(tmp_path / 'Muds', splits, [0])
    path = tmp_path / 'Muds' / 'split.json'
    path.write_text(json.dumps(splits | {'val': ['1_2_13']}))
    with pytest.raises(ValueError, match=r'split\.json: the place 1_2_13 is in the'):
        make(tmp_path).setup('fit')


def test_plot(root: Path) -> None:
    datamodule = make(root)
    datamodule.setup('validate')
    assert datamodule.val_dataset is not None
    figure = datamodule.plot(datamodule.val_dataset[0])
    assert figure is not None
    assert [ax.get_title() for ax in figure.axes] == ['2018-04-01', 'Mask']


def test_arguments_from_yaml(root: Path) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(MUDSDataModule, 'data')
    content = {'root': str(root), 'split_seed': 1, 'mean': [1, 2, 3], 'cache': 'x'}
    config = parser.parse_object({'data': content})
    datamodule = parser.instantiate(config).data
    datamodule.setup('fit')
    assert datamodule.num_domains == 4
    assert datamodule.mean.tolist() == [1, 2, 3]
    assert datamodule.kwargs['cache'] == 'x'


def test_training_data_set_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells the names of domains first, and is trained on then."""
    made = []

    def make(split: str, **kwargs: Any) -> MUDS:
        made.append(split)
        return MUDS(split=split, **kwargs)

    write_spacenet7(tmp_path, months=['2018_01'])
    datamodule = MUDSDataModule(tmp_path)
    monkeypatch.setattr(datamodule, 'dataset_class', make)
    datamodule.setup('fit')
    assert made == ['train', 'val']
    datamodule.setup('test')
    assert made == ['train', 'val', 'train', 'test']
