# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains and places of samples, found out by rules."""

import warnings
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torchgeo.datasets import GeoDataset

from ..domains import Domains, check_coordinates
from .patches import PatchSampler, patch_centres
from .placed import by_owner, origins, places_of
from .rules import DomainRule, PlaceRule, Places, SampleRule, Samples, UsualPlaces


@dataclass(frozen=True, eq=False)
class Described:
    """What is known of samples before they are read.

    Args:
        names: Name of each sample's domain, None where there is none.
        lon: Longitudes in degrees WGS 84, float64, shape (N,), NaN where unknown.
        lat: Latitudes in degrees WGS 84, float64, shape (N,), NaN where unknown.
    """

    names: list[str | None]
    lon: Tensor
    lat: Tensor

    def counts(self) -> Counter[str]:
        """Count the samples of each domain."""
        return Counter(name for name in self.names if name is not None)


def describe_samples(
    dataset: Any, rule: DomainRule, places: Places | None, fit: bool
) -> Described:
    """Find out names and places of the samples of a data set of images.

    Args:
        dataset: A data set, or subsets and concatenations of some.
        rule: What names their domains.
        places: What tells their places. Default: the rule, if it can, else attributes
            of the data set with the usual names.
        fit: Whether the rule is to learn from these places what the domains are.

    Returns:
        Names and places, in the order of *dataset*.

    Raises:
        ValueError: If the rule needs places that are unknown, or places are no degrees.
    """
    found = origins(dataset)
    if places is None:
        places = (
            rule.places if isinstance(rule, SampleRule) else None
        ) or UsualPlaces()
    lon, lat = (torch.full((len(found),), torch.nan, dtype=torch.float64) for _ in '..')
    names: list[str | None] = [None] * len(found)
    shares = by_owner(found)
    for samples, positions in shares:
        lon[positions], lat[positions] = _checked(samples, places)
    if isinstance(rule, PlaceRule):
        _refuse_unknown(rule, lon, shares)
        if fit:
            rule.fit(lon, lat)
        return Described(rule.names(lon, lat), lon, lat)
    for samples, positions in shares:
        given = cast(SampleRule, rule).names(samples)
        for position, name in zip(positions, given, strict=True):
            names[position] = name
    return Described(names, lon, lat)


def describe_patches(
    dataset: GeoDataset, sampler: PatchSampler, rule: PlaceRule, fit: bool
) -> Described:
    """Find out names and places of where the patches of a data set may fall.

    Args:
        dataset: A geospatial data set.
        sampler: What draws its patches.
        rule: What names their domains.
        fit: Whether the rule is to learn from these places what the domains are.

    Returns:
        Names and places of the patches, or, where these are random, of places all over.
    """
    lon, lat = places_of(dataset, *patch_centres(dataset, sampler))
    if fit:
        rule.fit(lon, lat)
    return Described(rule.names(lon, lat), lon, lat)


def train_domains(
    train: Described, held_out: Collection[str], min_samples: int, what: str
) -> Domains:
    """Find out the training domains, and tell what is left out.

    Args:
        train: Training samples, and those held out.
        held_out: Domains that are not for training.
        min_samples: Fewest samples of a training domain.
        what: What the samples are, for messages.

    Returns:
        The training domains.

    Raises:
        ValueError: If there is none.
    """
    counts = {n: count for n, count in train.counts().items() if n not in held_out}
    small = sorted(name for name, count in counts.items() if count < min_samples)
    total, nowhere = len(train.names), train.names.count(None)
    if len(small) == len(counts):
        raise ValueError(
            f'no domain to train on: {nowhere} of {total} {what} are in no domain, and the'
            f' largest domain has {max(counts.values(), default=0)}'
            f' (min_samples={min_samples})'
        )
    if nowhere:
        warnings.warn(
            f'{nowhere} of {total} {what} are in no domain, and left out of training',
            stacklevel=2,
        )
    if small:
        warnings.warn(
            f'{len(small)} domains with fewer than min_samples={min_samples} {what} are'
            f' left out of training: {", ".join(small)}',
            stacklevel=2,
        )
    kept = counts.keys() - small
    rows = [row for row, name in enumerate(train.names) if name in kept]
    names = [cast(str, train.names[row]) for row in rows]
    return Domains.from_samples(names, train.lon[rows], train.lat[rows])


def find_classes(dataset: Any) -> tuple[str, ...]:
    """Find the names of classes that a data set tells.

    Args:
        dataset: A data set, or subsets and combinations of some.

    Returns:
        Class names, in the order of the labels, empty if it tells none.
    """
    classes = getattr(dataset, 'classes', None)
    if isinstance(classes, list | tuple) and all(isinstance(c, str) for c in classes):
        return tuple(classes)
    # Subsets, and combinations of images and masks.
    inner = getattr(dataset, 'datasets', [getattr(dataset, 'dataset', None)])
    found = (find_classes(part) for part in inner if part is not None)
    return next((names for names in found if names), ())


def _checked(samples: Samples, places: Places) -> tuple[Tensor, Tensor]:
    """Locate samples and refuse what are no degrees."""
    lon, lat = places.locate(samples)
    kind = type(samples.dataset).__name__
    check_coordinates(lon, lat, [f'{kind}, sample {row}' for row in samples.rows])
    return lon, lat


def _refuse_unknown(
    rule: PlaceRule, lon: Tensor, shares: list[tuple[Samples, list[int]]]
) -> None:
    """Refuse to name domains by places where none is known."""
    if len(lon) and bool(lon.isnan().all()):
        kinds = sorted({type(samples.dataset).__name__ for samples, _ in shares})
        raise ValueError(
            f'{type(rule).__name__} names domains by place, and {" and ".join(kinds)} does'
            ' not tell where its samples are: set places to FilePlaces (GeoTIFF files),'
            ' TablePlaces (a table) or AttributePlaces (other names than lon and lat)'
        )
