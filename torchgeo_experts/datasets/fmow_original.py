# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""FMoW as its authors distribute it, with JPEG images (fMoW-rgb)."""

import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import shapely
from torchgeo.datasets.utils import Path

from .fmow_classes import CLASSES
from .fmow_countries import REGIONS, region_of
from .fmow_rows import COLUMNS, FMoWReader, FMoWRows, make_rows, read_table

#: Ends of the names of images and of what is told of them. Images of the same place made
#: of other bands (``_msrgb``) are left out, as WILDS does.
IMAGE, TOLD = '_rgb.jpg', '_rgb.json'

#: Beginning of the name of the table that is made from all JSON files.
INDEX = 'fmow_rgb_index_'


class Place(NamedTuple):
    """A series of images of one place."""

    split: str
    category: str
    #: Folder of the JSON files, and what their names begin with.
    told: str
    name: str
    #: Folder of the images relative to the root, and what their names begin with.
    images: str
    new_name: str


class OriginalFMoW(FMoWReader):
    """Reads the tree of fMoW-rgb.

    ::

        train/<class>/<class>_<place>/<class>_<place>_<time>_rgb.{jpg,json}
        val/   the same
        test/<number>/<number>_<time>_rgb.{jpg,json}
        groundtruth/{train,val,test}_gt/<class>/<class>_<place>/..._rgb.json
        groundtruth/test_gt_mapping.json

    Classes are those of the folders: an image may have several boxes. Where an image was
    taken is told by the ground truth alone, and so is all about images of ``test``;
    without it, places are unknown and there is no ``test``. The folder
    ``false_detection`` and the split ``seq`` are left out.

    Reading hundreds of thousands of JSON files takes minutes, so it is done once: their
    content is kept in a table beside the folders, ``fmow_rgb_index_<...>.csv``. Another
    one is made when there are other places.
    """

    def __init__(self, folder: Path) -> None:
        """Initialize a new OriginalFMoW instance.

        Args:
            folder: Folder of the splits.
        """
        self.folder = os.fspath(folder)
        nested = os.path.join(self.folder, 'groundtruth')
        self.truth = nested if os.path.isdir(nested) else self.folder

    @classmethod
    def find(cls, root: Path) -> str | None:
        """Look for the files.

        Args:
            root: Folder of the data set.

        Returns:
            Folder of the splits, None if there are none.
        """
        for folder in (root, os.path.join(root, 'fmow-rgb')):
            for split in ('train', 'val'):
                if set(_names(os.path.join(folder, split))) & set(CLASSES):
                    return os.fspath(folder)
        return None

    def read(self) -> FMoWRows:
        """Read what is known of the images, and no image.

        Returns:
            All labelled images.

        Raises:
            FileNotFoundError: If an image or a JSON file is missing.
            ValueError: If a JSON file is damaged.
        """
        places = list(self._places())
        path = os.path.join(self.folder, f'{INDEX}{self._digest(places)}.csv')
        if os.path.exists(path):
            frame = read_table(path, ('file', *COLUMNS))
        else:
            frame = self._index(places)
            _keep(frame, path)
        return make_rows(path, self.folder, frame, region_of, REGIONS)

    def check(self, rows: FMoWRows) -> None:
        """Do nothing: images were looked for when the index was made.

        Args:
            rows: The rows that are needed.
        """

    def _places(self) -> Iterator[Place]:
        """Find the places of all splits that are there."""
        for split in ('train', 'val'):
            if os.path.isdir(os.path.join(self.folder, split)):
                yield from self._named_places(split)
        if os.path.isdir(os.path.join(self.folder, 'test')):
            yield from self._numbered_places()

    def _named_places(self, split: str) -> Iterator[Place]:
        """Find the places of a split whose folders have the names of classes."""
        truth = os.path.join(self.truth, f'{split}_gt')
        told = truth if os.path.isdir(truth) else os.path.join(self.folder, split)
        for category in _known_classes(told):
            for name in _names(os.path.join(told, category)):
                images = f'{split}/{category}/{name}'
                folder = os.path.join(told, category, name)
                yield Place(split, category, folder, name, images, name)

    def _numbered_places(self) -> Iterator[Place]:
        """Find the places of the test split, whose folders are numbered."""
        path = os.path.join(self.truth, 'test_gt_mapping.json')
        if not os.path.exists(path):
            return
        try:
            numbers = {pair['input']: pair['output'] for pair in _load(path)}
        except (KeyError, TypeError) as error:
            raise ValueError(f'{path}: expected a list of input and output') from error
        truth = os.path.join(self.truth, 'test_gt')
        for category in _known_classes(truth):
            for name in _names(os.path.join(truth, category)):
                key = f'test_gt/{category}/{name}'
                if key not in numbers:
                    raise ValueError(f'{path}: no images for {key}')
                images = numbers[key]
                told = os.path.join(truth, category, name)
                new_name = images.rpartition('/')[2]
                yield Place('test', category, told, name, images, new_name)

    def _digest(self, places: list[Place]) -> str:
        """Make a short name of what is there, the same wherever the folder lies."""
        text = '\n'.join(p.told.removeprefix(self.folder) for p in places)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _index(self, places: list[Place]) -> pd.DataFrame:
        """Read all JSON files."""
        files: dict[str, tuple[Place, str]] = {}
        missing: list[str] = []
        for place in places:
            expected = {image: (place, told) for told, image in self._images(place)}
            files |= expected
            missing += self._missing(place, set(expected))
        if missing:
            total = len(files) + sum(name.endswith(TOLD) for name in missing)
            raise FileNotFoundError(
                f'{self.folder}: {len(missing)} of {total} images lack a file, first'
                f' {missing[0]}: the data set is incomplete'
            )
        rows = [_row(place, told, image) for image, (place, told) in files.items()]
        frame = pd.DataFrame(rows, columns=['file', *COLUMNS], dtype=str)
        frame.index += 2
        return frame

    def _images(self, place: Place) -> Iterator[tuple[str, str]]:
        """Tell the JSON file and the image of each time."""
        for name in _names(place.told):
            if name.endswith(TOLD):
                time = name.removeprefix(place.name).removesuffix(TOLD)
                image = f'{place.images}/{place.new_name}{time}{IMAGE}'
                yield os.path.join(place.told, name), image

    def _missing(self, place: Place, expected: set[str]) -> list[str]:
        """List images of which nothing is told, and JSON files without an image."""
        folder = os.path.join(self.folder, place.images)
        there = {f'{place.images}/{n}' for n in _names(folder) if n.endswith(IMAGE)}
        untold = [i.removesuffix(IMAGE) + TOLD for i in sorted(there - expected)]
        return sorted(expected - there) + untold


def _names(folder: str) -> list[str]:
    """List a folder in an order that does not depend on the disk."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _known_classes(folder: str) -> list[str]:
    """List the folders of classes, and refuse others."""
    names = [n for n in _names(folder) if os.path.isdir(os.path.join(folder, n))]
    visible = {n for n in names if not n.startswith('.')}
    if unknown := sorted(visible - {*CLASSES, 'false_detection'}):
        raise ValueError(
            f'{folder}: the folder {unknown[0]!r} is none of the 62 classes of FMoW'
        )
    return [name for name in names if name in CLASSES]


def _load(path: str) -> Any:
    """Read a JSON file."""
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except ValueError as error:
        raise ValueError(f'{path} is damaged ({error}): download it again') from error


def _row(place: Place, path: str, image: str) -> tuple[str, ...]:
    """Read what is told of an image, in the order of the columns."""
    told = _load(path)
    try:
        lon, lat = _centre(told['raw_location']) if 'raw_location' in told else ('', '')
        country, time = told['country_code'], told['timestamp']
    except (KeyError, TypeError, shapely.errors.ShapelyError) as error:
        raise ValueError(f'{path} is damaged ({error!r}): download it again') from error
    return image, place.split, place.category, country, time, str(lat), str(lon)


def _centre(polygon: str) -> tuple[float, float]:
    """Compute the mean of the corners of a polygon in degrees, longitude first.

    As in WILDS the first corner, which is the last one too, counts twice.
    """
    lon, lat = shapely.get_coordinates(shapely.from_wkt(polygon)).T
    if np.ptp(lon) > 180:  # on both sides of the dateline
        lon = lon % 360
    return float((lon.mean() + 180) % 360 - 180), float(lat.mean())


def _keep(frame: pd.DataFrame, path: str) -> None:
    """Write the index, all of it or no file; remove those of other places."""
    folder = os.path.dirname(path)
    aside = f'{path}.{uuid.uuid4().hex}.part'
    try:
        frame.to_csv(aside, index=False)
        for name in _names(folder):
            if name.startswith(INDEX) and name.endswith('.csv'):
                with suppress(FileNotFoundError):
                    os.remove(os.path.join(folder, name))
        os.replace(aside, path)
    except OSError as error:
        warnings.warn(
            f'cannot write {path} ({error}): all JSON files are read again next time',
            stacklevel=2,
        )
    finally:
        with suppress(OSError):
            os.remove(aside)
