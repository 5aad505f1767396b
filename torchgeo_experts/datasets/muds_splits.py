# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Splits of MUDS by place."""

import random
from collections.abc import Sequence

from ..domains import Domains
from .web_mercator import tile_lon_lat, tile_numbers

#: Names of the splits, and how many of the 60 places each has in Table 1 of CoDEX.
SHARES = {'train': 40, 'val': 10, 'test': 10}

#: Places nearer to each other than this are in one split, in kilometres.
NEAR = 60.0


def draw_splits(places: Sequence[str], seed: int) -> dict[str, tuple[str, ...]]:
    """Draw splits with 4/6, 1/6 and 1/6 of the places.

    Places that are near each other stay together: some of MUDS are neighbours, whose
    images look alike. So sizes are as near to the shares as groups of neighbours allow.

    Args:
        places: Names of the places, after tiles, in any order.
        seed: Seed of the draw.

    Returns:
        Places of each split, sorted.

    Raises:
        ValueError: If there are fewer than three groups of neighbours.
    """
    groups = near_places(places)
    if len(groups) < len(SHARES):
        raise ValueError(
            f'found {len(places)} places in {len(groups)} groups of neighbours (nearer'
            f' than {NEAR:g} km), at least {len(SHARES)} groups are needed for training,'
            ' validation and test: are all files there?'
        )
    random.Random(seed).shuffle(groups)
    splits = {}
    # Test first: its places do not depend on how validation is drawn.
    for spare, split in ((2, 'test'), (1, 'val')):
        share = SHARES[split] / sum(SHARES.values())
        chosen = _choose([len(g) for g in groups], len(places) * share, spare)
        splits[split] = [name for i in chosen for name in groups[i]]
        groups = [group for i, group in enumerate(groups) if i not in chosen]
    splits['train'] = [name for group in groups for name in group]
    return {split: tuple(sorted(splits[split])) for split in SHARES}


def near_places(places: Sequence[str], kilometres: float = NEAR) -> list[list[str]]:
    """Group places that are near each other, or linked by others that are.

    Args:
        places: Names of the places, after tiles, in any order.
        kilometres: Centres of linked places lie nearer to each other than this.

    Returns:
        Groups of names, sorted; most have one.
    """
    names = sorted(places)
    tiles = [tile_numbers(name) for name in names]
    centres = [tile_lon_lat(x + 0.5, y + 0.5) for x, y in tiles]
    near = Domains(names, *zip(*centres, strict=True)).kilometres() < kilometres
    groups: list[list[int]] = []
    for place in range(len(names)):
        linked = [g for g in groups if near[place, g].any()]
        groups = [g for g in groups if g not in linked]
        groups.append([*(i for g in linked for i in g), place])
    return sorted(sorted(names[i] for i in group) for group in groups)


def _choose(sizes: Sequence[int], target: float, spare: int) -> tuple[int, ...]:
    """Choose groups whose sizes add up as near to a target as they can.

    Args:
        sizes: Sizes of the groups; earlier ones are preferred.
        target: What they should add up to.
        spare: Number of groups to leave, at least.

    Returns:
        Positions of the chosen groups, at least one.
    """
    # Groups that add up to each total, as found first.
    found: dict[int, tuple[int, ...]] = {0: ()}
    for position, size in enumerate(sizes):
        for total, chosen in list(found.items()):
            if len(chosen) < len(sizes) - spare:
                found.setdefault(total + size, (*chosen, position))
    del found[0]
    return found[min(found, key=lambda total: (abs(total - target), total))]
