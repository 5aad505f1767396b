# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""JPEG images of places, decoded once."""

import os
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torchgeo.datasets.utils import Path

from .place_series import SIDE, Window
from .stamp import stamp


class DecodedImages:
    """Decodes all images of a place, and keeps them.

    A JPEG image has to be decoded as a whole, of which a patch needs a 64th. So decoded
    images are kept: those of the last place in memory, as patches of a place are often
    read one after another, and those of all places in a folder, if one is given. Those of
    images that were replaced since are not used.

    Objects hold no open files: workers can be forked and spawned. Several of them may
    write to one folder: each writes its own file first, which then takes its place.
    """

    def __init__(
        self, modes: Sequence[str], cache: Path | None = None, side: int = SIDE
    ) -> None:
        """Initialize a new DecodedImages instance.

        Args:
            modes: Mode of Pillow of the files that make an image: ('RGB',), or
                ('RGB', 'L') for a second file with one more channel.
            cache: Folder of decoded images, made if there is none: a file a place,
                ``<place>-<stamp>.npy``, uint8. Default: no such folder.
            side: Height and width of the images in pixels.
        """
        self.modes, self.side = tuple(modes), side
        self.cache = None if cache is None else os.fspath(cache)
        self.channels = sum(len(mode) for mode in self.modes)
        self._last: tuple[Any, np.ndarray] | None = None
        self._paths: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave decoded images behind when pickled."""
        return {**self.__dict__, '_last': None}

    def read(
        self, place: str, files: Sequence[Sequence[str]], window: Window
    ) -> np.ndarray:
        """Read a part of all images of a place.

        Args:
            place: Name of the place.
            files: For each image the paths of its files, one a mode.
            window: The part.

        Returns:
            The part, uint8, shape (number of images, channels, size, size).

        Raises:
            OSError: If a file cannot be read, or the folder cannot be written to.
            ValueError: If an image has another size or mode, or decoded images in the
                folder do not fit the files.
        """
        rows = slice(window.row, window.row + window.size)
        columns = slice(window.column, window.column + window.size)
        return np.array(self._images(place, files)[:, :, rows, columns])

    def _images(self, place: str, files: Sequence[Sequence[str]]) -> np.ndarray:
        """Look for decoded images, and decode them if there are none."""
        if self.cache is not None:
            path = self._path(self.cache, place, files)
            if not os.path.exists(path):
                _write(path, self._decode(files))
            return self._open(path, len(files))
        key = (place, tuple(map(tuple, files)))
        if self._last is None or self._last[0] != key:
            # Room for the next one first.
            self._last = None
            self._last = (key, self._decode(files))
        return self._last[1]

    def _path(self, cache: str, place: str, files: Sequence[Sequence[str]]) -> str:
        """Name the file of decoded images, after the place and the images' files."""
        if place not in self._paths:
            made_of = stamp([path for paths in files for path in paths])
            self._paths[place] = os.path.join(cache, f'{place}-{made_of}.npy')
        return self._paths[place]

    def _open(self, path: str, count: int) -> np.ndarray:
        """Map decoded images into memory."""
        shape = (count, self.channels, self.side, self.side)
        try:
            images = np.load(path, mmap_mode='r')
        except (OSError, ValueError, EOFError) as error:
            raise OSError(
                f'cannot read the decoded images in {path} ({error}): delete the file'
            ) from error
        if images.shape != shape or images.dtype != np.uint8:
            raise ValueError(
                f'{path} holds {images.dtype} of shape {images.shape}, the images now'
                f' there make uint8 of shape {shape}: delete the file if it is of older'
                ' images, and give each data set its own cache folder'
            )
        return images

    def _decode(self, files: Sequence[Sequence[str]]) -> np.ndarray:
        """Decode all images of a place."""
        shape = (len(files), self.channels, self.side, self.side)
        images = np.empty(shape, np.uint8)
        for image, paths in zip(images, files, strict=True):
            start = 0
            for path, mode in zip(paths, self.modes, strict=True):
                end = start + len(mode)
                image[start:end] = self._decode_file(path, mode)
                start = end
        return images

    def _decode_file(self, path: str, mode: str) -> np.ndarray:
        """Decode a file to an array of shape (channels, H, W)."""
        try:
            with Image.open(path) as picture:
                found, size = picture.mode, picture.size
                pixels = np.asarray(picture)
        except (OSError, SyntaxError) as error:
            raise OSError(
                f'cannot read {path}: it is missing, incomplete or damaged ({error})'
            ) from error
        if found != mode or size != (self.side, self.side):
            raise ValueError(
                f'{path} is an image of mode {found} with {size[1]} rows and {size[0]}'
                f' columns, expected mode {mode} with {self.side} rows and columns'
            )
        return np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels[None]


def _write(path: str, images: np.ndarray) -> None:
    """Write decoded images, all of them or no file."""
    aside = f'{path}.{uuid.uuid4().hex}.part'
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(aside, 'xb') as file:
            np.save(file, images)
        os.replace(aside, path)
    except OSError as error:
        raise OSError(
            f'cannot write decoded images to {path} ({error}): free some space, give'
            ' another cache folder, or none'
        ) from error
    finally:
        if os.path.exists(aside):
            os.remove(aside)
