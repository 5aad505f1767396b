# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""DynamicEarthNet as its authors publish it: GeoTIFF files."""

import os
import re
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torchgeo.datasets.utils import Path

from .dynamicearthnet_places import cube_of
from .dynamicearthnet_reader import MONTHS, CubeReader
from .place_series import IGNORED, Window
from .raster_windows import read_window

#: Bands of the files are blue, green, red and near infrared, counted from 1.
RGB_NIR = (3, 2, 1, 4)

#: A band a class.
LABEL_BANDS = tuple(range(1, 8))

_DATE = re.compile(r'(?<!\d)(20\d\d)[-_](\d\d)[-_](\d\d)(?!\d)')


class RawReader(CubeReader):
    """Reads GeoTIFF files of images and labels, of which it opens 24 for a window.

    Folders named ``planet`` or ``planet.10N`` hold ``<cube>/PF-SR/2018-01-01.tif`` at
    any depth, folders named ``labels`` hold ``<cube>_10N/**/Raster/*/*2018-01-01.tif``.
    Names of folders and files are irregular, so they are searched through.
    """

    def __init__(self, folder: Path, num_classes: int) -> None:
        """Initialize a new RawReader instance.

        Args:
            folder: Where the folders of images and labels lie.
            num_classes: 6, or 7 with snow and ice.

        Raises:
            ValueError: If there are two files of one cube and month.
        """
        super().__init__(
            folder, _collect(_images(folder)), _collect(_labels(folder)), num_classes
        )

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Tell whether a folder holds images in this form.

        Args:
            folder: Path of the folder, which need not be there.

        Returns:
            Whether it does.
        """
        return any(True for _ in _cubes(folder))

    def read_images(self, place: str, window: Window) -> Tensor:
        """Read a part of all images.

        Args:
            place: Name of the cube.
            window: The part.

        Returns:
            Surface reflectance times 10,000, in red, green, blue and near infrared,
            float32, shape (24, 4, size, size), zeros in months without an image.

        Raises:
            OSError: If a file cannot be read; the message names it.
            ValueError: If an image has another size or lacks a band.
        """
        images = torch.zeros(MONTHS, len(RGB_NIR), window.size, window.size)
        for month, files in enumerate(self.images[place]):
            for path in files:
                pixels = read_window(path, window, RGB_NIR)
                images[month] = torch.from_numpy(pixels.astype(np.float32))
        return images

    def read_labels(self, place: str, window: Window) -> np.ndarray:
        """Read a part of all labels.

        The published loader starts from zeros, so that a pixel without a class becomes
        impervious, and takes the last class of a pixel with several. Here neither has a
        label.

        Args:
            place: Name of the cube.
            window: The part.

        Returns:
            Labels from 0 to 6, 255 where there is none, int64, shape
            (24, size, size).
        """
        labels = np.full((MONTHS, window.size, window.size), IGNORED, np.int64)
        for month, files in enumerate(self.labels[place]):
            for path in files:
                holds = read_window(path, window, LABEL_BANDS) > 0
                one = holds.sum(axis=0) == 1
                labels[month] = np.where(one, holds.argmax(axis=0), IGNORED)
        return labels


def folders(folder: Path, start: str) -> list[str]:
    """List the folders in a folder whose name begins with a word.

    Args:
        folder: Path of the folder, which need not be there.
        start: The word.

    Returns:
        Their paths, sorted.
    """
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        found = [e.path for e in entries if e.name.startswith(start) and e.is_dir()]
    return sorted(found)


def month_of(name: str) -> int | None:
    """Read the month from the name of a file of its first day.

    Args:
        name: Name that holds a date, such as ``10N-122W-40N-L3H-SR-2018_01_01.tif``.

    Returns:
        Months since January 2018; None for other days, other years and other files.
    """
    dates = _DATE.findall(name)
    # Systems of some users leave a second file beside each: ._2018-01-01.tif.
    if not dates or name.startswith('.') or not name.lower().endswith('.tif'):
        return None
    year, month, day = (int(number) for number in dates[-1])
    if day != 1 or not 1 <= month <= 12 or year not in (2018, 2019):
        return None
    return 12 * (year - 2018) + month - 1


def _cubes(folder: Path) -> Iterator[tuple[str, str]]:
    """Find folders of images: cube and path."""
    for top in folders(folder, 'planet'):
        for path, inner, _ in os.walk(top, followlinks=True):
            cube = cube_of(os.path.basename(path))
            if cube is not None:
                inner.clear()
                yield cube, path


def _images(folder: Path) -> Iterator[tuple[str, str]]:
    """Find files of images: cube and path."""
    for cube, path in _cubes(folder):
        images = os.path.join(path, 'PF-SR')
        for name in sorted(os.listdir(images)) if os.path.isdir(images) else []:
            yield cube, os.path.join(images, name)


def _labels(folder: Path) -> Iterator[tuple[str, str]]:
    """Find files of labels: cube and path."""
    for top in folders(folder, 'labels'):
        for path, _, names in os.walk(top, followlinks=True):
            parts = os.path.relpath(path, top).split(os.sep)
            cubes = [cube for cube in map(cube_of, parts) if cube is not None]
            if cubes and 'Raster' in parts:
                yield from ((cubes[0], os.path.join(path, n)) for n in sorted(names))


def _collect(files: Iterator[tuple[str, str]]) -> dict[str, list[tuple[str, ...]]]:
    """Sort files by cube and month."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for cube, path in files:
        month = month_of(os.path.basename(path))
        if month is None:
            continue
        months = found.setdefault(cube, [()] * MONTHS)
        if months[month]:
            raise ValueError(
                f'two files of one month of the cube {cube}: {months[month][0]} and'
                f' {path}: remove one of the copies'
            )
        months[month] = (path,)
    return found
