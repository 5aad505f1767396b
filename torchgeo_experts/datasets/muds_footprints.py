# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Footprints of buildings, drawn on the grid of an image."""

import os
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj.exceptions import CRSError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.transform import Affine, array_bounds
from torchgeo.datasets.utils import Path

from .place_series import IGNORED, SIDE, Window
from .raster_windows import GDAL, read_window

#: Class of pixels of buildings; all others are 0.
BUILDING = 1

#: Rows that images may lack: some of SpaceNet 7 have 1023.
PAD_ROWS = 1

#: A whole image.
WHOLE = Window(0, 0, SIDE)


def draw_mask(
    image: Path,
    buildings: Path,
    unusable: Path | None = None,
    unusable_raster: Path | None = None,
) -> np.ndarray:
    """Draw the buildings of an image.

    A pixel is building if its centre lies in a footprint. It is ignored if the image has
    no such row, if its alpha is 0, or if it is unusable, such as under clouds.

    Args:
        image: GeoTIFF image, whose grid the mask gets; a fourth band is its alpha.
        buildings: GeoJSON of footprints.
        unusable: GeoJSON of unusable areas.
        unusable_raster: GeoTIFF, 0 where pixels are usable.

    Returns:
        Mask, uint8, shape (1024, 1024): 0 no building, 1 building, 255 ignored.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the image has another size or no place on Earth, or if all
            buildings lie elsewhere.
    """
    rows, bands, transform, crs = _header(os.fspath(image))
    footprints = _areas(os.fspath(buildings), crs)
    _refuse_elsewhere(buildings, image, footprints, rows, transform)
    mask = _burn(footprints, transform, BUILDING)
    if unusable is not None:
        areas = _areas(os.fspath(unusable), crs)
        mask[_burn(areas, transform, IGNORED) == IGNORED] = IGNORED
    if unusable_raster is not None:
        (flags,) = read_window(unusable_raster, WHOLE, [1], PAD_ROWS)
        mask[flags != 0] = IGNORED
    if bands >= 4:
        (alpha,) = read_window(image, WHOLE, [4], PAD_ROWS)
        mask[alpha == 0] = IGNORED
    mask[rows:] = IGNORED
    return mask


def _header(path: str) -> tuple[int, int, Affine, CRS]:
    """Read the number of rows and of bands of an image, and where it lies."""
    # Checks the size, too.
    read_window(path, Window(0, 0, 1), [1], PAD_ROWS)
    try:
        with rasterio.Env(**GDAL), rasterio.open(path, driver='GTiff') as image:
            found = (image.height, image.count, image.transform, image.crs)
    except RasterioError as error:
        raise OSError(f'cannot read {path} ({error})') from error
    if found[3] is None:
        raise ValueError(
            f'{path} has no coordinate reference system, so that footprints cannot be'
            ' drawn on it: use the image as it is distributed'
        )
    return found


def _areas(path: str, crs: CRS) -> np.ndarray:
    """Read the polygons of a GeoJSON file, which may have none."""
    try:
        shapes = geopandas.read_file(path, columns=[]).geometry.to_crs(crs)
    except (DataSourceError, DataLayerError, CRSError) as error:
        raise OSError(
            f'cannot read {path}: it is missing, incomplete or damaged ({error})'
        ) from error
    # Collections may hold multipolygons. Points and lines have no area.
    parts = shapely.get_parts(shapely.get_parts(shapes.to_numpy()))
    areas = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    return parts[areas & ~shapely.is_empty(parts)]


def _refuse_elsewhere(
    buildings: Path, image: Path, footprints: np.ndarray, rows: int, transform: Affine
) -> None:
    """Refuse footprints of which none is on the image: a mask without any is wrong."""
    left, bottom, right, top = array_bounds(rows, SIDE, transform)
    west, south, east, north = shapely.bounds(footprints).T
    here = (west < right) & (east > left) & (south < top) & (north > bottom)
    # What is no degrees has no finite place on the map.
    if len(footprints) and not (here.any() and np.isfinite([west, north]).all()):
        raise ValueError(
            f'{buildings}: {here.sum()} of its {len(footprints)} footprints lie on the'
            f' image {image}: they are of another place, or in pixels (labels_match_pix)'
        )


def _burn(polygons: np.ndarray, transform: Affine, value: int) -> np.ndarray:
    """Give pixels whose centre lies in a polygon a value, and all others 0."""
    if not len(polygons):
        return np.zeros((SIDE, SIDE), np.uint8)
    return rasterize(
        _records(polygons),
        out_shape=(SIDE, SIDE),
        transform=transform,
        default_value=value,
        all_touched=False,
        dtype='uint8',
    )


def _records(polygons: np.ndarray) -> list[dict[str, Any]]:
    """Write polygons as rasterio reads them; it does so itself, but five times slower."""
    rings, owners = shapely.get_rings(polygons, return_index=True)
    points, places = shapely.get_coordinates(rings, return_index=True)
    ends = np.searchsorted(places, np.arange(len(rings) + 1)).tolist()
    corners = points.tolist()
    found: list[list[Any]] = [[] for _ in polygons]
    for owner, start, end in zip(owners.tolist(), ends, ends[1:], strict=False):
        found[owner].append(corners[start:end])
    return [{'type': 'Polygon', 'coordinates': parts} for parts in found]
