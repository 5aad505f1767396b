# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Places that the image files tell."""

import math
import os

import numpy as np
import rasterio
import torch

from .base import LonLat, Places, Samples
from .degrees import to_degrees
from .values import sample_files


class FilePlaces(Places):
    """Places from the georeference of GeoTIFF files.

    Only the header of each file is read, once, and no pixels.
    """

    def __init__(self, files: str | None = None) -> None:
        """Initialize a new FilePlaces instance.

        Args:
            files: Attribute of the data set that lists its files. Default: what TorchGeo's
                data sets use.
        """
        self.files = files
        self._known: dict[str, tuple[float, float]] = {}

    def locate(self, samples: Samples) -> LonLat:
        """Find the centre of each sample's file.

        Args:
            samples: N samples of one data set.

        Returns:
            Longitudes and latitudes in degrees WGS 84.

        Raises:
            ValueError: If a file is missing or has no georeference.
        """
        root = os.fspath(getattr(samples.dataset, 'root', ''))
        places = []
        for file in sample_files(samples, self.files):
            # Some data sets list files relative to their root.
            path = file if os.path.isfile(file) else os.path.join(root, file)
            if path not in self._known:
                self._known[path] = _centre(path)
            places.append(self._known[path])
        lon, lat = torch.tensor(places, dtype=torch.float64).reshape(-1, 2).unbind(1)
        return lon, lat


def _centre(path: str) -> tuple[float, float]:
    """Read the centre of a file, in degrees."""
    hint = 'use a table of places (TablePlaces) instead'
    if not os.path.isfile(path):
        raise ValueError(f'{path}: no such file to read the place from: {hint}')
    with rasterio.open(path) as file:
        crs, known = file.crs, not file.transform.is_identity
        x, y = file.xy(file.height / 2, file.width / 2, offset='ul')
    if crs is None or not known:
        raise ValueError(f'{path}: the file has no georeference: {hint}')
    lon, lat = to_degrees(crs, np.array([x]), np.array([y]))
    if not math.isfinite(lon[0] + lat[0]):
        raise ValueError(f'{path}: ({x:g}, {y:g}) is no place in {crs}: {hint}')
    return float(lon[0]), float(lat[0])
