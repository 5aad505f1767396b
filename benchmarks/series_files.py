# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Files in the forms of DynamicEarthNet and SpaceNet 7, of an invented land."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin

from torchgeo_experts.datasets.muds_spacenet7 import MONTHS
from torchgeo_experts.datasets.place_series import SIDE

CUBE, PLACE = '1311_3077_13', 'L15-0331E-1257N_1327_3160_13'

#: Half the width of Web Mercator and the size of a pixel of SpaceNet 7, in metres.
HALF, PIXEL = 20037508.342789244, 2 * 20037508.342789244 / 8192 / SIDE


def smooth(generator: np.random.Generator, cells: int) -> np.ndarray:
    """Draw a smooth field of values about 0, float32, shape (1024, 1024)."""
    coarse = torch.from_numpy(generator.standard_normal((1, 1, cells, cells)))
    fine = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode='bicubic')
    return fine[0, 0].float().numpy()


def scene(generator: np.random.Generator, bands: int, months: int) -> np.ndarray:
    """Draw images of a land that changes slowly, with grain, values about 0 to 1.

    Returns:
        Values, float32, shape (months, bands, 1024, 1024).
    """
    land = sum(smooth(generator, cells) / cells**0.3 for cells in (4, 16, 64, 200))
    images = np.empty((months, bands, SIDE, SIDE), np.float32)
    for month, band in itertools.product(range(months), range(bands)):
        season = 0.2 * smooth(generator, 8)
        grain = 0.06 * generator.standard_normal((SIDE, SIDE), np.float32)
        images[month, band] = 0.35 + 0.12 * (land + season) + 0.02 * band + 0.4 * grain
    return images.clip(0, 1)


def write_tif(
    path: Path, pixels: np.ndarray, how: dict[str, Any], transform: Any
) -> None:
    """Write an image in Web Mercator."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = pixels.shape
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        count=bands,
        height=height,
        width=width,
        dtype=pixels.dtype,
        crs='EPSG:3857',
        transform=transform,
        **how,
    ) as file:
        file.write(pixels)


def write_cube(folder: Path, images: np.ndarray, how: dict[str, Any]) -> None:
    """Write a cube of DynamicEarthNet: reflectances, and a band a class."""
    generator = np.random.default_rng(1)
    fields = np.stack([smooth(generator, 24) for _ in range(7)])
    transform = from_origin(552000, 4518000, 3, 3)
    for number, month in enumerate(MONTHS):
        day = month.replace('_', '-') + '-01'
        name = folder / 'planet' / '10N' / CUBE / 'PF-SR' / f'{day}.tif'
        write_tif(name, (10_000 * images[number]).astype(np.int16), how, transform)
        fields[number % 7] += 0.1 * smooth(generator, 24)
        classes = fields.argmax(axis=0) == np.arange(7)[:, None, None]
        name = folder / 'labels' / f'{CUBE}_10N' / 'Labels' / 'Raster' / 'SR'
        maps = 255 * classes.astype(np.uint8)
        write_tif(name / f'SR-{day}.tif', maps, how, transform)


def write_place(folder: Path, images: np.ndarray, how: dict[str, Any]) -> None:
    """Write a place of SpaceNet 7: images with alpha, and a thousand footprints."""
    _, x, y, _ = PLACE.split('_')
    west, north = int(x) * SIDE * PIXEL - HALF, HALF - int(y) * SIDE * PIXEL
    transform = from_origin(west, north, PIXEL, PIXEL)
    generator = np.random.default_rng(2)
    boxes = [
        box(west, north, *place) for place in generator.uniform(0, 1000, (1000, 2))
    ]
    for number, month in enumerate(MONTHS):
        name = f'global_monthly_{month}_mosaic_{PLACE}'
        pixels = (255 * images[number]).astype(np.uint8)
        pixels[3] = 255
        write_tif(folder / PLACE / 'images' / f'{name}.tif', pixels, how, transform)
        labels = folder / PLACE / 'labels'
        labels.mkdir(exist_ok=True)
        shown = {'type': 'FeatureCollection', 'features': boxes[: 600 + 15 * number]}
        (labels / f'{name}_Buildings.geojson').write_text(json.dumps(shown))


def box(west: float, north: float, column: float, row: float) -> dict[str, Any]:
    """Write a footprint of 4 x 3 pixels as a feature in degrees."""
    corners = []
    for dx, dy in ((0, 0), (4, 0), (4, 3), (0, 3), (0, 0)):
        x, y = west + (column + dx) * PIXEL, north - (row + dy) * PIXEL
        lat = 2 * np.arctan(np.exp(y / 6378137)) - np.pi / 2
        corners.append([float(x / HALF * 180), float(np.degrees(lat))])
    geometry = {'type': 'Polygon', 'coordinates': [corners]}
    return {'type': 'Feature', 'properties': {}, 'geometry': geometry}
