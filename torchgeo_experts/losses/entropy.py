# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Losses that are low for sure predictions, and need no labels."""

from torch import Tensor

from .adversarial import information_map
from .precision import at_least_single


def max_square_loss(logits: Tensor) -> Tensor:
    r"""Compute the maximum squares loss of each sample.

    :math:`-\frac{1}{2N} \sum_n \sum_c p_{nc}^2` over the :math:`N` elements of a sample
    (Chen et al., "Domain Adaptation for Semantic Segmentation with Maximum Squares
    Loss", 2019). Its gradient does not favour easy elements as that of the entropy does.
    The published code takes the mean over classes too, so that its loss is this one
    divided by :math:`C`; we take the paper's. The paper's weights of the classes of an
    image are not in it.

    Args:
        logits: Class scores, shape (B, C, ...), any floating type. Of labels, those of
            :meth:`Criterion.class_logits <torchgeo_experts.losses.Criterion.class_logits>`.

    Returns:
        Losses in [-1/2, -1/(2 C)], float32 or better, shape (B,).
    """
    p = at_least_single(logits).softmax(dim=1)
    return -mean_of_elements(p.square().sum(dim=1)) / 2


def entropy_loss(logits: Tensor) -> Tensor:
    r"""Compute the entropy of each sample's predictions.

    Mean over elements of :math:`-\sum_c p_c \log p_c / \log C` (MinEnt of Vu et al.,
    "ADVENT", 2019, section 3.1, where it is a sum over elements).

    Args:
        logits: As in :func:`max_square_loss`.

    Returns:
        Entropies in [0, 1], float32 or better, shape (B,).

    Raises:
        ValueError: If there are fewer than two classes.
    """
    return mean_of_elements(information_map(logits).sum(dim=1))


def mean_of_elements(values: Tensor) -> Tensor:
    """Average over the elements of each sample.

    Args:
        values: A value of each element, shape (B, ...).

    Returns:
        Means, shape (B,).
    """
    return values.flatten(1).mean(dim=1) if values.ndim > 1 else values
