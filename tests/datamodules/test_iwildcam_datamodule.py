# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from collections import Counter
from pathlib import Path
from typing import Any

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer

from datasets.iwildcam_files import CAMERAS, pack, write_iwildcam
from torchgeo_experts import CoDEXClassificationTask
from torchgeo_experts.datamodules.iwildcam import IWildCamDataModule
from torchgeo_experts.datamodules.rules import ClusterDomains, PlaceRule
from torchgeo_experts.datasets import iwildcam
from torchgeo_experts.datasets.archives import Archive
from torchgeo_experts.datasets.iwildcam import IWildCam


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('iwildcam_datamodule')
    write_iwildcam(root, num_classes=4, per_camera=4)
    return root


def make(root: Path, **kwargs: Any) -> IWildCamDataModule:
    return IWildCamDataModule(root, **({'batch_size': 10, 'size': 32} | kwargs))


def cameras(datamodule: IWildCamDataModule, split: str) -> dict[int, int]:
    dataset = getattr(datamodule, f'{split}_dataset')
    return dict(Counter(dataset.camera.tolist()))


@pytest.mark.parametrize('val', ['ood', 'id'])
@pytest.mark.parametrize('test', ['ood', 'id'])
def test_splits(root: Path, val: Any, test: Any) -> None:
    datamodule = make(root, val_split=val, test_split=test)
    for stage in ('fit', 'validate', 'test', 'predict'):
        datamodule.setup(stage)
    names = {'ood': '', 'id': 'id_'}
    for split, source in (
        ('train', 'train'),
        ('val', f'{names[val]}val'),
        ('test', f'{names[test]}test'),
        ('predict', f'{names[test]}test'),
    ):
        expected = dict.fromkeys(CAMERAS[source], 4)
        assert cameras(datamodule, split) == expected
        seen = tuple(f'camera {number}' for number in sorted(expected))
        assert datamodule.split_domains[split] == seen
    assert datamodule.num_domains == 5 and datamodule.num_classes == 4
    assert tuple(datamodule.domains) == tuple(f'camera {n}' for n in range(5))
    assert datamodule.groups == tuple(f'camera {n}' for n in range(10))
    dataset: Any = datamodule.test_dataset
    known = [n if n < 5 else -1 for n in dataset.camera.tolist()]
    assert dataset.domain.tolist() == known


def test_files_are_read_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = [], iwildcam.read_images
    monkeypatch.setattr(
        iwildcam, 'read_images', lambda *args: [read.append(args[0]), real(*args)][1]
    )
    datamodule = make(root)
    for stage in ('fit', 'test', 'predict'):
        datamodule.setup(stage)
    assert [Path(path).name for path in read] == ['metadata.csv']


def test_defaults_are_those_of_wilds(root: Path) -> None:
    datamodule = IWildCamDataModule(root)
    assert (datamodule.val_split, datamodule.test_split) == ('ood', 'ood')
    assert datamodule.batch_size == 16 and datamodule.kwargs['size'] == 448
    # The usual ImageNet statistics, of values between 0 and 1.
    mean, std = datamodule.mean / 255, datamodule.std / 255
    np.testing.assert_allclose(mean, [0.485, 0.456, 0.406], rtol=1e-6)
    np.testing.assert_allclose(std, [0.229, 0.224, 0.225], rtol=1e-6)


def test_unknown_splits(root: Path) -> None:
    wrong: Any = 'id_val'
    with pytest.raises(ValueError, match="val_split must be 'ood' or 'id', found 'id_"):
        make(root, val_split=wrong)
    with pytest.raises(ValueError, match="test_split must be 'ood' or 'id'"):
        make(root, test_split=wrong)


def test_batches(root: Path) -> None:
    datamodule = make(
        root,
        domains=ClusterDomains(2),
        domains_per_batch=2,
        augmentations=[K.RandomHorizontalFlip(p=1.0)],
    )
    datamodule.trainer = Trainer(accelerator='cpu', logger=False)
    datamodule.setup('fit')
    assert tuple(datamodule.domains) == ('cluster 1', 'cluster 2', 'unknown')
    batch = next(iter(datamodule.train_dataloader()))
    assert sorted(Counter(batch['domain'].tolist()).values()) == [5, 5]
    batch = next(iter(datamodule.val_dataloader()))
    datamodule.trainer.validating = True
    images = batch['image'].clone()
    found = datamodule.on_after_batch_transfer(batch, 0)
    mean, std = (x[:, None, None] for x in (datamodule.mean, datamodule.std))
    torch.testing.assert_close(found['image'], (images - mean) / std)
    assert set(found) == {'image', 'label', 'domain', 'group', 'lon', 'lat'}


def test_arguments_from_yaml(root: Path) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(IWildCamDataModule, 'data')
    rule = {
        'class_path': 'torchgeo_experts.ClusterDomains',
        'init_args': {'count': 2, 'max_km': 500},
    }
    arguments = {'root': str(root), 'test_split': 'id', 'size': 16, 'domains': rule}
    config = parser.parse_object({'data': arguments | {'mean': [1, 2, 3]}})
    datamodule = parser.instantiate(config).data
    assert isinstance(datamodule.kwargs['domains'], PlaceRule)
    datamodule.setup('test')
    assert cameras(datamodule, 'test') == {1: 4, 3: 4, 4: 4}
    assert datamodule.num_domains == 3
    with pytest.raises(SystemExit):
        parser.parse_args(['--data.val_split=both'])


def test_download(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = tmp_path / 'served.tar.gz'
    pack(root / 'iwildcam_v2.0', served, '')
    archive = Archive('archive.tar.gz', served.as_uri())
    monkeypatch.setattr(IWildCam, 'archive', archive)
    datamodule = make(tmp_path / 'new', download=True)
    datamodule.prepare_data()
    served.unlink()
    datamodule.setup('fit')
    assert cameras(datamodule, 'train') == dict.fromkeys(CAMERAS['train'], 4)


def test_experts(root: Path, tmp_path: Path) -> None:
    """One expert a camera; no camera of the test has one."""
    datamodule = make(root)
    task = CoDEXClassificationTask('test_resnet', num_classes=4, expert_epochs=1)
    trainer = Trainer(
        accelerator='cpu',
        default_root_dir=tmp_path,
        max_epochs=2,
        limit_train_batches=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, datamodule)
    assert task.hparams['num_domains'] == 5
    (result,) = trainer.test(task, datamodule, verbose=False)
    assert 0 <= result['test_PresentF1Score'] <= 1
    (table,) = tmp_path.glob('lightning_logs/*/domains.csv')
    lines = table.read_text().splitlines()
    assert [line.split(',')[0] for line in lines[1:]] == [
        'camera 7',
        'camera 8',
        'camera 9',
    ]


def test_plot(root: Path) -> None:
    datamodule = make(root)
    datamodule.setup('validate')
    dataset: Any = datamodule.val_dataset
    figure = datamodule.plot(dataset[0])
    assert figure is not None
    assert figure.axes[0].get_title().startswith('Label: ')
