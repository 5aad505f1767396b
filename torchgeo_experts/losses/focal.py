# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Focal losses, element by element."""

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_focal(
    logits: Tensor, target: Tensor, gamma: float = 2.0, weight: Tensor | None = None
) -> Tensor:
    r"""Compute the softmax focal loss of each element.

    :math:`-w_y (1 - p_y)^\gamma \log p_y` with
    :math:`p = \mathrm{softmax}(\mathrm{logits})`, after Lin et al., "Focal Loss for
    Dense Object Detection" (2017), the loss that CoDEX names in section 3.1. With
    ``gamma=0`` it is the cross-entropy, which the published CoDEX code uses.
    This is not the ``focal`` loss of TorchGeo's tasks, a mean of one sigmoid focal loss
    a class.

    Args:
        logits: Class scores, shape (B, C, ...), any floating type.
        target: Class of each element, int64, shape (B, ...), in [0, C).
        gamma: Focusing exponent; 0 weighs easy and hard elements alike.
        weight: Weight of each class, shape (C,).

    Returns:
        Losses, float32, shape (B, ...).
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    log_p_y = log_p.gather(1, target.unsqueeze(1)).squeeze(1)
    loss = -log_p_y
    if gamma:
        # expm1 keeps 1 - p exact where p is near 1.
        loss = loss * (-torch.expm1(log_p_y)).clamp(min=1e-12) ** gamma
    return loss if weight is None else loss * weight.float()[target]


def sigmoid_focal(
    logits: Tensor, target: Tensor, gamma: float = 2.0, weight: Tensor | None = None
) -> Tensor:
    r"""Compute the sigmoid focal loss of each element.

    :math:`-(1 - p_t)^\gamma \log p_t`, where :math:`p_t` is the probability given to
    what is true (Lin et al., 2017, equation 4). With ``gamma=0`` it is the binary
    cross-entropy.

    Args:
        logits: Scores, shape (B, L, ...), any floating type.
        target: 0 or 1, shape (B, L, ...).
        gamma: Focusing exponent.
        weight: Weight of positives of each label, shape (L,).

    Returns:
        Losses, float32, shape (B, L, ...).
    """
    logits, target = logits.float(), target.float()
    if weight is not None:
        weight = weight.float().view(-1, *[1] * (logits.ndim - 2))
    loss = F.binary_cross_entropy_with_logits(
        logits, target, pos_weight=weight, reduction='none'
    )
    if gamma:
        p = logits.sigmoid()
        missed = target * (1 - p) + (1 - target) * p
        loss = loss * missed.clamp(min=1e-12) ** gamma
    return loss
