# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Arrays of places that take long to make, made once."""

import os
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from torchgeo.datasets.utils import Path

from .place_series import Window


class KeptArrays:
    """Keeps arrays of places: the last place's in memory, or all in a folder if given.

    A file is named after the place and the :func:`~.stamp.stamp` of what it was made
    from, so that those of older files are never used. It is written under another name
    first, so that no half of one is either. Objects hold no open files: workers can be
    forked and spawned, and several may write to one folder.
    """

    def __init__(self, cache: Path | None = None) -> None:
        """Initialize a new KeptArrays instance.

        Args:
            cache: Folder of arrays, made if there is none: a file a place,
                ``<place>-<stamp>.npy``. Default: no such folder.
        """
        self.cache = None if cache is None else os.fspath(cache)
        self._last: tuple[tuple[str, tuple[int, ...]], np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave arrays behind when pickled."""
        return {**self.__dict__, '_last': None}

    def read(
        self,
        name: str,
        shape: tuple[int, ...],
        window: Window,
        make: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """Read a part of the array of a place.

        Args:
            name: Name of the place and its stamp.
            shape: Shape of the array, (..., H, W). A file of another one is made anew.
            window: The part.
            make: Makes the array, uint8, if it is not kept.

        Returns:
            The part, uint8, shape (..., size, size).

        Raises:
            OSError: If the folder cannot be written to.
        """
        array = self._array(name, shape, make)
        rows = slice(window.row, window.row + window.size)
        columns = slice(window.column, window.column + window.size)
        return np.array(array[..., rows, columns])

    def _array(
        self, name: str, shape: tuple[int, ...], make: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Look for an array, and make it if it is not kept."""
        if self.cache is not None:
            path = os.path.join(self.cache, f'{name}.npy')
            array = _open(path, shape)
            if array is None:
                array = make()
                _write(path, array)
            return array
        if self._last is None or self._last[0] != (name, shape):
            # Room for the next one first.
            self._last = None
            self._last = ((name, shape), make())
        return self._last[1]


def _open(path: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """Map an array into memory, None if there is none, or not all of it."""
    try:
        array = np.load(path, mmap_mode='r')
    except (OSError, ValueError, EOFError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _write(path: str, array: np.ndarray) -> None:
    """Write an array, all of it or no file."""
    aside = f'{path}.{uuid.uuid4().hex}.part'
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(aside, 'xb') as file:
            np.save(file, array)
        os.replace(aside, path)
    except OSError as error:
        raise OSError(
            f'cannot write {path} ({error}): free some space, give another cache folder,'
            ' or none'
        ) from error
    finally:
        if os.path.exists(aside):
            os.remove(aside)
