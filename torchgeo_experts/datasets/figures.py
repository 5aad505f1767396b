# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Figures of images and maps of classes."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

#: Colours of classes on maps.
COLOURS = {
    'ground': '#d9cdb8',
    'water': '#3f7fbf',
    'forest': '#1f6f3a',
    'grassland': '#8fc25a',
    'cropland': '#e6c34a',
    'built-up': '#c63f3a',
    'bare': '#8a6f55',
    'wetland': '#4fb0a5',
    'shrubland': '#b08fc7',
    'snow': '#f4f7fb',
    'mangrove': '#2f3f7f',
    'no change': '#ececec',
    'change': '#c63f3a',
    'no building': '#ececec',
    'building': '#c63f3a',
    'impervious surface': '#c63f3a',
    'agriculture': '#e6c34a',
    'forest & other vegetation': '#1f6f3a',
    'wetlands': '#4fb0a5',
    'soil': '#8a6f55',
    'snow & ice': '#bcd9f0',
}

#: Colour of pixels of no class.
IGNORED_COLOUR = '#4d4d4d'


class Panel(NamedTuple):
    """A picture of a figure."""

    title: str
    #: Red, green and blue between 0 and 1, shape (H, W, 3), or classes, shape (H, W).
    values: Tensor


def photo(title: str, image: Tensor) -> Panel:
    """Show an image.

    Args:
        title: Title.
        image: Bands, the first three red, green and blue, 0 to 255, shape (C, H, W).

    Returns:
        The panel.
    """
    return Panel(title, (image[:3].permute(1, 2, 0) / 255).clamp(0, 1))


def stretched(title: str, image: Tensor) -> Panel:
    """Show an image whose values may be anything, such as reflectances.

    Args:
        title: Title.
        image: Bands, the first three red, green and blue (or the first one grey),
            shape (C, H, W). The range between the percentiles 2 and 98 is shown.

    Returns:
        The panel.
    """
    image = image[[0, 1, 2] if len(image) >= 3 else [0, 0, 0]].permute(1, 2, 0).double()
    low, high = np.nanpercentile(image, [2, 98])
    pixels = (image - low) / max(high - low, 1e-6)
    return Panel(title, pixels.nan_to_num().clamp(0, 1))


def class_map(title: str, classes: Tensor) -> Panel:
    """Show a map of classes.

    Args:
        title: Title.
        classes: Class of each pixel, shape (H, W). What is no class is dark grey.

    Returns:
        The panel.
    """
    return Panel(title, classes)


def day(date: Tensor) -> str:
    """Write a date.

    Args:
        date: Days since 2018-01-01, shape ().

    Returns:
        The date as year, month and day.
    """
    return str(np.datetime64('2018-01-01') + np.timedelta64(int(date), 'D'))


def show(
    rows: Sequence[Sequence[Panel]],
    classes: Sequence[str],
    show_titles: bool,
    suptitle: str | None,
) -> Figure:
    """Draw panels with a legend of the classes.

    Args:
        rows: Panels, row after row, of equal lengths.
        classes: Class names.
        show_titles: Flag indicating whether to show titles above each panel.
        suptitle: Optional string to use as a suptitle.

    Returns:
        The figure.
    """
    size = (2.2 * len(rows[0]), 2.4 * len(rows) + 0.6)
    figure, axes = plt.subplots(
        len(rows), len(rows[0]), figsize=size, squeeze=False, layout='constrained'
    )
    colours = _colours(classes)
    palette = ListedColormap(colours).with_extremes(bad=IGNORED_COLOUR)
    for ax, panel in zip(axes.flat, [p for row in rows for p in row], strict=True):
        ax.imshow(
            _shown(panel.values, len(classes)),
            cmap=palette,
            vmin=-0.5,
            vmax=len(classes) - 0.5,
            interpolation='nearest',
        )
        ax.axis('off')
        if show_titles:
            ax.set_title(panel.title, fontsize='medium')
    patches = [
        Patch(facecolor=colour, edgecolor='grey', label=name)
        for colour, name in zip(colours, classes, strict=True)
    ]
    shown = [p.values for row in rows for p in row if p.values.ndim == 2]
    if any(_shown(values, len(classes)).mask.any() for values in shown):
        patches.append(Patch(facecolor=IGNORED_COLOUR, label='ignored'))
    figure.legend(
        handles=patches, loc='outside lower center', ncols=4, fontsize='small'
    )
    if suptitle is not None:
        figure.suptitle(suptitle)
    return figure


def _colours(classes: Sequence[str]) -> list[str]:
    """Give each class a colour, known ones the one they always have."""
    others = colormaps['tab20']
    return [COLOURS.get(name, to_hex(others(i % 20))) for i, name in enumerate(classes)]


def _shown(values: Tensor, classes: int) -> np.ma.MaskedArray:
    """Mask what is no class."""
    pixels = np.ma.masked_array(values.numpy())
    if values.ndim == 2:
        pixels = np.ma.masked_outside(pixels, 0, classes - 1)
    # An array even where nothing is masked.
    pixels.mask = np.ma.getmaskarray(pixels)
    return pixels
