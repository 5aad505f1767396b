# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The table of a benchmark: what stands in its rows, in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .compare import (
    Array,
    Difference,
    Row,
    compare,
    domain_scores,
    find_rows,
    is_loss,
    seed_means,
    whole_scores,
)

#: Columns with scores, and what they are called.
SCORES = {'overall': 'overall', 'mean': 'mean domain', 'worst': 'worst domain'}

#: Decisions that look at the labels: they are never the best.
LOOKS = ('Oracle', 'Top2', 'Top3')


@dataclass(frozen=True)
class Line:
    """A row of a table, with its numbers.

    Args:
        row: What it is about.
        scores: Values of each column, one a seed.
        runs: How many folds and seeds were run.
        complete: Whether these are all that any row has.
        best: Columns in which no other one is better.
        difference: To the baseline, None for that one itself.
        selection: Which checkpoints were tested.
        seconds: Mean time of a training.
        memory_mb: Largest memory of a training.
    """

    row: Row
    scores: Mapping[str, Array]
    runs: int
    complete: bool
    best: frozenset[str]
    difference: Difference | None
    selection: str
    seconds: float
    memory_mb: float


@dataclass(frozen=True)
class Table:
    """The table of one split.

    Args:
        split: Its name.
        metric: Name of the metric.
        baseline: Label of the baseline.
        lines: Rows.
        missing: Labels of rows that were asked for and have no value of the metric.
        scale: 100 for numbers in percent, else 1.
    """

    split: str
    metric: str
    baseline: str
    lines: Sequence[Line]
    missing: Sequence[str]
    scale: float


def make_table(
    frame: pd.DataFrame, split: str, rows: Sequence[Row], baseline: str, metric: str
) -> Table:
    """Make the table of one split.

    Args:
        frame: Tidy table of all splits.
        split: Name of the split.
        rows: Rows that a suite asks for.
        baseline: Label of the row that all are compared with.
        metric: Name of the metric.

    Returns:
        The table.

    Raises:
        ValueError: If the baseline or the metric is not there.
    """
    frame = frame[frame['split'].eq(split)]
    asked, rows = rows, find_rows(frame, rows, metric)
    if not rows:
        known = sorted(frame.loc[frame['domain'].ne(''), 'metric'].unique())
        raise ValueError(
            f'no run has the metric {metric!r}; domains have: {", ".join(known)}'
        )
    base = next((row for row in rows if row.label == baseline), None)
    if base is None:
        raise ValueError(
            f'the baseline {baseline!r} has no finished run; there are:'
            f' {", ".join(row.label for row in rows)}'
        )
    scores = {row: seed_means(frame, row, metric) for row in rows}
    runs = {row: runs_of(frame, row, metric) for row in rows}
    every = frozenset[tuple[str, int]]().union(*runs.values())
    best = find_best(scores, [row for row in rows if runs[row] == every], metric)
    lines = [
        Line(
            row=row,
            scores=scores[row],
            runs=len(runs[row]),
            complete=runs[row] == every,
            best=frozenset(column for column in SCORES if row in best[column]),
            difference=None if row == base else compare(frame, row, base, metric),
            **costs(frame, row),
        )
        for row in rows
    ]
    missing = [row.label for row in asked if row not in rows]
    scale = 1.0 if is_loss(metric) else 100.0
    return Table(split, metric, baseline, lines, missing, scale)


def runs_of(frame: pd.DataFrame, row: Row, metric: str) -> frozenset[tuple[str, int]]:
    """Tell the folds and seeds that a row has."""
    found = whole_scores(frame, row, metric)
    if found.empty:  # known of domains only
        found = domain_scores(frame, row, metric)
    return frozenset(zip(found['fold'], found['seed'], strict=True))


def find_best(
    scores: Mapping[Row, Mapping[str, Array]], complete: Sequence[Row], metric: str
) -> dict[str, set[Row]]:
    """Find the best rows of each column.

    Rows that lack runs which others have do not compete, as their folds may be easier
    ones, and those that look at the labels do not either.
    """
    free = [row for row in complete if row.rule not in LOOKS]
    best = {}
    for column in SCORES:
        means = {
            row: scores[row][column].mean() for row in free if len(scores[row][column])
        }
        extreme = min if is_loss(metric) else max
        top = extreme(means.values(), default=np.nan)
        best[column] = {row for row, mean in means.items() if mean == top}
    return best


def costs(frame: pd.DataFrame, row: Row) -> dict[str, Any]:
    """Tell what trainings have cost, and which checkpoints were tested."""
    mine = frame[frame['method'].eq(row.method)]
    runs = mine.drop_duplicates(['fold', 'seed'])
    return {
        'selection': ', '.join(sorted(mine['selection'].unique())),
        'seconds': float(runs['seconds'].mean()),
        'memory_mb': float(runs['memory_mb'].max()),
    }
