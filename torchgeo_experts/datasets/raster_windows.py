# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Parts of GeoTIFF images, read without the rest of the image."""

import os
import warnings
from collections.abc import Sequence

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow
from torchgeo.datasets.utils import Path

from .place_series import SIDE, Window

#: Opening a file must not list its folder, which holds hundreds of others.
GDAL = {'GDAL_DISABLE_READDIR_ON_OPEN': 'EMPTY_DIR'}

#: Nor must it work out where on Earth the image lies, which takes as long as reading a
#: patch of it: places are known by their names.
PIXELS_ONLY = {'GEOREF_SOURCES': 'NONE'}


def read_window(
    path: Path,
    window: Window,
    bands: Sequence[int] | None = None,
    pad_rows: int = 0,
    fill: int = 0,
) -> np.ndarray:
    """Read a part of a GeoTIFF image of 1024 x 1024 pixels.

    Args:
        path: Path of the file. It is opened and closed again.
        window: The part.
        bands: Bands to read, counted from 1, in this order. Default: all.
        pad_rows: Rows that the image may lack at its lower end: some have 1023.
        fill: Value of the rows that it lacks.

    Returns:
        Values as stored, shape (bands, size, size).

    Raises:
        OSError: If there is no such file, or it is incomplete or damaged.
        ValueError: If the image has another size or lacks a band.
    """
    path = os.fspath(path)
    try:
        with warnings.catch_warnings(), rasterio.Env(**GDAL):
            warnings.simplefilter('ignore', NotGeoreferencedWarning)
            with rasterio.open(path, driver='GTiff', **PIXELS_ONLY) as image:
                _check(path, image, bands, pad_rows)
                return _read(image, window, bands, fill)
    except (RasterioError, OSError) as error:
        raise OSError(
            f'cannot read {path}: it is missing, incomplete or damaged ({error})'
        ) from error


def _check(
    path: str, image: DatasetReader, bands: Sequence[int] | None, pad_rows: int
) -> None:
    """Refuse an image of another size, or with too few bands."""
    if image.width != SIDE or not SIDE - pad_rows <= image.height <= SIDE:
        rows = f'{SIDE - pad_rows} to {SIDE}' if pad_rows else SIDE
        raise ValueError(
            f'{path} has {image.height} rows and {image.width} columns, expected {rows}'
            f' rows and {SIDE} columns'
        )
    if lacking := sorted(set(bands or ()) - set(image.indexes)):
        raise ValueError(
            f'{path} has {image.count} bands, there is no band {lacking[0]}'
        )


def _read(
    image: DatasetReader, window: Window, bands: Sequence[int] | None, fill: int
) -> np.ndarray:
    """Read what there is of a window, and fill the rows that lack."""
    rows = max(0, min(window.size, image.height - window.row))
    wanted = None if bands is None else list(bands)
    count = image.count if wanted is None else len(wanted)
    if rows == 0:
        return np.full((count, window.size, window.size), fill, image.dtypes[0])
    part = RasterWindow(window.column, window.row, window.size, rows)
    pixels = image.read(wanted, window=part)
    lack = window.size - rows
    if not lack:
        return pixels
    return np.pad(pixels, ((0, 0), (0, lack), (0, 0)), constant_values=fill)
