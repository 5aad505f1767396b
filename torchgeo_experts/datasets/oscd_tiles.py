# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Ways to cut a city of OSCD into tiles of 75 x 75 pixels."""

from abc import ABC, abstractmethod
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

#: Height and width of tiles in pixels: Table 1 of CoDEX.
TILE = 75

#: Tiles of a city in each direction, where all cities have as many.
GRID = 8


class Span(NamedTuple):
    """What a row (or column) of tiles covers of the height (or width) of a city."""

    #: Its number, from the top (or left).
    number: int
    #: First pixel that is read.
    start: int
    #: First pixel behind it that is not read.
    stop: int
    #: Its middle, as a part of the height (or width).
    centre: float
    #: Height (or width) of the city in pixels.
    length: int


class Tiling(ABC):
    """A way to cut cities into tiles: rows and columns are cut alike."""

    @abstractmethod
    def spans(self, length: int) -> list[Span]:
        """Cut the height or the width of a city.

        Args:
            length: Height or width in pixels, at least 75.

        Returns:
            The spans of all rows or columns of tiles.
        """

    def fit_image(self, image: Tensor, rows: Span, columns: Span) -> Tensor:
        """Turn the pixels that a tile covers into those of the tile.

        Args:
            image: The pixels, float32, shape (N, height, width) as the spans tell.
            rows: Span of the rows.
            columns: Span of the columns.

        Returns:
            The tile, float32, shape (N, 75, 75).
        """
        return image

    def fit_mask(self, mask: Tensor, rows: Span, columns: Span) -> Tensor:
        """Turn the classes that a tile covers into those of the tile.

        Args:
            mask: The classes, shape (N, height, width) as the spans tell.
            rows: Span of the rows.
            columns: Span of the columns.

        Returns:
            The tile, of the same type, shape (N, 75, 75).
        """
        return mask


class NativeTiling(Tiling):
    """Tiles side by side from the upper left corner, at 10 m.

    What is left over at the right and lower border is in no tile. The number of tiles
    is that of the city's size.
    """

    def spans(self, length: int) -> list[Span]:
        """Cut a side into as many whole tiles as there is room for."""
        starts = range(0, length - TILE + 1, TILE)
        return [_window(number, start, length) for number, start in enumerate(starts)]


class OverlapTiling(Tiling):
    """64 tiles a city, 8 x 8 at equal distances from border to border, at 10 m.

    Where a side is shorter than 600 pixels, tiles overlap; where it is longer, pixels
    between them are in no tile.
    """

    def spans(self, length: int) -> list[Span]:
        """Cut a side into eight windows, the first and last at its ends."""
        # Rounded in integers: halves of floats would go up and down.
        gaps = 2 * (GRID - 1)
        starts = [(2 * i * (length - TILE) + GRID - 1) // gaps for i in range(GRID)]
        return [_window(number, start, length) for number, start in enumerate(starts)]


class ResizedTiling(Tiling):
    """64 tiles a city: the city, whatever its size, is made 600 x 600 and cut 8 x 8.

    Images are resized bilinearly with antialiasing, masks get the class of the nearest
    pixel. Resizing is linear, and the same along rows and columns, so that each tile is
    computed from the pixels it needs, by two small matrices, and no city is ever resized
    as a whole.
    """

    def spans(self, length: int) -> list[Span]:
        """Cut a side into eighths, with the neighbours that interpolation needs."""
        return [
            Span(i, start, start + weights.shape[1], (i + 0.5) / GRID, length)
            for i, (start, weights) in enumerate(_eighths(length))
        ]

    def fit_image(self, image: Tensor, rows: Span, columns: Span) -> Tensor:
        """Resize the pixels that a tile covers."""
        down, across = (_eighths(s.length)[s.number][1] for s in (rows, columns))
        return (down @ image.double() @ across.T).float()

    def fit_mask(self, mask: Tensor, rows: Span, columns: Span) -> Tensor:
        """Take the classes of the nearest pixels."""
        return mask[..., _nearest(rows)[:, None], _nearest(columns)]


#: Tilings by name.
TILINGS: dict[str, Tiling] = {
    'native': NativeTiling(),
    'paper': ResizedTiling(),
    'overlap': OverlapTiling(),
}


def _window(number: int, start: int, length: int) -> Span:
    """Make the span of a tile that is cut out as it is."""
    return Span(number, start, start + TILE, (start + TILE / 2) / length, length)


@cache
def _eighths(length: int) -> list[tuple[int, Tensor]]:
    """Tell how the pixels of a side of 600 are made, eighth by eighth.

    Args:
        length: Pixels of the side to resize.

    Returns:
        For each eighth the first pixel it needs, and the weights of this and the next
        pixels in each of its 75 pixels, float64, shape (75, pixels).
    """
    one = torch.eye(length, dtype=torch.float64)[None, None]
    size = (GRID * TILE, length)
    weights = F.interpolate(one, size, mode='bilinear', antialias=True)[0, 0]
    eighths = []
    for part in weights.split(TILE):
        used = part.any(dim=0).nonzero().flatten()
        first, last = int(used[0]), int(used[-1])
        eighths.append((first, part[:, first : last + 1].clone()))
    return eighths


def _nearest(span: Span) -> Tensor:
    """Find the pixel nearest to the centre of each of the 75, counted from the first."""
    pixels = torch.arange(TILE) + span.number * TILE
    return (2 * pixels + 1) * span.length // (2 * GRID * TILE) - span.start
