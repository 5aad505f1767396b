# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchgeo.datasets import DatasetNotFoundError

from datasets.fmow_files import MIXED, ROWS, numbers, pack, pixels, write_wilds
from torchgeo_experts.datasets.archives import Archive
from torchgeo_experts.datasets.fmow import FMoW


@pytest.fixture(scope='module')
def wilds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('fmow')
    write_wilds(root / 'fmow_v1.1', MIXED)
    return root


@pytest.fixture
def copy(wilds: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(wilds / 'fmow_v1.1', tmp_path / 'fmow_v1.1')
    return tmp_path / 'fmow_v1.1'


class TestErrors:
    def test_missing_images(self, copy: Path) -> None:
        used = [i for split in ROWS if split != 'none' for i in numbers(split)]
        for number in numbers('none'):
            (copy / 'images' / f'rgb_img_{number}.png').unlink()
        assert len(FMoW(copy, size=8)) == 4  # nobody needs those
        for number in used[2:4]:
            (copy / 'images' / f'rgb_img_{number}.png').unlink()
        first = min(used[2:4])
        message = (
            rf'images: 2 of 12 images are missing, first rgb_img_{first}\.png'
            rf' \(row {first + 2} of .*rgb_metadata\.csv\)'
        )
        with pytest.raises(FileNotFoundError, match=message):
            FMoW(copy)

    def test_images_are_listed_once(
        self, wilds: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed, real = [], os.scandir
        monkeypatch.setattr(os, 'scandir', lambda p: [listed.append(p), real(p)][1])
        looked = []
        exists = os.path.isfile
        monkeypatch.setattr(
            os.path, 'isfile', lambda p: [looked.append(p), exists(p)][1]
        )
        FMoW(wilds)
        images = str(wilds / 'fmow_v1.1' / 'images')
        assert [str(path).rstrip('/') for path in listed] == [images]
        assert len(looked) < 12

    def test_no_images(self, copy: Path) -> None:
        shutil.rmtree(copy / 'images')
        with pytest.raises(
            FileNotFoundError, match=r'images: unpack the whole archive'
        ):
            FMoW(copy)

    def test_no_mapping(self, copy: Path) -> None:
        (copy / 'country_code_mapping.csv').unlink()
        with pytest.raises(FileNotFoundError, match=r'country_code_mapping\.csv'):
            FMoW(copy)

    def test_table_that_ends_early(self, copy: Path) -> None:
        path = copy / 'rgb_metadata.csv'
        lines = path.read_text().splitlines(keepends=True)
        path.write_text(''.join(lines[:9]))
        message = r'has 8 rows, but there is an image rgb_img_8\.png.*cut off'
        with pytest.raises(ValueError, match=message):
            FMoW(copy)
        # In the middle of a row.
        assert ',seq,' not in lines[8]
        path.write_text(''.join(lines[:9])[:-30])
        with pytest.raises(ValueError, match=r'rgb_metadata\.csv, row 9, file'):
            FMoW(copy)
        path.write_text('')
        with pytest.raises(ValueError, match=r'rgb_metadata\.csv is no CSV table'):
            FMoW(copy)
        path.write_text(lines[0])
        with pytest.raises(ValueError, match=r'rgb_metadata\.csv has no rows'):
            FMoW(copy)
        path.write_text(''.join(lines).replace('category', 'class', 1))
        with pytest.raises(ValueError, match=r"no column 'category', found: \['split'"):
            FMoW(copy)
        path.write_bytes(b'\xff\xfe' + ''.join(lines).encode())
        with pytest.raises(ValueError, match=r'rgb_metadata\.csv is no CSV table'):
            FMoW(copy)

    @pytest.mark.parametrize(
        ('column', 'text', 'message'),
        [
            ('split', 'tset', "split 'tset' is none of"),
            ('category', 'zoos', "category 'zoos' is none of the 62 classes"),
            ('timestamp', '2010-13-01', "timestamp '2010-13-01' is no time"),
            ('timestamp', '', "timestamp '' is no time"),
            ('country_code', '', 'no country_code'),
            ('lat', '1e3', 'lat=1000 is no place.*swapped'),
            ('lon', 'x', "lon 'x' is no number"),
            ('lon', '', 'is no place in degrees'),
        ],
    )
    def test_bad_cell(self, copy: Path, column: str, text: str, message: str) -> None:
        path = copy / 'rgb_metadata.csv'
        lines = path.read_text().splitlines()
        header, cells = lines[0].split(','), lines[3].split(',')
        cells[header.index(column)] = text
        lines[3] = ','.join(cells)
        path.write_text('\n'.join(lines))
        expected = rf"rgb_metadata\.csv, row 4, file 'rgb_img_2\.png': .*{message}"
        with pytest.raises(ValueError, match=expected):
            FMoW(copy)

    def test_unknown_place(self, copy: Path) -> None:
        path = copy / 'rgb_metadata.csv'
        row = MIXED[0]
        text = path.read_text().replace(f',{row.lat},{row.lon},', ',,,', 1)
        path.write_text(text)
        data = FMoW(copy, size=8)
        assert data.lon.isnan().tolist() == [True, False, False, False]
        assert not data.domains.lon.isnan().any()

    def test_damaged_image(self, copy: Path) -> None:
        data = FMoW(copy, size=8)
        path = Path(data.path(1))
        content = path.read_bytes()
        for damaged in (content[:60], content[:-90], b'', content[:50] + b'\0' * 40):
            path.write_bytes(damaged)
            with pytest.raises(
                OSError, match=rf'cannot read .*{path.name}: it is miss'
            ):
                data[1]
        path.unlink()
        with pytest.raises(OSError, match=rf'cannot read .*{path.name}: it is missing'):
            data[1]
        data[0]


class TestArchives:
    @pytest.fixture
    def packed(self, wilds: Path, tmp_path: Path, request: Any) -> Path:
        path = tmp_path / 'server' / 'blob.tar.gz'
        path.parent.mkdir()
        pack(wilds / 'fmow_v1.1', path, request.param)
        return path

    @pytest.fixture
    def published(self, packed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        archives = (Archive('fmow_v1.1.tar.gz', packed.as_uri()),)
        monkeypatch.setattr(FMoW, 'archives', archives)
        return packed

    @pytest.mark.parametrize('packed', ['', './', 'fmow_v1.1/'], indirect=True)
    def test_download(self, published: Path, tmp_path: Path) -> None:
        root = tmp_path / 'fmow'
        data = FMoW(root, download=True, size=8)
        np.testing.assert_array_equal(data[0]['image'], np.moveaxis(pixels(0), 2, 0))
        (root / 'fmow_v1.1.tar.gz').unlink()
        assert len(FMoW(root, 'val', size=8, download=True)) == 2

    @pytest.mark.parametrize('packed', ['./'], indirect=True)
    def test_archive_that_is_there(self, published: Path, tmp_path: Path) -> None:
        root = tmp_path / 'fmow'
        root.mkdir()
        published.rename(root / 'fmow_v1.1.tar.gz')
        assert len(FMoW(root, size=8)) == 4

    @pytest.mark.parametrize('packed', ['./'], indirect=True)
    def test_damaged_archive(self, published: Path, tmp_path: Path) -> None:
        """Of its own checksum, that of gzip, is the only one."""
        content = bytearray(published.read_bytes())
        root = tmp_path / 'fmow'
        for damaged in (content[: len(content) // 2], content[:-8] + b'\0' * 8):
            published.write_bytes(damaged)
            with pytest.raises(OSError, match=r'fmow_v1\.1\.tar\.gz is incomplete or'):
                FMoW(root, download=True)
            assert os.listdir(root) == ['fmow_v1.1.tar.gz']
            (root / 'fmow_v1.1.tar.gz').unlink()

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetNotFoundError, match='download=True'):
            FMoW(tmp_path)
        # Folders of another data set.
        (tmp_path / 'train' / 'cats').mkdir(parents=True)
        with pytest.raises(DatasetNotFoundError):
            FMoW(tmp_path)

    def test_public_address(self) -> None:
        (archive,) = FMoW.archives
        assert archive.url is not None and archive.url.startswith('https://worksheets.')
        assert '0xaec91eb7c9d548ebb15e1b5e60f966ab' in archive.url
