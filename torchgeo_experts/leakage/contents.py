# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What the splits of a datamodule hold: places, evaluation groups and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..datamodules.base import PlacesDataModule
from ..datamodules.patches import centres, draw_patches, fixed_patches, patch_centres
from ..datamodules.placed import (
    Placed,
    PlacedDataset,
    PlacedGeoDataset,
    named,
    origins,
    places_of,
)
from ..domains import Domains

#: Names under which data sets keep their labels.
LABELS = ('label', 'targets')


@dataclass(frozen=True, eq=False)
class SplitContents:
    """The samples of a split, not read yet.

    Args:
        dataset: Data set that reads them.
        group: Evaluation group of N samples, int64, shape (N,). Where patches of a
            raster are drawn at random: of places where they may fall.
        lon: Longitude of each of them in degrees WGS 84, float64, NaN where unknown.
        lat: Latitude of each of them in degrees WGS 84, float64, NaN where unknown.
        label: Class of each of them, int64, None if it is not known without reading.
        items: What *dataset* is indexed with.
        item_group: Evaluation group of each item, int64.
    """

    dataset: Any
    group: Tensor
    lon: Tensor
    lat: Tensor
    label: Tensor | None
    items: Sequence[Any]
    item_group: Tensor


def split_contents(datamodule: PlacesDataModule, split: str) -> SplitContents | None:
    """Find out what a split holds, without reading images.

    Args:
        datamodule: Datamodule whose data sets are made.
        split: One of 'train', 'val' or 'test'.

    Returns:
        What it holds, None if the datamodule has no such split or no sample is in it.
    """
    dataset: Any = getattr(datamodule, f'{split}_dataset', None)
    if dataset is None or not len(dataset):
        return None
    if isinstance(dataset, PlacedGeoDataset):
        return _patches(datamodule, dataset, split)
    unknown = torch.full((len(dataset),), torch.nan, dtype=torch.float64)
    lon, lat = (
        torch.as_tensor(getattr(dataset, axis, unknown), dtype=torch.float64)
        for axis in ('lon', 'lat')
    )
    group = dataset.group.long()
    items = range(len(dataset))
    return SplitContents(dataset, group, lon, lat, _labels(dataset), items, group)


def _patches(datamodule: Any, dataset: PlacedGeoDataset, split: str) -> SplitContents:
    """Find out about patches of rasters; in training only those in a domain are drawn."""
    sampler = datamodule.own_sampler(split)
    raster: Any = dataset.dataset

    def name(x: Any, y: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tell places, groups, and which patches the split has."""
        lon, lat = places_of(raster, x, y)
        names = dataset.rule.names(lon, lat)
        group = Domains(datamodule.groups).ids(map(named, names))
        inside = dataset.domains.ids(names) >= 0
        return lon, lat, group, inside if split == 'train' else group >= 0

    lon, lat, group, kept = name(*patch_centres(raster, sampler))
    fixed = fixed_patches(sampler)
    items = draw_patches(sampler, (0, 0)) if fixed is None else fixed
    *_, item_group, drawn = name(*centres(raster, items))
    items = [item for item, keep in zip(items, drawn.tolist(), strict=True) if keep]
    return SplitContents(
        dataset, group[kept], lon[kept], lat[kept], None, items, item_group[drawn]
    )


def _labels(dataset: Any) -> Tensor | None:
    """Look for the class of each sample among the attributes of a data set."""
    found = [(dataset, row) for row in range(len(dataset))]
    if isinstance(dataset, PlacedDataset):
        inner = origins(dataset.dataset)
        found = [inner[row] for row in dataset.rows.tolist()]
    owners = {id(owner): owner for owner, _ in found}
    known = {key: _own_labels(owner) for key, owner in owners.items()}
    if not known or any(labels is None for labels in known.values()):
        return None
    return torch.tensor([known[id(owner)][row] for owner, row in found]).long()  # type: ignore[index]


def _own_labels(dataset: Any) -> list[int] | None:
    for name in LABELS:
        values = None if isinstance(dataset, Placed) else getattr(dataset, name, None)
        if not isinstance(values, Tensor | list | tuple):
            continue
        try:
            labels = torch.as_tensor(values)
        except (TypeError, ValueError):
            continue
        whole = not (labels.is_floating_point() or labels.is_complex())
        if labels.shape == (len(dataset),) and whole:
            return labels.tolist()
    return None
