# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The form in which SpaceNet 7 is distributed: GeoTIFF images and GeoJSON footprints."""

import os
import re
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torchgeo.datasets.utils import Path

from .kept_arrays import KeptArrays
from .muds_footprints import PAD_ROWS, draw_mask
from .place_series import IGNORED, SIDE, SeriesReader, Window
from .raster_windows import read_window
from .stamp import stamp

#: The 24 months that are loaded.
MONTHS = tuple(f'{y}_{m:02d}' for y in (2018, 2019) for m in range(1, 13))

#: Folders of images; in the second one unusable pixels are blank.
IMAGE_FOLDERS = ('images', 'images_masked')

#: How deep below the root places are looked for: SN7_buildings/train/train/<place>.
DEPTH = 3

#: Changes with the way masks are made, so that older ones are not used.
MADE_BY = 'footprints 1'

_PLACE = re.compile(r'L15-\d{4}E-\d{4}N_\d{1,4}_\d{1,4}_13')


def find_places(root: Path) -> dict[str, str]:
    """Find the folders of the labelled places.

    Those below a folder ``test_public`` are left out: they have no labels.

    Args:
        root: Root of the data set.

    Returns:
        Folder of each place, sorted by name.

    Raises:
        ValueError: If a place is there twice.
    """
    found: dict[str, str] = {}
    for name, folder in _walk(os.fspath(root), DEPTH):
        if name in found:
            raise ValueError(
                f'the place {name} is there twice, in {found[name]} and in {folder}:'
                ' remove one of them'
            )
        found[name] = folder
    return dict(sorted(found.items()))


class SpaceNet7Reader(SeriesReader):
    """Reads the images of SpaceNet 7, and draws its footprints.

    ::

        <place>/images/global_monthly_<yyyy>_<mm>_mosaic_<place>.tif
        <place>/images_masked/...  the same, unusable pixels are blank
        <place>/labels/..._Buildings.geojson, ..._UDM.geojson
        <place>/UDM_masks/..._UDM.tif, of some months

    Images are red, green, blue and alpha, which is not returned. Months before 2018 and
    after 2019 are left out.
    """

    def __init__(
        self, folders: dict[str, str], images: str = 'images', cache: Path | None = None
    ) -> None:
        """Initialize a new SpaceNet7Reader instance.

        Args:
            folders: Folder of each place.
            images: 'images' or 'images_masked'.
            cache: Folder in which masks are kept. Default: none.

        Raises:
            ValueError: If *images* is something else, or a file of a place is missing.
        """
        if images not in IMAGE_FOLDERS:
            raise ValueError(f'images must be one of {IMAGE_FOLDERS}, found {images!r}')
        self.folders, self.images = dict(sorted(folders.items())), images
        self.masks = KeptArrays(cache)
        self._valid = {}
        self._extra: dict[str, frozenset[str]] = {}
        self._names: dict[str, str] = {}
        for place in self.folders:
            self._valid[place] = self._list(place)

    def read_images(self, place: str, window: Window) -> Tensor:
        """Read a part of all images.

        Args:
            place: Name of the place.
            window: The part.

        Returns:
            Red, green and blue, float32, shape (24, 3, size, size), zeros in months
            without an image and in rows that an image lacks.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If an image has another size.
        """
        images = torch.zeros(len(MONTHS), 3, window.size, window.size)
        for month in self._months(place):
            path = self._path(place, self.images, MONTHS[month], '.tif')
            pixels = read_window(path, window, (1, 2, 3), PAD_ROWS)
            images[month] = torch.from_numpy(pixels)
        return images

    def read_masks(self, place: str, window: Window) -> Tensor:
        """Read a part of all masks.

        Args:
            place: Name of the place.
            window: The part.

        Returns:
            0 no building, 1 building, 255 where it is not known; int64, shape
            (24, size, size).

        Raises:
            OSError: If a file cannot be read, or masks cannot be kept.
            ValueError: If footprints do not fit the image.
        """
        masks = torch.full((len(MONTHS), window.size, window.size), IGNORED)
        if place not in self._names:
            files = [
                f for month in self._months(place) for f in self._files(place, month)
            ]
            made_by = f'{MADE_BY} {self.images}'
            self._names[place] = f'{place}-{stamp(files, made_by)}'
        shape = (len(self._months(place)), SIDE, SIDE)
        make = partial(self._draw, place)
        drawn = self.masks.read(self._names[place], shape, window, make)
        masks[self._valid[place]] = torch.from_numpy(drawn).long()
        return masks

    def _draw(self, place: str) -> np.ndarray:
        """Draw the masks of all months that have an image."""
        months = self._months(place)
        masks = np.empty((len(months), SIDE, SIDE), np.uint8)
        for mask, month in zip(masks, months, strict=True):
            image, buildings, *_ = self._files(place, month)
            mask[:] = draw_mask(image, buildings, *self._unusable(place, month))
        return masks

    def _files(self, place: str, month: int) -> list[str]:
        """List the files of which the mask of a month is made."""
        name = MONTHS[month]
        required = [
            self._path(place, self.images, name, '.tif'),
            self._path(place, 'labels', name, '_Buildings.geojson'),
        ]
        return required + [p for p in self._unusable(place, month) if p is not None]

    def _unusable(self, place: str, month: int) -> list[str | None]:
        """Tell the paths of unusable areas, as polygons and as a raster, if any."""
        name, there = MONTHS[month], self._extra[place]
        areas = self._path(place, 'labels', name, '_UDM.geojson')
        raster = self._path(place, 'UDM_masks', name, '_UDM.tif')
        return [
            path if os.path.basename(path) in there else None
            for path in (areas, raster)
        ]

    def _months(self, place: str) -> list[int]:
        months: list[int] = self._valid[place].nonzero().flatten().tolist()
        return months

    def _path(self, place: str, folder: str, month: str, ending: str) -> str:
        name = f'global_monthly_{month}_mosaic_{place}{ending}'
        return os.path.join(self.folders[place], folder, name)

    def _list(self, place: str) -> Tensor:
        """Look which months have an image, and whether each of them has its labels."""
        images, labels, rasters = (
            _entries(os.path.join(self.folders[place], folder))
            for folder in (self.images, 'labels', 'UDM_masks')
        )
        self._extra[place] = labels | rasters
        paths = [self._path(place, self.images, month, '.tif') for month in MONTHS]
        valid = torch.tensor([os.path.basename(path) in images for path in paths])
        if not valid.any():
            raise ValueError(
                f'{os.path.dirname(paths[0])} holds no images of 2018 and 2019, expected'
                f' files such as {os.path.basename(paths[0])}: extract the data set anew,'
                f' or choose another folder by images (one of {IMAGE_FOLDERS})'
            )
        for month in valid.nonzero().flatten().tolist():
            path = self._path(place, 'labels', MONTHS[month], '_Buildings.geojson')
            if os.path.basename(path) not in labels:
                raise ValueError(
                    f'{path} is missing: each image of a labelled place has its'
                    ' footprints. Extract the data set anew; if the place is one of'
                    ' test_public, which has no labels, move it to another root'
                )
        return valid


def _entries(folder: str) -> frozenset[str]:
    """List a folder, which may be missing."""
    return frozenset(os.listdir(folder)) if os.path.isdir(folder) else frozenset()


def _walk(folder: str, depth: int) -> Iterator[tuple[str, str]]:
    """Find folders of places below a folder."""
    if not os.path.isdir(folder):
        return
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    places = [name for name in names if _PLACE.fullmatch(name)]
    yield from ((name, os.path.join(folder, name)) for name in places)
    if places or not depth:
        return
    for name in names:
        if 'test_public' not in name and not name.startswith('.'):
            yield from _walk(os.path.join(folder, name), depth - 1)
