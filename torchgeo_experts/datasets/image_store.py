# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Images read one by one from a folder or straight from a zip."""

import io
import os
import posixpath
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from torch import Tensor
from torchgeo.datasets.utils import Path

#: Endings of files read as rasters: all bands, values as stored.
RASTER_SUFFIXES = ('.tif', '.tiff', '.jp2')


class ImageStore(ABC):
    """Files under one path, named relative to it with forward slashes.

    Stores can be pickled and forked: each process opens its own files.
    """

    def __init__(self, path: Path) -> None:
        """Initialize a new ImageStore instance.

        Args:
            path: Folder or archive that holds the files.
        """
        self.path = os.fspath(path)

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read a file.

        Args:
            name: Name of the file.

        Returns:
            Its content.
        """

    @abstractmethod
    def holds(self, names: Sequence[str]) -> list[bool]:
        """Look up many files at once, without reading them.

        Args:
            names: Names of files.

        Returns:
            Whether each file is there.
        """

    @abstractmethod
    def names(self) -> Iterator[str]:
        """Iterate over the names of all files."""

    def folder_of(self, name: str) -> str | None:
        """Find a folder in which a file lies.

        Args:
            name: Name of a file relative to the folder that is sought.

        Returns:
            Name of the first folder that has the file ('' for the top), if any.
        """
        for held in self.names():
            if held == name or held.endswith('/' + name):
                return held[: -len(name)].rstrip('/')
        return None


class FolderStore(ImageStore):
    """Files in a folder and its subfolders."""

    def read(self, name: str) -> bytes:
        """Read a file.

        Args:
            name: Name of the file.

        Returns:
            Its content.
        """
        with open(os.path.join(self.path, name), 'rb') as file:
            return file.read()

    def holds(self, names: Sequence[str]) -> list[bool]:
        """Look up many files at once, without reading them.

        Args:
            names: Names of files.

        Returns:
            Whether each file is there.
        """
        # One listing a folder: a look-up a file takes minutes on network disks.
        folders = {posixpath.dirname(name) for name in names}
        listed = {folder: self._files(folder) for folder in folders}
        return [
            posixpath.basename(name) in listed[posixpath.dirname(name)]
            for name in names
        ]

    def names(self) -> Iterator[str]:
        """Iterate over the names of all files."""
        for root, _, files in os.walk(self.path):
            folder = os.path.relpath(root, self.path).replace(os.sep, '/')
            yield from (posixpath.normpath(f'{folder}/{file}') for file in files)

    def _files(self, folder: str) -> set[str]:
        try:
            with os.scandir(os.path.join(self.path, folder)) as entries:
                return {entry.name for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return set()


class ZipStore(ImageStore):
    """Members of a zip, stored or compressed, read without unpacking."""

    def __init__(self, path: Path) -> None:
        """Initialize a new ZipStore instance.

        Args:
            path: Zip that holds the files.
        """
        super().__init__(path)
        self._archive: zipfile.ZipFile | None = None
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open archive behind when pickled."""
        return {**self.__dict__, '_archive': None}

    @property
    def archive(self) -> zipfile.ZipFile:
        """The archive, opened by this process.

        A forked worker inherits the file of its parent, and both would move one
        common reading position: it opens the archive again.
        """
        if self._archive is None or self._process != os.getpid():
            self._archive = zipfile.ZipFile(self.path)
            self._process = os.getpid()
        return self._archive

    def read(self, name: str) -> bytes:
        """Read a member.

        Args:
            name: Name of the member.

        Returns:
            Its content.
        """
        return self.archive.read(name)

    def holds(self, names: Sequence[str]) -> list[bool]:
        """Look up many members at once, without reading them.

        Args:
            names: Names of members.

        Returns:
            Whether each member is there.
        """
        members = set(self.names())
        return [name in members for name in names]

    def names(self) -> Iterator[str]:
        """Iterate over the names of all members that are files."""
        return (name for name in self.archive.namelist() if not name.endswith('/'))


def open_store(path: Path) -> ImageStore:
    """Open a folder or a zip of images.

    Args:
        path: Path of the folder or zip.

    Returns:
        The store.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If the path is neither a folder nor a zip.
    """
    if os.path.isdir(path):
        return FolderStore(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f'no folder or zip of images at {os.fspath(path)}')
    if not zipfile.is_zipfile(path):
        raise ValueError(f'{os.fspath(path)} is neither a folder nor a (whole) zip')
    return ZipStore(path)


def decode_image(data: bytes, name: str, bands: Sequence[int] | None = None) -> Tensor:
    """Decode the content of an image file.

    GeoTIFF and JPEG 2000 files (by the ending of their name) keep all bands and their
    values. PNG, JPEG and other files become 8-bit RGB.

    Args:
        data: Content of the file.
        name: Name of the file.
        bands: Bands to keep, counted from 1, in this order. Default: all.

    Returns:
        Image, float32, shape (C, H, W): 0 to 255, or the values of the raster.

    Raises:
        ValueError: If the image lacks a band, or 8 bits cannot hold its values.
    """
    if name.lower().endswith(RASTER_SUFFIXES):
        pixels = _decode_raster(data, bands)
    else:
        pixels = _decode_picture(data, bands)
    return torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))


def _decode_raster(data: bytes, bands: Sequence[int] | None) -> np.ndarray:
    """Decode with GDAL: bands first, values as stored."""
    with warnings.catch_warnings():
        # Chips without a georeference are common, and the table has their place.
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        with MemoryFile(data) as file, file.open() as raster:
            _check_bands(bands, raster.count)
            return raster.read(None if bands is None else list(bands))


def _decode_picture(data: bytes, bands: Sequence[int] | None) -> np.ndarray:
    """Decode with Pillow: 8-bit RGB, bands first."""
    with Image.open(io.BytesIO(data)) as picture:
        if picture.mode[0] in 'IF':
            # Pillow would clip the values at 255 without a word.
            raise ValueError(
                f'pixels of mode {picture.mode} do not fit 8 bits: convert to GeoTIFF'
            )
        _check_bands(bands, 3)
        pixels = np.asarray(picture.convert('RGB')).transpose(2, 0, 1)
    return pixels if bands is None else pixels[[band - 1 for band in bands]]


def _check_bands(bands: Sequence[int] | None, count: int) -> None:
    """Refuse bands that an image lacks."""
    lacking = [band for band in bands or () if not 1 <= band <= count]
    if lacking:
        raise ValueError(f'no band {lacking[0]}: the image has bands 1 to {count}')
