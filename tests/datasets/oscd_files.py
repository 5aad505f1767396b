# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Small files in the layout of OSCD, with values that are known."""

import json
import shutil
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

FOLDER = 'Onera Satellite Change Detection dataset - '
ALL = [
    'B01',
    'B02',
    'B03',
    'B04',
    'B05',
    'B06',
    'B07',
    'B08',
    'B8A',
    'B09',
    'B10',
    'B11',
    'B12',
]
RGB = ['B04', 'B03', 'B02']
#: The official split.
TRAIN = [
    'abudhabi',
    'aguasclaras',
    'beihai',
    'beirut',
    'bercy',
    'bordeaux',
    'cupertino',
    'hongkong',
    'mumbai',
    'nantes',
    'paris',
    'pisa',
    'rennes',
    'saclay_e',
]
TEST = [
    'brasilia',
    'chongqing',
    'dubai',
    'lasvegas',
    'milano',
    'montpellier',
    'norcia',
    'rio',
    'saclay_w',
    'valencia',
]
#: Height and width in pixels, where they are not 80 and 78.
SIZES = {
    'aguasclaras': (151, 160),
    'beihai': (230, 75),
    'dubai': (160, 151),
    'mumbai': (76, 154),
}
#: West, south, east and north of some cities. Others have no such file.
BOXES = {
    'aguasclaras': (-48.05, -15.86, -48.0, -15.81),
    'beihai': (109.48, 21.53, 109.56, 21.62),
    'dubai': (55.19, 25.0, 55.25, 25.07),
    'mumbai': (72.9, 19.02, 72.95, 19.11),
}
#: Two dates as written, where they are not those of OTHER_DATES, and as days.
DATES = {
    'aguasclaras': ('20150815', '2017-06-30', -870, -185),
    'dubai': ('20161130', '20180304', -397, 62),
}
OTHER_DATES = ('20160101', '20180101', -731, 0)
#: Mode of the picture of the mask, where it is not grey.
MODES = {'aguasclaras': 'RGB', 'beihai': 'RGBA', 'dubai': 'P', 'mumbai': '1'}


def pixels(city: str) -> np.ndarray:
    """Values of the images of a city, shape (2, 13, H, W), bands in the order of ALL."""
    generator = np.random.default_rng(list(city.encode()))
    shape = (2, len(ALL), *SIZES.get(city, (80, 78)))
    return generator.integers(0, 20000, shape, dtype=np.uint16)


def changes(city: str) -> np.ndarray:
    """Where a city has changed, bool, shape (H, W)."""
    generator = np.random.default_rng(list(city[::-1].encode()))
    return generator.random(SIZES.get(city, (80, 78))) < 0.2


def write_tiff(path: Path, values: np.ndarray) -> None:
    """Write an image without georeference, bands first or of one band."""
    values = values if values.ndim == 3 else values[None]
    count, height, width = values.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        with rasterio.open(
            path,
            'w',
            driver='GTiff',
            count=count,
            height=height,
            width=width,
            dtype=values.dtype,
        ) as raster:
            raster.write(values)


def write_labels(folder: Path, city: str, mask: np.ndarray) -> None:
    """Write both forms of a mask."""
    (folder / city / 'cm').mkdir(parents=True)
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    picture = picture.convert(MODES.get(city, 'L'))
    picture.save(folder / city / 'cm' / 'cm.png')
    write_tiff(folder / city / 'cm' / f'{city}-cm.tif', mask.astype(np.uint8) + 1)


def write_images(
    folder: Path, city: str, values: np.ndarray, bands: Sequence[str]
) -> None:
    """Write images, and what lies beside them."""
    for date in (1, 2):
        for number, band in enumerate(bands):
            path = folder / city / f'imgs_{date}_rect' / f'{band}.tif'
            write_tiff(path, values[date - 1, number])
    # The original images, which nobody reads.
    name = 'S2A_OPER_MSI_L1C_TL_MTI__20160120T104345_A003020_T39QZG_B04.tif'
    write_tiff(folder / city / 'imgs_1' / name, values[0, 0, :7, :9])
    first, second, *_ = DATES.get(city, OTHER_DATES)
    (folder / city / 'dates.txt').write_text(f'date_1: {first}\r\ndate_2: {second}\n')
    if city in BOXES:
        west, south, east, north = BOXES[city]
        corners = [[west, north], [east, north], [east, south], [west, south]]
        geometry = {'type': 'Polygon', 'coordinates': [[*corners, corners[0]]]}
        feature = {'type': 'Feature', 'properties': {}, 'geometry': geometry}
        content = {'type': 'FeatureCollection', 'features': [feature]}
        (folder / city / f'{city}.geojson').write_text(json.dumps(content))


def write_oscd(
    root: Path, cities: Iterable[str] = (*TRAIN, *TEST), bands: Sequence[str] = ALL
) -> Path:
    """Write the three folders of some cities.

    Args:
        root: Folder to write to.
        cities: Names of the cities.
        bands: Names of the bands.

    Returns:
        The root.
    """
    numbers = [ALL.index(band) for band in bands]
    for city in cities:
        write_images(root / f'{FOLDER}Images', city, pixels(city)[:, numbers], bands)
        part = 'Train' if city in TRAIN else 'Test'
        write_labels(root / f'{FOLDER}{part} Labels', city, changes(city))
    (root / f'{FOLDER}Images' / 'README.txt').write_text('OSCD')
    return root


def zip_oscd(root: Path, target: Path) -> Path:
    """Pack each of the three folders as it is distributed.

    Args:
        root: Folder of the three folders.
        target: Folder of the zips.

    Returns:
        The folder of the zips.
    """
    target.mkdir(parents=True, exist_ok=True)
    for part in ('Images', 'Train Labels', 'Test Labels'):
        name = f'{FOLDER}{part}'
        shutil.make_archive(str(target / name), 'zip', root, name)
    return target
