# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains by clusters of places."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...domains import EARTH_RADIUS_KM, great_circle_angles, unit_vectors
from .base import PlaceRule

type Floats = npt.NDArray[np.float64]

#: Fresh starts of k-means; the best one counts.
STARTS = 16
#: Steps of one k-means, more than it ever needs.
STEPS = 300


class ClusterDomains(PlaceRule):
    """Clusters of the training places, found by k-means on the sphere.

    Every other place belongs to the cluster with the nearest centre.
    """

    def __init__(self, count: int, seed: int = 0, max_km: float | None = None) -> None:
        """Initialize a new ClusterDomains instance.

        Args:
            count: Number of clusters.
            seed: Seed of the first centres.
            max_km: Distance from the nearest centre, in kilometres, beyond which a place
                is in no cluster. Default: none is too far.

        Raises:
            ValueError: If *count* is less than one.
        """
        if count < 1:
            raise ValueError(f'count must be at least 1, found {count}')
        self.count, self.seed, self.max_km = count, seed, max_km
        #: Unit vectors of the centres, from west to east, shape (count, 3).
        self.centres = torch.empty(0, 3, dtype=torch.float64)

    def fit(self, lon: Tensor, lat: Tensor) -> None:
        """Find the clusters.

        Args:
            lon: Longitudes of the training samples in degrees, NaN where unknown.
            lat: Latitudes of the training samples in degrees, NaN where unknown.

        Raises:
            ValueError: If there are fewer different places than clusters.
        """
        points = unit_vectors(lon, lat)
        points = points[~points.isnan().any(dim=1)]
        found = len(points.unique(dim=0))
        if found < self.count:
            raise ValueError(
                f'{self.count} clusters need as many different places, the training'
                f' samples have {found}'
            )
        centres = spherical_kmeans(points.numpy(), self.count, self.seed)
        order = np.argsort(np.arctan2(centres[:, 1], centres[:, 0]), kind='stable')
        self.centres = torch.from_numpy(centres[order])

    def names(self, lon: Tensor, lat: Tensor) -> list[str | None]:
        """Name the nearest clusters of places.

        Args:
            lon: Longitudes in degrees WGS 84, shape (N,), NaN where unknown.
            lat: Latitudes in degrees WGS 84, shape (N,), NaN where unknown.

        Returns:
            Names such as ``cluster 07``, counted from west to east; None where the place
            is unknown or too far from all of them.
        """
        angles = great_circle_angles(unit_vectors(lon, lat), self.centres)
        nearest, index = angles.min(dim=1)
        kilometres = EARTH_RADIUS_KM * nearest
        # Unknown places are at no distance: NaN compares false.
        near = kilometres <= (torch.inf if self.max_km is None else self.max_km)
        width = len(str(self.count))
        return [
            f'cluster {number + 1:0{width}}' if known else None
            for number, known in zip(index.tolist(), near.tolist(), strict=True)
        ]


def spherical_kmeans(points: Floats, count: int, seed: int = 0) -> Floats:
    """Find clusters of points on the sphere.

    Centres are the normalized means of their points, which maximizes the sum of
    cosines. The first ones are drawn far from each other (k-means++).

    Args:
        points: Unit vectors, shape (N, 3).
        count: Number of clusters, at most the number of different points.
        seed: Seed of the first centres.

    Returns:
        Unit vectors of the centres, shape (count, 3).
    """
    generator = np.random.default_rng(seed)
    runs = [
        _kmeans(points, _first_centres(points, count, generator)) for _ in range(STARTS)
    ]
    return max(runs, key=lambda run: run[0])[1]


def _first_centres(
    points: Floats, count: int, generator: np.random.Generator
) -> Floats:
    """Draw centres with probabilities that grow with the distance from those drawn."""
    centres = [points[generator.integers(len(points))]]
    distance = np.full(len(points), np.inf)
    while len(centres) < count:
        distance = np.minimum(distance, ((points - centres[-1]) ** 2).sum(axis=1))
        drawn = generator.choice(len(points), p=distance / distance.sum())
        centres.append(points[drawn])
    return np.stack(centres)


def _kmeans(points: Floats, centres: Floats) -> tuple[float, Floats]:
    """Improve centres until no point changes its cluster; also sum the cosines."""
    nearest = np.full(len(points), -1)
    for _ in range(STEPS):
        before, nearest = nearest, (points @ centres.T).argmax(axis=1)
        if (before == nearest).all():
            break
        sums = np.stack(
            [np.bincount(nearest, x, len(centres)) for x in points.T], axis=1
        )
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # A cluster that lost its points stays where it is.
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    return float((points @ centres.T).max(axis=1).sum()), centres
