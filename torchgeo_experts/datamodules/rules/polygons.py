# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains by polygons."""

import math
import os

import geopandas as gpd
import numpy as np
import shapely
from geopandas import GeoDataFrame
from torch import Tensor
from torchgeo.datasets.utils import Path

from ...domains import EARTH_RADIUS_KM
from .base import PlaceRule


class PolygonDomains(PlaceRule):
    """Polygons of a file: countries, biomes, basins, tiles.

    Where polygons overlap, the first one of the file counts. Polygons with the same name
    are one domain.
    """

    def __init__(self, file: Path, column: str, max_km: float = 0.0) -> None:
        """Initialize a new PolygonDomains instance.

        Args:
            file: File of polygons: anything that GeoPandas reads, such as GeoPackage,
                GeoJSON, Shapefile or GeoParquet, in any coordinate reference system.
            column: Column of their names.
            max_km: A place outside all polygons belongs to the nearest one, if that is
                no farther than this, in kilometres. Meant for places off a coarse coast
                or border: distances are those on a plane, good for some hundred
                kilometres. Default: it is in no domain.
        """
        self.file, self.column, self.max_km = os.fspath(file), column, max_km
        self._tree: shapely.STRtree | None = None
        self._names: list[str] = []

    def names(self, lon: Tensor, lat: Tensor) -> list[str | None]:
        """Name the polygons of places.

        Args:
            lon: Longitudes in degrees WGS 84, shape (N,), NaN where unknown.
            lat: Latitudes in degrees WGS 84, shape (N,), NaN where unknown.

        Returns:
            Name of the polygon of each place, None for a place in none.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If it has no coordinate reference system, lacks the column, or a
                polygon has no name.
        """
        tree = self._read()
        x, y = lon.double().numpy(), lat.double().numpy()
        # No polygon holds a place that is unknown.
        points = shapely.points(np.nan_to_num(x, nan=999), np.nan_to_num(y, nan=999))
        found = np.full(len(x), len(self._names))
        place, polygon = tree.query(points, predicate='intersects')
        np.minimum.at(found, place, polygon)
        if self.max_km > 0:
            outside = (found == len(self._names)) & ~np.isnan(x)
            for index in outside.nonzero()[0]:
                found[index] = self._nearest(tree, x[index], y[index])
        names = [*self._names, None]
        return [names[index] for index in found.tolist()]

    def _read(self) -> shapely.STRtree:
        """Read the file once."""
        if self._tree is None:
            frame = _read_polygons(self.file, self.column)
            self._names = [str(name) for name in frame[self.column]]
            self._tree = shapely.STRtree(frame.geometry.to_numpy())
        return self._tree

    def _nearest(self, tree: shapely.STRtree, lon: float, lat: float) -> int:
        """Find the nearest polygon, or the number of polygons if none is near."""
        km_per_degree = math.radians(EARTH_RADIUS_KM)
        shrink = max(math.cos(math.radians(lat)), 1e-3)
        reach = np.array([self.max_km / shrink, self.max_km]) / km_per_degree
        best = (self.max_km, len(self._names))
        # Polygons beyond the dateline are a turn away.
        for x in (lon, lon - 360, lon + 360):
            window = shapely.box(
                x - reach[0], lat - reach[1], x + reach[0], lat + reach[1]
            )
            for index in sorted(tree.query(window).tolist()):
                plane = shapely.transform(
                    tree.geometries[index],
                    lambda xy, x=x: (xy - [x, lat]) * [shrink, 1] * km_per_degree,
                )
                best = min(best, (plane.distance(shapely.Point(0, 0)), index))
        return best[1]


def _read_polygons(file: str, column: str) -> GeoDataFrame:
    """Read polygons in degrees, and check them."""
    if not os.path.exists(file):
        raise FileNotFoundError(f'no file of polygons at {file}')
    parquet = file.lower().endswith(('.parquet', '.pq', '.geoparquet'))
    frame = gpd.read_parquet(file) if parquet else gpd.read_file(file)
    columns = [name for name in frame.columns if name != 'geometry']
    if column not in columns:
        raise ValueError(f'{file}: no column {column!r}, found: {columns}')
    if frame.crs is None:
        raise ValueError(
            f'{file}: the polygons have no coordinate reference system: set the one they'
            ' are in, e.g. with GeoDataFrame.set_crs'
        )
    unnamed = frame[column].isna() | (frame[column].astype(str) == '')
    if unnamed.any():
        raise ValueError(
            f'{file}: {int(unnamed.sum())} polygons have no name in column {column!r}, the'
            f' first one is number {int(unnamed.to_numpy().argmax())}: name or delete them'
        )
    return frame.to_crs('EPSG:4326')
