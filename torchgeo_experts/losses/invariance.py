# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Contrastive losses that make features the same in all discovered domains."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import at_least_single, no_autocast


def invariance_loss(
    features: Tensor, labels: Tensor, experts: Tensor, temperature: float = 0.1
) -> Tensor:
    r"""Compute the loss that MoGE calls :math:`\mathcal L_{SupCon}`.

    .. math::
        \frac{-1}{|A|} \sum_{i \in A} \left[ \log \sum_{p \in P_i} e^{q_i \cdot p / \tau}
        - \log \sum_{v \in P_i \cup N_i} e^{q_i \cdot v / \tau} \right]

    Poster of MoGE, part iii: :math:`q_i` are the features of the shared expert at length
    1, :math:`P_i` the samples of the same class whose first expert is another,
    :math:`N_i` those of another class with the same first expert, and :math:`A` the
    samples with any :math:`P_i`. So features have to tell classes apart, and not domains.
    Positives are summed inside the logarithm, so that one near positive is enough; see
    :func:`invariance_loss_outside` for the other way. The poster gives neither
    :math:`\tau` nor what stands for an image's features.

    It needs pairs of samples, thus large batches: with several ranks, hand in what
    :func:`~torchgeo_experts.losses.gather_with_grad` makes of all three.

    Args:
        features: Features of the shared expert, shape (B, F), any floating type.
        labels: Class of each sample, int64, shape (B,).
        experts: Expert with the highest gate weight, int64, shape (B,). Samples with a
            negative one, without location, count in no pair.
        temperature: :math:`\tau`.

    Returns:
        A scalar, float32 or better, 0 if no sample has a positive.

    Raises:
        ValueError: If shapes do not fit or the temperature is not positive.
    """
    similarity = _similarity(features, labels, experts, temperature)
    positive, negative = _pairs(labels, experts)
    # Both logarithms together are that of a sigmoid, never negative, 0 without N_i.
    margin = _log_sum(similarity, positive) - _log_sum(similarity, negative)
    return _mean_of_anchors(-F.logsigmoid(margin), positive)


def invariance_loss_outside(
    features: Tensor, labels: Tensor, experts: Tensor, temperature: float = 0.1
) -> Tensor:
    r"""Compute the invariance loss with the mean over positives outside the logarithm.

    .. math::
        \frac{-1}{|A|} \sum_{i \in A} \frac{1}{|P_i|} \sum_{p \in P_i} \left[
        \frac{q_i \cdot p}{\tau} - \log \sum_{v \in P_i \cup N_i} e^{q_i \cdot v / \tau}
        \right]

    :math:`\mathcal L_{out}` of Khosla et al., "Supervised Contrastive Learning" (2020),
    equation 2, on the pairs of :func:`invariance_loss`. All positives have to be near,
    and by Jensen's inequality it is at least as large. Not what the poster of MoGE has.

    Args:
        features: As in :func:`invariance_loss`.
        labels: As in :func:`invariance_loss`.
        experts: As in :func:`invariance_loss`.
        temperature: As in :func:`invariance_loss`.

    Returns:
        A scalar, float32 or better, 0 if no sample has a positive.

    Raises:
        ValueError: If shapes do not fit or the temperature is not positive.
    """
    similarity = _similarity(features, labels, experts, temperature)
    positive, negative = _pairs(labels, experts)
    mean = similarity.where(positive, 0).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    return _mean_of_anchors(_log_sum(similarity, positive | negative) - mean, positive)


def _similarity(
    features: Tensor, labels: Tensor, experts: Tensor, temperature: float
) -> Tensor:
    """Compute q_i . q_j / tau, shape (B, B)."""
    size = (len(features),)
    if features.ndim != 2 or labels.shape != size or experts.shape != size:
        raise ValueError(
            'expected features (B, F), labels (B,) and experts (B,), found'
            f' {tuple(features.shape)}, {tuple(labels.shape)} and {tuple(experts.shape)}'
        )
    if temperature <= 0:
        raise ValueError(f'temperature must be positive, found {temperature}')
    with no_autocast(features):
        q = at_least_single(features)
        length = torch.linalg.vector_norm(q, dim=1, keepdim=True)
        # Features of length 0 have no direction, and a finite gradient.
        q = q / length.where(length > 1e-12, 1)
        return q @ q.T / temperature


def _pairs(labels: Tensor, experts: Tensor) -> tuple[Tensor, Tensor]:
    """Tell positives and negatives of each sample, boolean, shape (B, B)."""
    same_class = labels[:, None] == labels
    same_expert = experts[:, None] == experts
    known = (experts >= 0)[:, None] & (experts >= 0)
    return same_class & ~same_expert & known, ~same_class & same_expert & known


def _log_sum(similarity: Tensor, pairs: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials over pairs, shape (B,)."""
    # Not minus infinity: rows without any pair would have no finite gradient.
    lowest = torch.finfo(similarity.dtype).min / 4
    return similarity.where(pairs, lowest).logsumexp(dim=1)


def _mean_of_anchors(terms: Tensor, positive: Tensor) -> Tensor:
    """Average over samples that have a positive."""
    anchor = positive.any(dim=1)
    return terms.where(anchor, 0).sum() / anchor.sum().clamp(min=1)
