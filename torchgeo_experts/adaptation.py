# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Adapting predictions to a site of which many unlabelled images are at hand."""

from typing import NamedTuple

import torch
from torch import Tensor


class AdaptedPrior(NamedTuple):
    """What :func:`adapt_prior` finds."""

    #: Shares of the classes at the site, shape (C,).
    prior: Tensor
    #: Probabilities of the classes of each image, shape (N, C).
    probabilities: Tensor


@torch.no_grad()
def adapt_prior(
    logits: Tensor,
    source: Tensor,
    pseudo_count: float = 50.0,
    iterations: int = 40,
    tolerance: float = 1e-6,
    weight: Tensor | None = None,
) -> AdaptedPrior:
    r"""Find how often classes occur at a site, and predict anew.

    Expectation maximization of Saerens et al., "Adjusting the Outputs of a Classifier to
    New a Priori Probabilities: A Simple Procedure", 2002: what changes between places is
    how often classes occur, and not how they look. In turn

    .. math:: p(y|x) \propto \mathrm{softmax}(z)_y \, q_y / \pi_y, \qquad
        q \leftarrow \frac{\sum_x p(\cdot|x) + m \pi}{N + m}

    with the source's shares :math:`\pi`, of which *m* images count as seen: a site with few
    images keeps close to the source.

    Args:
        logits: Scores of all images of a site, shape (N, C).
        source: Shares of the classes in training, shape (C,), all positive. They are
            divided by their sum.
        pseudo_count: m.
        iterations: Most turns.
        tolerance: Largest change of a share that ends the turns.
        weight: How many images each row stands for, shape (N,), such as parts of one for
            pixels. Default: 1.

    Returns:
        The shares at the site, and the probabilities of its images, in at least single
        precision.

    Raises:
        ValueError: If shapes do not fit, a share of the source is not positive, or there
            is nothing to count.
    """
    if logits.ndim != 2 or source.shape != logits.shape[1:]:
        raise ValueError(
            'expected logits (N, C) and shares of C classes, found'
            f' {tuple(logits.shape)} and {tuple(source.shape)}'
        )
    if not (source > 0).all():
        raise ValueError(
            'each class needs a positive share in training, found'
            f' {source.min().item():g}: leave out classes that training does not have'
        )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    logits, source = logits.to(dtype), source.to(dtype)
    source = source / source.sum()
    log_likelihood = logits.log_softmax(dim=1) - source.log()
    if weight is None:
        weight = torch.ones_like(logits[:, 0])
    elif weight.shape != logits.shape[:1]:
        raise ValueError(
            f'expected a weight of each of {len(logits)} rows, found'
            f' {tuple(weight.shape)}'
        )
    weight = weight.to(dtype)
    prior, count = source, weight.sum() + pseudo_count
    if pseudo_count < 0 or not count > 0:
        raise ValueError(
            'expected images of some weight, or a positive pseudo_count, found a weight of'
            f' {weight.sum().item():g} and pseudo_count={pseudo_count}'
        )
    for _ in range(iterations):
        before = prior
        expected = weight @ (log_likelihood + prior.log()).softmax(dim=1)
        prior = (expected + pseudo_count * source) / count
        if (prior - before).abs().max() < tolerance:
            break
    return AdaptedPrior(prior, (log_likelihood + prior.log()).softmax(dim=1))
