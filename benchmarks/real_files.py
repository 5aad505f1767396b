# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Readers of the few real maps at hand, for ``real_maps.py``."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torchgeo.datasets import NonGeoDataset

from torchgeo_experts import Domains

#: Countries of the five tiles with buildings, by their tile of zoom 13.
COUNTRIES = {
    '1549_3087': 'USA',
    '2345_3680': 'Jamaica',
    '4840_4088': 'Uganda',
    '5184_3399': 'Kuwait',
    '5342_3524': 'UAE',
}
#: Months of a series, from January 2018 on, and what stands for no label.
MONTHS, IGNORED = 24, 255


class Samples(NonGeoDataset):
    """Samples in memory: the entries of a batch, with as many rows as samples."""

    def __init__(self, entries: Mapping[str, Tensor]) -> None:
        """Initialize a new Samples instance."""
        self.entries = dict(entries)
        self.domain, self.group = self.entries['domain'], self.entries['group']

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.domain)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return a sample."""
        return {name: values[index] for name, values in self.entries.items()}


def read_image(path: Path) -> Tensor:
    """Read an image as uint8, shape (bands, height, width)."""
    array = np.array(Image.open(path))
    return torch.from_numpy(
        array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    )


def cut(image: Tensor, size: int) -> Tensor:
    """Cut an image, shape (..., H, W), into whole tiles (rows, columns, ..., size, size)."""
    tiles = image.unfold(-2, size, size).unfold(-2, size, size)
    return tiles.movedim((-4, -3), (0, 1)).contiguous()


def tile_centre(x: int, y: int, zoom: int = 13) -> tuple[float, float]:
    """Tell longitude and latitude of the centre of a web map's tile, in degrees."""
    side = 2**zoom
    lat = math.atan(math.sinh(math.pi * (1 - (2 * y + 1) / side)))
    return 360 * (x + 0.5) / side - 180, math.degrees(lat)


def read_buildings(root: Path) -> tuple[Domains, dict[str, Tensor]]:
    """Read the tiles with buildings, 16 samples of 128 x 128 a tile.

    A place lies at the centre of the tile of zoom 13 that its file name tells, as
    latitudes in the table of metadata are wrong.

    Args:
        root: Folder ``geobench2_mini``.

    Returns:
        Places, and what :class:`LeaveOneOut` takes.
    """
    names, centres, parts = [], [], []
    for path in sorted((root / 'spacenet7').glob('*_image.png')):
        x, y = path.stem.split('_')[-5:-3]
        names.append(f'{x}_{y} {COUNTRIES[f"{x}_{y}"]}')
        centres.append(tile_centre(int(x), int(y)))
        mask = read_image(path.with_name(path.name.replace('_image', '_mask')))
        image = cut(read_image(path), 128).flatten(0, 1).float()
        parts.append((image, cut(mask[0] > 127, 128).flatten(0, 1).long()))
    lon, lat = torch.tensor(centres, dtype=torch.float64).T
    place = torch.arange(len(names)).repeat_interleave(len(parts[0][0]))
    image, mask = (torch.cat(p) for p in zip(*parts, strict=True))
    return Domains(names, lon, lat), {
        'image': image,
        'mask': mask,
        'place': place,
        'lon': lon.float()[place],
        'lat': lat.float()[place],
    }


def read_change(root: Path) -> tuple[Domains, dict[str, Tensor]]:
    """Read the pair of Dubai as tiles of 75 x 75, in three strips from west to east.

    Neither dates nor the place of a strip are known.

    Args:
        root: Folder ``oscd_dubai``.

    Returns:
        Strips, and what :class:`LeaveOneOut` takes.
    """
    pair = torch.stack([read_image(root / f'img{i}.png') for i in (1, 2)])
    image = cut(pair.float(), 75)
    mask = cut(read_image(root / 'cm.png') > 127, 75).long()
    rows, columns = image.shape[:2]
    strip = (3 * torch.arange(columns) // columns).repeat(rows)
    unknown = torch.full((len(strip),), torch.nan)
    return Domains(['west', 'centre', 'east']), {
        'image': image.flatten(0, 1),
        'mask': mask.flatten(0, 1),
        'place': strip,
        'lon': unknown,
        'lat': unknown,
    }


class MonthlySeries(NonGeoDataset):
    """Series of 24 months, 2018 and 2019, one a place, with a stand-in target.

    There are no labels: 1 is brighter than the mean of the image, at each date. Months
    without a file are zeros that ``valid`` tells, and are ignored. Months whose clouds
    are flagged stay as they are. Some places are near each other, which would matter for
    scores, and there are none here.
    """

    def __init__(self, root: Path) -> None:
        """Initialize a new MonthlySeries instance.

        Args:
            root: Folder ``sn7_muds_128``.
        """
        table = pd.read_csv(root / 'metadata.csv')
        table['step'] = 12 * (table['year'] - 2018) + table['month'] - 1
        inside = table['step'].between(0, MONTHS - 1)
        self.root, self.table, self.outside = root, table[inside], int((~inside).sum())
        first = table.groupby('aoi')[['lon', 'lat']].first()
        self.domains = Domains(
            first.index.tolist(), first['lon'].tolist(), first['lat'].tolist()
        )
        starts = pd.date_range('2018-01-01', periods=MONTHS, freq='MS')
        self.dates = torch.tensor((starts - starts[0]).days.tolist())

    def __len__(self) -> int:
        """Return the number of series."""
        return len(self.domains)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return a series."""
        rows = self.table[self.table['aoi'] == self.domains.names[index]]
        frames = [read_image(self.root / name).float() for name in rows['filename']]
        steps = torch.tensor(rows['step'].tolist())
        image = torch.zeros(MONTHS, *frames[0].shape)
        image[steps] = torch.stack(frames)
        valid = torch.zeros(MONTHS, dtype=torch.bool)
        valid[steps] = True
        grey = image.mean(dim=1)
        mask = (grey > grey.mean(dim=(-2, -1), keepdim=True)).long()
        mask[~valid] = IGNORED
        return {
            'image': image,
            'mask': mask,
            'dates': self.dates,
            'valid': valid,
            'place': torch.tensor(index),
            'lon': self.domains.lon[index].float(),
            'lat': self.domains.lat[index].float(),
        }
