# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Photographs of any size as squares of one size."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def read_square(path: str, size: int) -> Tensor:
    """Read an image as a square.

    The shorter side is resized, and what is then longer is cut off on both sides: this is
    how WILDS made its images from those of FMoW.

    Args:
        path: Path of the image.
        size: Height and width in pixels.

    Returns:
        Red, green and blue, 0 to 255, float32, shape (3, size, size).

    Raises:
        OSError: If the image is missing, incomplete or damaged.
    """
    try:
        with _any_size(), Image.open(path) as picture:
            if picture.mode[0] in 'IF':
                # Pillow would clip the values at 255 without a word.
                raise ValueError(f'pixels of mode {picture.mode} do not fit 8 bits')
            pixels = np.asarray(_square(picture.convert('RGB'), size))
    except Exception as error:  # decoders raise whatever they please
        raise OSError(
            f'cannot read {path}: it is missing, incomplete or damaged ({error})'
        ) from error
    return torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))


def _square(picture: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side and cut off the ends of the longer one."""
    width, height = picture.size
    short = min(width, height)
    if short != size:
        width, height = (size * side // short for side in (width, height))
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return picture.crop((left, top, left + size, top + size))


@contextmanager
def _any_size() -> Iterator[None]:
    """Let Pillow open images of more than 179 million pixels, which FMoW has."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
