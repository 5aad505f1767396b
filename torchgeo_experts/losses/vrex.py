# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Penalty of variance risk extrapolation."""

from torch import Tensor

from .grouping import Groups


def vrex_penalty(risks: Tensor, groups: Groups) -> Tensor:
    r"""Compute the variance of the mean risks of domains, V-REx.

    :math:`\frac{1}{n} \sum_d (L_d - \bar L)^2`, Krueger et al., "Out-of-Distribution
    Generalization via Risk Extrapolation" (2021), equation 8. As in DomainBed it is
    divided by the number of domains :math:`n`, and not by :math:`n - 1`.

    Args:
        risks: Risk of each sample, shape (B,), any floating type.
        groups: Domains of the batch.

    Returns:
        A scalar, float32 or better, 0 with fewer than two domains.
    """
    return groups.variance(groups.means(risks))
