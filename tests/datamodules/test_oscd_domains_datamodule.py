# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torchgeo.datamodules.oscd import MEAN, STD
from torchgeo.datamodules.utils import MisconfigurationException
from torchgeo.datasets import OSCD

from datasets.oscd_files import (
    ALL,
    FOLDER,
    RGB,
    TEST,
    TRAIN,
    changes,
    pixels,
    write_oscd,
    zip_oscd,
)
from torchgeo_experts import CoDEXChangeTask, DomainChangeTask
from torchgeo_experts.datamodules.oscd_domains import OSCDDomainsDataModule
from torchgeo_experts.datasets.oscd_domains import OSCDDomains
from torchgeo_experts.leakage import leakage_report

VAL = ['beirut', 'hongkong', 'mumbai']
DOMAINS = [city for city in TRAIN if city not in VAL]


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_oscd(tmp_path_factory.mktemp('oscd_datamodule'), bands=RGB)


def make(root: Path, **kwargs: Any) -> OSCDDomainsDataModule:
    return OSCDDomainsDataModule(root, **({'batch_size': 4} | kwargs))


def test_splits(root: Path) -> None:
    datamodule = make(root)
    for stage in ('fit', 'test', 'predict'):
        datamodule.setup(stage)
    assert list(datamodule.domains) == DOMAINS and datamodule.num_domains == 11
    assert list(datamodule.groups) == DOMAINS + sorted(VAL + TEST)
    assert datamodule.classes == ('no change', 'change')
    assert datamodule.num_classes == 2
    names = datamodule.split_domains
    assert list(names['train']) == DOMAINS and list(names['val']) == VAL
    assert list(names['test']) == list(names['predict']) == TEST
    dataset = datamodule.train_dataset
    assert isinstance(dataset, OSCDDomains)
    counts = Counter(datamodule.groups[group] for group in dataset.group.tolist())
    assert counts == {c: 1 for c in DOMAINS} | {'aguasclaras': 4, 'beihai': 3}
    # Test cities belong to no training domain.
    assert datamodule.test_dataset is not None
    assert (datamodule.test_dataset.domain == -1).all()


def test_arguments_reach_the_data_set(root: Path) -> None:
    datamodule = make(
        root,
        bands=['B02', 'B04'],
        tiling='overlap',
        val_cities=['pisa'],
        exclude_cities=['saclay_e'],
    )
    datamodule.setup('fit')
    train, val = datamodule.train_dataset, datamodule.val_dataset
    assert train is not None and val is not None
    assert len(train) == 12 * 64 and len(val) == 64
    assert 'saclay_e' not in datamodule.groups
    assert datamodule.split_domains['val'] == ('pisa',)
    expected = pixels('pisa')[:, [1, 3], :75, :75]
    np.testing.assert_array_equal(val[0]['image'], expected)


def test_same_tiles_every_time(root: Path) -> None:
    """TorchGeo's datamodule crops at random in validation and test."""
    datamodule = make(root)
    datamodule.setup('test')
    first, second = (list(datamodule.test_dataloader()) for _ in range(2))
    assert sum(len(batch['image']) for batch in first) == 13
    for one, two in zip(first, second, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_normalization(root: Path) -> None:
    datamodule = make(root)
    datamodule.setup('test')
    batch = next(iter(datamodule.test_dataloader()))
    after = datamodule.aug(batch)
    mean = torch.tensor([1254.9, 1257.1, 1351.3]).view(3, 1, 1)
    std = torch.tensor([726.4, 509.0, 394.6]).view(3, 1, 1)
    torch.testing.assert_close(after['image'], (batch['image'] - mean) / std)
    for key in batch.keys() - {'image'}:
        assert after[key].dtype == batch[key].dtype
        torch.testing.assert_close(after[key], batch[key], rtol=0, atol=0)
    other = make(root, mean=5, std=[2, 4, 8])
    assert other.mean.item() == 5 and other.std.tolist() == [2, 4, 8]


def test_statistics_are_those_of_torchgeo() -> None:
    every = OSCDDomainsDataModule(bands='all')
    for found, known in ((every.mean, MEAN), (every.std, STD)):
        expected = torch.tensor([known[band] for band in ALL])
        torch.testing.assert_close(found, expected, rtol=0, atol=0.051)
    some = OSCDDomainsDataModule(bands=['B8A', 'B02'])
    assert some.mean.tolist() == every.mean[[8, 1]].tolist()
    with pytest.raises(ValueError, match=r"found \['B99'\]"):
        OSCDDomainsDataModule(bands=['B99'])


def test_domains_per_batch_and_augmentations(root: Path) -> None:
    """Both dates and the mask are flipped alike."""
    datamodule = make(
        root, domains_per_batch=2, augmentations=[K.RandomHorizontalFlip(p=1.0)]
    )
    datamodule.setup('fit')
    assert datamodule.train_aug is not None
    for batch in datamodule.train_dataloader():
        assert sorted(Counter(batch['domain'].tolist()).values()) == [2, 2]
        after = datamodule.train_aug(batch)
        plain = datamodule.aug(batch)
        torch.testing.assert_close(after['image'], plain['image'].flip(-1))
        torch.testing.assert_close(after['mask'], batch['mask'].flip(-1))


def test_download_before_processes_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What prepare_data fetches on one process is enough for all splits."""
    zips = zip_oscd(write_oscd(tmp_path / 'a', bands=RGB[:1]), tmp_path / 'zips')
    urls = {path.name: path.as_uri() for path in zips.glob('*.zip')}
    monkeypatch.setattr(OSCD, 'urls', urls)
    kwargs = {'bands': RGB[:1], 'download': True, 'checksum': False}
    datamodule = make(tmp_path / 'b', **kwargs)
    datamodule.prepare_data()
    monkeypatch.setattr(OSCD, 'urls', dict.fromkeys(urls, 'file:///nothing'))
    for path in (tmp_path / 'b').glob('*.zip'):
        path.unlink()
    datamodule.setup('fit')
    datamodule.setup('test')
    assert datamodule.test_dataset is not None
    dubai = datamodule.test_dataset[2]
    np.testing.assert_array_equal(dubai['mask'], changes('dubai')[None, :75, :75])


def test_errors_of_files_reach_the_user(root: Path, tmp_path: Path) -> None:
    part = f'{FOLDER}Test Labels'
    for path in root.iterdir():
        if path.name != part:
            shutil.copytree(path, tmp_path / path.name)
    make(tmp_path).setup('fit')
    with pytest.raises(FileNotFoundError, match=f'neither .*{part}.zip'):
        make(tmp_path).setup('test')


@pytest.mark.filterwarnings('ignore:.*strict is set to `False`')
@pytest.mark.parametrize('task', [DomainChangeTask, CoDEXChangeTask])
def test_no_validation(root: Path, tmp_path: Path, task: Any) -> None:
    """The paper trains on all 14 cities."""
    datamodule = make(root, val_cities=[])
    arguments = {'expert_epochs': 1} if task is CoDEXChangeTask else {}
    last = ModelCheckpoint(save_top_k=0, save_last=True)
    trainer = Trainer(
        accelerator='cpu',
        default_root_dir=tmp_path,
        max_epochs=2,
        limit_train_batches=1,
        limit_test_batches=1,
        log_every_n_steps=1,
        callbacks=[last],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = task(model='unet', backbone='resnet18', **arguments)
    trainer.fit(model, datamodule)
    assert trainer.global_step == 2 and 'train_loss' in trainer.callback_metrics
    assert not [name for name in trainer.callback_metrics if name.startswith('val_')]
    assert list(datamodule.domains) == TRAIN and model.hparams['num_domains'] == 14
    assert datamodule.split_domains['train'] == tuple(TRAIN)
    assert datamodule.split_domains['val'] == ()
    (scores,) = trainer.test(model, datamodule, verbose=False)
    assert np.isfinite(scores['test_loss'])
    assert Path(last.last_model_path).name == 'last.ckpt'
    # Who asks for validation is told that there is none.
    with pytest.raises(MisconfigurationException, match='val_dataset has length 0'):
        trainer.validate(model, datamodule, verbose=False)


def test_no_validation_in_the_report(root: Path) -> None:
    report = leakage_report(make(root, val_cities=[]), samples=1)
    assert set(report.domains['split']) == {'train', 'test'}
    assert len(report.domains) == 24


@pytest.mark.parametrize(
    ('task', 'model'), [(DomainChangeTask, 'multiutae'), (CoDEXChangeTask, 'unet')]
)
def test_tasks(root: Path, tmp_path: Path, task: Any, model: str) -> None:
    """75 is no multiple of 8 or 32."""
    datamodule = make(root)
    arguments = {'backbone': 'resnet18'} if model == 'unet' else {'num_filters': 32}
    if task is CoDEXChangeTask:
        arguments['expert_epochs'] = 1
    trainer = Trainer(
        accelerator='cpu',
        default_root_dir=tmp_path,
        max_epochs=2,
        limit_train_batches=1,
        limit_val_batches=1,
        limit_test_batches=1,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = task(model=model, **arguments)
    trainer.fit(model, datamodule)
    (scores,) = trainer.test(model, datamodule, verbose=False)
    assert np.isfinite(scores['test_loss'])


def test_plot(root: Path) -> None:
    datamodule = make(root)
    datamodule.setup('validate')
    assert datamodule.val_dataset is not None
    sample = datamodule.val_dataset[0]
    figure = datamodule.plot(sample | {'prediction': sample['mask']})
    assert figure is not None
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ['2016-01-01', '2018-01-01', 'Mask', 'Prediction']


def test_arguments_from_yaml(root: Path) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(OSCDDomainsDataModule, 'data')
    config = {'root': str(root), 'bands': ['B04'], 'val_cities': ['pisa']}
    datamodule = parser.instantiate(parser.parse_object({'data': config})).data
    datamodule.setup('fit')
    assert datamodule.split_domains['val'] == ('pisa',)
    assert datamodule.mean.tolist() == pytest.approx([1254.9])
    config = parser.parse_args(['--data.bands=all', '--data.tiling=paper'])
    assert parser.instantiate(config).data.mean.shape == (13,)
