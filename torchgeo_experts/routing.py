# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What a gate decides all over the Earth, from coordinates alone."""

from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from .coastlines import outlines
from .domains import Domains


@dataclass(frozen=True)
class RoutingMap:
    """Routes of the cells of a grid of longitudes and latitudes.

    Args:
        lon: Longitudes of the columns in degrees, shape (W,).
        lat: Latitudes of the rows in degrees, from the north, shape (H,).
        weights: Weights of the experts, shape (H, W, E).
    """

    lon: Tensor
    lat: Tensor
    weights: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, backbone: Any, block: int = -1, step: float = 2.0) -> 'RoutingMap':
        """Ask a gate.

        Args:
            backbone: A :class:`~torchgeo_experts.models.MoGEBackbone`.
            block: Which of the blocks with experts.
            step: Size of a cell in degrees.

        Returns:
            The map, of evaluation mode.
        """
        lon = torch.arange(-180 + step / 2, 180, step)
        lat = torch.arange(90 - step / 2, -90, -step)
        device = backbone.gates[0].codebook.device
        rows, columns = torch.meshgrid(lat, lon, indexing='ij')
        training = backbone.training
        backbone.eval()
        route = backbone.route(columns.flatten().to(device), rows.flatten().to(device))
        backbone.train(training)
        weights = route[block].weights.cpu()
        return cls(lon, lat, weights.unflatten(0, (len(lat), len(lon))))

    @property
    def num_experts(self) -> int:
        """Number of experts."""
        return self.weights.shape[2]

    def rows(self) -> list[list[float]]:
        """List longitude, latitude and the weights of each cell."""
        table = []
        for lat, line in zip(self.lat.tolist(), self.weights.tolist(), strict=True):
            for lon, weights in zip(self.lon.tolist(), line, strict=True):
                table.append([lon, lat, *(round(w, 6) for w in weights)])
        return table

    def plot(self, places: Domains | None = None) -> Figure:
        """Draw the first choice of each place, and the weight of each expert.

        Args:
            places: Training domains, to tell where the gate has seen anything.

        Returns:
            The figure.
        """
        count = self.num_experts + 1
        columns = 2 if count <= 6 else 3
        lines = -(-count // columns)
        figure, axes = plt.subplots(
            lines,
            columns,
            figsize=(4.6 * columns, 2.5 * lines),
            squeeze=False,
            layout='constrained',
        )
        first, *others = axes.flat
        self._draw_first(first)
        for expert, ax in enumerate(others):
            if expert < self.num_experts:
                image = self._draw(ax, self.weights[..., expert], 'magma', (0, 1))
                ax.set_title(f'weight of expert {expert}', fontsize='medium')
            else:
                ax.axis('off')
        figure.colorbar(image, ax=axes, shrink=0.6, label='weight')
        if places is not None:
            for ax in axes.flat[:count]:
                ax.scatter(places.lon, places.lat, s=8, c='white', edgecolors='black')
        return figure

    def _draw_first(self, ax: Axes) -> None:
        found = [colormaps['tab20'](i % 20) for i in range(self.num_experts)]
        top = self.weights.argmax(dim=2)
        self._draw(ax, top, ListedColormap(found), (-0.5, self.num_experts - 0.5))
        ax.set_title('first choice', fontsize='medium')
        # What is nobody's first choice needs no entry.
        patches = [
            Patch(facecolor=found[e], label=str(e)) for e in top.unique().tolist()
        ]
        ax.legend(handles=patches, loc='lower left', ncols=3, fontsize='x-small')

    def _draw(
        self, ax: Axes, values: Tensor, cmap: Any, limits: tuple[float, float]
    ) -> Any:
        """Draw values of cells below the coastlines."""
        image = ax.imshow(
            values.numpy(),
            extent=(-180, 180, -90, 90),
            cmap=cmap,
            vmin=limits[0],
            vmax=limits[1],
            interpolation='nearest',
        )
        for outline in outlines():
            ax.plot(*outline.T, color='grey', linewidth=0.4)
        ax.set(xlim=(-180, 180), ylim=(-90, 90), xticks=[], yticks=[])
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
