# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains: named places with identifiers, coordinates and distances."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

#: Mean radius of the Earth (IUGG), in kilometres.
EARTH_RADIUS_KM = 6371.0088


def unit_vectors(lon: Tensor, lat: Tensor) -> Tensor:
    """Place coordinates on the unit sphere.

    Args:
        lon: Longitudes in degrees, any shape (...).
        lat: Latitudes in degrees, shape (...).

    Returns:
        Cartesian coordinates, shape (..., 3), float64.
    """
    lon, lat = torch.deg2rad(lon.double()), torch.deg2rad(lat.double())
    return torch.stack(
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=-1
    )


def great_circle_angles(a: Tensor, b: Tensor) -> Tensor:
    """Compute all great-circle angles between two sets of unit vectors.

    The chord form is used: unlike the arc cosine of the dot product it keeps its
    precision for near places.

    Args:
        a: Unit vectors, shape (N, 3).
        b: Unit vectors, shape (M, 3).

    Returns:
        Angles in radians, shape (N, M), in [0, pi].
    """
    chord = (a[:, None] - b[None]).norm(dim=-1)
    return 2 * torch.asin((chord / 2).clamp(max=1))


def check_coordinates(lon: Tensor, lat: Tensor, names: Sequence[str]) -> None:
    """Refuse coordinates that are no WGS 84 degrees.

    Args:
        lon: Longitudes in degrees, shape (N,), NaN where unknown.
        lat: Latitudes in degrees, shape (N,), NaN where unknown.
        names: What each coordinate belongs to, for the message.

    Raises:
        ValueError: If a longitude lies outside [-180, 180], a latitude outside
            [-90, 90], or only one of the two is known.
    """
    wrong = (lon.abs() > 180) | (lat.abs() > 90) | (lon.isnan() != lat.isnan())
    for index in wrong.nonzero().flatten().tolist():
        raise ValueError(
            f'{names[index]}: lon={lon[index].item():g}, lat={lat[index].item():g} is no'
            ' place in degrees WGS 84: expected lon in [-180, 180] and lat in'
            ' [-90, 90], or NaN for both where the place is unknown'
            + (' (are lon and lat swapped?)' if lat[index].abs() > 90 else '')
        )


class Domains:
    """An ordered set of domains: places, or what plays their role.

    A domain's identifier is its position. Identifiers are what samples carry as
    ``domain``; names stay here.
    """

    def __init__(
        self,
        names: Sequence[str],
        lon: Sequence[float] | Tensor | None = None,
        lat: Sequence[float] | Tensor | None = None,
    ) -> None:
        """Initialize a new Domains instance.

        Args:
            names: Unique names, in the order of their identifiers.
            lon: Longitudes of the domains in degrees, one a name, NaN where
                unknown. Default: all unknown.
            lat: Latitudes of the domains in degrees, like *lon*.

        Raises:
            ValueError: If names repeat, lengths differ or coordinates are no
                degrees WGS 84.
        """
        self.names = tuple(str(name) for name in names)
        unknown = torch.full((len(self.names),), torch.nan, dtype=torch.float64)
        self.lon = unknown if lon is None else torch.as_tensor(lon, dtype=torch.float64)
        self.lat = unknown if lat is None else torch.as_tensor(lat, dtype=torch.float64)
        self._ids: dict[str | None, int] = {n: i for i, n in enumerate(self.names)}

        if len(self._ids) < len(self.names):
            repeated = sorted({n for n in self.names if self.names.count(n) > 1})
            raise ValueError(f'domain names must be unique, these repeat: {repeated}')
        if self.lon.shape != unknown.shape or self.lat.shape != unknown.shape:
            raise ValueError(
                f'{len(self.names)} domains need as many longitudes and latitudes,'
                f' found {tuple(self.lon.shape)} and {tuple(self.lat.shape)}'
            )
        check_coordinates(self.lon, self.lat, self.names)

    @classmethod
    def from_samples(
        cls,
        names: Sequence[str],
        lon: Sequence[float] | Tensor | None = None,
        lat: Sequence[float] | Tensor | None = None,
    ) -> 'Domains':
        """Collect the domains of samples, in alphabetical order.

        A domain lies at the mean direction of its samples on the sphere, so that
        places on both sides of the dateline do not meet in Africa.

        Args:
            names: Domain of each sample.
            lon: Longitude of each sample in degrees, NaN where unknown.
            lat: Latitude of each sample in degrees, NaN where unknown.

        Returns:
            The domains.

        Raises:
            ValueError: If coordinates are no degrees WGS 84.
        """
        order = sorted(set(names))
        if lon is None or lat is None:
            return cls(order)

        lon = torch.as_tensor(lon, dtype=torch.float64)
        lat = torch.as_tensor(lat, dtype=torch.float64)
        # The mean would hide them: any angle is some direction.
        check_coordinates(lon, lat, names)
        rank = {name: index for index, name in enumerate(order)}
        ids = torch.tensor([rank[name] for name in names]).long()
        vectors = unit_vectors(lon, lat)
        known = ~vectors.isnan().any(dim=-1)
        total = torch.zeros(len(order), 3, dtype=torch.float64)
        total.index_add_(0, ids[known], vectors[known])
        # The sum of no sample has no direction.
        total[total.norm(dim=-1) < 1e-9] = torch.nan
        return cls(
            order,
            torch.rad2deg(torch.atan2(total[:, 1], total[:, 0])),
            torch.rad2deg(torch.atan2(total[:, 2], total[:, :2].norm(dim=-1))),
        )

    def __len__(self) -> int:
        """Return the number of domains."""
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        """Return whether a name is one of the domains."""
        return name in self._ids

    def __repr__(self) -> str:
        """Return the number of domains and the first names."""
        shown = ', '.join(self.names[:3]) + (', ...' if len(self) > 3 else '')
        return f'Domains({len(self)}: {shown})'

    def ids(self, names: Iterable[str | None]) -> Tensor:
        """Look up the identifiers of names.

        Args:
            names: Domain names, None for no domain.

        Returns:
            Identifiers, int64, -1 for names that are none of the domains.
        """
        return torch.tensor([self._ids.get(name, -1) for name in names]).long()

    @property
    def located(self) -> bool:
        """Whether the place of every domain is known."""
        return not bool(self.lon.isnan().any())

    def angles(self, others: 'Domains | None' = None) -> Tensor:
        """Compute the great-circle angles between domains.

        Args:
            others: Domains to measure to. Default: these domains.

        Returns:
            Angles in radians, shape (D, D) or (D, number of others), float64; NaN
            where a place is unknown.
        """
        others = self if others is None else others
        return great_circle_angles(
            unit_vectors(self.lon, self.lat), unit_vectors(others.lon, others.lat)
        )

    def kilometres(self, others: 'Domains | None' = None) -> Tensor:
        """Compute the great-circle distances between domains.

        Args:
            others: Domains to measure to. Default: these domains.

        Returns:
            Distances in kilometres, shape (D, D) or (D, number of others).
        """
        return EARTH_RADIUS_KM * self.angles(others)
