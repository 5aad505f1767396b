# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""DynamicEarthNet in its two layouts on disk, nearly all of it blank."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import from_origin

SIDE, PATCH = 1024, 128
MONTHS = [f'{year}-{month:02}' for year in (2018, 2019) for month in range(1, 13)]

#: Patches that are not blank: row and column of the grid.
CELLS = ((0, 0), (2, 5), (7, 7))

#: Where the files of each cube lie, in all the irregular ways of the real ones: folder
#: of images, folder of labels, beginning of the names of labels, separator of dates.
CUBES = {
    '1311_3077_13': (
        'planet/10N/23E-188N',
        'labels/1311_3077_13_10N/Labels/Raster/10N-122W-40N-L3H-SR',
        '10N-122W-40N-L3H-SR',
        '_',
    ),
    '2235_3403_13': (
        'planet.17N/17N/16E-156N',
        'labels/2235_3403_13-17N/Labels/Raster/17N-81W-29N-L3H-SR',
        '17N-81W-29N-L3H-SR',
        '-',
    ),
    '2470_5030_13': (
        'planet.19N',
        # The degrees are wrong, as in the real name: it lies at 71 W, 38 S.
        'labels/2470_5030_13_19S/Raster/19S-5E-34N-L3H-SR',
        '19S-5E-34N-L3H-SR',
        '-',
    ),
    '6688_3456_13': (
        'planet/UTM-24000/49N/33E-124N',
        'labels/6688_3456_13_49N/Labels/Raster/49N-113E-22N-L3H-SR',
        'SR',
        '-',
    ),
    '1973_3709_13': (
        'planet/15N/24E-85N',
        'labels/1973_3709_13_15N/Labels/Raster/15N-93W-16N-L3H-SR',
        '15N-93W-16N-L3H-SR',
        '-',
    ),
    '1286_2921_13': (
        'planet/10N/21E-211N',
        'labels/1286_2921_13_10N/Labels/Raster/10N-123W-45N-L3H-SR',
        '10N-123W-45N-L3H-SR',
        '-',
    ),
}
TRAIN = ('1311_3077_13', '2235_3403_13', '2470_5030_13', '6688_3456_13')
VAL, TEST = ('1973_3709_13',), ('1286_2921_13',)


def random(*key: int) -> np.random.Generator:
    return np.random.default_rng([7, *key])


def number(cube: str) -> int:
    return int(cube[:4])


def reflectances(cube: str, month: int, cell: tuple[int, int]) -> np.ndarray:
    """Draw a patch: blue, green, red, near infrared, int16."""
    rng = random(number(cube), month, *cell)
    return rng.integers(100, 9000, (4, PATCH, PATCH), dtype=np.int16)


def labels(cube: str, month: int, cell: tuple[int, int]) -> np.ndarray:
    """Draw the classes of a patch, 0 to 6, in blocks of 16 x 16, and 255 for none."""
    rng = random(number(cube), month, *cell, 1)
    blocks = rng.choice([0, 1, 2, 3, 4, 5, 6, 255], (8, 8)).astype(np.uint8)
    return blocks.repeat(16, axis=0).repeat(16, axis=1)


def write_geotiff(
    path: Path,
    patches: Mapping[tuple[int, int], np.ndarray],
    bands: int,
    dtype: str,
    height: int = SIDE,
    width: int = SIDE,
) -> Path:
    """Write patches to an image that is blank elsewhere, where blank takes no space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        count=bands,
        height=height,
        width=width,
        dtype=dtype,
        crs='EPSG:32610',
        transform=from_origin(552000, 4518000, 3, 3),
        tiled=True,
        blockxsize=PATCH,
        blockysize=PATCH,
        sparse_ok=True,
    ) as file:
        for (row, column), pixels in patches.items():
            window = rasterio.windows.Window(column * PATCH, row * PATCH, PATCH, PATCH)
            file.write(pixels, window=window)
    return path


def one_hot(classes: np.ndarray) -> np.ndarray:
    """Give each class its band, 255 where it holds."""
    return np.stack([255 * (classes == c) for c in range(7)]).astype(np.uint8)


def image_path(root: Path, cube: str, month: int) -> Path:
    return root / CUBES[cube][0] / cube / 'PF-SR' / f'{MONTHS[month]}-01.tif'


def label_path(root: Path, cube: str, month: int) -> Path:
    _, folder, start, separator = CUBES[cube]
    date = f'{MONTHS[month]}-01'.replace('-', separator)
    return root / folder / f'{start}-{date}.tif'


def write_raw(
    root: Path, cubes: Iterable[str] = CUBES, months: Iterable[int] = range(24)
) -> Path:
    """Write the GeoTIFF files of some cubes, and files that are not to be read."""
    months = list(months)
    for cube in cubes:
        for month in months:
            images = {cell: reflectances(cube, month, cell) for cell in CELLS}
            write_geotiff(image_path(root, cube, month), images, 4, 'int16')
            maps = {cell: one_hot(labels(cube, month, cell)) for cell in CELLS}
            write_geotiff(label_path(root, cube, month), maps, 7, 'uint8')
        images_of = image_path(root, cube, 0).parent
        for name in ('2018-01-02.tif', '2020-01-01.tif', '._2018-01-01.tif', 'a.txt'):
            (images_of / name).touch()
        (images_of.parent / 'PF-QA').mkdir(exist_ok=True)
        (images_of.parent / 'PF-QA' / '2018-01-01.tif').touch()
        vector = root / CUBES[cube][1].split('Raster')[0] / 'Vector'
        vector.mkdir(parents=True, exist_ok=True)
        (vector / 'cube-2018-01-01.tif').touch()
    return root


def grey(cube: str, month: int, cell: tuple[int, int]) -> int:
    """Draw the one value of a patch of a JPEG file, which JPEG keeps as it is."""
    return int(random(number(cube), month, *cell, 2).integers(1, 255))


def write_jpegs(folder: Path, cube: str, month: int) -> None:
    """Write the two files of an image, near infrared being 255 less the others."""
    day = np.datetime64(f'{MONTHS[month]}-01') - np.datetime64('2018-01-01')
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    for row, column in CELLS:
        rows = slice(row * PATCH, (row + 1) * PATCH)
        columns = slice(column * PATCH, (column + 1) * PATCH)
        pixels[rows, columns] = grey(cube, month, (row, column))
    folder.mkdir(parents=True, exist_ok=True)
    stem = f'{folder.name}_{day.astype(int)}'
    rgb = Image.fromarray(np.stack([pixels] * 3, axis=-1))
    rgb.save(folder / f'{stem}_rgb.jpeg', quality=100)
    Image.fromarray(255 - pixels).save(folder / f'{stem}_infra.jpeg', quality=100)


def write_processed(
    root: Path,
    splits: Mapping[str, Sequence[str]] | None = None,
    months: Iterable[int] = range(24),
    listed: bool = True,
) -> Path:
    """Write JPEG files, arrays of labels, and the list of splits if wished."""
    splits = splits or {'train': TRAIN, 'val': VAL, 'test': TEST}
    months = list(months)
    for split, cubes in splits.items():
        for cube in cubes:
            folder = root / split / cube
            for month in months:
                write_jpegs(folder, cube, month)
            # Days that only a date augmentation would read.
            (folder / f'{cube}_30_rgb.jpeg').touch()
            (folder / f'._{cube}_0_rgb.jpeg').touch()
            write_labels(root, cube)
    if listed:
        (root / 'split.json').write_text(json.dumps(splits))
    return root


def write_labels(root: Path, cube: str) -> Path:
    """Write the array of labels of a cube, 6 where there is none."""
    path = root / 'labels' / f'{cube}.npy'
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.lib.format.open_memmap(path, 'w+', np.int8, (24, SIDE, SIDE))
    for month in range(24):
        for row, column in CELLS:
            classes = labels(cube, month, (row, column))
            rows = slice(row * PATCH, (row + 1) * PATCH)
            columns = slice(column * PATCH, (column + 1) * PATCH)
            array[month, rows, columns] = np.minimum(classes, 6)
    array.flush()
    return path
