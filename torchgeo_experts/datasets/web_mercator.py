# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Places that are named after tiles of a web map."""

import math
import re

#: Zoom of the tiles after which the places of Planet's mosaics are named.
ZOOM = 13

#: Length of the equator of the sphere of Web Mercator, in metres.
EQUATOR = 2 * math.pi * 6378137

_TILE = re.compile(r'(?<!\d)(\d{1,4})_(\d{1,4})_13(?!\d)')


def tile_numbers(name: str) -> tuple[int, int]:
    """Read the numbers of a tile from the name of a place.

    Args:
        name: Name that holds ``x_y_13``, such as ``L15-0331E-1257N_1327_3160_13``.

    Returns:
        Column x, from the west, and row y, from the north.

    Raises:
        ValueError: If the name holds none, or one that is on no map.
    """
    found = _TILE.search(name)
    numbers = (int(found[1]), int(found[2])) if found else (2**ZOOM, 0)
    if max(numbers) >= 2**ZOOM:
        raise ValueError(
            f'{name!r} is not named after a tile of a web map: expected x_y_13 with x and'
            f' y below {2**ZOOM}, such as 1311_3077_13'
        )
    return numbers


def tile_lon_lat(x: float, y: float) -> tuple[float, float]:
    """Tell the place of a point of the web map.

    Args:
        x: Columns of tiles from the west; the centre of a column ends with .5.
        y: Rows of tiles from the north.

    Returns:
        Longitude and latitude in degrees WGS 84.
    """
    side = 2**ZOOM
    lat = math.atan(math.sinh(math.pi * (1 - 2 * y / side)))
    return 360 * x / side - 180, math.degrees(lat)


def tile_metres(lat: float) -> float:
    """Tell how long the side of a tile is on the ground.

    Args:
        lat: Latitude in degrees.

    Returns:
        Length in metres.
    """
    return EQUATOR * math.cos(math.radians(lat)) / 2**ZOOM
