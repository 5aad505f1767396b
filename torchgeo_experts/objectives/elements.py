# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Features as vectors, whatever their shape."""

import torch
from torch import Tensor


def draw_vectors(head: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Take the features of images, or of pixels drawn at random.

    Args:
        head: What heads read: pooled features (B, F), maps (B, F, H, W), or maps of
            several dates (B, T, F, H, W).
        count: Most pixels to draw, without replacement and alike from all samples.

    Returns:
        Features, shape (N, F), and the sample that each comes from, int64, shape (N,).
    """
    size = len(head)
    if head.ndim == 2:
        return head, torch.arange(size, device=head.device)
    channel = head.ndim - 3
    pixels = head.movedim(channel, -1).flatten(1, -2)
    each = min(max(count // size, 1), pixels.shape[1])
    drawn = torch.rand(pixels.shape[:2], device=head.device).topk(each, dim=1).indices
    index = drawn[..., None].expand(-1, -1, pixels.shape[2])
    samples = torch.arange(size, device=head.device).repeat_interleave(each)
    return pixels.gather(1, index).flatten(0, 1), samples
