# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains and splits of FMoW."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..domains import Domains
from .fmow_rows import OFFICIAL, FMoWRows
from .splits import share_out

#: Rows of each split.
Splits = dict[str, np.ndarray]


class Values(NamedTuple):
    """What a row has of a property."""

    #: Indices into the names, shape (N,).
    codes: np.ndarray
    names: tuple[str, ...]
    #: Whether the values are places.
    places: bool


def values_of(rows: FMoWRows, name: str) -> Values:
    """Take a property of rows.

    Args:
        rows: The rows.
        name: 'country' (names are ISO 3166-1 alpha-3 codes), 'region' or 'year' (UTC).

    Returns:
        Its values.

    Raises:
        ValueError: If the name is another one.
    """
    years, year = np.unique(rows.year, return_inverse=True)
    known = {
        'country': Values(rows.country, rows.countries, True),
        'region': Values(rows.region, rows.regions, True),
        'year': Values(year, tuple(map(str, years.tolist())), False),
    }
    if name not in known:
        raise ValueError(f'domains and groups are one of {list(known)}, found {name!r}')
    return known[name]


class Splitter(ABC):
    """Shares rows out to splits."""

    @abstractmethod
    def split(self, rows: FMoWRows) -> Splits:
        """Share rows out.

        Args:
            rows: All rows.

        Returns:
            For each split the numbers of its rows, in order.
        """


class ByTime(Splitter):
    """The official split of WILDS: by the splits of FMoW, and by time.

    ========  =============  =============
    split     split of FMoW  taken in
    ========  =============  =============
    train     train          before 2013
    id_val    val            before 2013
    id_test   test           before 2013
    val       val            2013 to 2015
    test      test           from 2016 on
    ========  =============  =============

    Years begin on 1 January, 0:00 UTC. All other rows are in no split.
    """

    def split(self, rows: FMoWRows) -> Splits:
        """Share rows out.

        Args:
            rows: All rows.

        Returns:
            For each split the numbers of its rows, in order.
        """
        early, late = (
            rows.time < np.datetime64(f'{year}-01-01') for year in (2013, 2016)
        )
        train, val, test = (rows.official == i for i in range(len(OFFICIAL)))
        masks = {
            'train': train & early,
            'val': val & ~early & late,
            'test': test & ~late,
            'id_val': val & early,
            'id_test': test & early,
        }
        return {name: mask.nonzero()[0] for name, mask in masks.items()}


@dataclass(frozen=True)
class ByTimeAndRegion(Splitter):
    """That of WILDS, with one region for testing alone (FMoW-LAO, if it is Asia).

    Args:
        left_out: The region. 'train', 'val' and 'id_val' have no image of it, 'test' and
            'id_test' no other ones.
    """

    left_out: str = 'Asia'

    def split(self, rows: FMoWRows) -> Splits:
        """Share rows out.

        Args:
            rows: All rows.

        Returns:
            For each split the numbers of its rows, in order.

        Raises:
            ValueError: If there is no such region.
        """
        if self.left_out not in rows.regions:
            raise ValueError(
                f'left_out is one of {list(rows.regions)}, found {self.left_out!r}'
            )
        there = rows.region == rows.regions.index(self.left_out)
        return {
            name: index[there[index] == name.endswith('test')]
            for name, index in ByTime().split(rows).items()
        }


@dataclass(frozen=True)
class FewOfRegion(Splitter):
    """A few labelled images of the region that was left out, to adapt to it.

    They are drawn from the validation images of that region. The authors of MoGE tune a
    gate on "150 samples = 1 % of the validation set" of Asia; which, is not published.

    Args:
        left_out: The region: all splits have images of it only.
        samples: Number of training images. All other validation images are for
            validation, and testing is as with :class:`ByTimeAndRegion`.
        seed: Seed of the draw.
    """

    left_out: str = 'Asia'
    samples: int = 150
    seed: int = 0

    def split(self, rows: FMoWRows) -> Splits:
        """Share rows out.

        Args:
            rows: All rows.

        Returns:
            For each split the numbers of its rows, in order.

        Raises:
            ValueError: If there is no such region, or it has too few images.
        """
        tests = ByTimeAndRegion(self.left_out).split(rows)
        there = rows.region == rows.regions.index(self.left_out)
        usable = ByTime().split(rows)['val']
        usable = usable[there[usable]]
        if not 0 < self.samples < len(usable):
            raise ValueError(
                f'few_samples={self.samples} must be above 0 and below {len(usable)}, the'
                f' number of validation images of {self.left_out}'
            )
        order = np.random.default_rng(self.seed).permutation(usable)
        few, others = np.sort(order[: self.samples]), np.sort(order[self.samples :])
        return {'train': few, 'val': others} | {
            name: tests[name] for name in ('test', 'id_test')
        }


@dataclass(frozen=True)
class ByCountry(Splitter):
    """Countries are drawn for training, validation and test, as in CoDEX (section 4.1).

    The images are those that have a split in WILDS, of all times. The paper has 100, 50
    and 50 countries, and neither tells which ones nor what else it left out.

    Args:
        train: Countries for training, or how many to draw.
        val: Countries for validation, or how many to draw.
        test: Countries for testing, or how many to draw.
        min_samples: Fewest images of a country that is drawn.
        seed: Seed of the draw.
    """

    train: Sequence[str] | int = 100
    val: Sequence[str] | int = 50
    test: Sequence[str] | int = 50
    min_samples: int = 1
    seed: int = 0

    def split(self, rows: FMoWRows) -> Splits:
        """Share rows out.

        Args:
            rows: All rows.

        Returns:
            For each split the numbers of its rows, in order.

        Raises:
            ValueError: If a country is unknown or named twice, or there are too few.
        """
        used = np.sort(np.concatenate(list(ByTime().split(rows).values())))
        country = rows.country[used]
        counts = np.bincount(country, minlength=len(rows.countries)).tolist()
        sizes = {name: n for name, n in zip(rows.countries, counts, strict=True) if n}
        drawn = share_out(
            sizes,
            {'test': self.test, 'val': self.val, 'train': self.train},
            self.seed,
            undrawn=[name for name, n in sizes.items() if n < self.min_samples],
        )
        index = {name: i for i, name in enumerate(rows.countries)}
        return {
            split: used[np.isin(country, [index[name] for name in names])]
            for split, names in drawn.items()
        }


def without_small(index: np.ndarray, values: Values, min_samples: int) -> np.ndarray:
    """Leave training domains with too few images out.

    Args:
        index: Rows of the training split.
        values: Domain of each row.
        min_samples: Fewest images of a domain.

    Returns:
        The rows that stay. A warning names the domains that do not.

    Raises:
        ValueError: If none stays.
    """
    counts = np.bincount(values.codes[index], minlength=len(values.names))
    small = (counts > 0) & (counts < min_samples)
    kept = index[~small[values.codes[index]]]
    if len(index) and not len(kept):
        raise ValueError(
            f'no training domain has min_samples={min_samples} images, the largest has'
            f' {counts.max()}'
        )
    if small.any():
        names = ', '.join(values.names[i] for i in small.nonzero()[0])
        warnings.warn(
            f'{small.sum()} domains with fewer than min_samples={min_samples} training'
            f' images are left out of training: {names}',
            stacklevel=2,
        )
    return kept


def make_domains(rows: FMoWRows, index: np.ndarray, values: Values) -> Domains:
    """Collect the training domains, in the order of the values.

    Args:
        rows: All rows.
        index: Rows of the training split.
        values: Domain of each row.

    Returns:
        The domains, each at the mean of its images, if they are places.
    """
    codes = values.codes[index]
    names = [values.names[code] for code in np.unique(codes)]
    if not values.places:
        return Domains(names)
    found = Domains.from_samples(
        [values.names[code] for code in codes],
        rows.lon[index].tolist(),
        rows.lat[index].tolist(),
    )
    order = found.ids(names)
    return Domains(names, found.lon[order], found.lat[order])
