# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from datasets.dynamicearthnet_files import write_geotiff
from torchgeo_experts.datasets.place_series import Window
from torchgeo_experts.datasets.raster_windows import read_window

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(-9000, 9000, (4, 1024, 1024), dtype=np.int16)


def write(path: Path, pixels: np.ndarray) -> Path:
    bands, height, width = pixels.shape
    shape = {'count': bands, 'height': height, 'width': width}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        with rasterio.open(
            path, 'w', driver='GTiff', dtype=pixels.dtype, **shape
        ) as file:
            file.write(pixels)
    return path


@pytest.fixture(scope='module')
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp('rasters') / 'image.tif', PIXELS)


@pytest.mark.parametrize(('row', 'column', 'size'), [(0, 0, 128), (896, 384, 128)])
def test_window(image: Path, row: int, column: int, size: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # without a georeference too
        found = read_window(image, Window(row, column, size))
    assert found.dtype == np.int16
    expected = PIXELS[:, row : row + size, column : column + size]
    np.testing.assert_array_equal(found, expected)


def test_bands(image: Path) -> None:
    found = read_window(image, Window(128, 256, 16), [3, 2, 1, 4])
    np.testing.assert_array_equal(found, PIXELS[[2, 1, 0, 3], 128:144, 256:272])
    one = read_window(str(image), Window(1000, 0, 24), [2])
    np.testing.assert_array_equal(one, PIXELS[[1], 1000:, :24])


def test_missing_row(tmp_path: Path) -> None:
    path = write(tmp_path / 'short.tif', PIXELS[:, :1023])
    message = f'{re.escape(str(path))} has 1023 rows and 1024 columns, expected 1024'
    with pytest.raises(ValueError, match=message):
        read_window(path, Window(0, 0, 128))
    found = read_window(path, Window(896, 128, 128), pad_rows=1, fill=7)
    assert found.shape == (4, 128, 128) and found.dtype == np.int16
    np.testing.assert_array_equal(found[:, :127], PIXELS[:, 896:1023, 128:256])
    assert (found[:, 127] == 7).all()
    whole = read_window(path, Window(0, 0, 128), [1], pad_rows=1, fill=7)
    np.testing.assert_array_equal(whole, PIXELS[:1, :128, :128])


def test_window_below_the_image(tmp_path: Path) -> None:
    path = write(tmp_path / 'short.tif', PIXELS[:, :900])
    found = read_window(path, Window(960, 0, 64), [1, 2], pad_rows=124, fill=3)
    np.testing.assert_array_equal(found, np.full((2, 64, 64), 3, np.int16))


@pytest.mark.parametrize(('height', 'width'), [(512, 512), (1022, 1024), (1024, 1025)])
def test_wrong_size(tmp_path: Path, height: int, width: int) -> None:
    path = write_geotiff(tmp_path / 'wrong.tif', {}, 1, 'uint8', height, width)
    message = (
        f'wrong.tif has {height} rows and {width} columns, expected 1023 to 1024 rows'
        ' and 1024 columns'
    )
    with pytest.raises(ValueError, match=message):
        read_window(path, Window(0, 0, 128), pad_rows=1)


def test_wrong_bands(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / 'three.tif', {}, 3, 'uint8')
    with pytest.raises(ValueError, match=r'three\.tif has 3 bands, there is no band 4'):
        read_window(path, Window(0, 0, 128), [3, 2, 1, 4])


def test_damaged(tmp_path: Path, image: Path) -> None:
    path = tmp_path / 'cut.tif'
    with pytest.raises(OSError, match=r'cannot read .*cut\.tif: it is missing'):
        read_window(path, Window(0, 0, 128))
    path.write_bytes(image.read_bytes()[:4_000_000])
    with pytest.raises(OSError, match=r'cannot read .*cut\.tif'):
        read_window(path, Window(896, 0, 128))
    path.write_bytes(b'')
    with pytest.raises(OSError, match=r'cannot read .*cut\.tif'):
        read_window(path, Window(0, 0, 128))
    path.write_bytes(b'version https://git-lfs.github.com/spec/v1\n')
    with pytest.raises(OSError, match=r'cannot read .*cut\.tif'):
        read_window(path, Window(0, 0, 128))


def test_other_files_of_the_folder_are_ignored(tmp_path: Path) -> None:
    """An overview or a header beside the image would change what is read."""
    path = write(tmp_path / 'image.tif', PIXELS)
    (tmp_path / 'image.tif.ovr').write_bytes(b'no overview')
    (tmp_path / 'image.tif.aux.xml').write_text('<broken')
    found = read_window(os.fspath(path), Window(0, 0, 8))
    np.testing.assert_array_equal(found, PIXELS[:, :8, :8])
