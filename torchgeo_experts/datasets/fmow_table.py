# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""All splits of FMoW together: rows, domains and groups."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..domains import Domains
from .fmow_countries import OTHER
from .fmow_domains import Splits, Splitter, make_domains, values_of, without_small
from .fmow_rows import FMoWReader, FMoWRows


class Size(NamedTuple):
    """What a split holds."""

    images: int
    #: Number of domains, whether they are training domains or not.
    domains: int


@dataclass(frozen=True, eq=False)
class FMoWTable:
    """The rows of all splits, and what follows from all of them together.

    Args:
        rows: Rows that are in a split.
        splits: For each split the numbers of its rows.
        domains: Training domains.
        groups: Names of the evaluation groups, after those of the training domains.
        domain: Training domain of each row, -1 for none of them, shape (N,).
        group: Evaluation group of each row, shape (N,).
        sizes: What each split holds.
    """

    rows: FMoWRows
    splits: Splits
    domains: Domains
    groups: tuple[str, ...]
    domain: np.ndarray
    group: np.ndarray
    sizes: dict[str, Size]

    @property
    def unranked_groups(self) -> tuple[str, ...]:
        """Groups that do not compete for the worst one, as in WILDS."""
        return (OTHER,) if OTHER in self.groups else ()


def make_table(
    reader: FMoWReader, way: Splitter, domain_by: str, group_by: str, min_samples: int
) -> FMoWTable:
    """Read the tables, share rows out to splits, and number domains and groups.

    Args:
        reader: Reads the files.
        way: Shares rows out.
        domain_by: What the training domains are.
        group_by: What the evaluation groups are.
        min_samples: Fewest training images of a domain.

    Returns:
        The table. Its images are known to be there.
    """
    rows = reader.read()
    splits = way.split(rows)
    of_domain = values_of(rows, domain_by)
    splits['train'] = without_small(splits['train'], of_domain, min_samples)
    # Rows of no split are let go.
    used = np.unique(np.concatenate(list(splits.values())))
    rows = rows.take(used)
    splits = {name: np.searchsorted(used, index) for name, index in splits.items()}
    reader.check(rows)

    of_domain, of_group = values_of(rows, domain_by), values_of(rows, group_by)
    domains = make_domains(rows, splits['train'], of_domain)
    seen = [of_group.names[code] for code in np.unique(of_group.codes)]
    groups = (*domains.names, *(name for name in seen if name not in domains))
    numbers = {name: number for number, name in enumerate(groups)}
    # Names that no row has are in no group.
    order = np.array([numbers.get(name, -1) for name in of_group.names])
    return FMoWTable(
        rows,
        splits,
        domains,
        groups,
        domain=domains.ids(of_domain.names).numpy()[of_domain.codes],
        group=order[of_group.codes],
        sizes={
            name: Size(len(index), len(np.unique(of_domain.codes[index])))
            for name, index in splits.items()
        },
    )
