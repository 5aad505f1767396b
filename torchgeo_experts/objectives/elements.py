# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Features and predictions as vectors and images, without dates that have no image."""

import torch
from torch import Tensor
from torchgeo.datasets.utils import Sample


def dates_of(batch: Sample) -> Tensor | None:
    """Tell which dates of series have an image.

    Args:
        batch: A batch with ``image``, and of series perhaps with ``valid``.

    Returns:
        bool, shape (B, T). None: all, or images are no series.
    """
    return batch.get('valid') if batch['image'].ndim == 5 else None


def draw_vectors(
    head: Tensor, count: int, valid: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Take the features of images, or of pixels drawn at random.

    Args:
        head: What heads read: pooled features (B, F), maps (B, F, H, W), or maps of
            several dates (B, T, F, H, W).
        count: Most pixels to draw, without replacement and alike from all samples.
        valid: Which dates have an image, bool, shape (B, T). Pixels of others are drawn
            only where a sample has too few. None: all.

    Returns:
        Features, shape (N, F), the sample that each comes from, int64, shape (N,), and
        which of them count, bool, shape (N,): False for those of dates without an image.
    """
    size = len(head)
    samples = torch.arange(size, device=head.device)
    if head.ndim == 2:
        return head, samples, torch.ones_like(samples, dtype=torch.bool)
    pixels = head.movedim(-3, -1).flatten(1, -2)
    each = min(max(count // size, 1), pixels.shape[1])
    order = torch.rand(pixels.shape[:2], device=head.device)
    if valid is not None and head.ndim == 5:
        seen = valid.repeat_interleave(pixels.shape[1] // valid.shape[1], dim=1)
        order = order.where(seen, -1)
    first = order.topk(each, dim=1)
    index = first.indices[..., None].expand(-1, -1, pixels.shape[2])
    vectors = pixels.gather(1, index).flatten(0, 1)
    return vectors, samples.repeat_interleave(each), first.values.flatten() >= 0


def images_of(logits: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Take each date of a series for an image by itself.

    Args:
        logits: Logits, shape (B, C, ...), of the dates of series (B, C, T, H, W).
        valid: Which dates have an image, bool, shape (B, T). None: all.

    Returns:
        Logits of images, shape (N, C, ...), and which of these there are, bool, shape
        (N,).
    """
    series = logits.ndim == 5
    if series:
        logits = logits.transpose(1, 2).flatten(0, 1)
    if series and valid is not None:
        return logits, valid.flatten()
    return logits, torch.ones(len(logits), dtype=torch.bool, device=logits.device)


def mean_of(values: Tensor, counted: Tensor) -> Tensor:
    """Average over what counts.

    Args:
        values: Values of each, shape (N, ...), or (N * L, ...) with L of each in a row.
        counted: Which of them count, bool, shape (N,).

    Returns:
        The mean, a scalar; 0 if nothing counts.
    """
    means = values.reshape(len(counted), -1).mean(dim=1)
    return means.where(counted, 0).sum() / counted.sum().clamp(min=1)
