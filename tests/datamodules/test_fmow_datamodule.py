# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from datasets.fmow_files import (
    CODES,
    LABELS,
    TIMES,
    Row,
    pack,
    pixels,
    random_rows,
    write_wilds,
)
from torchgeo_experts.datamodules.fmow import FMoWDataModule
from torchgeo_experts.datasets.archives import Archive
from torchgeo_experts.datasets.fmow import FMoW

ROWS = random_rows(400, seed=1)
#: Split of FMoW and times of each split.
RULES = {
    'train': ('train', TIMES[:3]),
    'id_val': ('val', TIMES[:3]),
    'id_test': ('test', TIMES[:3]),
    'val': ('val', TIMES[3:6]),
    'test': ('test', TIMES[6:]),
}


def rows_of(split: str) -> list[tuple[int, Row]]:
    """List the rows of a split with their numbers."""
    official, times = RULES[split]
    return [
        (number, row)
        for number, row in enumerate(ROWS)
        if row.split == official and row.time in times
    ]


def region(row: Row) -> str:
    return CODES[row.code][2] or 'Other'


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('fmow_datamodule')
    write_wilds(root, ROWS)
    return root


def make(root: Path, **kwargs: Any) -> FMoWDataModule:
    return FMoWDataModule(root, **{'batch_size': 4, 'size': 8} | kwargs)


class TestSplits:
    @pytest.mark.parametrize(
        ('kwargs', 'val', 'test'),
        [
            ({}, 'val', 'test'),
            ({'val_split': 'id_val', 'test_split': 'id_test'}, 'id_val', 'id_test'),
        ],
    )
    def test_time(
        self, root: Path, kwargs: dict[str, Any], val: str, test: str
    ) -> None:
        datamodule = make(root, **kwargs)
        for stage in ('fit', 'test', 'predict'):
            datamodule.setup(stage)
        for name, split in (
            ('train', 'train'),
            ('val', val),
            ('test', test),
            ('predict', test),
        ):
            data = getattr(datamodule, f'{name}_dataset')
            rows = [row for _, row in rows_of(split)]
            assert data.label.tolist() == [LABELS[row.category] for row in rows]
            groups = [datamodule.groups[i] for i in data.group.tolist()]
            assert groups == [region(row) for row in rows]
            assert set(datamodule.split_domains[name]) == set(groups)
        assert datamodule.num_classes == 62 and datamodule.num_domains == 6
        assert datamodule.unranked_groups == ('Other',)

    def test_one_region_left_out(self, root: Path) -> None:
        datamodule = make(root, split_by='region')
        datamodule.setup('fit')
        datamodule.setup('test')
        assert 'Asia' not in datamodule.domains and datamodule.num_domains == 5
        assert datamodule.groups[:5] == datamodule.domains.names
        assert 'Asia' not in datamodule.split_domains['val']
        assert datamodule.split_domains['test'] == ('Asia',)
        assert datamodule.test_dataset is not None
        assert set(datamodule.test_dataset.domain.tolist()) == {-1}
        expected = sum(region(row) == 'Asia' for _, row in rows_of('test'))
        assert len(datamodule.test_dataset) == expected

    def test_countries(self, root: Path) -> None:
        datamodule = make(
            root,
            split_by='countries',
            domain_by='country',
            group_by='country',
            train_countries=5,
            val_countries=2,
            test_countries=['BRA', 'KEN'],
        )
        datamodule.setup('fit')
        datamodule.setup('test')
        assert datamodule.num_domains == 5
        assert datamodule.split_domains['test'] == ('BRA', 'KEN')
        assert not set(datamodule.split_domains['val']) & set(datamodule.domains)
        assert datamodule.unranked_groups == ()

    def test_min_samples_warns_once(self, root: Path) -> None:
        counts = Counter(region(row) for _, row in rows_of('train'))
        fewest = min(counts, key=counts.__getitem__)
        datamodule = make(root, min_samples=counts[fewest] + 1)
        with pytest.warns(UserWarning, match=f'training: .*{fewest}'):
            datamodule.setup('fit')
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            datamodule.setup('test')
        assert fewest not in datamodule.domains and fewest in datamodule.groups

    def test_tables_are_read_once(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        datamodule = make(root)
        datamodule.setup('fit')
        monkeypatch.setattr('pandas.read_csv', None)
        datamodule.setup('test')
        assert datamodule.test_dataset is not None

    def test_countries_have_no_other_splits(self, root: Path) -> None:
        datamodule = make(
            root,
            split_by='countries',
            train_countries=2,
            val_countries=2,
            test_countries=2,
            val_split='id_val',
        )
        with pytest.raises(ValueError, match=r"split is one of .*found 'id_val'"):
            datamodule.setup('fit')


class TestBatches:
    def test_normalization(self, root: Path) -> None:
        datamodule = make(root)
        datamodule.setup('test')
        batch = next(iter(datamodule.test_dataloader()))
        before = {key: value.clone() for key, value in batch.items()}
        after = datamodule.aug(batch)
        raw = np.stack([pixels(number) for number, _ in rows_of('test')[:4]]) / 255
        # The statistics of ImageNet, as they are usually given.
        wanted = (raw - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        wanted = torch.from_numpy(wanted).permute(0, 3, 1, 2).float()
        torch.testing.assert_close(after['image'], wanted, rtol=1e-4, atol=1e-4)
        for key in ('label', 'domain', 'group', 'lon', 'lat'):
            torch.testing.assert_close(after[key], before[key], rtol=0, atol=0)

    def test_domains_per_batch(self, root: Path) -> None:
        datamodule = make(root, domains_per_batch=2, domain_by='year', batch_size=6)
        datamodule.setup('fit')
        assert datamodule.domains.names == ('2002', '2010', '2012')
        for batch in datamodule.train_dataloader():
            assert sorted(Counter(batch['domain'].tolist()).values()) == [3, 3]

    def test_plot(self, root: Path) -> None:
        datamodule = make(root)
        datamodule.setup('validate')
        assert datamodule.val_dataset is not None
        assert datamodule.plot(datamodule.val_dataset[0]) is not None


def test_download(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(root, tmp_path / 'blob.tar.gz', './')
    archive = Archive('fmow_v1.1.tar.gz', (tmp_path / 'blob.tar.gz').as_uri())
    monkeypatch.setattr(FMoW, 'archives', (archive,))
    datamodule = make(tmp_path / 'fmow', download=True)
    datamodule.prepare_data()
    assert (tmp_path / 'fmow' / 'images').is_dir()
    datamodule.setup('fit')
    assert len(datamodule.train_dataset) == len(rows_of('train'))  # type: ignore[arg-type]


def test_arguments_from_yaml(root: Path) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(FMoWDataModule, 'data')
    config = parser.parse_object(
        {
            'data': {
                'root': str(root),
                'split_by': 'countries',
                'domain_by': 'country',
                'train_countries': 3,
                'val_countries': 2,
                'test_countries': ['USA'],
                'mean': [1, 2, 3],
                'size': 8,
            }
        }
    )
    datamodule = parser.instantiate(config).data
    datamodule.setup('test')
    assert datamodule.num_domains == 3
    assert datamodule.test_dataset.sizes['test'].domains == 1
    with pytest.raises(SystemExit):
        parser.parse_args([f'--data.root={root}', '--data.split_by=space'])
