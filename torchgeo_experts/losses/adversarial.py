# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Adversarial training: reversed gradients, and maps of what a model is unsure of."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_single


def reverse_gradient(x: Tensor, factor: float = 1.0) -> Tensor:
    r"""Pass a tensor on unchanged, and its gradient back with the opposite sign.

    The gradient reversal layer of DANN (Ganin et al., "Domain-Adversarial Training of
    Neural Networks", 2016): what comes after it learns to tell domains apart, and what
    comes before it learns to make them alike, in one backward pass.

    Args:
        x: Features, any shape and floating type.
        factor: :math:`\alpha`; the gradient is multiplied by :math:`-\alpha`.

    Returns:
        The same values.
    """
    reversed_: Tensor = _Reverse.apply(x, factor)
    return reversed_


def reversal_ramp(progress: float) -> float:
    r"""Compute how strongly gradients are reversed at a point of the training.

    :math:`2 / (1 + e^{-10 p}) - 1`, from 0 at the start to almost 1 at the end (Ganin et
    al., 2016). A discriminator that has learnt nothing yet then has no say.

    Args:
        progress: Share :math:`p` of the training that is done, in [0, 1].

    Returns:
        The factor of :func:`reverse_gradient`.
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1


def information_map(logits: Tensor) -> Tensor:
    r"""Compute the weighted self-information of each class.

    :math:`-p_c \log p_c / \log C`, whose sum over classes is the entropy of an element
    in [0, 1] (Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation
    in Semantic Segmentation", 2019, section 3.2). There it is what a discriminator sees;
    the division by :math:`\log C` is from the published code.

    Args:
        logits: Class scores, shape (B, C, ...), any floating type. Of labels, those of
            :meth:`Criterion.class_logits <torchgeo_experts.losses.Criterion.class_logits>`.

    Returns:
        Self-information, float32 or better, shape (B, C, ...). It is 0, with a gradient
        of 0, where the probability is 0.

    Raises:
        ValueError: If there are fewer than two classes.
    """
    if logits.ndim < 2 or logits.shape[1] < 2:
        raise ValueError(
            'expected logits (B, C, ...) of at least two classes, found'
            f' {tuple(logits.shape)}: see Criterion.class_logits for labels'
        )
    log_p = F.log_softmax(at_least_single(logits), dim=1)
    # A score of minus infinity rules a class out; 0 times it would be no number.
    log_p = log_p.clamp(min=torch.finfo(log_p.dtype).min)
    return -log_p.exp() * log_p / math.log(logits.shape[1])


class _Reverse(torch.autograd.Function):
    """The identity, with the opposite gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        """Pass values on."""
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Turn the gradient round."""
        return -ctx.factor * grad, None
