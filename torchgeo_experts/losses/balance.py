# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Losses that spread samples over experts.

MoGE's poster has a load-balancing term and no formula for it. These are the usual ones.
All are functions of the gate's scores for a batch: with several ranks, hand in what
:func:`~torchgeo_experts.losses.gather_with_grad` makes of them, for statistics of the
whole batch. Nothing but the batch counts, thus balance is one of samples, not of area.
"""

import torch
from torch import Tensor

from .precision import at_least_single


def balance_loss(
    logits: Tensor, noisy_logits: Tensor, noise_std: float, top_k: int
) -> Tensor:
    r"""Compute the loss of noisy top-k gates, half importance and half load.

    :math:`\frac12 [\mathrm{CV}^2(\text{importance}) + \mathrm{CV}^2(\text{load})]`, see
    :func:`importance_loss` and :func:`load_loss` (Shazeer et al., 2017; Riquelme et al.,
    "Scaling Vision with Sparse Mixture of Experts", 2021). Of the lineage of MoGE, GMoE
    (Li et al., "Sparse Mixture-of-Experts are Domain Generalizable Learners", 2023) uses
    it with weight 0.01.

    Args:
        logits: Scores of E experts before noise, shape (B, E), any floating type.
        noisy_logits: The scores that experts were chosen by, shape (B, E).
        noise_std: Standard deviation of the noise, the usual one being 1 / E.
        top_k: Number of experts a sample.

    Returns:
        A scalar, float32 or better, 0 for perfect balance.

    Raises:
        ValueError: If shapes, noise_std or top_k do not fit.
    """
    load = load_loss(logits, noisy_logits, noise_std, top_k)
    return (importance_loss(logits) + load) / 2


def importance_loss(logits: Tensor) -> Tensor:
    r"""Compute how unequal the summed gate weights of experts are.

    :math:`\mathrm{CV}^2(I)` with :math:`I_e = \sum_b \mathrm{softmax}(s_b)_e` and
    :math:`\mathrm{CV}^2` the variance over experts divided by the squared mean (Shazeer
    et al., "Outrageously Large Neural Networks", 2017, equation 7). From 0 for equal
    sums to :math:`E - 1` for a single expert. The variance divides by :math:`E`, as in
    the papers and the code of V-MoE; that of Tutel, which GMoE uses, divides by
    :math:`E - 1`.

    Args:
        logits: Scores before noise, shape (B, E).

    Returns:
        A scalar, float32 or better.
    """
    return _squared_cv(at_least_single(logits).softmax(dim=1).sum(dim=0))


def load_loss(
    logits: Tensor, noisy_logits: Tensor, noise_std: float, top_k: int
) -> Tensor:
    r"""Compute how unequally often experts are chosen, smoothly.

    :math:`\mathrm{CV}^2(L)` with :math:`L_e = \sum_b p_{be}`, the expected number of
    samples of an expert (Shazeer et al., 2017, equation 10); see
    :func:`choice_probabilities`. With ``top_k`` of E every expert has all: 0.

    Args:
        logits: As in :func:`balance_loss`.
        noisy_logits: As in :func:`balance_loss`.
        noise_std: As in :func:`balance_loss`.
        top_k: As in :func:`balance_loss`.

    Returns:
        A scalar, float32 or better.

    Raises:
        ValueError: If shapes, noise_std or top_k do not fit.
    """
    chances = choice_probabilities(logits, noisy_logits, noise_std, top_k)
    return _squared_cv(chances.sum(dim=0))


def choice_probabilities(
    logits: Tensor, noisy_logits: Tensor, noise_std: float, top_k: int
) -> Tensor:
    r"""Compute how likely each expert is chosen if its own noise were drawn anew.

    :math:`p_{be} = \Phi((s_{be} - t_{be}) / \sigma)`, where :math:`t_{be}` is the k-th
    highest noisy score of the *other* experts, which the expert has to exceed (Shazeer
    et al., 2017, equations 8 and 9). V-MoE and Tutel take the k-th highest of all
    instead, which for experts that are chosen is not what they compete with. Tutel's
    call also compares softmax scores with a threshold of logits; here both are logits.

    Args:
        logits: As in :func:`balance_loss`.
        noisy_logits: As in :func:`balance_loss`.
        noise_std: As in :func:`balance_loss`.
        top_k: As in :func:`balance_loss`.

    Returns:
        Probabilities, float32 or better, shape (B, E).

    Raises:
        ValueError: If shapes, noise_std or top_k do not fit.
    """
    _check(logits, noisy_logits, top_k)
    if noise_std <= 0:
        raise ValueError(
            f'noise_std must be positive, found {noise_std}: without noise, chances are'
            ' 0 or 1 and have no gradient'
        )
    logits, noisy = at_least_single(logits), at_least_single(noisy_logits)
    if top_k == logits.shape[1]:
        # The empty sum ties the result to its source, with a gradient of 0.
        return torch.ones_like(logits) + logits[:0].sum()
    values, index = noisy.topk(top_k + 1, dim=1)
    chosen = _mark(noisy, index[:, :top_k])
    threshold = torch.where(chosen, values[:, top_k:], values[:, top_k - 1 : top_k])
    return torch.special.ndtr((logits - threshold) / noise_std)


def switch_loss(logits: Tensor, noisy_logits: Tensor, top_k: int) -> Tensor:
    r"""Compute the balance loss of Switch Transformers and GShard.

    :math:`E \sum_e f_e P_e`, where :math:`f_e` is the share of choices that fall on an
    expert and :math:`P_e` its mean probability before noise (Fedus et al., "Switch
    Transformers", 2022, equations 4 to 6, there for one expert a sample). Shares sum to
    1 whatever ``top_k`` is, so that the loss is 1 for equal probabilities and up to
    :math:`E / k` for always the same experts. Mixtral's code does not divide by
    ``top_k``: its value is k times as large.

    Args:
        logits: Scores before noise, shape (B, E).
        noisy_logits: The scores that experts were chosen by, shape (B, E); without
            noise, the same.
        top_k: Number of experts a sample.

    Returns:
        A scalar, float32 or better.

    Raises:
        ValueError: If shapes or top_k do not fit.
    """
    _check(logits, noisy_logits, top_k)
    logits = at_least_single(logits)
    chosen = _mark(noisy_logits, noisy_logits.topk(top_k, dim=1).indices)
    share = chosen.to(logits.dtype).mean(dim=0) / top_k
    return logits.shape[1] * (share * logits.softmax(dim=1).mean(dim=0)).sum()


def router_z_loss(logits: Tensor) -> Tensor:
    """Compute the loss that keeps the scores of a gate small.

    Mean of the squared logarithm of the sum of exponentials of a sample's scores (Zoph
    et al., "ST-MoE", 2022, equation 5), there with weight 0.001. Cosine gates have
    bounded scores and hardly need it.

    Args:
        logits: Scores, shape (B, E).

    Returns:
        A scalar, float32 or better.
    """
    return at_least_single(logits).logsumexp(dim=1).square().mean()


def _squared_cv(values: Tensor) -> Tensor:
    """Squared coefficient of variation, population variance over squared mean."""
    tiny = torch.finfo(values.dtype).tiny
    return values.var(correction=0) / values.mean().square().clamp(min=tiny)


def _mark(scores: Tensor, index: Tensor) -> Tensor:
    """Mark chosen experts, boolean, shape (B, E)."""
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, index, True)


def _check(logits: Tensor, noisy_logits: Tensor, top_k: int) -> None:
    if logits.ndim != 2 or logits.shape != noisy_logits.shape:
        raise ValueError(
            'logits and noisy_logits must both have shape (B, E), found'
            f' {tuple(logits.shape)} and {tuple(noisy_logits.shape)}'
        )
    if not 1 <= top_k <= logits.shape[1]:
        raise ValueError(
            f'top_k must be from 1 to {logits.shape[1]}, the number of experts, found'
            f' {top_k}'
        )
