# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""A map of places."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from .coastlines import outlines

type Floats = npt.NDArray[np.float64]

#: Colours of land and water, of the usual roles of places, and of another one.
LAND, WATER = '#dcd8cc', '#f3f7fa'
COLOURS = {'training': '#3b6ea5', 'validation': '#e39b2d', 'test': '#c8384a'}
OTHER = '#6f6f6f'

#: Most places that are named, and most samples of a role that are drawn.
MOST_NAMES, MOST_DOTS = 45, 4000


class Places(NamedTuple):
    """Places that play the same role.

    Args:
        names: Names of P places.
        lon: Longitudes in degrees WGS 84, shape (P,), NaN where unknown.
        lat: Latitudes in degrees WGS 84, shape (P,), NaN where unknown.
        samples: Number of samples of each place, shape (P,).
        dots: Longitudes and latitudes of samples, shape (N, 2), NaN where unknown.
    """

    names: Sequence[str]
    lon: Floats
    lat: Floats
    samples: npt.NDArray[np.int64]
    dots: Floats


class View(NamedTuple):
    """A part of the world, in degrees; *east* may be above 180."""

    west: float
    east: float
    south: float
    north: float

    def moved(self, lon: Floats) -> Floats:
        """Move longitudes by whole turns, so that they lie east of the western border."""
        return self.west + (lon - self.west) % 360


def plot_places(roles: Mapping[str, Places]) -> Figure:
    """Draw places on a map, coloured by role and sized by samples.

    It shows the part of the world in which they lie, across the dateline if need be.
    Samples are small dots. Places that are unknown are left out.

    Args:
        roles: Places by the name of their role, such as 'training', 'validation' and
            'test'.

    Returns:
        The figure.

    Raises:
        ValueError: If no place is known.
    """
    view = view_of(
        np.concatenate([places.lon for places in roles.values()]),
        np.concatenate([places.lat for places in roles.values()]),
    )
    stretch = 1 / math.cos(math.radians((view.south + view.north) / 2))
    height = 7.5 * stretch * (view.north - view.south) / (view.east - view.west)
    figure, axes = plt.subplots(
        figsize=(9.5, min(height, 9) + 0.6), layout='constrained'
    )
    _draw_land(axes, view)
    most = max(int(places.samples.max(initial=1)) for places in roles.values())
    for role, places in roles.items():
        _draw_places(axes, view, role, places, most)
    if sum(len(places.names) for places in roles.values()) <= MOST_NAMES:
        for places in roles.values():
            _draw_names(axes, view, places)
    axes.set(xlim=view[:2], ylim=view[2:], aspect=stretch, facecolor=WATER)
    axes.xaxis.set_major_formatter(lambda value, _: _degrees(value, 'E', 'W'))
    axes.yaxis.set_major_formatter(lambda value, _: _degrees(value, 'N', 'S'))
    axes.tick_params(labelsize=7, color='#bbbbbb')
    axes.spines[:].set_color('#bbbbbb')
    figure.legend(loc='outside lower center', ncols=3, fontsize=8, frameon=False)
    return figure


def view_of(lon: Floats, lat: Floats) -> View:
    """Find the part of the world in which places lie, with a margin.

    Args:
        lon: Longitudes in degrees, shape (P,), NaN where unknown.
        lat: Latitudes in degrees, shape (P,), NaN where unknown.

    Returns:
        The part, or the world if they lie all around it.

    Raises:
        ValueError: If no place is known.
    """
    known = ~(np.isnan(lon) | np.isnan(lat))
    if not known.any():
        raise ValueError('no place is known, there is nothing to draw on a map')
    # The widest gap between longitudes is what is not shown.
    east = np.unique(lon[known] % 360)
    gaps = np.diff(east, append=east[0] + 360)
    widest = int(gaps.argmax())
    width, height = 360 - gaps[widest], np.ptp(lat[known])
    if width > 150:
        return View(-180, 180, min(-60, lat[known].min() - 5), 85)
    middle = east[(widest + 1) % len(east)] + width / 2
    middle = (middle + 180) % 360 - 180
    margin = max(0.12 * max(width, height), 1.0)
    width, height = width + 2 * margin, height + 2 * margin
    south, north = lat[known].min() - margin, lat[known].max() + margin
    # Neither a strip nor a column.
    shrunk = width * math.cos(math.radians((south + north) / 2))
    width *= max(1, 0.9 * height / shrunk)
    higher = max(0, shrunk / 2.2 - height) / 2
    south, north = max(south - higher, -90), min(north + higher, 90)
    west = middle - min(width, 360) / 2
    return View(west, west + min(width, 360), south, north)


def _draw_land(axes: Axes, view: View) -> None:
    span = view.east - view.west
    detail: Literal['crude', 'low', 'intermediate'] = 'crude'
    if span < 90:
        detail = 'low' if span > 12 else 'intermediate'
    for lakes, colour in ((False, LAND), (True, WATER)):
        shown = []
        for outline in outlines(detail, lakes):
            west, south = outline.min(axis=0)
            east, north = outline.max(axis=0)
            for turn in (-360, 0, 360):
                across = west + turn < view.east and east + turn > view.west
                if across and south < view.north and north > view.south:
                    shown.append(outline + np.array([turn, 0], np.float32))
        # Edges of the same colour close the gap at the dateline.
        axes.add_collection(
            PolyCollection(shown, facecolor=colour, edgecolor=colour, linewidth=0.4)
        )


def _draw_places(axes: Axes, view: View, role: str, places: Places, most: int) -> None:
    colour = COLOURS.get(role, OTHER)
    lon, lat = places.dots[:: max(1, math.ceil(len(places.dots) / MOST_DOTS))].T
    # Once more beyond each border, where a place on it is seen from the other side.
    turns = np.array([[-360], [0], [360]])

    def everywhere(lon: Floats, lat: Floats) -> tuple[Floats, Floats]:
        """Repeat places a turn to the west and to the east."""
        return (view.moved(lon) + turns).ravel(), np.tile(lat, len(turns))

    axes.scatter(*everywhere(lon, lat), 2, colour, linewidths=0, alpha=0.5)
    count, total = len(places.names), int(places.samples.sum())
    unknown = int(np.isnan(places.lon).sum())
    domains = 'domain' if count == 1 else 'domains'
    label = f'{role}: {count} {domains}, {total:,} samples'
    axes.scatter(
        *everywhere(places.lon, places.lat),
        np.tile(14 + 150 * places.samples / most, len(turns)),
        colour,
        edgecolors='white',
        linewidths=0.7,
        alpha=0.9,
        label=f'{label} ({unknown} not on the map)' if unknown else label,
    )


def _draw_names(axes: Axes, view: View, places: Places) -> None:
    for name, lon, lat in zip(
        places.names, view.moved(places.lon), places.lat, strict=True
    ):
        if not math.isnan(lon):
            text = axes.annotate(
                name,
                (lon, lat),
                (0, 6),
                textcoords='offset points',
                ha='center',
                fontsize=6,
                color='#333333',
            )
            # A halo, so that names can be read on anything.
            text.set_path_effects([withStroke(linewidth=1.5, foreground='white')])


def _degrees(value: float, positive: str, negative: str) -> str:
    """Write degrees, also those of another turn."""
    value = (value + 180) % 360 - 180
    side = '' if value in (0, -180) else positive if value > 0 else negative
    return f'{abs(value):g}°{side}'
