# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Contrastive loss of pixels with their labels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .invariance import _log_sum, _mean_of_anchors, _similarity


def supervised_contrast(
    features: Tensor,
    labels: Tensor,
    temperature: float = 0.07,
    counted: Tensor | None = None,
) -> Tensor:
    r"""Compute the supervised contrastive loss.

    .. math::
        \frac{-1}{|A|} \sum_{i \in A} \frac{1}{|P_i|} \sum_{p \in P_i} \left[
        \frac{q_i \cdot q_p}{\tau} - \log \sum_{k \ne i} e^{q_i \cdot q_k / \tau} \right]

    :math:`\mathcal L_{out}` of Khosla et al., "Supervised Contrastive Learning" (2020),
    equation 2, on features :math:`q` at length 1: :math:`P_i` are the other elements
    with the label of :math:`i`, and :math:`A` the elements with any. Zhao et al.,
    "Contrastive Learning for Label Efficient Semantic Segmentation" (2021) take pixels
    as elements. All pairs are compared, so draw some thousand pixels at most
    (:func:`draw_elements`).

    Args:
        features: Features, shape (N, F), any floating type.
        labels: Class of each element, int64, shape (N,).
        temperature: :math:`\tau`.
        counted: Which elements count, bool, shape (N,). The others are in no pair.
            Default: all.

    Returns:
        A scalar, float32 or better, 0 if no element has a positive.

    Raises:
        ValueError: If shapes do not fit or the temperature is not positive.
    """
    if counted is None:
        counted = torch.ones_like(labels, dtype=torch.bool)
    if features.ndim != 2 or {labels.shape, counted.shape} != {features.shape[:1]}:
        raise ValueError(
            'expected features (N, F), labels (N,) and counted (N,), found'
            f' {tuple(features.shape)}, {tuple(labels.shape)} and {tuple(counted.shape)}'
        )
    similarity = _similarity(features, labels, labels, temperature)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    other = counted[:, None] & counted & ~itself
    positive = other & (labels[:, None] == labels)
    mean = similarity.where(positive, 0).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    return _mean_of_anchors(_log_sum(similarity, other) - mean, positive)


def draw_elements(
    features: Tensor, mask: Tensor, count: int, ignore_index: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw pixels of a batch at random, rare classes as often as frequent ones.

    Without replacement, each pixel with a weight of one over the number of pixels of its
    class in the batch, so that classes are equally likely until rare ones run out. The
    size is always the same: nothing waits for the number of pixels.

    Args:
        features: Maps of features, shape (B, F, H, W).
        mask: Class of each pixel, int64, shape (B, h, w); it is brought to the size of
            the features.
        count: Number of pixels to draw, N.
        ignore_index: Class that is never drawn.

    Returns:
        Features, shape (N, F), their classes, shape (N,), and which of them count, bool,
        shape (N,): False for the rest if there are fewer pixels than N.

    Raises:
        ValueError: If shapes do not fit.
    """
    if features.ndim != 4 or mask.ndim != 3 or len(features) != len(mask):
        raise ValueError(
            'expected features (B, F, H, W) and mask (B, h, w), found'
            f' {tuple(features.shape)} and {tuple(mask.shape)}'
        )
    height, width = features.shape[-2:]
    labels = _nearest_mask(mask, height, width).flatten()
    index, counted = _balanced_draw(labels, count, ignore_index)
    image, pixel = index // (height * width), index % (height * width)
    return features.flatten(2)[image, :, pixel], labels[index], counted


def _nearest_mask(mask: Tensor, height: int, width: int) -> Tensor:
    """Bring a mask to another size, each pixel with the class that is in its middle."""
    rows, columns = (
        (2 * torch.arange(new, device=mask.device) + 1) * old // (2 * new)
        for new, old in zip((height, width), mask.shape[-2:], strict=True)
    )
    return mask[..., rows[:, None], columns]


@torch.no_grad()
def _balanced_draw(
    labels: Tensor, count: int, ignore_index: int | None
) -> tuple[Tensor, Tensor]:
    """Draw indices of labels, and tell which are real."""
    # How often each label's class is there, without counting what classes there are.
    ordered = labels.sort().values
    below = torch.searchsorted(ordered, labels)
    frequency = torch.searchsorted(ordered, labels, right=True) - below
    # The first of a race of exponential clocks are a weighted draw without replacement.
    arrival = torch.empty(labels.shape, device=labels.device).exponential_() * frequency
    if ignore_index is not None:
        arrival = arrival.where(labels != ignore_index, torch.inf)
    arrival = F.pad(arrival, (0, max(0, count - len(labels))), value=torch.inf)
    first = arrival.topk(count, largest=False)
    return first.indices.clamp(max=len(labels) - 1), first.values.isfinite()
