# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import csv
import json
import math
from pathlib import Path

import pytest

from torchgeo_experts.datasets.web_mercator import (
    tile_lon_lat,
    tile_metres,
    tile_numbers,
)

DATA = Path(__file__).parents[3] / 'shared' / 'data'


@pytest.mark.parametrize(
    ('name', 'numbers'),
    [
        ('1311_3077_13', (1311, 3077)),
        ('L15-0331E-1257N_1327_3160_13', (1327, 3160)),
        ('2235_3403_13-17N', (2235, 3403)),
        ('1417_3281_13_11N', (1417, 3281)),
        ('12_7_13', (12, 7)),
        ('8191_0_13', (8191, 0)),
    ],
)
def test_tile_numbers(name: str, numbers: tuple[int, int]) -> None:
    assert tile_numbers(name) == numbers


@pytest.mark.parametrize(
    'name', ['', 'paris', '1311_3077', '1311_3077_14', '1311_3077_130', '8192_1_13']
)
def test_no_tile(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is not named after a tile"):
        tile_numbers(name)


def test_corners_of_the_map() -> None:
    # The map is a square that ends at 85.05112878 degrees.
    edge = 85.05112877980659
    for x, y, lon, lat in (
        (0, 0, -180, edge),
        (8192, 8192, 180, -edge),
        (4096, 4096, 0, 0),
        (2048, 0, -90, edge),
    ):
        assert tile_lon_lat(x, y) == pytest.approx((lon, lat), abs=1e-9)
    # Half of the way from the equator to the edge: atan(sinh(pi / 2)).
    assert tile_lon_lat(0, 2048)[1] == pytest.approx(66.51326044311186)


def test_metres() -> None:
    # 40,075,016.69 m of equator in 8192 tiles; half as long at 60 degrees.
    assert tile_metres(0) == pytest.approx(4891.96981, abs=1e-4)
    assert tile_metres(60) == pytest.approx(4891.96981 / 2, abs=1e-4)
    assert tile_metres(-60) == tile_metres(60)


def test_real_centres() -> None:
    path = DATA / 'dynamicearthnet_lonlat.json'
    if not path.exists():
        pytest.skip('no table of places')
    for cubes in json.loads(path.read_text()).values():
        for name, lon_lat in cubes.items():
            x, y = tile_numbers(name)
            assert tile_lon_lat(x + 0.5, y + 0.5) == pytest.approx(lon_lat, abs=1e-9)


def test_real_images() -> None:
    """Georeferenced crops lie within the 3072 m around the centre of their tile."""
    path = DATA / 'geobench2_mini' / 'dynamicearthnet' / 'metadata.csv'
    if not path.exists():
        pytest.skip('no real crops')
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    for row in rows:
        x, y = tile_numbers(row['area_id'])
        lon, lat = tile_lon_lat(x + 0.5, y + 0.5)
        north = 111_320 * (float(row['lat']) - lat)
        east = 111_320 * (float(row['lon']) - lon) * math.cos(math.radians(lat))
        assert max(abs(north), abs(east)) < 3072 / 2
