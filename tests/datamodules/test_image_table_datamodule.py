# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import csv
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from PIL import Image
from torchgeo.tasks import Classification

from torchgeo_experts.datamodules.image_table import ImageTableDataModule

EUROSAT = Path(__file__).parents[3] / 'shared' / 'data' / 'eurosat_geo'
# Domain: number of rows in each split of the column.
COUNTS = {
    'Chile': {'val': 3},
    'France': {'train': 8, 'test': 2},
    'Malta': {'train': 1, 'test': 1},
    'Peru': {'test': 4},
    'Spain': {'train': 6, 'id_test': 2},
}
TOTAL = {'Chile': 3, 'France': 10, 'Malta': 2, 'Peru': 4, 'Spain': 8}


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('image_table_datamodule')
    rng = np.random.default_rng(0)
    with open(root / 'table.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['filename', 'label', 'split', 'domain', 'lon', 'lat'])
        for domain, splits in COUNTS.items():
            for split, count in splits.items():
                for i in range(count):
                    name = f'{domain}_{split}_{i}.png'
                    pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(root / name)
                    writer.writerow([name, 'ab'[i % 2], split, domain, 10 + i, 50])
    return root


def make(root: Path, **kwargs: Any) -> ImageTableDataModule:
    return ImageTableDataModule(
        root, root / 'table.csv', **({'batch_size': 4} | kwargs)
    )


def count(datamodule: ImageTableDataModule, split: str) -> dict[str, int]:
    dataset = getattr(datamodule, f'{split}_dataset')
    return dict(Counter(datamodule.groups[g] for g in dataset.group.tolist()))


class TestSplitsByColumn:
    def test_splits(self, root: Path) -> None:
        datamodule = make(root)
        for stage in ('fit', 'test', 'predict'):
            datamodule.setup(stage)
        assert tuple(datamodule.domains) == ('France', 'Malta', 'Spain')
        assert datamodule.groups == ('France', 'Malta', 'Spain', 'Chile', 'Peru')
        assert datamodule.num_domains == 3
        assert datamodule.classes == ('a', 'b')
        assert datamodule.num_classes == 2
        assert count(datamodule, 'train') == {'France': 8, 'Malta': 1, 'Spain': 6}
        assert count(datamodule, 'val') == {'Chile': 3}
        test = {'France': 2, 'Malta': 1, 'Peru': 4}
        assert count(datamodule, 'test') == count(datamodule, 'predict') == test
        assert datamodule.split_domains['test'] == ('France', 'Malta', 'Peru')
        # Domains may be in several splits, and keep their identifier.
        assert datamodule.test_dataset is not None
        assert datamodule.test_dataset.domain.tolist() == [0, 0, 1, -1, -1, -1, -1]

    def test_other_test_split(self, root: Path) -> None:
        datamodule = make(root, test_split='id_test')
        datamodule.setup('test')
        assert count(datamodule, 'test') == {'Spain': 2}
        assert tuple(datamodule.domains) == ('France', 'Malta', 'Spain')

    def test_missing_split(self, root: Path) -> None:
        make(root, test_split='none').setup('fit')
        with pytest.raises(ValueError, match=r"split 'none', found: \['id_test', "):
            make(root, test_split='none').setup('test')
        with pytest.raises(ValueError, match="split 'none'"):
            make(root, train_split='none').setup('test')

    def test_min_samples(self, root: Path) -> None:
        datamodule = make(root, min_samples=2)
        with pytest.warns(UserWarning, match=r'^1 domains .*min_samples=2.*: Malta$'):
            datamodule.setup('fit')
        with warnings.catch_warnings():
            warnings.simplefilter('error')  # once is enough
            datamodule.setup('test')
        assert tuple(datamodule.domains) == ('France', 'Spain')
        assert count(datamodule, 'train') == {'France': 8, 'Spain': 6}
        assert count(datamodule, 'test') == {'France': 2, 'Malta': 1, 'Peru': 4}
        assert datamodule.test_dataset is not None
        assert datamodule.test_dataset.domain.tolist() == [0, 0, -1, -1, -1, -1, -1]
        with pytest.raises(
            ValueError, match='min_samples=9 samples, the largest has 8'
        ):
            make(root, min_samples=9).setup('fit')

    def test_table_is_read_once(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        datamodule = make(root)
        datamodule.setup('fit')
        monkeypatch.setattr('pandas.read_csv', None)
        datamodule.setup('test')
        assert datamodule.test_dataset is not None

    @pytest.mark.parametrize('wrong', ['Train', 'train '])
    def test_misspelt_split(self, root: Path, tmp_path: Path, wrong: str) -> None:
        text = (root / 'table.csv').read_text()
        assert ',train,' in text
        path = tmp_path / 'misspelt.csv'
        path.write_text(text.replace(',train,', f',{wrong},', 1))
        with pytest.raises(ValueError, match=f"1 rows have the split '{wrong}'"):
            ImageTableDataModule(root, path).setup('fit')

    def test_unknown_label(self, root: Path) -> None:
        # Rows: header, 3 of Chile, 8 of France: the first b of the table is in row 3.
        message = "row 3, file 'Chile_val_1.png': unknown label 'b'"
        with pytest.raises(ValueError, match=message):
            make(root, classes=['a', 'c']).setup('fit')


class TestSplitsByDomain:
    def test_names(self, root: Path) -> None:
        datamodule = make(
            root,
            split_column=None,
            val_domains=['Chile'],
            test_domains=['Peru', 'Malta'],
        )
        datamodule.setup('fit')
        datamodule.setup('test')
        assert tuple(datamodule.domains) == ('France', 'Spain')
        assert datamodule.groups == ('France', 'Spain', 'Chile', 'Malta', 'Peru')
        assert count(datamodule, 'train') == {'France': 10, 'Spain': 8}
        assert count(datamodule, 'val') == {'Chile': 3}
        assert count(datamodule, 'test') == {'Malta': 2, 'Peru': 4}

    def test_draw(self, root: Path) -> None:
        seen = set()
        for seed in range(8):
            datamodule = make(
                root, split_column=None, val_domains=1, test_domains=2, split_seed=seed
            )
            datamodule.setup('fit')
            datamodule.setup('test')
            splits = [count(datamodule, split) for split in ('train', 'val', 'test')]
            assert [len(split) for split in splits] == [2, 1, 2]
            # Disjoint, complete, and all rows of a domain together.
            assert splits[0] | splits[1] | splits[2] == TOTAL
            seen.add(datamodule.split_domains['test'])
        assert len(seen) > 2

    def test_min_samples(self, root: Path) -> None:
        for seed in range(8):
            datamodule = make(
                root,
                split_column=None,
                val_domains=1,
                test_domains=['Malta'],
                min_samples=4,
                split_seed=seed,
            )
            # Chile is too small to train on or to be drawn; Malta was asked for.
            with pytest.warns(UserWarning, match='Chile$'):
                datamodule.setup('fit')
            datamodule.setup('test')
            assert set(count(datamodule, 'val')) < {'France', 'Peru', 'Spain'}
            assert count(datamodule, 'test') == {'Malta': 2}
            assert datamodule.num_domains == 2

    @pytest.mark.parametrize(
        'kwargs',
        [
            {'split_column': None},
            {'split_column': None, 'val_domains': 1},
            {'split_column': None, 'test_domains': ['Peru']},
            {'val_domains': 1, 'test_domains': 1},
            {'test_domains': 1},
        ],
    )
    def test_two_ways_or_none(self, root: Path, kwargs: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match='either split_column, or both'):
            make(root, **kwargs)


class TestBatches:
    def test_normalization_leaves_the_rest_alone(self, root: Path) -> None:
        datamodule = make(root, mean=[1, 2, 3], std=[4.0, 5.0, 6.0])
        datamodule.setup('test')
        batch = next(iter(datamodule.test_dataloader()))
        before = {key: value.clone() for key, value in batch.items()}
        after = datamodule.aug(batch)
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([1, 2, 3], [4, 5, 6]))
        torch.testing.assert_close(after['image'], (before['image'] - mean) / std)
        for key in ('label', 'domain', 'group', 'lon', 'lat'):
            assert after[key].dtype == before[key].dtype
            torch.testing.assert_close(after[key], before[key], rtol=0, atol=0)

    def test_domains_per_batch(self, root: Path) -> None:
        datamodule = make(root, domains_per_batch=2)
        datamodule.setup('fit')
        for batch in datamodule.train_dataloader():
            assert sorted(Counter(batch['domain'].tolist()).values()) == [2, 2]

    def test_size(self, root: Path) -> None:
        datamodule = make(root, size=6, bands=[1, 2])
        datamodule.setup('fit')
        assert next(iter(datamodule.train_dataloader()))['image'].shape == (4, 2, 6, 6)

    def test_fit_test_predict(self, root: Path, tmp_path: Path) -> None:
        datamodule = make(
            root,
            augmentations=[K.RandomHorizontalFlip(p=0.5)],
            size=32,
            domains_per_batch=2,
        )
        task = Classification(model='resnet18', in_channels=3, num_classes=2)
        trainer = Trainer(
            accelerator='cpu',
            default_root_dir=tmp_path,
            fast_dev_run=1,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(task, datamodule)
        trainer.test(task, datamodule, verbose=False)
        assert trainer.predict(task, datamodule)


def test_plot(root: Path) -> None:
    datamodule = make(root)
    datamodule.setup('validate')
    assert datamodule.val_dataset is not None
    sample = datamodule.val_dataset[0] | {'prediction': torch.tensor(1)}
    fig = datamodule.plot(sample)
    assert fig is not None
    assert fig.axes[0].get_title() == 'Label: a\nPrediction: b\nDomain: Chile'


def test_arguments_from_yaml(root: Path) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(ImageTableDataModule, 'data')
    config = parser.parse_object(
        {
            'data': {
                'images': str(root),
                'table': str(root / 'table.csv'),
                'split_column': None,
                'val_domains': ['Chile'],
                'test_domains': 1,
                'bands': [3, 2, 1],
                'mean': [1, 2, 3],
                'batch_size': 4,
            }
        }
    )
    datamodule = parser.instantiate(config).data
    datamodule.setup('fit')
    assert datamodule.split_domains['val'] == ('Chile',)
    assert datamodule.num_domains == 3
    config = parser.parse_args(
        [f'--data.images={root}', '--data.table=x', '--data.test_split=id_test']
    )
    assert config.data.test_split == 'id_test'


@pytest.mark.skipif(not EUROSAT.is_dir(), reason='EuroSAT is not here')
def test_eurosat() -> None:
    datamodule = ImageTableDataModule(
        EUROSAT / 'EuroSAT.zip',
        EUROSAT / 'metadata.csv',
        folder='2750',
        split_column='split_country',
        domain_column='country',
        batch_size=64,
        domains_per_batch=8,
    )
    datamodule.setup('fit')
    datamodule.setup('test')
    sizes = [len(getattr(datamodule, f'{s}_dataset')) for s in ('train', 'val', 'test')]
    assert sizes == [21207, 2845, 2948]
    assert [len(datamodule.split_domains[s]) for s in ('train', 'val', 'test')] == [
        12,
        12,
        10,
    ]
    assert datamodule.num_classes == 10
    batch = next(iter(datamodule.train_dataloader()))
    assert batch['image'].shape == (64, 3, 64, 64)
    assert set(Counter(batch['domain'].tolist()).values()) == {8}
