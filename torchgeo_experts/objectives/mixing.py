# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training on mixtures of images."""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from ..losses.mixing import beta_coefficient, class_mix, domain_pairs, random_circle
from .base import Objective, Outcome, Spec, Step
from .elements import dates_of


class Mixup(Objective):
    """Mixtures of two images of different domains, and of their risks.

    Inter-domain Mixup as in DomainBed (Yan et al., 2020; Xu et al., 2020), which mixes
    whole batches of one domain each; here each image has a partner of another domain. One
    coefficient a batch. Of series, dates are mixed that both have an image of; others stay
    as they are, with their own maps. A label of a whole series is mixed in any case.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'domain'})

    def __init__(self, alpha: float = 0.2) -> None:
        """Initialize a new Mixup instance.

        Args:
            alpha: Parameter of the Beta distribution. DomainBed: 0.2.
        """
        super().__init__()
        self.alpha = alpha

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        image, partner = step.batch['image'], domain_pairs(step.domain)
        share, valid = beta_coefficient(self.alpha, image), dates_of(step.batch)
        mixed = torch.lerp(take_partners(image, partner, valid, 1), image, share)
        logits = step.net.predict(step.net.backbone.read(step.batch | {'image': mixed}))
        dates = valid if logits.ndim == 5 else None  # a map of each date
        other = replace(step, target=take_partners(step.target, partner, dates, -3))
        risk = share * step.risk(logits) + (1 - share) * other.risk(logits)
        # Metrics can judge one target only: that of the larger part, and its domain.
        own = share >= 0.5
        judged = torch.where(own, step.target, other.target)
        itself = torch.arange(len(partner), device=partner.device)
        return Outcome(logits, {'risk': risk}, judged, itself.where(own, partner))


class ClassMix(Objective):
    """Half of the classes of a map, pasted onto another image.

    Olsson et al., "ClassMix", 2021, with labels in place of a teacher's predictions, as in
    CoDEX. See :func:`~torchgeo_experts.losses.mixing.class_mix`. The place and dates of a
    mixed image are those of the image below.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'map', 'exclusive'})

    def build(self, spec: Spec) -> None:
        """Keep the number of classes."""
        self.num_classes = max(spec.num_outputs, 2)

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        image, target = step.batch['image'], step.target
        partner = random_circle(len(image), image.device)
        other, ignored = target[partner], step.criterion.ignore_index
        mask = class_mix(other, self.num_classes, ignored)
        if 'valid' in step.batch and mask.ndim == 4:  # dates without an image stay so
            valid = step.batch['valid']
            mask = mask & (valid & valid[partner])[:, :, None, None]
        mixed = replace(step, target=other.where(mask, target))
        image = image[partner].where(over_bands(mask, image), image)
        logits = step.net.predict(step.net.backbone.read(step.batch | {'image': image}))
        return Outcome(logits, {'risk': mixed.risk(logits)}, mixed.target)


def over_bands(mask: Tensor, image: Tensor) -> Tensor:
    """Shape a mask so that it fits images.

    Args:
        mask: A mask of images, shape (B, H, W), or of each date, shape (B, T, H, W).
        image: Images, shape (B, C, H, W), or of several dates, shape (B, T, C, H, W).

    Returns:
        The mask, with as many dimensions as images.
    """
    mask = mask.unsqueeze(-3)
    # One map of several dates holds for all of them.
    return mask if mask.ndim == image.ndim else mask.unsqueeze(1)


def take_partners(
    own: Tensor, partner: Tensor, valid: Tensor | None, dim: int
) -> Tensor:
    """Take what belongs to partners, of series at the dates that both have an image of.

    Args:
        own: What belongs to each sample, such as its image, shape (B, ...).
        partner: Index of each sample's partner, int64, shape (B,).
        valid: Which dates have an image, bool, shape (B, T). None: take all.
        dim: The dimension of dates.

    Returns:
        What belongs to partners, at other dates what is the sample's own, (B, ...).
    """
    others = own[partner]
    if valid is None:
        return others
    shape = [1] * own.ndim
    shape[0], shape[dim] = valid.shape
    return others.where((valid & valid[partner]).view(shape), own)
