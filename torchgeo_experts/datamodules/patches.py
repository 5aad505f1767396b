# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Where the patches of a geospatial data set may fall, and which are drawn."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import shapely
import torch
from shapely.geometry.base import BaseGeometry
from torch import Tensor
from torch.utils.data import DistributedSampler
from torchgeo.datasets import GeoDataset
from torchgeo.datasets.utils import GeoSlice

from ..ranks import this_rank
from ..samplers import run_seed

type Floats = npt.NDArray[np.float64]

#: Most places to look at where patches are drawn at random.
MOST_PLACES = 100_000


class PatchSampler(Protocol):
    """What TorchGeo's geospatial samplers have in common."""

    def __iter__(self) -> Iterator[GeoSlice]:
        """Iterate over patches."""

    def __len__(self) -> int:
        """Return the number of patches of an epoch."""


class DomainPatchSampler(DistributedSampler[Any]):
    """Draw patches as another sampler does, leaving out those in no training domain.

    Patches are drawn by the run's seed and the epoch alone, which TorchGeo's own samplers
    do not. It is a :class:`~torch.utils.data.DistributedSampler`: Lightning leaves it in
    place and announces epochs to it, and each rank takes its share.
    """

    def __init__(
        self,
        sampler: PatchSampler,
        domains: Callable[[Sequence[GeoSlice]], Tensor],
        seed: int | None = None,
    ) -> None:
        """Initialize a new DomainPatchSampler instance.

        Args:
            sampler: Sampler that draws the patches.
            domains: Tells the training domain of each patch, -1 for none of them.
            seed: Seed of the patches, the same on every rank. Default: the run's.

        Raises:
            ValueError: If no patch lies in a training domain.
        """
        self.sampler, self.domains = sampler, domains
        fixed = fixed_patches(sampler)
        #: Patches of an epoch of all ranks.
        self.total = len(sampler if fixed is None else self._inside(fixed))
        replicas, rank = this_rank()
        seed = run_seed() if seed is None else seed
        super().__init__(range(self.total), replicas, rank, seed=seed, drop_last=True)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """Return the number of patches that this rank draws in an epoch."""
        return self.total // self.num_replicas

    def __iter__(self) -> Iterator[GeoSlice]:
        """Draw one epoch."""
        seed = self.seed + self.epoch
        patches: list[GeoSlice] = []
        rounds = 0
        while len(patches) < self.total:
            # Another round stands in for patches that were left out.
            patches += self._inside(draw_patches(self.sampler, (seed, rounds)))
            rounds += 1
        share = patches[: len(self) * self.num_replicas]
        return iter(share[self.rank :: self.num_replicas])

    def _inside(self, patches: list[GeoSlice]) -> list[GeoSlice]:
        inside = (self.domains(patches) >= 0).tolist()
        kept = [patch for patch, keep in zip(patches, inside, strict=True) if keep]
        if not kept:
            raise ValueError(
                f'none of the {len(patches)} patches that {type(self.sampler).__name__}'
                ' draws lies in a training domain'
            )
        return kept


def draw_patches(sampler: PatchSampler, seed: tuple[int, int]) -> list[GeoSlice]:
    """Draw one epoch of patches by a seed.

    Args:
        sampler: A sampler of TorchGeo, whatever generator it uses.
        seed: Two numbers.

    Returns:
        The patches.
    """
    for part in (sampler, *vars(sampler).values()):
        if isinstance(
            generator := getattr(part, 'generator', None), np.random.Generator
        ):
            part.generator = np.random.default_rng(seed)  # type: ignore[attr-defined]
        elif isinstance(generator, torch.Generator):
            generator.manual_seed(_mixed(seed))
    # Older samplers draw from the generator that everything else draws from.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_mixed(seed))
        return list(sampler)


def fixed_patches(sampler: PatchSampler) -> list[GeoSlice] | None:
    """List the patches of a sampler that draws nothing at random.

    Args:
        sampler: A sampler.

    Returns:
        Its patches, the same in every epoch, or None if there is chance in them.
    """
    # TorchGeo's newer samplers tell; others are asked twice.
    strategy = getattr(sampler, 'strategy', None)
    if strategy == 'random':
        return None
    first = draw_patches(sampler, (0, 0))
    fixed = strategy == 'sequential' or first == draw_patches(sampler, (0, 1))
    return first if fixed else None


def patch_centres(dataset: GeoDataset, sampler: PatchSampler) -> tuple[Floats, Floats]:
    """List the centres of the patches that a sampler may draw.

    Those of a grid are listed exactly. Where patches are drawn at random, places are
    listed that lie a patch apart from each other, all over the region in which the
    centres of patches may fall, at least one in each of its parts.

    Args:
        dataset: Data set that is sampled.
        sampler: Its sampler.

    Returns:
        Coordinates x and y in the data set's coordinate reference system, shape (N,).
    """
    patches = fixed_patches(sampler)
    if patches is not None:
        return centres(dataset, patches)
    spatial = getattr(sampler, 'spatial_sampler', sampler)
    size = getattr(spatial, 'size', (0.0, 0.0))
    parts = shapely.get_parts(_region(dataset, spatial, size))
    area = sum(part.area for part in parts)
    step = max(min(size), math.sqrt(area / MOST_PLACES))
    places = np.concatenate([_lattice(part, step) for part in parts])
    return places[:, 0], places[:, 1]


def centres(dataset: GeoDataset, patches: Sequence[GeoSlice]) -> tuple[Floats, Floats]:
    """Compute the centres of patches.

    Args:
        dataset: Data set that is sampled.
        patches: What it is indexed with.

    Returns:
        Coordinates x and y in the data set's coordinate reference system, shape (N,).
    """
    found = np.empty((2, len(patches)))
    for number, patch in enumerate(patches):
        slices = patch if isinstance(patch, tuple) else (patch,)
        for axis in range(2):
            part = slices[axis] if axis < len(slices) else slice(None)
            start, stop = part.start, part.stop
            if start is None or stop is None:
                whole = dataset.bounds[axis]
                start = whole.start if start is None else start
                stop = whole.stop if stop is None else stop
            found[axis, number] = (start + stop) / 2
    return found[0], found[1]


def _region(
    dataset: GeoDataset, sampler: Any, size: tuple[float, float]
) -> BaseGeometry:
    """Find the region in which the centres of random patches may fall."""
    if hasattr(sampler, 'series'):
        # RandomPatchSampler draws from this.
        return sampler.series.union_all()
    index = getattr(sampler, 'index', dataset.index)
    height, width = size
    boxes = []
    for xmin, ymin, xmax, ymax in index.geometry.bounds.to_numpy():
        dx, dy = min(width, xmax - xmin) / 2, min(height, ymax - ymin) / 2
        boxes.append(shapely.box(xmin + dx, ymin + dy, xmax - dx, ymax - dy))
    return shapely.union_all(boxes)


def _lattice(part: BaseGeometry, step: float) -> Floats:
    """Spread places over a polygon, about a step apart, shape (N, 2)."""
    xmin, ymin, xmax, ymax = part.bounds
    axes = []
    for low, high in ((xmin, xmax), (ymin, ymax)):
        count = max(1, round((high - low) / step)) if step else 1
        axes.append(low + (np.arange(count) + 0.5) * (high - low) / count)
    x, y = (axis.ravel() for axis in np.meshgrid(*axes))
    inside = shapely.intersects_xy(part, x, y)
    if not inside.any():
        point = part.representative_point()
        return np.array([[point.x, point.y]])
    return np.stack([x[inside], y[inside]], axis=1)


def _mixed(seed: tuple[int, int]) -> int:
    """Make one seed of two numbers."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0])
