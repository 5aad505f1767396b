# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Cameras of iWildCam, and where they are."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..domains import check_coordinates
from .iwildcam_table import SPLITS, Integers, IWildCamTable


@dataclass(frozen=True, eq=False)
class Cameras:
    """All cameras, as columns with one value a camera.

    Args:
        number: Number of each camera (column ``location_remapped``), rising.
        trained: Whether a camera has training images.
        lon: Longitudes in degrees WGS 84, float64, NaN where unknown.
        lat: Latitudes in degrees WGS 84, float64, NaN where unknown.
    """

    number: Integers
    trained: npt.NDArray[np.bool_]
    lon: Tensor
    lat: Tensor


def find_cameras(table: IWildCamTable, gps: str | None) -> Cameras:
    """List the cameras, with their places.

    Args:
        table: All images.
        gps: Path of gps_locations.json. None: all places are unknown.

    Returns:
        The cameras.

    Raises:
        ValueError: If the file is no JSON, has another form, or a camera has half a
            coordinate or one that is no degree.
    """
    number, first = np.unique(table.camera, return_index=True)
    trained = np.isin(number, table.camera[table.split == SPLITS.index('train')])
    locations = table.location[first].tolist()
    if gps is None:
        unknown = torch.full((len(number),), torch.nan, dtype=torch.float64)
        return Cameras(number, trained, unknown, unknown.clone())
    return Cameras(number, trained, *read_places(gps, locations))


def read_places(path: str, locations: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Read the places of cameras.

    Args:
        path: Path of gps_locations.json: for each location (as text) its ``latitude``
            and ``longitude``.
        locations: Values of the column ``location``.

    Returns:
        Longitudes and latitudes in degrees WGS 84, float64, NaN for a location that the
        file does not have.

    Raises:
        ValueError: If the file is no JSON, has another form or knows none of the
            locations, or one has half a coordinate or one that is no degree.
    """
    try:
        with open(path, encoding='utf-8-sig') as file:
            entries = json.load(file)
    except ValueError as error:  # also of text that is not UTF-8
        raise ValueError(f'{path} is no JSON file: {error}') from error
    keys = list(entries) if isinstance(entries, dict) else []
    known = {str(location) for location in locations} & set(keys)
    if not known:
        found = f'its {len(keys)} keys are {", ".join(keys[:3])}, ...'
        raise ValueError(
            f'{path}: expected an object with an entry a location, such as'
            f' {{"{locations[0]}": {{"latitude": 1.5, "longitude": 20.25}}}}, whose keys'
            ' are values of the column location (not location_remapped) of metadata.csv;'
            f' {found if keys else f"found a {type(entries).__name__} without keys"}'
        )
    places = [
        _place(path, key, entries[key]) if key in known else (np.nan, np.nan)
        for key in map(str, locations)
    ]
    lon, lat = torch.tensor(places, dtype=torch.float64).T.contiguous()
    check_coordinates(lon, lat, [f'{path}, location {name}' for name in locations])
    return lon, lat


def _place(path: str, key: str, entry: Any) -> tuple[float, float]:
    """Read an entry. Null is a coordinate that is not told."""
    entry = {'longitude': None, 'latitude': None} if entry is None else entry
    values = []
    for axis in ('longitude', 'latitude'):
        value = entry.get(axis) if isinstance(entry, dict) else entry
        if not _is_coordinate(value):
            raise ValueError(
                f'{path}, location {key}: expected numbers under latitude and longitude,'
                f' found {entry!r}'
            )
        values.append(np.nan if value is None else float(value))
    return values[0], values[1]


def _is_coordinate(value: Any) -> bool:
    return isinstance(value, int | float | None) and not isinstance(value, bool)
