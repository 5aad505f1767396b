# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The number format that losses are computed in."""

import torch
from torch import Tensor


def at_least_single(tensor: Tensor) -> Tensor:
    """Turn half precision and integers into float32, and leave float64 alone.

    Args:
        tensor: Numbers of any type and shape.

    Returns:
        The same in float32 or better.
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def no_autocast(tensor: Tensor) -> torch.autocast:
    """Keep matrix products on a tensor's device in the type of their factors.

    Args:
        tensor: A tensor on the device.

    Returns:
        A context that turns automatic mixed precision off.
    """
    return torch.autocast(tensor.device.type, enabled=False)
