# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""JPEG images of places, decoded once."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image
from torchgeo.datasets.utils import Path

from .kept_arrays import KeptArrays
from .place_series import SIDE, Window
from .stamp import stamp


class DecodedImages:
    """Decodes all images of a place, and keeps them.

    A JPEG image has to be decoded as a whole, of which a patch needs a 64th. So decoded
    images are kept: those of the last place in memory, as patches of a place are often
    read one after another, or those of all places in a folder, if one is given. Those of
    images that were replaced since are not used.
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
        self.channels = sum(len(mode) for mode in self.modes)
        self._kept = KeptArrays(cache)
        self._names: dict[str, str] = {}

    def read(
        self, place: str, files: Sequence[Sequence[str]], window: Window
    ) -> np.ndarray:
        """Read a part of all images of a place.

        Args:
            place: Name of the place.
            files: For each image the paths of its files, one a mode; always the same
                ones of a place.
            window: The part.

        Returns:
            The part, uint8, shape (number of images, channels, size, size).

        Raises:
            OSError: If a file cannot be read, or the folder cannot be written to.
            ValueError: If an image has another size or mode.
        """
        if place not in self._names:
            made_of = stamp([path for paths in files for path in paths])
            self._names[place] = f'{place}-{made_of}'
        make = partial(self._decode, files)
        return self._kept.read(self._names[place], self._shape(files), window, make)

    def _shape(self, files: Sequence[Sequence[str]]) -> tuple[int, ...]:
        return (len(files), self.channels, self.side, self.side)

    def _decode(self, files: Sequence[Sequence[str]]) -> np.ndarray:
        """Decode all images of a place."""
        images = np.empty(self._shape(files), np.uint8)
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
