# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Means over space and time, of maps and of 3x3 convolutions of maps."""

import torch
from torch import Tensor

from .backbones import Features


def mean_over_time(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Average over the dates that have an image.

    Args:
        values: Values of each date, shape (B, T, ...).
        valid: Which dates count, bool, shape (B, T). Default: all. Of a series without
            any, all count.

    Returns:
        Means, shape (B, ...).
    """
    if valid is None:
        return values.mean(dim=1)
    counted = valid | ~valid.any(dim=1, keepdim=True)
    counted = counted.view(*counted.shape, *[1] * (values.ndim - 2))
    return values.where(counted, 0).sum(dim=1) / counted.sum(dim=1)


def pool(maps: Tensor, valid: Tensor | None = None) -> Tensor:
    """Average maps over space, and over time where there is one.

    Args:
        maps: Maps, shape (B, C, H, W) or (B, T, C, H, W).
        valid: Which dates count, bool, shape (B, T). Default: all.

    Returns:
        Means, shape (B, C).
    """
    means = maps.mean(dim=(-2, -1))
    return means if maps.ndim == 4 else mean_over_time(means, valid)


def pooled_pyramid(features: Features) -> Tensor:
    """Pool each map of a pyramid and concatenate the channels.

    Args:
        features: What a backbone gave.

    Returns:
        Pooled features of all blocks, shape (B, sum of channels).
    """
    pooled = [pool(maps, features.valid) for maps in features.pyramid]
    return torch.cat(pooled, dim=1)


def window_means(maps: Tensor) -> Tensor:
    r"""Average what each weight of a 3x3 convolution sees.

    The mean of a convolution over space is linear in these:

    .. math:: \frac1{HW} \sum_{yx} (W * f)_{yx} = \sum_{cij} W_{cij} m_{cij}

    With a border of one zero, the weight at (i, j) sees the whole map but for a row
    and a column at the border, so that no convolution has to be computed.

    Args:
        maps: Maps, shape (..., C, H, W).

    Returns:
        Means, float32 or more precise, shape (..., C, 3, 3).
    """
    height, width = maps.shape[-2:]
    # Half precision would lose the borders in the sum.
    kind = torch.promote_types(maps.dtype, torch.float32)
    total = maps.sum(dim=(-2, -1), dtype=kind)[..., None, None]
    rows = _unseen(maps, dim=-2).to(kind)
    columns = _unseen(maps, dim=-1).to(kind)
    both = _unseen(rows, dim=-1)
    seen = total - rows.sum(-1, keepdim=True) - columns.sum(-2, keepdim=True) + both
    return seen / (height * width)


def _unseen(maps: Tensor, dim: int) -> Tensor:
    """Take what the three weights along a dimension miss: the end, nothing, the start."""
    start, end = maps.select(dim, 0), maps.select(dim, -1)
    return torch.stack([end, torch.zeros_like(end), start], dim=dim)


def pyramid_windows(features: Features) -> Tensor:
    """Average what 3x3 convolutions see of each map of a pyramid, over space alone.

    Args:
        features: What a backbone gave.

    Returns:
        Means of all blocks, shape (B, 9 * sum of channels), or (B, T, ...) of series.
    """
    means = [window_means(maps).flatten(-3) for maps in features.pyramid]
    return torch.cat(means, dim=-1)
