# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""How near the domains of validation and test are to those of training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchgeo.datamodules import BaseDataModule

from ..datamodules.base import PlacesDataModule
from ..datamodules.placed import ELSEWHERE
from ..domains import Domains
from .contents import SplitContents, split_contents
from .distances import least_kilometres
from .shares import ClassShares, class_shares

#: Splits that are looked at.
SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True, eq=False)
class LeakageReport:
    """Domains, samples, classes and distances of the splits of a datamodule.

    Args:
        domains: One row for each split and each domain that has samples in it, with the
            columns ``split``, ``domain``, ``lon``, ``lat``, ``samples``,
            ``unknown_place`` (samples), ``nearest`` (the training domain whose centre is
            the nearest, for a training domain another one), ``km`` (to it, between
            centres), ``nearest_sample`` (the training domain with the nearest sample)
            and ``sample_km`` (between the two samples; both are empty in training).
        pairs: One row for each domain of validation and test and each training domain
            other than itself, the nearest first, with the columns ``split``,
            ``domain``, ``training_domain``, ``km`` and ``sample_km``.
        shared: One row for each domain in several splits: ``domain`` and ``splits``.
        shares: Shares of classes in the rows of *domains*, and in splits.
        contents: The samples of each split.
        training: Names of the training domains.
    """

    domains: pd.DataFrame
    pairs: pd.DataFrame
    shared: pd.DataFrame
    shares: ClassShares
    contents: dict[str, SplitContents]
    training: tuple[str, ...]


def leakage_report(datamodule: BaseDataModule, samples: int = 8) -> LeakageReport:
    """Compare the domains of validation and test with those of training.

    Nothing is trained. Images are read only where classes are not known without.

    Args:
        datamodule: Datamodule whose samples know their domain; its data sets are made.
        samples: How many samples of each domain and split to read for the shares of
            classes, where labels are not known without reading. 0: none.

    Returns:
        The report.

    Raises:
        ValueError: If the samples of the datamodule have no domains, or *samples* is
            negative.
    """
    if not isinstance(datamodule, PlacesDataModule):
        # What a user chose in a file, not what a programmer passed.
        raise ValueError(  # noqa: TRY004
            f'the samples of {type(datamodule).__name__} have no domains: put it into a'
            ' torchgeo_experts.DomainDataModule, and say what the domains are'
        )
    if samples < 0:
        raise ValueError(f'samples must not be negative, found {samples}')
    datamodule.prepare_data()
    datamodule.setup('fit')
    datamodule.setup('test')
    found = {split: split_contents(datamodule, split) for split in SPLITS}
    contents = {split: held for split, held in found.items() if held is not None}
    training, groups = datamodule.domains, datamodule.groups
    compared = [_Compared(split, contents, training, groups) for split in contents]
    domains = pd.concat([each.rows() for each in compared], ignore_index=True)
    pairs = pd.concat([each.pairs() for each in compared], ignore_index=True)
    order = least_known(pairs).sort_values(kind='stable').index
    classes = tuple(getattr(datamodule, 'classes', ()))
    return LeakageReport(
        domains,
        pairs.loc[order].reset_index(drop=True),
        _shared(domains),
        class_shares(contents, domains, groups, classes, samples),
        contents,
        training.names,
    )


def least_known(table: pd.DataFrame) -> pd.Series:
    """Tell distances between samples, or between centres where only these are known.

    Args:
        table: Rows of a report, with the columns ``km`` and ``sample_km``.

    Returns:
        Kilometres, NaN where neither is known.
    """
    return table['sample_km'].fillna(table['km'])


class _Compared:
    """A split compared with training."""

    def __init__(
        self,
        split: str,
        contents: dict[str, SplitContents],
        training: Domains,
        groups: Sequence[str],
    ) -> None:
        self.split, self.training, self.held = split, training, contents[split]
        self.present = self.held.group.unique()
        self.own = _located(groups, self.held, training)
        #: Whether a group is a training domain, bool, shape (G, D).
        self.same = self.present[:, None] == torch.arange(len(training))
        #: Distances between centres and between samples in kilometres, shape (G, D).
        self.km = self.own.kilometres(training)
        self.sample_km = torch.full_like(self.km, torch.nan)
        if split == 'train':
            self.km.masked_fill_(self.same, torch.nan)
        else:
            self.sample_km = least_kilometres(
                self.held, contents['train'], self.present, len(training)
            )

    def rows(self) -> pd.DataFrame:
        """Make one row a domain."""
        group = self.held.group
        unknown = group[self.held.lon.isnan()]
        nearest, km = _nearest(self.training, self.km)
        nearest_sample, sample_km = _nearest(self.training, self.sample_km)
        return pd.DataFrame(
            {
                'split': self.split,
                'domain': self.own.names,
                'lon': self.own.lon.numpy(),
                'lat': self.own.lat.numpy(),
                'samples': [int((group == i).sum()) for i in self.present],
                'unknown_place': [int((unknown == i).sum()) for i in self.present],
                'nearest': nearest,
                'km': km,
                'nearest_sample': nearest_sample,
                'sample_km': sample_km,
            }
        )

    def pairs(self) -> pd.DataFrame:
        """Make one row for each domain and each other training domain."""
        held_out = self.split != 'train'
        first, second = (~self.same & held_out).nonzero().T
        return pd.DataFrame(
            {
                'split': self.split,
                'domain': [self.own.names[i] for i in first.tolist()],
                'training_domain': [self.training.names[i] for i in second.tolist()],
                'km': self.km[first, second].numpy(),
                'sample_km': self.sample_km[first, second].numpy(),
            }
        )


def _located(groups: Sequence[str], held: SplitContents, training: Domains) -> Domains:
    """Place the groups of a split: training domains where they are known to be."""
    names = [groups[i] for i in held.group.unique().tolist()]
    samples = [groups[i] for i in held.group.tolist()]
    found = Domains.from_samples(samples, held.lon, held.lat)
    order, ids = found.ids(names), training.ids(names)
    lon, lat = (
        theirs[ids.clamp(min=0)].where(ids >= 0, own[order])
        for theirs, own in ((training.lon, found.lon), (training.lat, found.lat))
    )
    # What is in no domain is all over the place, and has no centre.
    nowhere = torch.tensor([name == ELSEWHERE for name in names], dtype=torch.bool)
    lon, lat = (axis.masked_fill(nowhere, torch.nan) for axis in (lon, lat))
    return Domains(names, lon, lat)


def _nearest(training: Domains, km: Tensor) -> tuple[list[str], np.ndarray]:
    """Name the nearest training domain of each row, '' where distances are unknown."""
    known = ~km.isnan()
    least, which = km.nan_to_num(torch.inf).masked_fill(~known, torch.inf).min(dim=1)
    some = known.any(dim=1)
    names = [
        training.names[i] if there else ''
        for i, there in zip(which.tolist(), some.tolist(), strict=True)
    ]
    return names, least.where(some, torch.nan).numpy()


def _shared(domains: pd.DataFrame) -> pd.DataFrame:
    """List the domains that are in several splits."""
    domains = domains[domains['domain'] != ELSEWHERE]
    splits = domains.groupby('domain', sort=False)['split'].agg(list)
    splits = splits[splits.map(len) > 1]
    return pd.DataFrame(
        {'domain': splits.index, 'splits': splits.map(tuple).to_numpy()}
    )
