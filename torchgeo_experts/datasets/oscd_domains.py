# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""OSCDDomains data set."""

import itertools
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchgeo.datasets import OSCD, NonGeoDataset
from torchgeo.datasets.utils import Path, Sample

from ..domains import Domains
from .figures import class_map, day, show, stretched
from .oscd_cities import TRAIN_CITIES, VAL_CITIES, split_cities
from .oscd_files import CityFiles, provide_folders
from .oscd_tiles import TILE, TILINGS, Span

#: Bands by name, in TorchGeo's order.
BANDS = {'rgb': OSCD.rgb_bands, 'all': OSCD.all_bands}


class OSCDDomains(NonGeoDataset):
    """OSCD (Onera Satellite Change Detection), cut into tiles, with cities as domains.

    Dataset features:

    * 24 cities, 14 for training and 10 for test (official split), each seen by
      Sentinel-2 at two dates between 2015 and 2018, 10 m per pixel
    * what is marked as change: new buildings and roads

    Dataset format:

    * a TIFF image for each date and band, all 13 bands resampled to 10 m
    * a PNG mask a city, above 0 where something changed

    The files are those of TorchGeo's :class:`~torchgeo.datasets.OSCD`. What differs:
    cities come in a fixed order (sorted by name), samples are tiles that are the same
    every time, bands are found by name, incomplete cities are refused, and samples know
    their domain, place and dates.

    CoDEX (Table 1) has 896 tiles of 75 x 75 in 14 training domains, 640 in 10 test
    domains, and no validation. That is 64 tiles a city, and the paper does not say how
    it came to that: no code for OSCD was published, and the test cities have too few
    pixels for 640 tiles side by side (3 077 936, so 547 at most). The tilings 'paper'
    and 'overlap' give 64 a city, 'native' as many as there is room for.

    A sample holds ``image`` (float32, shape (2, C, 75, 75), values as stored:
    reflectance times 10,000), ``mask`` (int64, shape (1, 75, 75), 1 for change),
    ``dates`` (int64, shape (2,), days since 2018-01-01, mostly negative), ``domain``,
    ``group``, ``lon`` and ``lat`` (of the centre of the tile, by the box in
    ``<city>.geojson``; without that file of the centre of the city).

    If you use this data set, cite https://doi.org/10.1109/IGARSS.2018.8518015.
    """

    #: Class names, in the order of the labels.
    classes = ('no change', 'change')

    def __init__(
        self,
        root: Path = 'data',
        split: Literal['train', 'val', 'test'] = 'train',
        bands: Literal['rgb', 'all'] | Sequence[str] = 'rgb',
        tiling: Literal['native', 'paper', 'overlap'] = 'native',
        val_cities: Sequence[str] = VAL_CITIES,
        exclude_cities: Sequence[str] = (),
        transforms: Callable[[Sample], Sample] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new OSCDDomains instance.

        Args:
            root: Folder of the three folders, or of the three zips they come in.
            split: One of 'train', 'val' or 'test'.
            bands: 'rgb' (B04, B03 and B02, as in the paper), 'all' (13 bands), or a list
                of names of bands.
            tiling: 'native': tiles side by side at 10 m, what is left over is dropped.
                'paper': each city is made 600 x 600 (images bilinearly with
                antialiasing, masks by the nearest pixel) and cut into 8 x 8 tiles, so
                that scale and proportions differ between cities. 'overlap': 8 x 8 tiles
                at 10 m at equal distances, which overlap in cities below 600 pixels.
            val_cities: Training cities to hold out for validation. If there are
                none, the split 'val' is empty.
            exclude_cities: Training cities to leave out, such as 'saclay_e', which
                touches the test city saclay_w.
            transforms: A function/transform that takes an input sample and returns a
                transformed version.
            download: If True, download the data set and store it in the root folder.
            checksum: If True, check the MD5 of the zips.

        Raises:
            DatasetNotFoundError: If the data set is not found and *download* is False.
            FileNotFoundError: If it is incomplete.
            OSError: If a file cannot be read.
            ValueError: If an argument is wrong, or the files of a city do not fit each
                other.
        """
        self.root, self.split, self.transforms = root, split, transforms
        self.download, self.checksum = download, checksum
        self.bands = check_bands(bands)
        if tiling not in TILINGS:
            raise ValueError(f'tiling must be one of {list(TILINGS)}, found {tiling!r}')
        self.tiling = TILINGS[tiling]
        splits = split_cities(val_cities, exclude_cities)
        if split not in splits:
            raise ValueError(f'split must be one of {list(splits)}, found {split!r}')
        train = splits['train']
        centres = [TRAIN_CITIES[city] for city in train]
        self.domains = Domains(train, *zip(*centres, strict=True))
        #: Names of all cities, the training domains first.
        self.groups = (*train, *sorted({*splits['val'], *splits['test']}))
        provide_folders(self, split)
        self.cities = [CityFiles(root, city, self.bands) for city in splits[split]]
        self._cut()

    def _cut(self) -> None:
        """List the tiles of all cities, row by row, and where they are."""
        #: City (as an index into ``cities``), rows and columns of each tile.
        self.tiles: list[tuple[int, Span, Span]] = []
        places, groups = [], []
        for number, city in enumerate(self.cities):
            if min(city.height, city.width) < TILE:
                raise ValueError(
                    f'{city.bands[0]} has {city.height} rows and {city.width} columns:'
                    f' there is no room for a tile of {TILE} x {TILE}'
                )
            spans = (self.tiling.spans(side) for side in (city.height, city.width))
            west, south, east, north = city.read_box()
            for rows, columns in itertools.product(*spans):
                self.tiles.append((number, rows, columns))
                lon = west + columns.centre * (east - west)
                places.append((lon, north + rows.centre * (south - north)))
                groups.append(self.groups.index(city.name))
        self.lon, self.lat = torch.tensor(places).reshape(-1, 2).T.contiguous()
        #: Evaluation group of each sample, int64, shape (N,).
        self.group = torch.tensor(groups).long()
        #: Training domain of each sample, int64, shape (N,), -1 for none of them.
        self.domain = self.group.where(self.group < len(self.domains), -1)

    def __len__(self) -> int:
        """Return the number of samples.

        Returns:
            Length of the data set.
        """
        return len(self.tiles)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Args:
            index: Index of the sample.

        Returns:
            The tile at both dates, its mask, dates and place.

        Raises:
            IndexError: If *index* is out of range.
            OSError: If a file cannot be read; the message names it.
            ValueError: If a mask has other values than those of a mask.
        """
        number, rows, columns = self.tiles[index]
        city = self.cities[number]
        part = city.read_images(rows.start, columns.start, rows.stop, columns.stop)
        image = self.tiling.fit_image(torch.from_numpy(part), rows, columns)
        changed = city.read_mask()[None, rows.start : rows.stop]
        mask = torch.from_numpy(changed[..., columns.start : columns.stop])
        sample: Sample = {
            'image': image.unflatten(0, (2, -1)),
            'mask': self.tiling.fit_mask(mask, rows, columns).long(),
            'dates': torch.tensor(city.dates),
        }
        for key in ('domain', 'group', 'lon', 'lat'):
            sample[key] = getattr(self, key)[index].clone()
        return sample if self.transforms is None else self.transforms(sample)

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample: both dates and the mask.

        Bands B04, B03 and B02 are shown as red, green and blue, or the first three (or
        the first one as grey) if one of them was not loaded.

        Args:
            sample: A sample returned by :meth:`__getitem__`, with a ``prediction``
                (0 or 1, shape (1, H, W) or (H, W)) or without.
            show_titles: Flag indicating whether to show titles above each panel.
            suptitle: Optional string to use as a suptitle.

        Returns:
            A matplotlib Figure with the rendered sample.
        """
        rgb = BANDS['rgb'] if set(BANDS['rgb']) <= set(self.bands) else self.bands[:3]
        shown = sample['image'][:, [self.bands.index(band) for band in rgb]]
        pairs = zip(sample['dates'], shown, strict=True)
        row = [stretched(day(date), image) for date, image in pairs]
        for key in ('mask', 'prediction'):
            if key in sample:
                row.append(class_map(key.capitalize(), _flat(sample[key])))
        return show([row], self.classes, show_titles, suptitle)


def _flat(mask: Tensor) -> Tensor:
    """Drop the dimension of the one mask."""
    return mask.reshape(mask.shape[-2:])


def check_bands(bands: str | Sequence[str]) -> tuple[str, ...]:
    """Look up names of bands, and refuse others.

    Args:
        bands: 'rgb', 'all', or names.

    Returns:
        The names.

    Raises:
        ValueError: If there is no such band, or a band is named twice.
    """
    names = BANDS.get(bands, ()) if isinstance(bands, str) else tuple(bands)
    if not names or not set(names) <= set(OSCD.all_bands):
        raise ValueError(
            f"bands must be 'rgb', 'all', or some of {list(OSCD.all_bands)}, found"
            f' {bands!r}'
        )
    if len(set(names)) < len(names):
        raise ValueError(f'bands names a band twice: {list(names)}')
    return names
