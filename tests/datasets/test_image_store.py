# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.io import MemoryFile
from torch.utils.data import DataLoader

from torchgeo_experts.datasets.image_store import (
    FolderStore,
    ZipStore,
    decode_image,
    open_store,
)

FILES = {
    'top.bin': b'top',
    'a/one.bin': os.urandom(5000),
    'a/b/two.bin': b'2' * 5000,
    'a/b/empty.bin': b'',
}


def write_folder(root: Path) -> Path:
    for name, data in FILES.items():
        path = root / 'folder' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root / 'folder'


def write_zip(root: Path, compression: int) -> Path:
    path = root / f'archive{compression}.zip'
    with zipfile.ZipFile(path, 'w', compression) as archive:
        archive.mkdir('a')
        for name, data in FILES.items():
            archive.writestr(name, data)
    return path


def encode(array: np.ndarray, mode: str = 'RGB', kind: str = 'PNG') -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(array)
    assert picture.mode == mode
    picture.save(file, kind)
    return file.getvalue()


def encode_tiff(array: np.ndarray) -> bytes:
    bands, height, width = array.shape
    with MemoryFile() as file:
        with file.open(
            driver='GTiff',
            count=bands,
            height=height,
            width=width,
            dtype=array.dtype,
            crs='EPSG:32633',
            transform=rasterio.Affine(10, 0, 500000, 0, -10, 5000000),
        ) as raster:
            raster.write(array)
        return bytes(file.read())


@pytest.fixture(params=['folder', 'stored', 'deflated'])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FolderStore | ZipStore:
    if request.param == 'folder':
        path = write_folder(tmp_path)
    else:
        compression = {'stored': zipfile.ZIP_STORED, 'deflated': zipfile.ZIP_DEFLATED}
        path = write_zip(tmp_path, compression[request.param])
    opened = open_store(path)
    assert isinstance(opened, FolderStore if path.is_dir() else ZipStore)
    return opened


class TestStores:
    def test_read(self, store: FolderStore | ZipStore) -> None:
        assert {name: store.read(name) for name in FILES} == FILES

    def test_names(self, store: FolderStore | ZipStore) -> None:
        assert sorted(store.names()) == sorted(FILES)

    def test_holds(self, store: FolderStore | ZipStore) -> None:
        names = [*FILES, 'a', 'a/b', 'one.bin', 'c/one.bin', 'top.bin/x', 'a/ONE.bin']
        assert store.holds(names) == [True] * 4 + [False] * 6

    def test_folder_of(self, store: FolderStore | ZipStore) -> None:
        assert store.folder_of('two.bin') == 'a/b'
        assert store.folder_of('b/two.bin') == 'a'
        assert store.folder_of('a/b/two.bin') == ''
        assert store.folder_of('wo.bin') is None

    def test_pickle(self, store: FolderStore | ZipStore) -> None:
        store.read('top.bin')
        again = pickle.loads(pickle.dumps(store))
        assert {name: again.read(name) for name in FILES} == FILES

    def test_missing(self, store: FolderStore | ZipStore) -> None:
        with pytest.raises((KeyError, FileNotFoundError)):
            store.read('none.bin')


@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
def test_forked_workers_do_not_disturb_each_other(tmp_path: Path) -> None:
    # Large enough that processes with one common reading position do meet.
    files = {f'{i}.bin': os.urandom(20000) for i in range(300)}
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
        for index, (name, data) in enumerate(files.items()):
            kind = zipfile.ZIP_DEFLATED if index % 2 else zipfile.ZIP_STORED
            archive.writestr(name, data, kind)
    store = open_store(tmp_path / 'x.zip')
    store.read('0.bin')  # this process has the zip open
    loader = DataLoader(
        list(files) * 5,  # type: ignore[arg-type]
        batch_size=None,
        collate_fn=store.read,
        num_workers=2,
        multiprocessing_context='fork',
    )
    assert list(loader) == list(files.values()) * 5


def test_zip_is_opened_again_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ZipStore(write_zip(tmp_path, zipfile.ZIP_STORED))
    mine = store.archive
    assert store.archive is mine
    monkeypatch.setattr(os, 'getpid', lambda: -1)
    theirs = store.archive
    assert theirs is not mine
    assert theirs.fp is not None and mine.fp is not None
    assert theirs.fp.fileno() != mine.fp.fileno()


class TestOpenStore:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match='nowhere'):
            open_store(tmp_path / 'nowhere')

    def test_no_zip(self, tmp_path: Path) -> None:
        path = tmp_path / 'half.zip'
        whole = write_zip(tmp_path, zipfile.ZIP_STORED).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ValueError, match=r'half\.zip is neither a folder nor'):
            open_store(path)


class TestDecodeImage:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)

    def test_png(self) -> None:
        image = decode_image(encode(self.rgb), 'x.png')
        assert image.dtype == torch.float32
        assert image.is_contiguous()
        np.testing.assert_array_equal(image, self.rgb.transpose(2, 0, 1))

    def test_png_bands(self) -> None:
        image = decode_image(encode(self.rgb), 'x.png', bands=[3, 1])
        np.testing.assert_array_equal(image[0], self.rgb[..., 2])
        np.testing.assert_array_equal(image[1], self.rgb[..., 0])

    def test_jpeg(self) -> None:
        data = encode(self.rgb, kind='JPEG')
        expected = np.asarray(Image.open(io.BytesIO(data)))
        image = decode_image(data, 'x.jpg')
        np.testing.assert_array_equal(image, expected.transpose(2, 0, 1))

    def test_gray_and_alpha_become_rgb(self) -> None:
        gray = self.rgb[..., 0].copy()
        image = decode_image(encode(gray, 'L'), 'x.png')
        np.testing.assert_array_equal(image, np.stack([gray] * 3))
        rgba = np.dstack([self.rgb, gray])
        image = decode_image(encode(rgba, 'RGBA'), 'x.png')
        np.testing.assert_array_equal(image, self.rgb.transpose(2, 0, 1))

    def test_16_bit_png_is_refused(self) -> None:
        data = encode(self.rgb[..., 0].astype(np.uint16) * 200, 'I;16')
        with pytest.raises(ValueError, match='GeoTIFF'):
            decode_image(data, 'x.png')

    @pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'int16', 'float32'])
    def test_geotiff(self, dtype: str) -> None:
        array = (self.rng.normal(size=(4, 6, 5)) * 1000).astype(dtype)
        image = decode_image(encode_tiff(array), 'x.TIF')
        assert image.dtype == torch.float32
        np.testing.assert_array_equal(image, array.astype(np.float32))

    def test_geotiff_bands(self) -> None:
        array = self.rng.integers(0, 10000, (4, 6, 5), dtype=np.uint16)
        image = decode_image(encode_tiff(array), 'x.tif', bands=(4, 2))
        np.testing.assert_array_equal(image, array[[3, 1]])

    @pytest.mark.filterwarnings('error')
    def test_tiff_without_georeference(self) -> None:
        data = encode(self.rgb, kind='TIFF')
        image = decode_image(data, 'x.tiff')
        np.testing.assert_array_equal(image, self.rgb.transpose(2, 0, 1))

    @pytest.mark.parametrize('band', [0, 5, -1])
    def test_no_such_band(self, band: int) -> None:
        array = np.zeros((4, 2, 2), np.uint8)
        with pytest.raises(ValueError, match=f'no band {band}: .* 1 to 4'):
            decode_image(encode_tiff(array), 'x.tif', bands=[1, band])
        with pytest.raises(ValueError, match=f'no band {band}: .* 1 to 3'):
            decode_image(encode(self.rgb), 'x.png', bands=[1, band])
