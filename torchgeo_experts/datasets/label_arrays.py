# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Labels of a place in an array, as SitsSCD and CoDEX keep them."""

import numpy as np
from torchgeo.datasets.utils import Path

from .place_series import FIRST_DAYS, SIDE, Window

#: Shape of the labels of a place.
SHAPE = (len(FIRST_DAYS), SIDE, SIDE)


def read_labels(path: Path, window: Window, last: int) -> np.ndarray:
    """Read a part of the labels of a place, without the rest.

    Args:
        path: Path of the array. It is opened and closed again.
        window: The part.
        last: Labels are from 0 to this one.

    Returns:
        Labels, int64, shape (24, size, size).

    Raises:
        OSError: If there is no such file, or it is incomplete or damaged.
        ValueError: If it holds other values, or is of another shape.
    """
    try:
        labels = np.load(path, mmap_mode='r')
    except (OSError, ValueError, EOFError) as error:
        raise OSError(
            f'cannot read {path}: it is missing, incomplete or damaged ({error})'
        ) from error
    if labels.shape != SHAPE or labels.dtype.kind not in 'iu':
        raise ValueError(
            f'{path} holds {labels.dtype} of shape {labels.shape}, expected integers of'
            f' shape {SHAPE}'
        )
    rows = slice(window.row, window.row + window.size)
    columns = slice(window.column, window.column + window.size)
    part = np.array(labels[:, rows, columns], np.int64)
    low, high = part.min(), part.max()
    if low < 0 or high > last:
        raise ValueError(
            f'{path} holds labels from {low} to {high}, expected 0 to {last}'
        )
    return part
