# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Monthly series of places, cut into patches."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchgeo.datasets import NonGeoDataset
from torchgeo.datasets.utils import Sample

from ..domains import Domains
from .figures import Panel, class_map, day, show, stretched
from .web_mercator import tile_lon_lat, tile_metres, tile_numbers

#: Height and width in pixels of the images of a place, and of its patches.
SIDE, PATCH = 1024, 128

#: Patches a place has in each direction.
GRID = SIDE // PATCH

#: First days of the 24 months of 2018 and 2019, days since 2018-01-01.
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
FIRST_DAYS = torch.tensor([0, *(_LENGTHS * 2)[:-1]]).cumsum(0)

#: Value of pixels of masks that have no class.
IGNORED = 255

#: Most dates of a figure.
SHOWN = 8


class Window(NamedTuple):
    """A square part of an image, in pixels."""

    row: int
    column: int
    size: int


class SeriesReader(ABC):
    """Reads one of the forms in which the series of a data set lie on disk.

    Readers hold paths, and no open files, so that workers can be forked and spawned.
    """

    #: Which of the 24 months of each place have an image, bool, shape (24,).
    _valid: dict[str, Tensor]

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the places that are there, sorted."""
        return tuple(sorted(self._valid))

    def valid(self, place: str) -> Tensor:
        """Tell which of the 24 months have an image, without reading it.

        Args:
            place: Name of the place.

        Returns:
            True where there is one, bool, shape (24,).
        """
        return self._valid[place].clone()

    @abstractmethod
    def read_images(self, place: str, window: Window) -> Tensor:
        """Read a part of all images.

        Args:
            place: Name of the place.
            window: The part.

        Returns:
            Images, float32, shape (24, C, size, size), zeros in months without one.

        Raises:
            OSError: If a file cannot be read; the message names it.
            ValueError: If a file is not what it should be; the message names it.
        """

    @abstractmethod
    def read_masks(self, place: str, window: Window) -> Tensor:
        """Read a part of all masks.

        Args:
            place: Name of the place.
            window: The part.

        Returns:
            Classes, int64, shape (24, size, size), 255 where a pixel has none and in
            months without an image.

        Raises:
            OSError: If a file cannot be read; the message names it.
            ValueError: If a file is not what it should be; the message names it.
        """


class PlaceSeries(NonGeoDataset):
    """Base class of data sets of monthly series with a map a month.

    Each place has 24 images of 1024 x 1024 pixels, the months of 2018 and 2019. They are
    cut into 8 x 8 patches of 128 x 128, row by row, one sample each: Table 1 of CoDEX.
    A domain is a place.

    A sample holds ``image`` (float32, shape (24, C, 128, 128)), ``mask`` (int64, shape
    (24, 128, 128), 255 where a pixel has no class), ``dates`` (int64, shape (24,), days
    since 2018-01-01), ``valid`` (bool, shape (24,), whether the month has an image),
    ``domain``, ``group``, ``lon`` and ``lat`` (of the centre of the patch).
    """

    #: Class names, in the order of the labels.
    classes: tuple[str, ...]

    def __init__(
        self,
        reader: SeriesReader,
        splits: Mapping[str, Sequence[str]],
        split: str,
        metres: float | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new PlaceSeries instance.

        Args:
            reader: Reads the files.
            splits: Places of 'train', 'val' and 'test'.
            split: The one to take.
            metres: Height and width on the ground of the images of a place. Default:
                they cover the tile that the place is named after.
            transforms: A function/transform that takes an input sample and returns a
                transformed version.

        Raises:
            ValueError: If there is no such split.
        """
        check_split(split, splits)
        self.reader, self.transforms = reader, transforms
        self.split, self.splits = split, {k: tuple(v) for k, v in splits.items()}
        self.places = self.splits[split]
        train = self.splits['train']
        centres = [_patch_centre(name, 0.5, 0.5, metres) for name in train]
        self.domains = Domains(train, *zip(*centres, strict=True))
        rest = sorted({p for s in self.splits.values() for p in s} - set(train))
        #: Names of all places, the training domains first.
        self.groups = (*train, *rest)
        self._locate(metres)

    def _locate(self, metres: float | None) -> None:
        """Tell of each patch where it is."""
        steps = [(i + 0.5) / GRID for i in range(GRID)]
        centres = [
            _patch_centre(place, x, y, metres)
            for place in self.places
            for y in steps
            for x in steps
        ]
        self.lon, self.lat = torch.tensor(centres).T.contiguous()
        numbers = {name: index for index, name in enumerate(self.groups)}
        groups = torch.tensor([numbers[place] for place in self.places])
        #: Evaluation group and training domain of each sample, int64, shape (N,).
        self.group = groups.repeat_interleave(GRID * GRID)
        self.domain = self.domains.ids(self.places).repeat_interleave(GRID * GRID)

    def __len__(self) -> int:
        """Return the number of samples.

        Returns:
            Length of the data set.
        """
        return len(self.group)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Args:
            index: Index of the sample.

        Returns:
            The patch of all months, its masks, dates and place.

        Raises:
            IndexError: If *index* is out of range.
            OSError: If a file cannot be read; the message names it.
            ValueError: If a file is not what it should be; the message names it.
        """
        group, lon, lat = self.group[index], self.lon[index], self.lat[index]
        place, cell = divmod(range(len(self))[index], GRID * GRID)
        row, column = divmod(cell, GRID)
        window = Window(row * PATCH, column * PATCH, PATCH)
        name = self.places[place]
        sample: Sample = {
            'image': self.reader.read_images(name, window),
            'mask': self.reader.read_masks(name, window),
            'dates': FIRST_DAYS.clone(),
            'valid': self.reader.valid(name),
            'domain': self.domain[index].clone(),
            'group': group.clone(),
            'lon': lon.clone(),
            'lat': lat.clone(),
        }
        return sample if self.transforms is None else self.transforms(sample)

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample: months with an image beside each other, at most eight.

        Args:
            sample: A sample returned by :meth:`__getitem__`, with a ``prediction``
                (classes, shape (24, 128, 128)) or without.
            show_titles: Flag indicating whether to show titles above each panel.
            suptitle: Optional string to use as a suptitle.

        Returns:
            A matplotlib Figure with the rendered sample.
        """
        seen = sample['valid'].nonzero().flatten()
        seen = seen if len(seen) else torch.arange(len(sample['valid']))
        steps = torch.linspace(0, len(seen) - 1, min(len(seen), SHOWN)).round().long()
        shown = seen[steps].tolist()
        rows: list[list[Panel]] = [
            [stretched(day(sample['dates'][t]), sample['image'][t]) for t in shown]
        ]
        for key in ('mask', 'prediction'):
            if key in sample:
                title = key.capitalize()
                rows.append([class_map(title, sample[key][t]) for t in shown])
        return show(rows, self.classes, show_titles, suptitle)


def check_split(split: str, splits: Iterable[str]) -> None:
    """Refuse a split that there is not.

    Args:
        split: Name of the split.
        splits: Names of all splits.

    Raises:
        ValueError: If it is none of them.
    """
    if split not in splits:
        raise ValueError(f'split must be one of {list(splits)}, found {split!r}')


def check_splits(
    splits: Mapping[str, Sequence[str]], found: Sequence[str], source: str
) -> None:
    """Refuse splits that share places, are empty or name places that are not there.

    Args:
        splits: Places of each split.
        found: Places that are there.
        source: Where the splits come from, for messages.

    Raises:
        ValueError: If they do; the message names the places.
    """
    owner: dict[str, str] = {}
    for split, names in splits.items():
        if not names:
            raise ValueError(f'{source}: the {split} split has no places')
        for name in names:
            if name in owner:
                raise ValueError(
                    f'{source}: the place {name} is in the split {owner[name]!r} and'
                    f' again in {split!r}: every place belongs to one split'
                )
            owner[name] = split
    if missing := sorted(set(owner) - set(found)):
        raise ValueError(
            f'{source}: no files of the places {", ".join(missing)}, found'
            f' {len(found)} places'
        )


def _patch_centre(
    place: str, x: float, y: float, metres: float | None
) -> tuple[float, float]:
    """Tell the place of a point of an image, x and y from the upper left corner.

    Args:
        place: Name of the place, after a tile.
        x: Columns, as a part of the width.
        y: Rows, as a part of the height.
        metres: Width on the ground, None for that of the tile.

    Returns:
        Longitude and latitude in degrees.
    """
    column, row = tile_numbers(place)
    middle = tile_lon_lat(column + 0.5, row + 0.5)
    share = 1.0 if metres is None else metres / tile_metres(middle[1])
    return tile_lon_lat(column + 0.5 + (x - 0.5) * share, row + 0.5 + (y - 0.5) * share)
