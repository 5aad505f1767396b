# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Images of iWildCam: of any size and mode, some cut off."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

#: What ends a JPEG file. Behind a file that was cut off it makes the decoder finish.
END = b'\xff\xd9'


def decode_square(data: bytes, size: int) -> tuple[Tensor, OSError | None]:
    """Decode and resize as WILDS does: by Pillow, in 8 bits, to a square.

    Args:
        data: Content of the file. Of an image that was cut off, what is there is decoded.
        size: Height and width in pixels.

    Returns:
        Red, green and blue, 0 to 255, float32, shape (3, size, size), grey where the
        image is lost; and why a part of it is, None if it is whole.

    Raises:
        OSError: If it cannot be decoded at all.
        ValueError: If 8 bits cannot hold its values.
    """
    try:
        return _decode(data, size), None
    except OSError as error:
        try:
            return _decode(data + END, size), error
        except OSError:
            raise error from None


def _decode(data: bytes, size: int) -> Tensor:
    with Image.open(io.BytesIO(data)) as picture:
        if picture.mode[0] in 'IF':
            # Pillow would clip the values at 255 without a word.
            raise ValueError(f'pixels of mode {picture.mode} do not fit 8 bits')
        # No draft mode: it halves the time for large JPEG images, but values differ by
        # up to 3, and for those of WILDS (448 pixels high) it does nothing.
        resized = picture.convert('RGB').resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
