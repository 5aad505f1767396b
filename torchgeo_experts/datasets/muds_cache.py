# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Masks that take long to make, made once."""

import os
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from torchgeo.datasets.utils import Path

from .place_series import SIDE, Window


class CachedMasks:
    """Keeps the masks of places: the last place's in memory, all in a folder if given.

    A file is named after the place and the :func:`stamp` of what it was made from, so
    that masks of older files are never used. It is written under another name first, so
    that no half of one is either. Objects hold no open files: workers can be forked and
    spawned, and several may write to one folder.
    """

    def __init__(self, cache: Path | None = None) -> None:
        """Initialize a new CachedMasks instance.

        Args:
            cache: Folder of masks, made if there is none. Default: no such folder.
        """
        self.cache = None if cache is None else os.fspath(cache)
        self._last: tuple[str, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave masks behind when pickled."""
        return {**self.__dict__, '_last': None}

    def read(
        self, name: str, window: Window, make: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Read a part of the masks of a place.

        Args:
            name: Name of the place and its stamp.
            window: The part.
            make: Makes the masks, uint8, shape (T, 1024, 1024), if there are none.

        Returns:
            The part, uint8, shape (T, size, size).

        Raises:
            OSError: If the folder cannot be written to.
        """
        masks = self._masks(name, make)
        rows = slice(window.row, window.row + window.size)
        columns = slice(window.column, window.column + window.size)
        return np.array(masks[:, rows, columns])

    def _masks(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        if self.cache is None:
            if self._last is None or self._last[0] != name:
                self._last = (name, make())
            return self._last[1]
        path = os.path.join(self.cache, f'{name}.masks.npy')
        masks = _open(path)
        if masks is None:
            masks = make()
            _write(path, masks)
        return masks


def _open(path: str) -> np.ndarray | None:
    """Map masks into memory, None if there are none, or not all of them."""
    try:
        masks = np.load(path, mmap_mode='r')
    except (OSError, ValueError, EOFError):
        return None
    whole = masks.ndim == 3 and masks.shape[1:] == (SIDE, SIDE)
    return masks if whole and masks.dtype == np.uint8 else None


def _write(path: str, masks: np.ndarray) -> None:
    """Write masks, all of them or no file."""
    aside = f'{path}.{uuid.uuid4().hex}.part'
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(aside, 'xb') as file:
            np.save(file, masks)
        os.replace(aside, path)
    except OSError as error:
        raise OSError(
            f'cannot write masks to {path} ({error}): free some space, give another'
            ' cache folder, or none'
        ) from error
    finally:
        if os.path.exists(aside):
            os.remove(aside)
