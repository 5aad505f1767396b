# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The figure of a benchmark."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from .tables import LOOKS, Table


def draw(tables: Sequence[Table]) -> Figure:
    """Draw the paired differences to the baseline with their intervals.

    Args:
        tables: A table a split.

    Returns:
        A figure with a panel a split. Decisions that look at the labels are left out.
    """
    most = max(len(table.lines) for table in tables)
    size = (3.0 + 3.5 * len(tables), 1.4 + 0.3 * most)
    figure = Figure(figsize=size, layout='constrained')
    panels = figure.subplots(1, len(tables), squeeze=False)[0]
    for table, axes in zip(tables, panels, strict=True):
        shown = [
            (plain(line.row.label), line.difference)
            for line in reversed(table.lines)
            if line.difference is not None and line.row.rule not in LOOKS
        ]
        names = [name for name, _ in shown]
        means = [table.scale * d.mean for _, d in shown]
        errors = [
            [table.scale * (d.mean - d.low) for _, d in shown],
            [table.scale * (d.high - d.mean) for _, d in shown],
        ]
        axes.errorbar(means, range(len(names)), xerr=errors, fmt='o', capsize=3)
        axes.set_yticks(range(len(names)), names)
        axes.axvline(0, color='gray', lw=0.8)
        axes.set_title(plain(table.split))
        unit = ' (points)' if table.scale > 1 else ''
        # Two lines, as an axis is narrower than long names.
        axes.set_xlabel(f'{table.metric}{unit},\ndifference to {plain(table.baseline)}')
        axes.set_ylim(-0.7, len(names) - 0.3)
        axes.grid(axis='x', alpha=0.3)
    return figure


def plain(label: str) -> str:
    """Keep dollars in a label from being read as the bounds of a formula."""
    return label.replace('$', r'\$')
