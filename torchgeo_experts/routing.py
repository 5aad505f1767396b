# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What a gate decides all over the Earth, from coordinates alone."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from .coastlines import outlines

#: Cells of a map from west to east.
COLUMNS = 180

#: Margin around the places of training in degrees, and how far these may reach for a map
#: of their part of the world.
MARGIN, REACH = 10, 70


class Area(NamedTuple):
    """A part of the world, in degrees."""

    west: float = -180.0
    east: float = 180.0
    south: float = -90.0
    north: float = 90.0

    @classmethod
    def around(cls, lon: Tensor, lat: Tensor) -> 'Area':
        """Find what to draw of the world.

        Args:
            lon: Longitudes of the places of training in degrees, shape (N,).
            lat: Latitudes in degrees, shape (N,).

        Returns:
            Their part of the world if they lie close together, else all of it.
        """
        if not len(lon) or max(lon.max() - lon.min(), lat.max() - lat.min()) > REACH:
            return cls()
        west, east = float(lon.min()) - MARGIN, float(lon.max()) + MARGIN
        south, north = float(lat.min()) - MARGIN, float(lat.max()) + MARGIN
        return cls(max(west, -180), min(east, 180), max(south, -90), min(north, 90))


@dataclass(frozen=True)
class RoutingMap:
    """Routes of the cells of a grid of longitudes and latitudes.

    Args:
        area: Part of the world.
        lon: Longitudes of the columns in degrees, shape (W,).
        lat: Latitudes of the rows in degrees, from the north, shape (H,).
        weights: Weights of the experts, shape (H, W, E). They sum up to less than 1 where
            they fade far from the places of training.
        distance: Distance to the places of training in km, shape (H, W).
        seen: Longitudes and latitudes of the places of training in degrees, (2, N).
    """

    area: Area
    lon: Tensor
    lat: Tensor
    weights: Tensor
    distance: Tensor
    seen: Tensor

    @classmethod
    @torch.no_grad()
    def of(
        cls, backbone: Any, block: int = -1, area: Area | None = None
    ) -> 'RoutingMap':
        """Ask a gate.

        Args:
            backbone: A :class:`~torchgeo_experts.models.MoGEBackbone`.
            block: Which of the blocks with experts.
            area: Part of the world. Default: that of the places of training.

        Returns:
            The map, of evaluation mode.
        """
        seen = torch.stack(backbone.coverage.places()).cpu()
        area = area or Area.around(*seen)
        step = (area.east - area.west) / COLUMNS
        lon = torch.arange(area.west + step / 2, area.east, step)
        lat = torch.arange(area.north - step / 2, area.south, -step)
        device = backbone.gates[0].codebook.device
        rows, columns = torch.meshgrid(lat, lon, indexing='ij')
        places = columns.flatten().to(device), rows.flatten().to(device)
        training = backbone.training
        backbone.eval()
        weights = backbone.route(*places)[block].weights.cpu()
        backbone.train(training)
        distance = backbone.coverage.distance(*places).cpu()
        shape = (len(lat), len(lon))
        weights, distance = (x.unflatten(0, shape) for x in (weights, distance))
        return cls(area, lon, lat, weights, distance, seen)

    @property
    def num_experts(self) -> int:
        """Number of experts."""
        return self.weights.shape[2]

    @property
    def header(self) -> list[str]:
        """Names of the columns of :meth:`rows`."""
        return ['lon', 'lat', 'distance_km', *map(str, range(self.num_experts))]

    def rows(self) -> list[list[float]]:
        """List longitude, latitude, distance and the weights of each cell."""
        table = []
        for i, lat in enumerate(self.lat.tolist()):
            for j, lon in enumerate(self.lon.tolist()):
                weights = [round(w, 6) for w in self.weights[i, j].tolist()]
                distance = round(float(self.distance[i, j]), 1)
                table.append([round(lon, 4), round(lat, 4), distance, *weights])
        return table

    def plot(self) -> Figure:
        """Draw the first choice and the distance of each place, and weights of experts.

        Returns:
            The figure. White dots are places of training.
        """
        count = self.num_experts + 2
        columns = 2 if count <= 6 else 3
        lines = -(-count // columns)
        width, height = (
            self.area.east - self.area.west,
            self.area.north - self.area.south,
        )
        figure, axes = plt.subplots(
            lines,
            columns,
            figsize=(4.6 * columns, (3.9 * height / width + 0.3) * lines),
            squeeze=False,
            layout='constrained',
        )
        first, far, *others = axes.flat
        self._draw_first(first)
        self._draw_distance(far)
        for expert, ax in enumerate(others):
            if expert < self.num_experts:
                image = self._draw(ax, self.weights[..., expert], 'magma', (0, 1))
                ax.set_title(f'weight of expert {expert}', fontsize='medium')
            else:
                ax.axis('off')
        figure.colorbar(image, ax=others, shrink=0.6, label='weight')
        return figure

    def _draw_first(self, ax: Axes) -> None:
        found = [colormaps['tab20'](i % 20) for i in range(self.num_experts)]
        top = self.weights.argmax(dim=2)
        alone = self.weights.sum(dim=2) == 0
        shown = top.float().where(~alone, torch.nan)
        limits = (-0.5, self.num_experts - 0.5)
        self._draw(ax, shown, ListedColormap(found), limits)
        ax.set_title('first choice', fontsize='medium')
        # What is nobody's first choice needs no entry.
        patches = [
            Patch(facecolor=found[e], label=str(e))
            for e in top[~alone].unique().tolist()
        ]
        if alone.any():
            patches.append(Patch(facecolor='white', edgecolor='grey', label='shared'))
        ax.legend(handles=patches, loc='lower left', ncols=3, fontsize='x-small')
        lon, lat = self.seen.numpy()
        ax.scatter(lon, lat, s=3, c='white', edgecolors='black', linewidths=0.3)

    def _draw_distance(self, ax: Axes) -> None:
        finite = self.distance[self.distance.isfinite()]
        farthest = float(finite.max()) if len(finite) else 1.0
        image = self._draw(ax, self.distance, 'viridis_r', (0, farthest))
        ax.figure.colorbar(image, ax=ax, shrink=0.8, label='km')
        ax.set_title('distance to the places of training', fontsize='medium')

    def _draw(
        self, ax: Axes, values: Tensor, cmap: Any, limits: tuple[float, float]
    ) -> Any:
        """Draw values of cells below the coastlines."""
        west, east, south, north = self.area
        image = ax.imshow(
            values.numpy(),
            extent=(west, east, south, north),
            cmap=cmap,
            vmin=limits[0],
            vmax=limits[1],
            interpolation='nearest',
        )
        # One artist: hundreds of lines take seconds.
        ax.add_collection(LineCollection(outlines(), colors='grey', linewidths=0.4))
        ax.set(xlim=(west, east), ylim=(south, north), xticks=[], yticks=[])
        return image


def effective_number(shares: Tensor) -> float:
    """Tell how many experts are in use, as the exponential of the entropy.

    Args:
        shares: Shares of the experts, shape (E,), any sum.

    Returns:
        1 if one expert has everything, E if all have the same.
    """
    shares = shares / shares.sum()
    return float((-(shares * shares.clamp(min=1e-12).log()).sum()).exp())
