# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Small files in the layout of TorchGeo's data sets, at places that are known."""

import math
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import from_origin
from rasterio.warp import transform
from torchgeo.datasets import OSCD, EuroSAT

#: Where the images of each data set lie: lon, lat. No two share a cell of ten degrees.
CITIES = {
    'athens': (23.7, 37.9),
    'berlin': (13.4, 52.5),
    'cairo': (31.2, 30.9),
    'lima': (-77.0, -12.0),
    'oslo': (10.7, 59.9),
    'perth': (115.9, -31.9),
}
#: Cell of ten degrees of each of them.
CELLS = {
    'athens': 'N30E020',
    'berlin': 'N50E010',
    'cairo': 'N30E030',
    'lima': 'S20W080',
    'oslo': 'N50E010',
    'perth': 'S40E110',
}


def utm(lon: float, lat: float) -> str:
    """Find the UTM zone of a place."""
    return f'EPSG:{(32600 if lat >= 0 else 32700) + math.floor((lon + 180) / 6) + 1}'


def write_geotiff(
    path: Path, pixels: np.ndarray, lon: float, lat: float, res: float = 10.0
) -> None:
    """Write an image whose centre lies at a place, in the UTM zone of the place.

    Args:
        path: Path of the file.
        pixels: Bands, shape (C, H, W).
        lon: Longitude of the centre in degrees.
        lat: Latitude of the centre in degrees.
        res: Size of a pixel in metres.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    crs = utm(lon, lat)
    (x,), (y,) = transform('EPSG:4326', crs, [lon], [lat])
    bands, height, width = pixels.shape
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        dtype=pixels.dtype,
        count=bands,
        height=height,
        width=width,
        crs=crs,
        transform=from_origin(x - res * width / 2, y + res * height / 2, res, res),
    ) as file:
        file.write(pixels)


def eurosat_place(city: str, number: int) -> tuple[float, float]:
    """Tell the place of an image: near its city."""
    lon, lat = CITIES[city]
    return lon + 0.01 * number, lat - 0.01 * number


def write_eurosat(
    root: Path, images: int = 10, size: int = 16, classes: int = 10
) -> None:
    """Write EuroSAT: in each split as many images of each city.

    Images are named ``<class>_<city><number>``, and shine as their class.
    """
    generator = np.random.default_rng(0)
    names = [f'Class{label}' for label in range(classes)]
    for turn, split in enumerate(('train', 'val', 'test')):
        listed = []
        for city in CITIES:
            for number in range(turn * images, (turn + 1) * images):
                label = names[number % classes]
                name = f'{label}_{city}{number}'
                pixels = generator.integers(0, 300, (13, size, size))
                pixels += 300 * (number % classes)
                write_geotiff(
                    root / EuroSAT.base_dir / label / f'{name}.tif',
                    pixels.astype(np.uint16),
                    *eurosat_place(city, number),
                )
                listed.append(f'{name}.jpg')
        (root / f'eurosat-{split}.txt').write_text('\n'.join(listed))


def write_landcoverai(root: Path, size: int = 16) -> None:
    """Write LandCover.ai: four chips a split of each of three map sheets."""
    generator = np.random.default_rng(0)
    (root / 'output').mkdir(parents=True)
    for turn, split in enumerate(('train', 'val', 'test')):
        ids = [
            f'M-33-{sheet}_{number}'
            for sheet in ('7-A', '20-D', '48-C')
            for number in range(4 * turn, 4 * turn + 4)
        ]
        for name in ids:
            pixels = generator.integers(0, 255, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / 'output' / f'{name}.jpg')
            mask = generator.integers(0, 5, (size, size), dtype=np.uint8)
            Image.fromarray(mask).save(root / 'output' / f'{name}_m.png')
        # As TorchGeo's files: with an end of line, and none in the last line.
        (root / f'{split}.txt').write_text('\n'.join(ids))


def write_levircd(root: Path, size: int = 24, count: int = 6) -> None:
    """Write LEVIR-CD: pairs whose first channel shows the mask, 0 or 255."""
    generator = np.random.default_rng(0)
    for folder in ('A', 'B', 'label'):
        (root / folder).mkdir(parents=True)
    for split in ('train', 'val', 'test'):
        for number in range(count):
            mask = 255 * generator.integers(0, 2, (size, size), dtype=np.uint8)
            Image.fromarray(mask).save(root / 'label' / f'{split}_{number}.png')
            for folder in ('A', 'B'):
                pixels = generator.integers(0, 255, (size, size, 3), dtype=np.uint8)
                pixels[..., 0] = mask
                Image.fromarray(pixels).save(root / folder / f'{split}_{number}.png')


def write_oscd(root: Path, size: int = 24) -> None:
    """Write OSCD: two cities for testing, the others for training.

    All bands of both images show the mask, 0 or 1000.
    """
    generator = np.random.default_rng(0)
    start = 'Onera Satellite Change Detection dataset - '
    for city, (lon, lat) in CITIES.items():
        change = generator.integers(0, 2, (size, size), dtype=np.uint16)
        for number in (1, 2):
            folder = root / f'{start}Images' / city / f'imgs_{number}_rect'
            for band in OSCD.all_bands:
                write_geotiff(folder / f'{band}.tif', 1000 * change[None], lon, lat)
        dates = root / f'{start}Images' / city / 'dates.txt'
        dates.write_text('date_1: 20150101\ndate_2: 20180101\n')
        split = 'Test' if city in ('lima', 'perth') else 'Train'
        mask = root / f'{start}{split} Labels' / city / 'cm' / 'cm.png'
        mask.parent.mkdir(parents=True)
        Image.fromarray(255 * change.astype(np.uint8)).save(mask)


def write_l8biome(root: Path, scenes: int = 10, size: int = 64) -> None:
    """Write L8 Biome: scenes in a row, whose pixels are the number of the scene.

    Each lies in the middle of a cell of one degree: 5.5 E, 6.5 E, ... at 45.5 N.
    """
    for number in range(scenes):
        lon, lat = 5.5 + number, 45.5
        name = f'LC8{number + 100:03}0292013{number + 100}LGN00'
        bands = np.full((11, size, size), number + 1, dtype=np.uint16)
        write_geotiff(root / f'{name}.TIF', bands, lon, lat, 30.0)
        mask = np.full((1, size, size), 128, dtype=np.uint8)
        write_geotiff(root / f'{name}_fixedmask.TIF', mask, lon, lat, 30.0)
