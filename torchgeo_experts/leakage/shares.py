# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""How often classes are there in each domain of a datamodule."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import pad
from torchgeo.datasets.utils import Sample

from .contents import SplitContents

#: Classes are numbers below this one where a datamodule does not name them.
MOST_CLASSES = 256

#: Name of what is no class, such as pixels that are ignored.
NO_CLASS = 'no class'


@dataclass(frozen=True, eq=False)
class ClassShares:
    """Shares of classes, NaN where they are unknown.

    Args:
        domains: One row for each domain of each split, one column a class. The last
            column is for what is no class, if there is any.
        splits: One row a class, one column a split, in which domains count by their
            samples.
        pixels: Whether pixels were counted, else samples.
        read: Most samples of a domain that were read, None if none had to be.
    """

    domains: pd.DataFrame
    splits: pd.DataFrame
    pixels: bool
    read: int | None


def class_shares(
    contents: Mapping[str, SplitContents],
    rows: pd.DataFrame,
    groups: Sequence[str],
    classes: Sequence[str],
    samples: int,
) -> ClassShares:
    """Compute the share of each class in each domain of each split.

    Args:
        contents: The samples of each split.
        rows: The domains: a table with the columns ``split``, ``domain`` and
            ``samples``.
        groups: Names of the evaluation groups.
        classes: Names of C classes. Numbers 0 to C - 1 are classes, and all others are
            none. If they have no names, numbers 0 to 255 are classes.
        samples: How many samples of each domain to read where labels are not known
            without reading; they are drawn by a fixed seed. 0: none.

    Returns:
        The shares.
    """
    counted = {
        split: _count(held, len(groups), len(classes) or None, samples)
        for split, held in contents.items()
    }
    known = {split: each for split, each in counted.items() if each is not None}
    widths = [each.counts.shape[1] for each in known.values()]
    width = max(widths, default=1 + len(classes))
    shares = np.full((len(rows), width), np.nan)
    rank = {name: number for number, name in enumerate(groups)}
    for row, (split, name) in enumerate(
        zip(rows['split'], rows['domain'], strict=True)
    ):
        if split in known and (own := known[split].counts[rank[name]]).any():
            shares[row] = pad(own / own.sum(), (0, width - len(own)))
    names = [*(classes or map(str, range(width - 1))), NO_CLASS]
    # What is no class goes last, and is left out where there is none.
    table = pd.DataFrame(np.roll(shares, -1, axis=1), rows.index, names)
    if not (table[NO_CLASS] > 0).any():
        table = table.drop(columns=NO_CLASS)
    return ClassShares(
        table,
        _by_split(rows, table),
        any(each.pixels for each in known.values()),
        max((each.read for each in known.values() if each.read), default=None),
    )


def _by_split(rows: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    """Compute the shares of each split from those of its domains."""
    weights = rows['samples'].where(shares.notna().all(axis=1), 0)
    total = weights.groupby(rows['split'], sort=False).sum()
    weighted = shares.mul(weights, axis=0).groupby(rows['split'], sort=False).sum()
    return weighted.div(total.replace(0, np.nan), axis=0).T


@dataclass(frozen=True, eq=False)
class _Counts:
    """Counts in each group, shape (G, 1 + C), the first column for what is no class."""

    counts: Tensor
    pixels: bool
    read: int | None


def _count(
    held: SplitContents, groups: int, classes: int | None, samples: int
) -> _Counts | None:
    """Count classes, unless samples have none, or are not to be read."""
    if held.label is not None:
        parts = [held.label[held.group == group] for group in range(groups)]
        return _Counts(_stacked([_tally(part, classes) for part in parts]), False, None)
    tallies = [_tally(torch.zeros(0).long(), classes) for _ in range(groups)]
    pixels: bool | None = None
    for group, items in _drawn(held, groups, samples):
        for item in items:
            target, pixels = _target(held.dataset[item])
            if target is None:
                return None
            tallies[group] = _stacked([tallies[group], _tally(target, classes)]).sum(0)
    return None if pixels is None else _Counts(_stacked(tallies), pixels, samples)


def _drawn(
    held: SplitContents, groups: int, samples: int
) -> Iterator[tuple[int, list[Any]]]:
    """Draw some samples of each group, the same ones every time."""
    generator = torch.Generator().manual_seed(0)
    for group in range(groups):
        rows = (held.item_group == group).nonzero().flatten()
        order = torch.randperm(len(rows), generator=generator)[:samples]
        yield group, [held.items[row] for row in rows[order].sort()[0].tolist()]


def _target(sample: Sample) -> tuple[Tensor | None, bool]:
    """Find the classes of a sample, and whether they are those of pixels."""
    pixels = 'mask' in sample
    target = sample.get('mask' if pixels else 'label')
    if target is None or (target % 1 != 0).any():
        # Nothing to predict, or numbers that are no classes.
        return None, pixels
    if not pixels and target.numel() > 1:
        # One of each class that the sample has.
        target = target.flatten().nonzero()
    return target.flatten().long(), pixels


def _tally(values: Tensor, classes: int | None) -> Tensor:
    """Count classes, shape (1 + C,)."""
    limit = MOST_CLASSES if classes is None else classes
    values = (values + 1).where((values >= 0) & (values < limit), 0)
    return values.bincount(minlength=1 + (classes or 0))


def _stacked(tallies: Sequence[Tensor]) -> Tensor:
    """Put counts of different length below each other, float64."""
    width = max(len(tally) for tally in tallies)
    return torch.stack(
        [pad(tally.double(), (0, width - len(tally))) for tally in tallies]
    )
