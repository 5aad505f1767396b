# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Distances between the means and covariances of features of domains."""

from torch import Tensor

from .grouping import Groups
from .precision import at_least_single, no_autocast


def deep_coral_loss(a: Tensor, b: Tensor) -> Tensor:
    r"""Compute the loss of Deep CORAL.

    :math:`\|C_a - C_b\|_F^2 \,/\, (4 F^2)`, Sun & Saenko, "Deep CORAL: Correlation
    Alignment for Deep Domain Adaptation" (2016), equation 1. Means do not count in it.
    Published code of others has :func:`moment_distance` under the same name.

    Args:
        a: Features, shape (N, F), any floating type.
        b: Features, shape (M, F).

    Returns:
        A scalar, float32 or better, 0 if either has fewer than two samples, which have no
        covariance.

    Raises:
        ValueError: If shapes do not fit.
    """
    _, covariances = _squared_differences(a, b)
    return covariances.mean() / 4


def moment_distance(a: Tensor, b: Tensor) -> Tensor:
    r"""Compute the distance that DomainBed, WILDS and TLlib call CORAL.

    :math:`\frac{1}{F} \|\mu_a - \mu_b\|^2 + \frac{1}{F^2} \|C_a - C_b\|_F^2`, so means
    count as well, and covariances four times as much as in :func:`deep_coral_loss`.

    Args:
        a: Features, shape (N, F), any floating type.
        b: Features, shape (M, F).

    Returns:
        A scalar, float32 or better, 0 if either has fewer than two samples.

    Raises:
        ValueError: If shapes do not fit.
    """
    means, covariances = _squared_differences(a, b)
    return means.mean() + covariances.mean()


def pairwise_moment_distance(features: Tensor, groups: Groups) -> Tensor:
    r"""Average :func:`moment_distance` over pairs of domains.

    For any vectors the mean of :math:`|v_i - v_j|^2` over pairs is
    :math:`\frac{2}{n - 1} \left( \sum_i |v_i|^2 - \frac{1}{n} |\sum_i v_i|^2 \right)`,
    and the inner product of two covariances is a sum of squared inner products of samples.
    So no covariance and no pair is formed: it takes :math:`B^2` numbers, and not
    :math:`B F^2`. By rounding it may be slightly negative where covariances are equal.

    Args:
        features: Features, shape (B, F), any floating type.
        groups: Domains of the batch. Those with fewer than two samples are in no pair.

    Returns:
        A scalar, float32 or better, 0 with fewer than two such domains.

    Raises:
        ValueError: If shapes do not fit.
    """
    size = len(groups.present)
    if features.ndim != 2 or len(features) != size:
        raise ValueError(
            f'expected features ({size}, F), found {tuple(features.shape)}'
        )
    large = groups.sizes >= 2
    groups = Groups(large, groups.members & large[:, None])
    features, slot = at_least_single(features), groups.slot
    count = groups.count.clamp(min=1).to(features.dtype)
    means = groups.means(features)
    centred = (features - means[slot]).where(groups.counted[:, None], 0)
    freedom = (groups.sizes - 1).clamp(min=1)[slot]
    with no_autocast(features):
        products = (centred @ centred.T).square() / (freedom[:, None] * freedom)
    centre = means.sum(dim=0) / count
    spread_of_means = (means - centre).where(large[:, None], 0).square().sum()
    # Inner products of each covariance with itself, less those of all with all. Samples
    # in no domain have products of 0.
    same = (slot[:, None] == slot).to(products.dtype)
    spread = (products * (same - 1 / count)).sum()
    width = features.shape[1]
    total = spread_of_means / width + spread / width**2
    return 2 * total / (count - 1).clamp(min=1)


def _squared_differences(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Compare means (F,) and covariances (F, F)."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f'expected features (N, F) and (M, F), found {tuple(a.shape)} and'
            f' {tuple(b.shape)}'
        )
    if min(len(a), len(b)) < 2:
        # Nothing to compare: 0, and features still have a gradient, as DDP wants.
        nothing = at_least_single(a[:0]).sum() + at_least_single(b[:0]).sum()
        return nothing, nothing
    (mean_a, cov_a), (mean_b, cov_b) = _moments(a), _moments(b)
    return (mean_a - mean_b).square(), (cov_a - cov_b).square()


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean (F,) and the covariance (F, F)."""
    features = at_least_single(features)
    mean = features.mean(dim=0)
    centred = features - mean
    with no_autocast(features):
        return mean, centred.T @ centred / (len(features) - 1)
