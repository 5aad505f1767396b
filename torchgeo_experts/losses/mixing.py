# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What to mix with what, and how: ClassMix, and Mixup between domains."""

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def class_mix(
    target: Tensor,
    num_classes: int,
    ignore_index: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Choose the pixels that ClassMix copies onto another image.

    Those of half of the classes that are present, :math:`\lfloor n / 2 \rfloor` of
    :math:`n`, drawn at random for each sample (Olsson et al., "ClassMix:
    Segmentation-Based Data Augmentation for Semi-Supervised Learning", 2021, algorithm
    1). Of a single class it is that class, where the paper would copy nothing. A mixed
    sample is ``torch.where(mask, a, b)`` of images and targets alike, :math:`a` being
    the sample of this target; the mask does not depend on :math:`b`.

    The published CoDEX code compares classes with positions in the list of classes that
    are present, so that it mixes wrongly unless these are 0, 1, 2 and so on.

    Args:
        target: Class of each pixel, int64, shape (B, ...), of one date or of many.
        num_classes: Number of classes. Pixels with another value than 0 to
            ``num_classes`` - 1 are never copied.
        ignore_index: One more value that is never copied.
        generator: Random numbers of the target's device. Default: PyTorch's own.

    Returns:
        Which pixels to copy, bool, in the shape of the target.
    """
    known = (target >= 0) & (target < num_classes)
    if ignore_index is not None:
        known &= target != ignore_index
    # One class more, for all that is not to be copied.
    index = target.where(known, num_classes).flatten(1)
    size, device = (len(target), num_classes + 1), target.device
    present = torch.zeros(size, dtype=torch.bool, device=device).scatter(1, index, True)
    present = present[:, :num_classes]
    scores = torch.rand(present.shape, generator=generator, device=device)
    rank = scores.where(present, 2).argsort(dim=1).argsort(dim=1)
    half = (present.sum(dim=1, keepdim=True) // 2).clamp(min=1)
    chosen = F.pad(present & (rank < half), (0, 1))
    return chosen.gather(1, index).view_as(target)


def beta_coefficient(alpha: float, like: Tensor) -> Tensor:
    r"""Draw the coefficient of Mixup.

    :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)` (Zhang et al., "mixup: Beyond
    Empirical Risk Minimization", 2018), from PyTorch's own random numbers on the device
    of a tensor.

    Args:
        alpha: :math:`\alpha`. DomainBed: 0.2.
        like: A tensor on the device.

    Returns:
        A scalar in [0, 1], float32.

    Raises:
        ValueError: If alpha is not positive.
    """
    if alpha <= 0:
        raise ValueError(f'alpha must be positive, found {alpha}')
    concentration = torch.full((), alpha, dtype=torch.float32, device=like.device)
    # Checks of arguments would wait for the device.
    beta = torch.distributions.Beta(concentration, concentration, validate_args=False)
    return beta.sample()


@torch.no_grad()
def domain_pairs(domain: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Find a partner of another domain for each sample.

    For Mixup between domains (Xu et al., "Adversarial Domain Adaptation with Domain
    Mixup", 2020; Yan et al., "Improve Unsupervised Domain Adaptation with Mixup
    Training", 2020). DomainBed pairs whole mini-batches of one domain each; here a batch
    may hold domains in any number. All samples of other domains are equally likely.

    Args:
        domain: Domain of each sample, int64, shape (B,). -1, a place that is none of
            them, counts as one domain.
        generator: Random numbers of the domains' device. Default: PyTorch's own.

    Returns:
        Index of each sample's partner, int64, shape (B,); of itself if all others are
        of its own domain.
    """
    size, device = (len(domain), len(domain)), domain.device
    scores = torch.rand(size, generator=generator, device=device)
    # Itself before others of its domain, and any other domain before itself.
    scores = scores.where(domain[:, None] != domain, -2).fill_diagonal_(-1)
    return scores.argmax(dim=1)


def random_circle(count: int, device: torch.device | None = None) -> Tensor:
    """Find another sample for each, such that each is found once.

    Args:
        count: Number of samples N.
        device: Device of the indices.

    Returns:
        Index of each sample's partner, int64, shape (N,): that before it in a random
        circle, and itself only if there is no other.
    """
    order = torch.randperm(count, device=device)
    return torch.empty_like(order).scatter_(0, order, order.roll(1))
