# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains by a grid of longitude and latitude."""

import math
from decimal import Decimal

from torch import Tensor

from .base import PlaceRule


class GridDomains(PlaceRule):
    """Cells between parallels and meridians, named by their south-west corner.

    ``N40E010`` with a step of 10 degrees reaches from 40 to 50 degrees north and from 10
    to 20 degrees east. Cells shrink towards the poles.
    """

    def __init__(self, step: float) -> None:
        """Initialize a new GridDomains instance.

        Args:
            step: Width and height of a cell in degrees.

        Raises:
            ValueError: If *step* is no number of degrees between 0 and 180.
        """
        if not 0 < step <= 180:
            raise ValueError(f'step must be between 0 and 180 degrees, found {step}')
        self.step = step
        exponent = Decimal(str(step)).normalize().as_tuple().exponent
        self._decimals = max(0, -int(exponent))

    def names(self, lon: Tensor, lat: Tensor) -> list[str | None]:
        """Name the cells of places.

        Args:
            lon: Longitudes in degrees WGS 84, shape (N,), NaN where unknown.
            lat: Latitudes in degrees WGS 84, shape (N,), NaN where unknown.

        Returns:
            Name of the cell of each place, None where the place is unknown.
        """
        return [
            None if math.isnan(x + y) else self._cell(x, y)
            for x, y in zip(lon.tolist(), lat.tolist(), strict=True)
        ]

    def _cell(self, lon: float, lat: float) -> str:
        # Both ends of the globe belong to the cells beside them.
        column = math.floor((-180 if lon == 180 else lon) / self.step)
        row = min(math.floor(lat / self.step), math.ceil(90 / self.step) - 1)
        return self._corner(row, 'NS', 2) + self._corner(column, 'EW', 3)

    def _corner(self, index: int, sides: str, digits: int) -> str:
        width = digits + (self._decimals and 1 + self._decimals)
        degrees = abs(index * self.step)
        return f'{sides[index < 0]}{degrees:0{width}.{self._decimals}f}'
