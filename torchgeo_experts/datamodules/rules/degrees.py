# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Degrees WGS 84 from any coordinate reference system."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pyproj import CRS, Transformer

type Floats = npt.NDArray[np.float64]


def to_degrees(crs: Any, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Transform coordinates to longitude and latitude.

    Args:
        crs: Coordinate reference system of *x* and *y*: what pyproj understands.
        x: Eastings or longitudes, shape (N,).
        y: Northings or latitudes, shape (N,).

    Returns:
        Longitudes in [-180, 180] and latitudes, in degrees WGS 84.
    """
    lon, lat = _transformer(CRS.from_user_input(crs)).transform(x, y)
    lon, lat = np.asarray(lon, dtype=float), np.asarray(lat, dtype=float)
    # Some systems count longitudes from 0 to 360.
    return np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon), lat


@lru_cache(maxsize=128)
def _transformer(crs: CRS) -> Transformer:
    return Transformer.from_crs(crs, 'EPSG:4326', always_xy=True)
