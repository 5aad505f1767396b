# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""DynamicEarthNet as SitsSCD and CoDEX use it: JPEG images and arrays of labels."""

import os
import re

import numpy as np
import torch
from torch import Tensor
from torchgeo.datasets.utils import Path

from .decoded import DecodedImages
from .dynamicearthnet_places import SPLITS, cube_of
from .dynamicearthnet_reader import MONTHS, CubeReader
from .label_arrays import read_labels
from .place_series import FIRST_DAYS, Window

#: Files of an image, and the modes in which Pillow reads them.
MODES = {'rgb': 'RGB', 'infra': 'L'}

#: Labels of the files: six classes, and 6 for snow and ice and what has no label.
LAST_LABEL = 6

_FILE = re.compile(r'_(\d{1,3})_(rgb|infra)\.jpe?g$')


class ProcessedReader(CubeReader):
    """Reads ``<split>/<cube>/<cube>_<day>_rgb.jpeg`` and ``labels/<cube>.npy``.

    Images are decoded as a whole, labels are mapped into memory. Training cubes also
    have images of the days around the first of each month, which are not read.
    """

    def __init__(self, folder: Path, num_classes: int, cache: Path | None) -> None:
        """Initialize a new ProcessedReader instance.

        Args:
            folder: Where the folders of splits and labels lie.
            num_classes: 6, or 7 with snow and ice.
            cache: Folder of decoded images, None for none.

        Raises:
            ValueError: If a cube is there twice, or half of an image.
        """
        labels = os.path.join(folder, 'labels')
        names = sorted(os.listdir(labels)) if os.path.isdir(labels) else []
        arrays = {
            cube: [(os.path.join(labels, name),)] * MONTHS
            for name in names
            if name.endswith('.npy') and (cube := cube_of(name)) is not None
        }
        super().__init__(folder, _images(folder), arrays, num_classes)
        self.decoded = DecodedImages(list(MODES.values()), cache)

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Tell whether a folder holds images in this form.

        Args:
            folder: Path of the folder, which need not be there.

        Returns:
            Whether it does.
        """
        return bool(_cubes(folder))

    def read_images(self, place: str, window: Window) -> Tensor:
        """Read a part of all images.

        Args:
            place: Name of the cube.
            window: The part.

        Returns:
            Red, green, blue and near infrared, 0 to 255, float32, shape
            (24, 4, size, size), zeros in months without an image.

        Raises:
            OSError: If a file cannot be read; the message names it.
            ValueError: If an image has another size; the message names it.
        """
        files = [names for names in self.images[place] if names]
        pixels = self.decoded.read(place, files, window)
        images = torch.zeros(MONTHS, *pixels.shape[1:])
        images[self._valid[place]] = torch.from_numpy(pixels).float()
        return images

    def read_labels(self, place: str, window: Window) -> np.ndarray:
        """Read a part of all labels.

        Args:
            place: Name of the cube.
            window: The part.

        Returns:
            Labels from 0 to 6, int64, shape (24, size, size).

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it holds other values, or is of another shape.
        """
        return read_labels(self.labels[place][0][0], window, LAST_LABEL)


def _cubes(folder: Path) -> list[tuple[str, str]]:
    """List the folders of cubes: cube and path."""
    found = []
    for split in SPLITS:
        path = os.path.join(folder, split)
        for name in sorted(os.listdir(path)) if os.path.isdir(path) else []:
            cube, inner = cube_of(name), os.path.join(path, name)
            if cube is not None and os.path.isdir(inner):
                found.append((cube, inner))
    return found


def _images(folder: Path) -> dict[str, list[tuple[str, ...]]]:
    """Find the files of images of each cube and month."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for cube, path in _cubes(folder):
        if cube in found:
            raise ValueError(
                f'the cube {cube} is in {path} and in another split of {folder}: remove'
                ' one of the copies'
            )
        found[cube] = _months(path)
    # A folder without any is that of a cube that was not unpacked.
    return {cube: months for cube, months in found.items() if any(months)}


def _months(folder: str) -> list[tuple[str, ...]]:
    """Find the two files of each month of a cube."""
    files: dict[tuple[int, str], str] = {}
    for name in os.listdir(folder):
        part = _FILE.search(name)
        if part is not None and not name.startswith('.'):
            files[int(part[1]), part[2]] = os.path.join(folder, name)
    months: list[tuple[str, ...]] = []
    for day in FIRST_DAYS.tolist():
        there = [files[day, kind] for kind in MODES if (day, kind) in files]
        if len(there) == 1:
            raise ValueError(
                f'{there[0]} is half of an image, the files of day {day} in {folder} must'
                f' be two, {" and ".join(MODES)}: copy or unpack them again'
            )
        months.append(tuple(there))
    return months
