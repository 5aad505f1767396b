# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Data sets of others, whose samples are given places and domains."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from shapely import Point
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, default_collate
from torchgeo.datasets import GeoDataset
from torchgeo.datasets.utils import GeoSlice, Sample

from ..domains import Domains
from .patches import centres
from .rules import PlaceRule, Samples
from .rules.degrees import to_degrees

#: What a sample is given.
PLACE_KEYS = ('domain', 'group', 'lon', 'lat')
#: What a patch of a raster is given too.
SCENE = 'scene'
#: Name of the group of samples that are in no domain.
ELSEWHERE = 'elsewhere'


class Placed(Dataset[Sample]):
    """A data set whose samples know their domain; all else is that of the data set."""

    def __init__(self, dataset: Dataset[Sample], domain: Tensor, group: Tensor) -> None:
        """Initialize a new Placed instance.

        Args:
            dataset: Data set that holds the samples.
            domain: Training domain of each sample, int64, shape (N,), -1 for none.
            group: Evaluation group of each sample, int64, shape (N,).
        """
        self.dataset, self.domain, self.group = dataset, domain, group

    def __getattr__(self, name: str) -> Any:
        """Look up what this data set does not have in the one that holds the samples."""
        if name.startswith('__') or name == 'dataset':
            raise AttributeError(name)
        owner = self.dataset
        while isinstance(owner, Subset):
            owner = owner.dataset
        return getattr(owner, name)


class PlacedDataset(Placed):
    """Samples of a data set, with their domains and places."""

    def __init__(
        self,
        dataset: Dataset[Sample],
        rows: Tensor,
        domain: Tensor,
        group: Tensor,
        lon: Tensor,
        lat: Tensor,
    ) -> None:
        """Initialize a new PlacedDataset instance.

        Args:
            dataset: Data set that holds the samples.
            rows: Which of its samples to take, int64, shape (N,).
            domain: Training domain of each of them, int64, shape (N,), -1 for none.
            group: Evaluation group of each of them, int64, shape (N,).
            lon: Longitude of each in degrees WGS 84, shape (N,), NaN where unknown.
            lat: Latitude of each in degrees WGS 84, shape (N,), NaN where unknown.
        """
        super().__init__(dataset, domain, group)
        self.rows, self.lon, self.lat = rows, lon.float(), lat.float()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Args:
            index: Index of the sample.

        Returns:
            The data set's own sample, with ``domain``, ``group``, ``lon`` and ``lat``.
        """
        sample = dict(self.dataset[int(self.rows[index])])
        return sample | {key: getattr(self, key)[index].clone() for key in PLACE_KEYS}


class PlacedGeoDataset(Placed):
    """Patches of a geospatial data set, with their domains and places.

    ``domain`` and ``group`` of this data set tell those of places where patches may fall.
    Those of a patch follow from its centre when it is loaded.
    """

    def __init__(
        self,
        dataset: GeoDataset,
        rule: PlaceRule,
        domains: Domains,
        groups: Sequence[str],
        domain: Tensor,
        group: Tensor,
    ) -> None:
        """Initialize a new PlacedGeoDataset instance.

        Args:
            dataset: Data set that holds the patches.
            rule: Names the domain of each place.
            domains: Training domains.
            groups: Names of the evaluation groups.
            domain: Training domain of N places where patches may fall, int64, -1 for
                none.
            group: Evaluation group of these places, int64, shape (N,).
        """
        super().__init__(dataset, domain, group)
        self.rule, self.domains, self.groups = rule, domains, Domains(groups)

    def __len__(self) -> int:
        """Return the number of files of the data set."""
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: GeoSlice) -> Sample:
        """Return a patch.

        Args:
            index: Bounds of the patch.

        Returns:
            The data set's own sample, with ``domain``, ``group``, ``lon``, ``lat`` and
            ``scene``, the number of the data set's file in which its centre lies.
        """
        lon, lat, names = self._name([index])
        return dict(self.dataset[index]) | {  # type: ignore[index]
            SCENE: self._scene(index),
            'domain': self.domains.ids(names)[0],
            'group': self.groups.ids(map(named, names))[0],
            'lon': lon[0].float(),
            'lat': lat[0].float(),
        }

    def _scene(self, patch: GeoSlice) -> Tensor:
        (x,), (y,) = centres(self.dataset, [patch])  # type: ignore[arg-type]
        index = self.dataset.index  # type: ignore[attr-defined]
        # A patch at the border may have its centre in no file.
        _, rows = index.sindex.nearest(Point(x, y))
        return torch.tensor(int(rows.min()))

    def patch_domains(self, patches: Sequence[GeoSlice]) -> Tensor:
        """Tell the training domains of patches.

        Args:
            patches: Bounds of the patches.

        Returns:
            Training domain of each, int64, -1 for none of them.
        """
        return self.domains.ids(self._name(patches)[2])

    def _name(
        self, patches: Sequence[GeoSlice]
    ) -> tuple[Tensor, Tensor, list[str | None]]:
        lon, lat = places_of(self.dataset, *centres(self.dataset, patches))  # type: ignore[arg-type]
        return lon, lat, self.rule.names(lon, lat)


class PlacesCollate:
    """Makes batches as another function does, and adds domains and places.

    Functions that pad series leave out what they do not know.
    """

    def __init__(
        self, collate: Callable[[list[Sample]], Any] = default_collate
    ) -> None:
        """Initialize a new PlacesCollate instance.

        Args:
            collate: Makes a batch of samples.
        """
        self.collate = collate

    def __call__(self, samples: list[Sample]) -> Any:
        """Make a batch.

        Args:
            samples: Samples with domains and places.

        Returns:
            A batch.
        """
        given = [key for key in (*PLACE_KEYS, SCENE) if key in samples[0]]
        rest = [
            {key: value for key, value in sample.items() if key not in given}
            for sample in samples
        ]
        places = {key: torch.stack([s[key] for s in samples]) for key in given}
        return self.collate(rest) | places


def named(name: str | None) -> str:
    """Name the group of a sample by its domain, which may be none."""
    return ELSEWHERE if name is None else name


def places_of(dataset: GeoDataset, x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Turn coordinates of a data set into places.

    Args:
        dataset: Data set with a coordinate reference system.
        x: Coordinates in that system, shape (N,).
        y: Coordinates in that system, shape (N,).

    Returns:
        Longitudes and latitudes in degrees WGS 84, float64, shape (N,).
    """
    lon, lat = to_degrees(dataset.crs, x, y)
    return torch.from_numpy(lon), torch.from_numpy(lat)


def origins(dataset: Any) -> list[tuple[Any, int]]:
    """Find where each sample comes from.

    Args:
        dataset: A data set, or subsets and concatenations of some.

    Returns:
        For each sample the innermost data set and the index in it.
    """
    if isinstance(dataset, Subset):
        inner = origins(dataset.dataset)
        return [inner[int(index)] for index in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        return [origin for part in dataset.datasets for origin in origins(part)]
    return [(dataset, index) for index in range(len(dataset))]


def by_owner(found: Sequence[tuple[Any, int]]) -> list[tuple[Samples, list[int]]]:
    """Share samples out to the data sets that they come from.

    Args:
        found: What :func:`origins` found.

    Returns:
        For each data set its samples, and their positions in *found*.
    """
    shares: dict[int, tuple[Any, list[int], list[int]]] = {}
    for position, (owner, row) in enumerate(found):
        _, rows, positions = shares.setdefault(id(owner), (owner, [], []))
        rows.append(row)
        positions.append(position)
    return [
        (Samples(owner, rows), positions) for owner, rows, positions in shares.values()
    ]
