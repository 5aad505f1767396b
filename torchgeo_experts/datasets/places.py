# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Places on an invented Earth."""

import numpy as np
import torch
from torch import Tensor

from ..domains import Domains

#: Splits to which places go in turn, as they are found, so that places for testing lie
#: between those for training.
TURNS = ('train', 'test', 'train', 'val', 'train', 'test', 'train')


def find_places(counts: dict[str, int], seed: int) -> Domains:
    """Find the places of all splits.

    Args:
        counts: Number of places of each split.
        seed: Seed of the places.

    Returns:
        The places, split after split.
    """
    order = []
    for split, count in counts.items():
        turns = [turn for turn, turned in enumerate(TURNS) if turned == split]
        rounds, rest = divmod(count, len(turns))
        order += [len(TURNS) * r + t for r in range(rounds) for t in turns]
        order += [len(TURNS) * rounds + t for t in turns[:rest]]
    lon, lat = spread_places(max(order) + 1, seed)[:, order]
    names = [
        f'{"NS"[y < 0]}{abs(y):02.0f}{"EW"[x < 0]}{abs(x):03.0f}'
        for x, y in zip(lon.tolist(), lat.tolist(), strict=True)
    ]
    return Domains(names, lon, lat)


def spread_places(count: int, seed: int) -> Tensor:
    """Find places that keep their distance from each other, one after the other.

    Each is the one farthest from all before it, among some random ones (Mitchell's best
    candidate), so that the first places are the same however many follow.

    Args:
        count: Number of places.
        seed: Seed of the places.

    Returns:
        Longitudes and latitudes in degrees, shape (2, count), float64.
    """
    generator = np.random.default_rng((seed, 1000))
    places = np.empty((count, 3))
    for index in range(count):
        candidates = generator.standard_normal((32, 3))
        candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
        nearest = (candidates @ places[:index].T).max(axis=1, initial=-1)
        places[index] = candidates[nearest.argmin()]
    x, y, z = torch.from_numpy(places).T
    return torch.rad2deg(torch.stack([torch.atan2(y, x), z.asin()]))
