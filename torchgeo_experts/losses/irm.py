# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Penalty of invariant risk minimization."""

from dataclasses import replace

import torch
from torch import Tensor

from .criterion import Criterion
from .grouping import Groups
from .precision import at_least_single


def irm_penalty(
    logits: Tensor, target: Tensor, criterion: Criterion, group: Tensor
) -> Tensor:
    r"""Compute the penalty of IRMv1.

    .. math::
        \frac{1}{n} \sum_d g_d^{even} \, g_d^{odd}, \qquad
        g = \frac{\partial}{\partial w} \operatorname{mean}_i
        \ell(w \cdot z_i, y_i) \Big|_{w = 1}

    Arjovsky et al., "Invariant Risk Minimization" (2019), equation IRMv1: logits whose
    scale no domain would change are what all domains agree on. The squared slope
    :math:`g_d^2` of a few samples is too large on average, so it is the product of those
    of two halves of the domain's samples (their appendix D; DomainBed and WILDS). Halves
    are the samples with an even and an odd place among those of the domain that have a
    target. The product may be negative.

    Domains with fewer than two such samples add 0 to the sum and count in :math:`n`, the
    number of domains in the batch.

    Args:
        logits: Scores, shape (B, C, ...), any floating type.
        target: Targets, shape (B, ...), as the criterion takes them.
        criterion: What a prediction costs, any.
        group: Domain of each sample, int64, shape (B,).

    Returns:
        A scalar, float32 or better, 0 if no domain has two samples with a target.
    """
    logits = at_least_single(logits)
    one = torch.ones((), dtype=logits.dtype, device=logits.device)
    # Forward mode has the slopes of all samples at once, whatever the criterion does.
    slopes: Tensor = torch.func.jvp(
        lambda scale: criterion(scale * logits, target), (one,), (one,)
    )[1]
    groups = Groups.of(group, criterion.judged(target))
    even = _places(groups) % 2 == 0
    halves = [groups.members & half for half in (even, ~even)]
    first, second = (replace(groups, members=half).means(slopes) for half in halves)
    return groups.mean(first * second)


def _places(groups: Groups) -> Tensor:
    """Number the samples of each group from 0, int64, shape (B,)."""
    return (groups.members.cumsum(dim=1) * groups.members).sum(dim=0) - 1
