# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Least distances between the samples of domains."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..domains import EARTH_RADIUS_KM, unit_vectors
from .contents import SplitContents

#: Most places of a block.
BLOCK = 128


def least_kilometres(
    held: SplitContents, train: SplitContents, groups: Tensor, domains: int
) -> Tensor:
    """Compute the least distances between the samples of groups and of domains.

    Most pairs of samples are not looked at: places are sorted into blocks, and blocks
    that cannot hold a nearer pair than one that was found are left out. The result is
    exact all the same.

    Args:
        held: Samples of the groups.
        train: Training samples.
        groups: The groups, int64, shape (G,).
        domains: Number of training domains, D.

    Returns:
        Great-circle distances in kilometres, float64, shape (G, D), NaN where a group or
        a domain has no sample of known place.
    """
    own, theirs = _blocks_of_groups(held), _blocks_of_groups(train)
    chord = torch.full((len(groups), domains), torch.nan, dtype=torch.float64)
    for row, group in enumerate(groups.tolist()):
        for column in range(domains):
            if group in own and column in theirs:
                chord[row, column] = _least_chord(own[group], theirs[column])
    return 2 * EARTH_RADIUS_KM * torch.asin((chord / 2).clamp(max=1))


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Places sorted into blocks.

    Args:
        places: Unit vectors of each block, shape (n, 3).
        centre: Centres of B blocks, shape (B, 3).
        radius: Largest distance of a place of a block from its centre, shape (B,).
    """

    places: list[Tensor]
    centre: Tensor
    radius: Tensor


def _blocks_of_groups(held: SplitContents) -> dict[int, _Blocks]:
    """Sort the known places of each group into blocks, each place once."""
    rows = torch.stack([held.group.double(), held.lon, held.lat], dim=1)
    rows = rows[~rows.isnan().any(dim=1)].unique(dim=0)
    groups, counts = rows[:, 0].unique_consecutive(return_counts=True)
    parts = unit_vectors(rows[:, 1], rows[:, 2]).split(counts.tolist())
    found = {}
    for group, part in zip(groups.long().tolist(), parts, strict=True):
        places = _halved(part)
        centre = torch.stack([block.mean(dim=0) for block in places])
        radius = [
            (p - c).norm(dim=1).max() for p, c in zip(places, centre, strict=True)
        ]
        found[group] = _Blocks(places, centre, torch.stack(radius))
    return found


def _halved(places: Tensor) -> list[Tensor]:
    """Halve places along the axis on which they spread most, and the halves again."""
    if len(places) <= BLOCK:
        return [places]
    axis = (places.amax(dim=0) - places.amin(dim=0)).argmax()
    halves = places[places[:, axis].argsort()].tensor_split(2)
    return [block for half in halves for block in _halved(half)]


def _least_chord(a: _Blocks, b: _Blocks) -> float:
    """Compute the least distance between two places, along a straight line."""
    apart = (a.centre[:, None] - b.centre).norm(dim=-1)
    # No two places of two blocks are nearer than this.
    bounds, order = (apart - a.radius[:, None] - b.radius).flatten().sort()
    least = torch.inf
    for bound, pair in zip(bounds.tolist(), order.tolist(), strict=True):
        if bound >= least:
            break
        row, column = divmod(pair, len(b.places))
        first, second = a.places[row], b.places[column]
        # The cosine finds the nearest two quickly, and their distance is exact.
        one, other = divmod(int((first @ second.T).argmax()), len(second))
        least = min(least, float((first[one] - second[other]).norm()))
    return least
