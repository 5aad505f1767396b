# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains shared out to splits."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import torch


def share_out(
    names: Collection[str],
    wanted: Mapping[str, Sequence[str | int] | int],
    seed: int = 0,
    undrawn: Collection[str] = (),
    keep: int = 0,
) -> dict[str, tuple[str, ...]]:
    """Share domains out to splits, so that each is in one of them or in none.

    Splits are drawn one after the other, in the order of *wanted*: a split does not
    change with the number of domains of a later one.

    Args:
        names: All domains.
        wanted: For each split the names of its domains, or how many to draw.
        seed: Seed of the draw.
        undrawn: Domains that are not drawn, but may be named.
        keep: How many of the others have to be left.

    Returns:
        For each split its domains.

    Raises:
        ValueError: If a split gets no domain, a domain is unknown or named twice, or
            there are too few to draw from.
    """
    wanted = {s: (n,) if isinstance(n, str) else n for s, n in wanted.items()}
    counts = {split: n for split, n in wanted.items() if isinstance(n, int)}
    chosen = {
        s: tuple(map(str, n)) for s, n in wanted.items() if not isinstance(n, int)
    }
    if empty := [s for s in wanted if counts.get(s, 1) < 1 or chosen.get(s) == ()]:
        raise ValueError(f'the {empty[0]} split needs at least one domain')
    named = Counter(name for split in chosen.values() for name in split)
    if unknown := sorted(set(named) - set(names)):
        raise ValueError(f'no samples of the domains {unknown}, found: {sorted(names)}')
    if twice := sorted(name for name, times in named.items() if times > 1):
        raise ValueError(f'a domain can be in one split only, found twice: {twice}')

    left = sorted(set(names) - set(named) - set(undrawn))
    if sum(counts.values()) + keep > len(left):
        raise ValueError(
            f'{len(left)} domains with enough samples are left, not enough to draw'
            f' {counts}' + (f' and to leave {keep} to train on' if keep else '')
        )
    generator = torch.Generator().manual_seed(seed)
    order = [left[i] for i in torch.randperm(len(left), generator=generator).tolist()]
    for split, count in counts.items():
        chosen[split], order = tuple(sorted(order[:count])), order[count:]
    return {split: chosen[split] for split in wanted}
