# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.muds_files import (
    PLACES,
    SPLITS,
    lon_lat,
    rgb,
    valid_months,
    whole,
    write_processed,
)
from torchgeo_experts.datasets.muds import MUDS
from torchgeo_experts.datasets.muds_splits import draw_splits


@pytest.fixture(scope='module')
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('processed')
    write_processed(root / 'Muds', SPLITS)
    return root


class TestProcessed:
    def test_samples(self, processed: Path) -> None:
        dataset = MUDS(processed, 'train')
        # Sorted as text: the numbers of the files are 1 and 0.
        assert dataset.places == tuple(dataset.domains) == ('10_20_13', '1_2_13')
        assert dataset.groups == ('10_20_13', '1_2_13', '500_400_13', '900_8_13')
        for place, number in ((0, 1), (1, 0)):
            name = dataset.places[place]
            sample = dataset[64 * place]
            assert sample['valid'].tolist() == valid_months(0, 13)
            assert sample['domain'] == sample['group'] == place
            images, masks = whole(dataset, place, [0, 13])
            for step, (month, date) in enumerate([(0, '2018_01'), (13, '2019_02')]):
                file = processed / 'Muds' / 'train' / name / f'{name}_{date}.jpg'
                stored = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
                assert torch.equal(images[step], stored.float())
                # JPEG is not exact.
                written = torch.from_numpy(rgb(10 * number + month)).float()
                assert (images[step] - written).abs().max() <= 4
                mask = torch.zeros(1024, 1024, dtype=torch.int64)
                mask[8:40, 8:64] = 1
                mask[100:104, :8] = 255
                assert torch.equal(masks[step], mask)
            rest = [m for m in range(24) if m not in (0, 13)]
            assert not sample['image'][rest].any()
            assert (sample['mask'][rest] == 255).all()
            lon, lat = lon_lat(f'_{name}', 64, 64)
            found = (sample['lon'].item(), sample['lat'].item())
            assert found == pytest.approx((lon, lat), abs=2e-5)

    def test_decoded_images(self, processed: Path, tmp_path: Path) -> None:
        plain = MUDS(processed, 'train')
        kept = MUDS(processed, 'train', cache=tmp_path / 'decoded')
        for index in (3, 64, 127, 3):
            for key, value in plain[index].items():
                assert torch.equal(kept[index][key], value), key
        assert len(list((tmp_path / 'decoded').iterdir())) == 2

    def test_other_splits(self, processed: Path) -> None:
        assert MUDS(processed / 'Muds', 'val').places == ('500_400_13',)
        test = MUDS(processed, 'test')
        assert test.places == ('900_8_13',) and len(test) == 64
        assert test.domain.unique().tolist() == [-1]
        assert test.group.unique().tolist() == [3]
        with pytest.raises(ValueError, match=r"split must be one of .*found 'all'"):
            MUDS(processed, 'all')  # type: ignore[arg-type]

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_processed(tmp_path / 'Muds', SPLITS, [0])
        return tmp_path / 'Muds'

    @pytest.fixture
    def links(self, processed: Path, tmp_path: Path) -> Path:
        """The form without split.json, quickly."""
        (tmp_path / 'Muds').mkdir()
        for name in ('labels', 'train', 'val', 'test'):
            (tmp_path / 'Muds' / name).symlink_to(processed / 'Muds' / name)
        return tmp_path / 'Muds'

    def test_without_split_file(self, links: Path) -> None:
        dataset = MUDS(links.parent, 'train')
        assert dataset.splits == draw_splits(dataset.reader.places, 0)
        assert {p for s in dataset.splits.values() for p in s} == {
            place for places in SPLITS.values() for place in places
        }

    @pytest.mark.parametrize(
        ('content', 'message'),
        [
            ({'val': ['1_2_13']}, r'split\.json: the place 1_2_13 is in the split'),
            ({'test': []}, r'split\.json: the test split has no places'),
            ({'test': ['7_7_13']}, r'split\.json: no files of the places 7_7_13'),
            ({'test': '900_8_13'}, r'split\.json: no list of places of the test split'),
            ({'test': [900]}, r'split\.json: no list of places of the test split'),
            ('{"train": [', r'split\.json is incomplete or damaged'),
            ('[1]', r'split\.json: no list of places of the train split'),
        ],
    )
    def test_split_file(self, links: Path, content: Any, message: str) -> None:
        text = content if isinstance(content, str) else json.dumps(SPLITS | content)
        (links / 'split.json').write_text(text)
        with pytest.raises(ValueError, match=message):
            MUDS(links.parent)

    def test_broken_masks(self, folder: Path) -> None:
        dataset = MUDS(folder, 'test')
        path = folder / 'labels' / '900_8_13.npy'
        masks = np.load(path, mmap_mode='r+')
        masks[0, 0, 0] = 3
        masks.flush()
        with pytest.raises(ValueError, match=r'900_8_13\.npy holds labels from 0 to 3'):
            dataset[0]
        masks[0, 0, 0] = 0
        masks[5, 1000, 1000] = 0
        masks.flush()
        assert (dataset[0]['mask'][5] == 255).all()
        with pytest.raises(ValueError, match=r'900_8_13_2018_06\.jpg is missing'):
            dataset[63]
        os.truncate(path, 100000)
        with pytest.raises(OSError, match=r'cannot read .*900_8_13\.npy'):
            dataset[0]
        np.save(path, np.zeros((24, 8, 8), np.int8))
        with pytest.raises(ValueError, match=r'holds int8 of shape \(24, 8, 8\)'):
            dataset[0]
        path.unlink()
        with pytest.raises(ValueError, match=r'900_8_13\.npy is missing'):
            MUDS(folder)

    def test_broken_images(self, folder: Path) -> None:
        dataset = MUDS(folder, 'test')
        path = folder / 'test' / '900_8_13' / '900_8_13_2018_01.jpg'
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(OSError, match=r'cannot read .*900_8_13_2018_01\.jpg'):
            dataset[0]
        path.unlink()
        with pytest.raises(ValueError, match='900_8_13 holds no images of 2018'):
            MUDS(folder)

    def test_decoded_images_of_older_files(self, folder: Path) -> None:
        cache = folder / 'cache'
        path = folder / 'test' / '900_8_13' / '900_8_13_2018_01.jpg'
        before = MUDS(folder, 'test', cache=cache)[0]['image'][0]
        Image.new('RGB', (1024, 1024), (9, 9, 9)).save(path, quality=100)
        after = MUDS(folder, 'test', cache=cache)[0]['image'][0]
        assert (after == 9).all() and not torch.equal(before, after)

    def test_no_places(self, tmp_path: Path) -> None:
        (tmp_path / 'Muds' / 'labels').mkdir(parents=True)
        with pytest.raises(ValueError, match=r'Muds holds no places, expected folders'):
            MUDS(tmp_path)

    def test_twice(self, folder: Path) -> None:
        shutil.copytree(folder / 'test' / '900_8_13', folder / 'val' / '900_8_13')
        with pytest.raises(
            ValueError, match=r'900_8_13 is there twice, in .*val/900_8'
        ):
            MUDS(folder)

    def test_both_forms(self, links: Path) -> None:
        (links.parent / 'train' / PLACES[0]).mkdir(parents=True)
        with pytest.raises(ValueError, match='holds both forms of MUDS'):
            MUDS(links.parent)
