# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Figures from arrays."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

#: Most names that fit beside an axis.
MOST_NAMES = 60


def place_order(angles: Tensor) -> Tensor:
    """Order places so that near ones stand near each other.

    The order is that of the first axis of classical multidimensional scaling.

    Args:
        angles: Angles between the places, shape (D, D), NaN where a place is unknown.

    Returns:
        A permutation, shape (D,); that of the input where a place is unknown.
    """
    if len(angles) < 3 or angles.isnan().any():
        return torch.arange(len(angles))
    squares = angles.double() ** 2
    centred = squares - squares.mean(0) - squares.mean(1)[:, None] + squares.mean()
    _, vectors = torch.linalg.eigh(-centred / 2)
    axis = vectors[:, -1]
    # The sign of an eigenvector is arbitrary: start at the first place's end.
    return (axis * (1 if axis[0] < 0 else -1)).argsort()


def plot_matrix(
    matrix: Tensor, rows: Sequence[str], columns: Sequence[str], label: str
) -> Figure:
    """Draw a matrix with names.

    Args:
        matrix: Values, shape (R, C), NaN where there is none.
        rows: Names of the rows.
        columns: Names of the columns.
        label: What the values are.

    Returns:
        The figure.
    """
    width = 2.5 + 0.22 * min(len(columns), MOST_NAMES)
    height = 2 + 0.22 * min(len(rows), MOST_NAMES)
    figure, axes = plt.subplots(figsize=(width, height), layout='constrained')
    image = axes.imshow(
        matrix.float().cpu().numpy(), cmap='viridis', aspect='auto', vmin=0
    )
    figure.colorbar(image, ax=axes, label=label)
    _name_axis(axes, 'x', columns)
    _name_axis(axes, 'y', rows)
    return figure


def plot_affinity(matrix: Tensor, names: Sequence[str], angles: Tensor) -> Figure:
    """Draw an affinity matrix, ordered by place.

    Args:
        matrix: Affinities, shape (D, D).
        names: Names of the training domains.
        angles: Angles between the domains, shape (D, D).

    Returns:
        The figure.
    """
    order = place_order(angles)
    names = [names[i] for i in order.tolist()]
    figure = plot_matrix(matrix.cpu()[order][:, order], names, names, 'affinity')
    figure.axes[0].set(ylabel='for samples of', xlabel='expert')
    return figure


def plot_mixture_weights(
    weights: Tensor, groups: Sequence[str], experts: Sequence[str]
) -> Figure:
    """Draw the mean mixture weights of each test domain.

    Args:
        weights: Mean weights, shape (G, D), NaN for domains with no sample.
        groups: Names of the domains.
        experts: Names of the experts.

    Returns:
        The figure.
    """
    seen = (~weights.isnan().any(dim=1)).nonzero().flatten().tolist()
    rows = [groups[i] for i in seen]
    figure = plot_matrix(weights[seen], rows, experts, 'mean mixture weight')
    figure.axes[0].set(ylabel='samples of', xlabel='expert')
    return figure


def plot_domain_scores(
    names: Sequence[str], samples: Tensor, scores: Tensor, others: Mapping[str, Tensor]
) -> Figure:
    """Draw the accuracy of each domain, the worst one on top.

    Args:
        names: Names of the domains.
        samples: Number of samples of each, shape (G,).
        scores: Accuracies of the model, shape (G,).
        others: Accuracies of other ways to decide, each of shape (G,).

    Returns:
        The figure.
    """
    order = scores.argsort(descending=True)[-MOST_NAMES:]
    labels = [f'{names[i]} ({int(samples[i])})' for i in order.tolist()]
    height = 1.2 + 0.22 * len(labels)
    figure, axes = plt.subplots(figsize=(6.5, height), layout='constrained')
    axes.barh(labels, scores[order].numpy(), color='#4c78a8', label='model')
    markers = iter('odv^s*PX<>')
    for name, values in others.items():
        axes.plot(values[order].numpy(), labels, next(markers), ms=4, label=name)
    axes.set(xlim=(0, 1), xlabel='overall accuracy')
    axes.margins(y=0.01)
    axes.legend(loc='upper left', bbox_to_anchor=(1, 1), frameon=False)
    return figure


def plot_comparison(
    images: Tensor,
    classes: Sequence[str],
    scores: Mapping[str, Mapping[str, float]],
    best: float,
) -> Figure:
    """Draw what classes look like in several places, and how well methods do there.

    Args:
        images: Images of values 0 to 1, shape (number of classes, places, 3, H, W).
        classes: Names of the classes.
        scores: For each method the accuracy of each domain.
        best: Accuracy that no method can exceed.

    Returns:
        The figure.
    """
    figure = plt.figure(figsize=(9, 3.4), layout='constrained')
    sides = np.ravel(figure.subfigures(1, 2, width_ratios=[1.1, 1], squeeze=False))
    left, right = sides
    grid = left.subplots(*images.shape[:2], squeeze=False)
    for row, name, shown in zip(grid, classes, images, strict=True):
        for axes, image in zip(row, shown, strict=True):
            axes.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy())
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, fontsize=8)
    left.suptitle('the same classes in different places', fontsize=9)

    _plot_bars(right.subplots(), scores, best)
    right.suptitle('accuracy in places never seen', fontsize=9)
    return figure


def plot_map_comparison(
    images: Tensor,
    maps: Mapping[str, Tensor],
    classes: Sequence[str],
    score: str,
    scores: Mapping[str, Mapping[str, float]],
    best: float,
) -> Figure:
    """Draw what methods predict in several places, and how well they do there.

    Args:
        images: Images of values 0 to 1, shape (places, 3, H, W), or of several dates,
            (places, T, 3, H, W), of which the first and the last are shown.
        maps: Map of classes of each place by its title, shape (places, ..., H, W); of
            several dates the last is shown.
        classes: Names of the classes.
        score: Name of the score.
        scores: For each method the score of each domain.
        best: What a rule that knows the climate reaches.

    Returns:
        The figure.
    """
    dates = images[:, None] if images.ndim == 4 else images[:, [0, -1]]
    titles = ['image'] if images.ndim == 4 else ['first date', 'last date']
    figure = plt.figure(figsize=(11, 4.2), layout='constrained')
    sides = np.ravel(figure.subfigures(1, 2, width_ratios=[1.4, 1], squeeze=False))
    left, right = sides
    shape = (len(images), len(titles) + len(maps))
    grid = left.subplots(*shape, squeeze=False)
    for place, row in enumerate(grid):
        for axes, image in zip(row[: len(titles)], dates[place], strict=True):
            axes.imshow(image[:3].permute(1, 2, 0).clamp(0, 1).numpy())
        for axes, values in zip(row[len(titles) :], maps.values(), strict=True):
            shown = values[place].reshape(-1, *values.shape[-2:])[-1]
            axes.imshow(shown.numpy(), 'tab10', vmin=0, vmax=9, interpolation='nearest')
    for axes, title in zip(grid[0], (*titles, *maps), strict=True):
        axes.set_title(title, fontsize=8)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    colours = plt.get_cmap('tab10')
    patches = [Patch(color=colours(c), label=name) for c, name in enumerate(classes)]
    left.legend(handles=patches, loc='outside lower center', ncols=4, fontsize=7)
    _plot_bars(right.subplots(), scores, best, 'rule that knows the climate')
    right.suptitle(f'{score} in places never seen', fontsize=9)
    return figure


def _plot_bars(
    axes: Axes,
    scores: Mapping[str, Mapping[str, float]],
    best: float,
    ceiling: str = 'best possible',
) -> None:
    width = 0.8 / len(scores)
    for number, (method, values) in enumerate(scores.items()):
        positions = torch.arange(len(values)) + (number + 0.5) * width - 0.4
        axes.bar(positions.tolist(), list(values.values()), width, label=method)
        axes.set_xticks(range(len(values)), labels=list(values), rotation=45)
    axes.axhline(best, color='gray', ls='--', lw=1, label=ceiling)
    axes.tick_params(labelsize=7)
    axes.set_ylim(0, 1.12)
    axes.legend(fontsize=7, ncols=3, loc='upper center', frameon=False)


def _name_axis(axes: Axes, which: str, names: Sequence[str]) -> None:
    if len(names) > MOST_NAMES:
        return
    axis = axes.xaxis if which == 'x' else axes.yaxis
    axis.set_ticks(range(len(names)), labels=list(names))
    axis.set_tick_params(labelsize=7, rotation=90 if which == 'x' else 0)
