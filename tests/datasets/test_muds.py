# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import csv
import hashlib
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rasterio.features import shapes
from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datasets import DatasetNotFoundError

from datasets.muds_files import (
    PLACES,
    SPLITS,
    lon_lat,
    write_geojson,
    write_processed,
    write_spacenet7,
    write_tif,
)
from torchgeo_experts.datasets import muds as muds_module
from torchgeo_experts.datasets.archives import Archive
from torchgeo_experts.datasets.muds import MUDS
from torchgeo_experts.datasets.muds_footprints import draw_mask

DATA = Path(__file__).parents[3] / 'shared' / 'data'
SERIES, TILES = DATA / 'sn7_muds_128', DATA / 'geobench2_mini' / 'spacenet7'


@pytest.fixture(scope='module')
def spacenet7(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('spacenet7')
    write_spacenet7(root / 'SN7_buildings' / 'train' / 'train')
    # Without labels, so that it is none of the places.
    name = 'L15-0566E-1185N_2266_3451_13'
    bare = root / 'SN7_buildings' / 'test_public' / name / 'images'
    bare.mkdir(parents=True)
    return root


@pytest.fixture(scope='module')
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('processed')
    write_processed(root / 'Muds', SPLITS)
    return root


class TestArchives:
    @pytest.fixture
    def archive(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Put SpaceNet 7 where it can be downloaded from."""
        write_spacenet7(tmp_path / 'there' / 'train', PLACES[3:], ['2018_01'])
        path = tmp_path / 'there' / 'SN7_buildings_train.tar.gz'
        with tarfile.open(path, 'w:gz', compresslevel=1) as file:
            file.add(tmp_path / 'there' / 'train', 'train')
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        replaced = Archive(path.name, path.as_uri(), md5)
        monkeypatch.setattr(muds_module, 'ORIGINAL', replaced)
        return path

    def test_download(self, archive: Path, tmp_path: Path) -> None:
        root = tmp_path / 'root'
        with pytest.raises(DatasetNotFoundError, match='download=True'):
            MUDS(root)
        dataset = MUDS(root, download=True)
        assert (root / archive.name).exists()
        assert dataset[0]['mask'][0].sum() == 32 * 56
        archive.unlink()
        assert len(MUDS(root, 'test', download=True)) == 64

    def test_wrong_checksum(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrong = Archive(archive.name, archive.as_uri(), '0' * 32)
        monkeypatch.setattr(muds_module, 'ORIGINAL', wrong)
        with pytest.raises(
            RuntimeError, match=r'\.tar\.gz was downloaded and has not the'
        ):
            MUDS(tmp_path / 'a', download=True)
        assert not (tmp_path / 'a' / 'train').exists()
        (tmp_path / 'b').mkdir()
        shutil.copy(archive, tmp_path / 'b')
        with pytest.raises(ValueError, match=r'SN7_buildings_train.* MD5 checksum'):
            MUDS(tmp_path / 'b')
        assert not (tmp_path / 'b' / 'train').exists()
        assert len(MUDS(tmp_path / 'b', 'test', checksum=False)) == 64

    def test_half_an_archive(self, archive: Path, tmp_path: Path) -> None:
        root = tmp_path / 'root'
        root.mkdir()
        content = archive.read_bytes()
        (root / archive.name).write_bytes(content[: len(content) // 2])
        with pytest.raises(
            OSError, match=r'SN7_buildings_train\.tar\.gz is incomplete'
        ):
            MUDS(root, checksum=False)
        assert not (root / 'train').exists()

    def test_other_content(self, archive: Path, tmp_path: Path) -> None:
        root = tmp_path / 'root'
        root.mkdir()
        with zipfile.ZipFile(root / 'Muds.zip', 'w') as file:
            file.writestr('readme.txt', 'nothing')
        with pytest.raises(
            FileNotFoundError, match=r'Muds\.zip was unpacked, but does not hold'
        ):
            MUDS(root)

    def test_zip(self, processed: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(
            tmp_path / 'Muds.zip', 'w', zipfile.ZIP_DEFLATED, True, 1
        ) as f:
            for path in sorted((processed / 'Muds').rglob('*')):
                if '10_20_13' not in f'{path}' and path.name != 'split.json':
                    f.write(path, path.relative_to(processed))
            splits = SPLITS | {'train': ['1_2_13']}
            f.writestr('Muds/split.json', json.dumps(splits))
        dataset = MUDS(tmp_path, 'train')
        assert dataset.places == ('1_2_13',)
        assert dataset[0]['mask'][13, 8:40, 8:64].all()


def open_files() -> list[str]:
    folder = '/proc/self/fd'
    if not os.path.isdir(folder):
        return []
    links = [os.path.join(folder, name) for name in os.listdir(folder)]
    return [os.readlink(link) for link in links if os.path.islink(link)]


@pytest.mark.parametrize('form', ['spacenet7', 'processed'])
def test_workers_and_plot(
    form: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    root = request.getfixturevalue(form)
    dataset = MUDS(root, 'test', cache=tmp_path / 'cache')
    sample = dataset[9]
    assert all(isinstance(value, Tensor) for value in sample.values())
    # A spawned worker gets the data set pickled.
    for copy in (dataset, pickle.loads(pickle.dumps(dataset))):
        (batch,) = DataLoader(copy, sampler=[9], num_workers=1)
        for key, value in sample.items():
            assert torch.equal(batch[key][0], value), key
    assert not [p for p in open_files() if str(root) in p or str(tmp_path) in p]
    figure = dataset.plot(sample | {'prediction': sample['mask']}, suptitle='Place')
    # Two months are there, each with image, mask and prediction.
    assert len(figure.axes) == 6


def test_transforms(processed: Path) -> None:
    dataset = MUDS(processed, 'test', transforms=lambda s: s | {'image': -s['image']})
    assert dataset[0]['image'].max() == 0


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(not TILES.is_dir(), reason='SpaceNet 7 is not here')
def test_real_masks(tmp_path: Path) -> None:
    """Outlines of real masks, in degrees, give the masks back."""
    rows = rows_of(TILES / 'metadata.csv')
    assert len(rows) == 5
    for row in rows:
        name, place = row['patch_id'], row['aoi']
        top, left = (512 * int(digit) for digit in name[-2:])
        mask = np.zeros((1024, 1024), np.uint8)
        stored = np.array(Image.open(TILES / f'{name}_mask.png'))
        mask[top : top + 512, left : left + 512] = stored > 0
        features = []
        for geometry, _ in shapes(mask, mask > 0):
            rings = [
                [lon_lat(place, r, c) for c, r in ring]
                for ring in geometry['coordinates']
            ]
            polygon = {'type': 'Polygon', 'coordinates': rings}
            features.append({'type': 'Feature', 'properties': {}, 'geometry': polygon})
        write_geojson(tmp_path / 'b.geojson', features)
        write_tif(tmp_path / 'i.tif', place, np.zeros((3, 1024, 1024), np.uint8))
        drawn = draw_mask(tmp_path / 'i.tif', tmp_path / 'b.geojson')
        assert mask.sum() > 1000
        np.testing.assert_array_equal(drawn, mask)
