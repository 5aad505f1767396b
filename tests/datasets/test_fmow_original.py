# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.fmow_files import (
    CODES,
    LABELS,
    MIXED,
    colour,
    numbers,
    original_files,
    write_original,
    write_wilds,
)
from torchgeo_experts.datasets.fmow import FMoW
from torchgeo_experts.datasets.fmow_countries import REGIONS


@pytest.fixture(scope='module')
def wilds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('fmow')
    write_wilds(root / 'fmow_v1.1', MIXED)
    return root


@pytest.fixture(scope='module')
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('fmow')
    write_original(root / 'fmow-rgb', MIXED)
    return root


class TestOriginal:
    @pytest.mark.parametrize('split', ['train', 'id_val', 'id_test', 'val', 'test'])
    def test_samples(self, original: Path, split: str) -> None:
        data = FMoW(original, split, size=8)
        names = original_files(MIXED)
        expected = {f'{names[i][0]}_rgb.jpg': i for i in numbers(split)}
        found = {
            Path(data.path(i)).relative_to(original / 'fmow-rgb').as_posix(): i
            for i in range(len(data))
        }
        assert found.keys() == expected.keys()
        for name, number in expected.items():
            row, sample = MIXED[number], data[found[name]]
            wanted = np.array(colour(number)).reshape(3, 1, 1) + np.zeros((3, 8, 8))
            np.testing.assert_allclose(sample['image'], wanted, atol=3)
            assert sample['label'] == LABELS[row.category]
            assert data.groups[sample['group']] == (CODES[row.code][2] or 'Other')
            # The corners lie around a point one thousandth to the east and north of the
            # row; that to the south-west counts twice.
            for key in ('lon', 'lat'):
                corner = getattr(row, key)
                values = [corner - 0.004] * 3 + [corner + 0.006] * 2
                assert sample[key] == pytest.approx(np.mean(values), abs=2e-5)
        assert data.regions == REGIONS

    def test_same_as_wilds(self, wilds: Path, original: Path) -> None:
        for by in ('region', 'country', 'year'):
            a = FMoW(wilds, domain_by=by, group_by='country', size=8)
            b = FMoW(original, domain_by=by, group_by='country', size=8)
            assert a.sizes == b.sizes
            assert sorted(a.domains.names) == sorted(b.domains.names)
            for split in a.sizes:
                x, y = a.with_split(split), b.with_split(split)
                rows = [
                    Counter(
                        (d.label[i].item(), d.year[i].item(), d.groups[d.group[i]])
                        for i in range(len(d))
                    )
                    for d in (x, y)
                ]
                assert rows[0] == rows[1]

    def test_ground_truth_beside_the_splits(self, tmp_path: Path) -> None:
        write_original(tmp_path, MIXED, truth='.')
        data = FMoW(tmp_path, 'test', size=8)
        assert not data.lon.isnan().any() and len(data) == 2

    def test_without_ground_truth(self, tmp_path: Path) -> None:
        """Places are unknown, and nothing is told of images for testing."""
        write_original(tmp_path, MIXED, truth=None)
        data = FMoW(tmp_path, size=8)
        assert data.sizes['train'] == (4, 3) and data.sizes['test'] == (0, 0)
        assert all(math.isnan(v) for v in [*data.lon, *data.lat])
        assert math.isnan(data[0]['lon'])
        assert not data.domains.located
        with pytest.raises(ValueError, match=r"in the split 'test'.*ground truth"):
            FMoW(tmp_path, 'test')
        # Where an image by the Caspian Sea was taken is not known, nor its country.
        data = FMoW(tmp_path, 'val', group_by='country', size=8)
        assert sorted(data.groups[i] for i in data.group.tolist()) == ['CA-', 'CHN']

    def test_files_are_read_once(
        self, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(original / 'fmow-rgb', tmp_path / 'a')
        first = FMoW(tmp_path / 'a', size=8)
        monkeypatch.setattr('json.load', None)
        mapping = tmp_path / 'a' / 'groundtruth' / 'test_gt_mapping.json'
        text = mapping.read_text()
        monkeypatch.setattr(
            'torchgeo_experts.datasets.fmow_original._load',
            lambda path: json.loads(text),
        )
        (index,) = (tmp_path / 'a').glob('fmow_rgb_index_*.csv')
        (tmp_path / 'a').rename(tmp_path / 'b')
        again = FMoW(tmp_path / 'b', size=8)
        for key in ('label', 'domain', 'lon', 'lat'):
            torch.testing.assert_close(getattr(first, key), getattr(again, key))
        assert {p.name for p in (tmp_path / 'b').glob('fmow_rgb*')} == {index.name}

    def test_another_place_is_noticed(self, original: Path, tmp_path: Path) -> None:
        shutil.copytree(original / 'fmow-rgb', tmp_path / 'a')
        assert len(FMoW(tmp_path / 'a', size=8)) == 4
        for name in ('train', 'groundtruth/train_gt'):
            folder = tmp_path / 'a' / name / 'zoo'
            shutil.copytree(folder / 'zoo_0', folder / 'zoo_9')
            for path in (folder / 'zoo_9').iterdir():
                path.rename(path.with_name(path.name.replace('zoo_0', 'zoo_9')))
        # One of its two images was taken in 2013.
        assert len(FMoW(tmp_path / 'a', size=8)) == 5
        assert len(list((tmp_path / 'a').glob('fmow_rgb_index_*'))) == 1

    def test_folder_that_cannot_be_written(
        self, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(original / 'fmow-rgb', tmp_path / 'a')
        for path in (tmp_path / 'a').glob('fmow_rgb*'):
            path.unlink()

        def refuse(*args: Any) -> None:
            raise PermissionError('read-only')

        monkeypatch.setattr('os.replace', refuse)
        with pytest.warns(UserWarning, match=r'cannot write .*read again next time'):
            assert len(FMoW(tmp_path / 'a', size=8)) == 4
        assert not list((tmp_path / 'a').glob('fmow_rgb*'))

    def test_dateline(self, tmp_path: Path) -> None:
        write_original(tmp_path, MIXED)
        (path,) = (tmp_path / 'groundtruth/train_gt/dam').rglob('*_0_0_rgb.json')
        told = json.loads(path.read_text())
        told['raw_location'] = 'POLYGON ((179.9 1, -179.7 1, -179.7 2, 179.9 1))'
        path.write_text(json.dumps(told))
        data = FMoW(tmp_path, size=8)
        lon = data.lon[data.label == LABELS['dam']]
        assert lon.item() == pytest.approx(-179.9, abs=1e-4)

    def test_missing_files(self, original: Path, tmp_path: Path) -> None:
        names = {'train/dam/dam_0/dam_0_0_rgb.jpg', 'test/0061000/0061000_0_rgb.jpg'}
        for name in ('groundtruth/val_gt/zoo/zoo_0/zoo_0_0_rgb.json', *names):
            shutil.rmtree(tmp_path / 'a', ignore_errors=True)
            shutil.copytree(
                original / 'fmow-rgb',
                tmp_path / 'a',
                ignore=shutil.ignore_patterns('fmow_rgb*'),
            )
            present = sorted((tmp_path / 'a' / name).parent.glob('*'))
            assert tmp_path / 'a' / name in present or name.startswith('test')
            if name.startswith('test'):
                name = next((tmp_path / 'a' / 'test').rglob('*_rgb.jpg'))
                name = name.relative_to(tmp_path / 'a').as_posix()
            (tmp_path / 'a' / name).unlink()
            wanted = name.removeprefix('groundtruth/').replace('val_gt', 'val')
            with pytest.raises(FileNotFoundError, match=r'1 of \d+ .*incomplete') as e:
                FMoW(tmp_path / 'a')
            assert wanted in str(e.value)
            assert not list((tmp_path / 'a').glob('fmow_rgb*'))

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('{"timestamp": "2010', 'is damaged'),
            ('{"timestamp": "2010-01-01T00:00:00Z"}', "KeyError.*'country_code'"),
            ('[]', 'is damaged'),
            ('{"raw_location": "POLYGON ((1 2"}', 'is damaged'),
        ],
    )
    def test_damaged_json(
        self, original: Path, tmp_path: Path, text: str, message: str
    ) -> None:
        shutil.copytree(
            original / 'fmow-rgb',
            tmp_path / 'a',
            ignore=shutil.ignore_patterns('fmow_rgb*'),
        )
        name = 'groundtruth/train_gt/dam/dam_0/dam_0_0_rgb.json'
        (tmp_path / 'a' / name).write_text(text)
        with pytest.raises(ValueError, match=message) as caught:
            FMoW(tmp_path / 'a')
        assert 'dam_0_0_rgb.json' in str(caught.value)

    def test_damaged_mapping(self, tmp_path: Path) -> None:
        write_original(tmp_path, MIXED)
        path = tmp_path / 'groundtruth' / 'test_gt_mapping.json'
        pairs = json.loads(path.read_text())
        path.write_text(json.dumps(pairs[1:]))
        with pytest.raises(ValueError, match=r'mapping\.json: no images for test_gt/'):
            FMoW(tmp_path)
        path.write_text('{"a": 1}')
        with pytest.raises(ValueError, match=r'mapping\.json: expected a list'):
            FMoW(tmp_path)

    def test_unknown_class(self, tmp_path: Path) -> None:
        write_original(tmp_path, MIXED, truth=None)
        (tmp_path / 'val' / 'zoos').mkdir()
        with pytest.raises(
            ValueError, match="val: the folder 'zoos' is none of the 62"
        ):
            FMoW(tmp_path)
