# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The files of OSCD, as they are distributed and as TorchGeo downloads them."""

import json
import os
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window
from torchgeo.datasets import OSCD
from torchgeo.datasets.utils import Path

from .archives import Archive, Downloadable, provide
from .oscd_cities import CITIES, TEST_CITIES
from .raster_windows import GDAL

#: Names of the folders, and of the zips they come in.
IMAGES, TRAIN_LABELS, TEST_LABELS = (
    f'Onera Satellite Change Detection dataset - {part}'
    for part in ('Images', 'Train Labels', 'Test Labels')
)

#: MD5 checksums of the zips, those of TorchGeo 0.9. They are the same on both mirrors
#: that TorchGeo has had.
MD5 = {
    IMAGES: 'c50d4a2941da64e03a47ac4dec63d915',
    TRAIN_LABELS: '4d2965af8170c705ebad3d6ee71b6990',
    TEST_LABELS: '8177d437793c522653c442aa4e66c617',
}

#: How far the box of a city may be from where the city is known to be, in degrees.
FAR = 0.5

_UNREADABLE = 'is incomplete or damaged'


def provide_folders(dataset: Downloadable, split: str) -> None:
    """See to it that the folders of a split are there.

    Args:
        dataset: The data set.
        split: One of 'train', 'val' or 'test'. Whoever downloads gets all of them.

    Raises:
        DatasetNotFoundError: If there is nothing, and nothing is to be downloaded.
        FileNotFoundError: If there are images without labels, or the other way round.
        RuntimeError: If a downloaded file has a wrong checksum.
        ValueError: If a zip in the root has a wrong checksum.
        OSError: If a zip is incomplete or damaged.
    """
    labels = TEST_LABELS if split == 'test' else TRAIN_LABELS
    wanted = tuple(MD5) if dataset.download else (IMAGES, labels)

    def lacking() -> list[str]:
        """List the folders that are not there."""
        return [n for n in wanted if not os.path.isdir(os.path.join(dataset.root, n))]

    missing = lacking()
    zips = [os.path.join(dataset.root, f'{name}.zip') for name in missing]
    without = [path for path in zips if not os.path.exists(path)]
    if without and not dataset.download and len(without) < len(wanted):
        raise FileNotFoundError(
            f'{os.fspath(dataset.root)} holds a part of OSCD only: there is neither'
            f' {without[0]} nor the folder it makes. Images and labels come in zips of'
            ' their own: put it there, or set download: true'
        )
    archives = [Archive(f'{n}.zip', OSCD.urls[f'{n}.zip'], MD5[n]) for n in missing]
    provide(dataset, archives, lambda: not lacking())


class CityFiles:
    """The files of a city. No file is kept open."""

    def __init__(self, root: Path, name: str, bands: Sequence[str]) -> None:
        """Look for the files of a city, and check that they fit each other.

        Only headers of images are read.

        Args:
            root: Folder of the data set.
            name: Name of the city.
            bands: Bands to read, in this order.

        Raises:
            FileNotFoundError: If a file is not there.
            OSError: If a file cannot be read.
            ValueError: If images and mask differ in size, or a file holds something
                else than expected.
        """
        self.name = name
        self.folder = os.path.join(root, IMAGES, name)
        #: Paths of the bands of the first date, then of the second.
        self.bands = [
            os.path.join(self.folder, f'imgs_{number}_rect', f'{band}.tif')
            for number in (1, 2)
            for band in bands
        ]
        labels = TEST_LABELS if name in TEST_CITIES else TRAIN_LABELS
        self._find_mask(os.path.join(root, labels, name, 'cm'))
        self._check_sizes()
        self.dates = _read_dates(os.path.join(self.folder, 'dates.txt'))
        self._mask: np.ndarray | None = None

    def _find_mask(self, folder: str) -> None:
        """Find the mask: the PNG image, or else the TIFF image, which counts from 1."""
        self.mask = os.path.join(folder, 'cm.png')
        #: Value of unchanged pixels. Changed ones have a higher value.
        self.unchanged = 0
        other = os.path.join(folder, f'{self.name}-cm.tif')
        if not os.path.exists(self.mask) and os.path.exists(other):
            self.mask, self.unchanged = other, 1

    def _check_sizes(self) -> None:
        """Read height and width, which all files share."""
        for path in (*self.bands, self.mask):
            if not os.path.isfile(path):
                raise FileNotFoundError(
                    f'there is no file {path}: the city {self.name} is incomplete.'
                    ' Delete the folder and unpack its zip again'
                )
        shapes = _look(self.bands, lambda raster: (raster.count, *raster.shape))
        for path, (count, *_) in zip(self.bands, shapes, strict=True):
            if count != 1:
                raise ValueError(f'{path} has {count} bands, expected one')
        sizes = [(*shape[1:],) for shape in shapes] + [_picture_size(self.mask)]
        self.height, self.width = sizes[0]
        for path, (height, width) in zip((*self.bands, self.mask), sizes, strict=True):
            if (height, width) != sizes[0]:
                raise ValueError(
                    f'{path} has {height} rows and {width} columns, but {self.bands[0]}'
                    f' has {self.height} and {self.width}: images of both dates and the'
                    ' mask must have the same size'
                )

    def read_images(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """Read a part of all images.

        Args:
            top: First row.
            left: First column.
            bottom: First row behind the part.
            right: First column behind the part.

        Returns:
            Values as stored, float32, shape (2 * bands, bottom - top, right - left), the
            first date before the second.

        Raises:
            OSError: If a file cannot be read.
        """
        window = Window(left, top, right - left, bottom - top)
        parts = _look(self.bands, lambda raster: raster.read(1, window=window))
        return np.stack(parts).astype(np.float32)

    def read_mask(self) -> np.ndarray:
        """Read the mask of the whole city, which is kept.

        Returns:
            Whether a pixel has changed, bool, shape (height, width).

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it has other values than those of a mask.
        """
        if self._mask is None:
            try:
                with Image.open(self.mask) as picture:
                    plain = picture if picture.mode[0] in 'IF' else picture.convert('L')
                    values = np.asarray(plain)
            except (OSError, SyntaxError) as error:
                raise OSError(f'{self.mask} {_UNREADABLE} ({error})') from error
            if values.min() != self.unchanged:
                raise ValueError(
                    f'{self.mask} is no mask of changes: its lowest value is'
                    f' {values.min()}, expected {self.unchanged} for no change'
                )
            self._mask = values > self.unchanged
        return self._mask

    def read_box(self) -> tuple[float, float, float, float]:
        """Read where the city is.

        Returns:
            West, south, east and north in degrees. Without a file that tells, all of it
            is where the centre of the city is.

        Raises:
            ValueError: If the file cannot be read, or tells of a place far from the city.
        """
        path = os.path.join(self.folder, f'{self.name}.geojson')
        if not os.path.exists(path):
            return CITIES[self.name] * 2
        try:
            with open(path, encoding='utf-8') as file:
                points = _corners(json.load(file))
            (west, south), (east, north) = points.min(axis=0), points.max(axis=0)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(
                f'{path} {_UNREADABLE}: expected GeoJSON with a rectangle of longitudes'
                f' and latitudes, found {type(error).__name__}: {error}'
            ) from error
        centre = np.array([(west + east) / 2, (south + north) / 2])
        # NaN is far from everywhere.
        if not (np.abs(centre - CITIES[self.name]) < FAR).all():
            raise ValueError(
                f'{path} tells of a box around lon={centre[0]:g}, lat={centre[1]:g}, but'
                f' {self.name} is at lon, lat = {CITIES[self.name]}'
            )
        return float(west), float(south), float(east), float(north)


def _look[Found](
    paths: Sequence[str], look: Callable[[DatasetReader], Found]
) -> list[Found]:
    """Open rasters one after another, and tell which one cannot be read."""
    found = []
    with warnings.catch_warnings(), rasterio.Env(**GDAL):
        # OSCD's images have no georeference.
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        for path in paths:
            try:
                with rasterio.open(path, driver='GTiff') as raster:
                    found.append(look(raster))
            except (RasterioError, OSError) as error:
                raise OSError(f'{path} {_UNREADABLE} ({error})') from error
    return found


def _picture_size(path: str) -> tuple[int, int]:
    """Read height and width of a picture."""
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except (OSError, SyntaxError) as error:
        raise OSError(f'{path} {_UNREADABLE} ({error})') from error


def _read_dates(path: str) -> tuple[int, int]:
    """Read two dates, as days since 2018-01-01."""
    try:
        with open(path, encoding='utf-8') as file:
            words = [line.split()[-1] for line in file if line.strip()]
        first, second = (date.fromisoformat(word) for word in words)
    except FileNotFoundError:
        raise FileNotFoundError(f'there is no file {path} of the dates') from None
    except ValueError as error:
        raise ValueError(
            f'{path} {_UNREADABLE}: expected two lines with a date each, such as'
            f' "date_1: 20161130" ({error})'
        ) from error
    start = date(2018, 1, 1)
    return (first - start).days, (second - start).days


def _corners(content: Any) -> np.ndarray:
    """Find the corners of the first polygon in GeoJSON, shape (corners, 2)."""
    feature = content['features'][0] if 'features' in content else content
    geometry = feature.get('geometry', feature)
    points = np.asarray(geometry['coordinates'], dtype=np.float64)
    return points.reshape(-1, points.shape[-1])[:, :2]
