# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kornia.augmentation as K
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from torch import Tensor

from datasets.dynamicearthnet_files import TEST, TRAIN, VAL, write_processed, write_raw
from torchgeo_experts.datamodules.dynamicearthnet import DynamicEarthNetDataModule

#: Red, green, blue and near infrared.
RAW = [[1042.59, 915.62, 671.26, 2605.21], [957.96, 715.55, 596.94, 1059.90]]
PROCESSED = [
    [83.1029, 80.7615, 69.3328, 133.8648],
    [33.2714, 25.5288, 23.9868, 30.5591],
]


@pytest.fixture(scope='module')
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('raw')
    return write_raw(folder, (*TRAIN[:2], *VAL, *TEST), months=[0, 1])


@pytest.fixture(scope='module')
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    splits = {'train': TRAIN[:2], 'val': VAL, 'test': TEST}
    return write_processed(tmp_path_factory.mktemp('processed'), splits, months=[0, 1])


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Only a few cubes and months are there."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', r'.*cubes (are left out|with months)')
        yield


def transfer(datamodule: DynamicEarthNetDataModule, split: str) -> Any:
    """Load a batch and what a device would get of it."""
    datamodule.setup('fit' if split in ('train', 'val') else split)
    trainer = Trainer(accelerator='cpu', logger=False)
    trainer.training = split == 'train'
    trainer.validating = split == 'val'
    trainer.testing = split == 'test'
    datamodule.trainer = trainer
    batch = next(iter(getattr(datamodule, f'{split}_dataloader')()))
    return batch, datamodule.on_after_batch_transfer(dict(batch), 0)


def per_band(values: list[float]) -> Tensor:
    return torch.tensor(values)[:, None, None]


@pytest.mark.parametrize('form', ['raw', 'processed'])
def test_splits(form: str, request: pytest.FixtureRequest) -> None:
    datamodule = DynamicEarthNetDataModule(request.getfixturevalue(form))
    for stage in ('fit', 'test', 'predict'):
        datamodule.setup(stage)
    assert datamodule.domains.names == TRAIN[:2] and datamodule.num_domains == 2
    assert datamodule.groups == (*TRAIN[:2], *TEST, *VAL)
    assert datamodule.num_classes == 6 and datamodule.classes[5] == 'water'
    assert datamodule.split_domains == {
        'train': TRAIN[:2],
        'val': VAL,
        'test': TEST,
        'predict': TEST,
    }
    lengths = [
        len(getattr(datamodule, f'{split}_dataset'))
        for split in ('train', 'val', 'test', 'predict')
    ]
    assert lengths == [128, 64, 64, 64]


@pytest.mark.parametrize(
    ('form', 'statistics'), [('raw', RAW), ('processed', PROCESSED)]
)
def test_normalization_by_form(
    form: str, statistics: list[list[float]], request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue(form)
    mean, std = map(per_band, statistics)
    for split in ('train', 'val', 'test'):
        batch, found = transfer(DynamicEarthNetDataModule(root, batch_size=2), split)
        assert batch['image'].shape == (2, 24, 4, 128, 128)
        torch.testing.assert_close(found['image'], (batch['image'] - mean) / std)
        for key in ('mask', 'dates', 'valid', 'domain', 'group', 'lon', 'lat'):
            assert torch.equal(found[key], batch[key])


def test_given_normalization(raw: Path) -> None:
    datamodule = DynamicEarthNetDataModule(raw, batch_size=2, mean=1000.0)
    batch, found = transfer(datamodule, 'val')
    expected = (batch['image'] - 1000) / per_band(RAW[1])
    torch.testing.assert_close(found['image'], expected)
    datamodule = DynamicEarthNetDataModule(raw, batch_size=2, std=[1, 2, 3, 4])
    _, found = transfer(datamodule, 'val')
    expected = (batch['image'] - per_band(RAW[0])) / per_band([1, 2, 3, 4])
    torch.testing.assert_close(found['image'], expected)
    assert datamodule.std.tolist() == [1, 2, 3, 4]


def test_augmentations(processed: Path) -> None:
    """Of training batches only, the same for all months and their masks."""
    flips = [K.RandomHorizontalFlip(p=1.0)]
    datamodule = DynamicEarthNetDataModule(processed, batch_size=2, augmentations=flips)
    mean, std = map(per_band, PROCESSED)
    for split in ('train', 'val'):
        batch, found = transfer(datamodule, split)
        images, masks = (batch['image'] - mean) / std, batch['mask']
        if split == 'train':
            images, masks = images.flip(-1), masks.flip(-1)
        torch.testing.assert_close(found['image'], images)
        assert torch.equal(found['mask'], masks)


def test_quarter_turns_keep_classes(processed: Path) -> None:
    """The rotation of the configurations makes no new classes at borders."""
    turns = [K.RandomRotation90((1, 1), p=1.0)]
    datamodule = DynamicEarthNetDataModule(
        processed, batch_size=128, augmentations=turns
    )
    datamodule.setup('fit')
    assert datamodule.train_dataset is not None
    sample = datamodule.train_dataset[0]
    batch = {key: value[None] for key, value in sample.items()}
    found = datamodule.train_aug(batch)
    assert sample['mask'].unique().tolist() == [0, 1, 2, 3, 4, 5, 255]
    assert torch.equal(found['mask'][0], sample['mask'].rot90(1, (-2, -1)))
    mean, std = map(per_band, PROCESSED)
    images = ((sample['image'] - mean) / std).rot90(1, (-2, -1))
    torch.testing.assert_close(found['image'][0], images, atol=1e-3, rtol=0)


def test_arguments_reach_the_data_set(processed: Path, tmp_path: Path) -> None:
    cache = tmp_path / 'cache'
    datamodule = DynamicEarthNetDataModule(processed, 7, cache, batch_size=4)
    datamodule.setup('fit')
    assert datamodule.num_classes == 7 and datamodule.classes[6] == 'snow & ice'
    assert not cache.exists()
    assert datamodule.val_dataset is not None
    assert 6 in datamodule.val_dataset[0]['mask']
    assert [path.stem[:12] for path in cache.iterdir()] == list(VAL)


def test_balanced_batches(processed: Path) -> None:
    datamodule = DynamicEarthNetDataModule(processed, batch_size=4, domains_per_batch=2)
    datamodule.setup('fit')
    batch = next(iter(datamodule.train_dataloader()))
    assert sorted(batch['domain'].tolist()) == [0, 0, 1, 1]


def test_prepare_data_unpacks(processed: Path, tmp_path: Path) -> None:
    archive = tmp_path / 'DynamicEarthNet.zip'
    with zipfile.ZipFile(archive, 'w') as file:
        for path in sorted(processed.rglob('*.*')):
            if 'npy' not in path.name or TRAIN[0] in path.name:
                file.write(path, Path('DynamicEarthNet') / path.relative_to(processed))
    DynamicEarthNetDataModule(tmp_path).prepare_data()
    assert (tmp_path / 'DynamicEarthNet' / 'split.json').exists()


def test_from_yaml(processed: Path) -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(DynamicEarthNetDataModule, 'data')
    name = 'torchgeo_experts.datamodules.dynamicearthnet.DynamicEarthNetDataModule'
    arguments = {'root': str(processed), 'num_classes': 7, 'mean': [1, 2, 3, 4]}
    parsed = parser.parse_object({'data': {'class_path': name, 'init_args': arguments}})
    datamodule = parser.instantiate(parsed).data
    datamodule.setup('test')
    assert datamodule.num_classes == 7
    assert datamodule.mean.tolist() == [1, 2, 3, 4]
