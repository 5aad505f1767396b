# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training on what a model is sure of itself."""

import torch
from torch import Tensor

from .criterion import Criterion
from .entropy import mean_of_elements


def pseudo_label_risk(logits: Tensor, criterion: Criterion, threshold: float) -> Tensor:
    r"""Compute each sample's risk towards its own decisions, where these are sure.

    :math:`\frac1N \sum_{i: \max_c p_{ic} \ge \tau} \ell(z_i, \arg\max_c p_{ic})` (Lee,
    "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep
    Neural Networks", 2013; with a threshold as in Sagawa et al., "Extending the WILDS
    Benchmark for Unsupervised Adaptation", 2022). :math:`N` counts all elements of a
    sample, sure or not: the fewer are sure, the less they weigh. Decisions are constants,
    without gradient.

    Args:
        logits: Scores of samples without labels, shape (B, C, ...).
        criterion: The criterion; its loss, with its weights of classes, is taken. A
            label is as sure as the more likely of its two values.
        threshold: :math:`\tau`. U-WILDS searches it from 0.7 to 0.95. Above 1, nothing
            is sure enough and risks are 0.

    Returns:
        Risks, float32, shape (B,).
    """
    with torch.no_grad():
        decided = criterion.predict(logits)
        sure = _confidence(criterion.probabilities(logits), decided) >= threshold
    return mean_of_elements(criterion.elements(logits, decided).where(sure, 0))


def _confidence(probabilities: Tensor, decided: Tensor) -> Tensor:
    """Tell how likely decisions are, in their shape."""
    if probabilities.ndim > decided.ndim:
        return probabilities.amax(dim=1)
    # Labels have one probability each, that of being there.
    return torch.maximum(probabilities, 1 - probabilities)
