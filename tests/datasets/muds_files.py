# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Small files in the layouts of MUDS: SpaceNet 7 and the processed form."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from PIL import Image
from rasterio.transform import from_origin
from torch import Tensor

from torchgeo_experts.datasets.place_series import PlaceSeries

#: Six of the 60 places; the first two are neighbours, 5.9 km from each other.
PLACES = (
    'L15-1690E-1211N_6763_3346_13',
    'L15-1691E-1211N_6764_3347_13',
    'L15-0331E-1257N_1327_3160_13',
    'L15-0357E-1223N_1429_3296_13',
    'L15-0487E-1246N_1950_3207_13',
    'L15-1138E-1216N_4553_3325_13',
)

#: Places of the processed form.
SPLITS = {'train': ['1_2_13', '10_20_13'], 'val': ['500_400_13'], 'test': ['900_8_13']}

#: Pixels: first row, first column, row and column behind the last.
Box = tuple[float, float, float, float]

#: Half the width of Web Mercator and the size of a pixel, in metres.
HALF, PIXEL = 20037508.342789244, 2 * 20037508.342789244 / 8192 / 1024


def tile(place: str) -> tuple[int, int]:
    """Read column and row of the tile from the name."""
    _, x, y, _ = place.split('_')
    return int(x), int(y)


def lon_lat(place: str, row: float, column: float) -> tuple[float, float]:
    """Tell where a point of an image lies, in pixels from the upper left corner."""
    x, y = tile(place)
    lon = (x + column / 1024) / 8192 * 360 - 180
    angle = math.pi * (1 - 2 * (y + row / 1024) / 8192)
    return lon, math.degrees(math.atan(math.sinh(angle)))


def rgb(number: int, rows: int = 1024, first: int = 0) -> np.ndarray:
    """Make an image out of blocks of 8 x 8 pixels, other ones for each number."""
    row, column = np.indices((rows, 1024)) // 8
    blue = np.full((rows, 1024), 100 + first)
    return np.stack([row + number, column + 2 * number, blue]).astype(np.uint8)


def polygon(place: str, box: Box) -> dict[str, Any]:
    """Make a feature of a box in pixels, in degrees."""
    top, left, bottom, right = box
    corners = [(top, left), (top, right), (bottom, right), (bottom, left), (top, left)]
    ring = [lon_lat(place, row, column) for row, column in corners]
    geometry = {'type': 'Polygon', 'coordinates': [ring]}
    return {'type': 'Feature', 'properties': {'Id': 1}, 'geometry': geometry}


def write_geojson(path: Path, features: Sequence[Mapping[str, Any]]) -> None:
    """Write features in degrees."""
    crs = {'type': 'name', 'properties': {'name': 'urn:ogc:def:crs:OGC:1.3:CRS84'}}
    content = {'type': 'FeatureCollection', 'crs': crs, 'features': list(features)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_tif(path: Path, place: str, bands: np.ndarray, first_row: int = 0) -> None:
    """Write bands on the grid of a place, perhaps from a later row on."""
    x, y = tile(place)
    west = x * 1024 * PIXEL - HALF
    north = HALF - (y * 1024 + first_row) * PIXEL
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        count=len(bands),
        height=bands.shape[1],
        width=bands.shape[2],
        dtype='uint8',
        crs='EPSG:3857',
        transform=from_origin(west, north, PIXEL, PIXEL),
        compress='deflate',
        zlevel=1,
    ) as file:
        file.write(bands)


def write_month(
    folder: Path,
    place: str,
    month: str,
    image: np.ndarray,
    buildings: Sequence[Box] = (),
    unusable: Sequence[Box] | None = (),
    first_row: int = 0,
    images: str = 'images',
) -> None:
    """Write a month of a place as SpaceNet 7 has it.

    Args:
        folder: Folder that holds the places.
        place: Name of the place.
        month: Year and month, '2018_01'.
        image: Bands, red, green and blue; alpha is added if there are three.
        buildings: Footprints.
        unusable: Unusable areas; None for no file of them.
        first_row: Row of the tile in which the image begins.
        images: Folder of the image.
    """
    name = f'global_monthly_{month}_mosaic_{place}'
    alpha = np.full((1, *image.shape[1:]), 255, np.uint8)
    bands = np.concatenate([image, alpha])[:4]
    write_tif(folder / place / images / f'{name}.tif', place, bands, first_row)
    labels = folder / place / 'labels'
    features = [polygon(place, box) for box in buildings]
    write_geojson(labels / f'{name}_Buildings.geojson', features)
    if unusable is not None:
        features = [polygon(place, box) for box in unusable]
        write_geojson(labels / f'{name}_UDM.geojson', features)


def write_spacenet7(
    folder: Path,
    places: Sequence[str] = PLACES,
    months: Sequence[str] = ('2018_01', '2018_02'),
) -> None:
    """Write places with a building each, in the upper left patch."""
    for number, place in enumerate(places):
        for step, month in enumerate(months):
            box = (8.0, 8.0 + 8 * step, 40.0, 64.0)
            write_month(folder, place, month, rgb(10 * number + step), [box])


def write_processed(
    folder: Path,
    splits: Mapping[str, Sequence[str]],
    months: Sequence[int] = (0, 13),
    write_split: bool = True,
) -> None:
    """Write the processed form: a building each, in the upper left patch.

    Args:
        folder: Folder that will hold ``labels``.
        splits: Places of each split.
        months: Numbers of the months that have an image, counted from 0.
        write_split: Write ``split.json``.
    """
    (folder / 'labels').mkdir(parents=True)
    number = 0
    for split, places in splits.items():
        for place in places:
            # Zeros that were never written take no room.
            masks = np.lib.format.open_memmap(
                folder / 'labels' / f'{place}.npy', 'w+', np.int8, (24, 1024, 1024)
            )
            images = folder / split / place
            images.mkdir(parents=True)
            for month in range(24):
                if month not in months:
                    masks[month] = 2
                    continue
                masks[month, 8:40, 8:64] = 1
                masks[month, 100:104, :8] = 2
                year, of_year = divmod(month, 12)
                name = f'{place}_{2018 + year}_{of_year + 1:02d}.jpg'
                pixels = np.moveaxis(rgb(10 * number + month), 0, 2)
                image = Image.fromarray(pixels)
                image.save(images / name, quality=100, subsampling=0)
            masks.flush()
            number += 1
    if write_split:
        content = {split: list(places) for split, places in splits.items()}
        (folder / 'split.json').write_text(json.dumps(content))


def valid_months(*months: int) -> list[bool]:
    """Tell which of the 24 months are among some, counted from 0."""
    return [month in months for month in range(24)]


def whole(
    dataset: PlaceSeries, place: int, months: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Put the patches of a place together again: images and masks of some months."""
    images = torch.empty(len(months), 3, 1024, 1024)
    masks = torch.empty(len(months), 1024, 1024, dtype=torch.int64)
    for cell in range(64):
        row, column = 128 * (cell // 8), 128 * (cell % 8)
        part = (..., slice(row, row + 128), slice(column, column + 128))
        sample = dataset[64 * place + cell]
        images[part], masks[part] = sample['image'][months], sample['mask'][months]
    return images, masks
