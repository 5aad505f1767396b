# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What all data sets of an invented Earth share: places, splits and random numbers."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torchgeo.datasets import NonGeoDataset
from torchgeo.datasets.utils import Sample

from ..domains import EARTH_RADIUS_KM, Domains, unit_vectors
from . import earth
from .places import find_places

#: Radius of a domain in kilometres.
DOMAIN_RADIUS_KM = 100.0

#: Standard deviation of the colour of the ground within a domain, relative to the ring.
GROUND_NOISE = 0.1


class SyntheticPlaces(NonGeoDataset):
    """Base class of data sets of an invented Earth.

    Domains are places of 100 km radius. Those of the three splits are disjoint, and
    depend neither on each other's number nor on the number of samples.

    A subclass draws its numbers with :func:`draw` from ``keys``, calls :meth:`_locate`,
    and fills ``images``, ``classes`` and its targets.
    """

    all_classes: ClassVar[tuple[str, ...]] = (
        'water',
        'forest',
        'grassland',
        'cropland',
        'built-up',
        'bare',
        'wetland',
        'shrubland',
        'snow',
        'mangrove',
    )
    splits: ClassVar[tuple[str, ...]] = ('train', 'val', 'test')
    #: Attributes of which each sample gets its own entry.
    sample_keys: ClassVar[tuple[str, ...]] = ('domain', 'group', 'lon', 'lat')

    #: Class names, in the order of the labels.
    classes: tuple[str, ...]
    #: Images, uint8, shape (N, ..., C, H, W).
    images: Tensor

    def __init__(
        self,
        split: Literal['train', 'val', 'test'],
        num_train_domains: int,
        num_val_domains: int,
        num_test_domains: int,
        samples_per_domain: int,
        size: int,
        in_channels: int,
        shift: float,
        noise: float,
        seed: int,
        transforms: Callable[[Sample], Sample] | None,
    ) -> None:
        """Initialize a new SyntheticPlaces instance.

        Args:
            split: One of 'train', 'val' or 'test'.
            num_train_domains: Number of training domains.
            num_val_domains: Number of validation domains.
            num_test_domains: Number of test domains.
            samples_per_domain: Number of samples of each domain.
            size: Height and width of images in pixels, a multiple of 4.
            in_channels: Number of bands, 3 or 4.
            shift: How much the looks of classes change with the climate; 0: not at all.
            noise: Scatter of the colours of a class, relative to the distance of classes
                from grey.
            seed: Seed of the Earth, its places and its images.
            transforms: A function/transform that takes an input sample and returns a
                transformed version.

        Raises:
            ValueError: If an argument is out of its range.
        """
        numbers = (num_train_domains, num_val_domains, num_test_domains)
        counts = dict(zip(self.splits, numbers, strict=True))
        require(split in counts, f'split must be one of {list(counts)}', split)
        require(min(numbers) > 0, 'every split needs at least one domain', counts)
        require(
            samples_per_domain > 0,
            'samples_per_domain must be positive',
            samples_per_domain,
        )
        require(
            size >= 8 and size % 4 == 0,
            'size must be a multiple of 4, and at least 8',
            size,
        )
        require(in_channels in (3, 4), 'in_channels must be 3 or 4', in_channels)
        require(noise >= 0, 'noise must not be negative', noise)
        self.split, self.transforms, self.seed = split, transforms, seed
        self.size, self.in_channels = size, in_channels
        self.shift, self.noise = shift, noise
        self._places = find_places(counts, seed)
        self.groups = self._places.names
        self.domains = Domains(
            self._places.names[:num_train_domains],
            self._places.lon[:num_train_domains],
            self._places.lat[:num_train_domains],
        )
        self._number(counts, samples_per_domain)

    def _number(self, counts: dict[str, int], samples_per_domain: int) -> None:
        """Number the samples, domain after domain."""
        which = self.splits.index(self.split)
        first = sum(list(counts.values())[:which])
        places = torch.arange(counts[self.split])
        self.group = (first + places).repeat_interleave(samples_per_domain)
        self.domain = self.group.where(self.group < len(self.domains), -1)
        #: Number of each sample in its domain.
        self.number = torch.arange(samples_per_domain).repeat(len(places))
        pairs = torch.stack([self.group - first, self.number], dim=1).tolist()
        #: Seeds of each sample: of the Earth, its split, its domain and its number.
        self.keys = [(self.seed, which, place, number) for place, number in pairs]

    def _locate(self, radius: Tensor, direction: Tensor) -> None:
        """Scatter samples evenly over the discs of their domains.

        Args:
            radius: Uniform numbers, shape (N,).
            direction: Standard normal numbers, shape (N, 3).
        """
        centre = unit_vectors(self._places.lon, self._places.lat)[self.group]
        aside = torch.linalg.cross(centre, direction.double())
        aside = aside / aside.norm(dim=1, keepdim=True)
        distance = radius.sqrt() * DOMAIN_RADIUS_KM / EARTH_RADIUS_KM
        x, y, z = (centre + distance[:, None] * aside).unbind(dim=1)
        self.lon = torch.rad2deg(torch.atan2(y, x)).float()
        self.lat = torch.rad2deg(torch.atan2(z, torch.hypot(x, y))).float()
        #: Climate, soil and season at each sample, shape (N, 3).
        self.fields = earth.Earth(self.seed).fields(self.lon, self.lat)

    def __len__(self) -> int:
        """Return the number of samples.

        Returns:
            Length of the data set.
        """
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Args:
            index: Index of the sample.

        Returns:
            ``image`` (float32, shape (..., C, H, W), values 0 to 255), the target,
            ``domain`` (index into the training domains, -1 for none of them), ``group``
            (index into ``groups``), ``lon`` and ``lat`` (degrees).
        """
        sample = self._sample(index)
        return sample if self.transforms is None else self.transforms(sample)

    def _sample(self, index: int) -> Sample:
        """Make a sample, not yet transformed."""
        sample = {key: getattr(self, key)[index].clone() for key in self.sample_keys}
        return sample | {'image': self.images[index].float()}


def draw(
    keys: Sequence[Sequence[int]], uniforms: int, shapes: Sequence[tuple[int, ...]]
) -> tuple[Tensor, list[Tensor]]:
    r"""Draw the random numbers of each sample, from a generator of its own.

    So a sample depends on nothing but its key.

    Args:
        keys: Seeds of the generator of each sample.
        uniforms: How many uniform numbers each sample takes.
        shapes: Shapes of the normal numbers that each sample takes then.

    Returns:
        Uniform numbers between 0 and 1, shape (N, uniforms), float64, and standard
        normal numbers of each shape, shape (N, \*shape), float32.
    """
    sizes = [math.prod(shape) for shape in shapes]
    uniform = torch.empty(len(keys), uniforms, dtype=torch.float64)
    normal = torch.empty(len(keys), sum(sizes))
    rows = zip(keys, uniform.numpy(), normal.numpy(), strict=True)
    for key, uniform_row, normal_row in rows:
        generator = np.random.default_rng(key)
        generator.random(out=uniform_row)
        generator.standard_normal(out=normal_row, dtype=np.float32)
    parts = zip(normal.split(sizes, dim=1), shapes, strict=True)
    return uniform, [part.unflatten(1, shape) for part, shape in parts]


def require(right: bool, rule: str, found: object) -> None:
    """Refuse a wrong argument.

    Args:
        right: Whether the argument is right.
        rule: What is asked of it, for the message.
        found: The argument.

    Raises:
        ValueError: If it is not right.
    """
    if not right:
        raise ValueError(f'{rule}, found {found!r}')
