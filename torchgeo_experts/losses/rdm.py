# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Penalties of risk distribution matching."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .grouping import Groups
from .precision import at_least_single

#: Widths of the published kernels, in 1 / (unit of risk) squared.
GAMMAS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)


def rdm_penalty(
    risks: Tensor, groups: Groups, gammas: Sequence[float] = GAMMAS
) -> Tensor:
    r"""Compare the risks of the worst domain with those of all samples.

    :math:`\mathrm{MMD}^2(R_w, R_{all})` of Nguyen et al., "Domain Generalisation via Risk
    Distribution Matching" (2024), where :math:`R` are sets of risks and :math:`w` is the
    domain with the highest mean risk. The maximum mean discrepancy is the biased one,
    with the sum of kernels :math:`e^{-\gamma (r - r')^2}`, as in DomainBed, where
    :math:`R_{all}` too has the worst domain in it.

    It is between distributions, so it says the more, the more samples domains have.

    Args:
        risks: Risk of each sample, shape (B,), any floating type.
        groups: Domains of the batch.
        gammas: :math:`\gamma` of each kernel. Default: the eight published ones.

    Returns:
        A scalar, float32 or better, 0 with fewer than two domains.
    """
    risks = at_least_single(risks).where(groups.counted, 0)
    worst, everyone = (_shares(part, risks) for part in _worst_and_all(risks, groups))
    difference = worst - everyone
    squares = (risks[:, None] - risks).square()
    kernel = torch.stack([torch.exp(-gamma * squares) for gamma in gammas]).sum(dim=0)
    # As the kernel is bilinear in weights of samples, this is all three of its means.
    return (difference[:, None] * difference * kernel).sum()


def risk_variance_penalty(risks: Tensor, groups: Groups) -> Tensor:
    r"""Add the variances of the risks of all samples and of the worst domain.

    :math:`\mathrm{Var}(R_{all}) + \mathrm{Var}(R_w)`, the second term of
    :func:`rdm_penalty`'s method. Sums of squares are divided by the number of samples
    less one, as in the published code, which the published weight belongs to.

    Args:
        risks: Risk of each sample, shape (B,), any floating type.
        groups: Domains of the batch.

    Returns:
        A scalar, float32 or better. The variance of fewer than two risks is 0.
    """
    risks = at_least_single(risks).where(groups.counted, 0)
    worst, everyone = _worst_and_all(risks, groups)
    return _variance(risks, everyone) + _variance(risks, worst)


def _worst_and_all(risks: Tensor, groups: Groups) -> tuple[Tensor, Tensor]:
    """Tell the samples of the worst domain, and all, boolean, shape (B,)."""
    means = groups.means(risks.detach()).where(groups.present, -torch.inf)
    # Not members[index]: the host would wait for a number on the device.
    worst = groups.members.index_select(0, means.argmax(dim=0, keepdim=True))
    return worst.squeeze(0), groups.counted


def _shares(part: Tensor, like: Tensor) -> Tensor:
    """Weigh the samples of a part alike, with sum 1 unless it is empty."""
    return part.to(like.dtype) / part.sum().clamp(min=1)


def _variance(risks: Tensor, part: Tensor) -> Tensor:
    """Compute the unbiased variance over a part of the samples."""
    mean = risks.where(part, 0).sum() / part.sum().clamp(min=1)
    squares = (risks - mean).where(part, 0).square()
    return squares.sum() / (part.sum() - 1).clamp(min=1)
