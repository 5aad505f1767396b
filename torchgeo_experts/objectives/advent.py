# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Adversarial entropy minimization."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from ..losses.adversarial import information_map
from ..models.discriminators import ConvDiscriminator, MLPDiscriminator
from .base import Objective, Outcome, Spec, Step
from .elements import images_of, mean_of


class AdvEnt(Objective):
    """Predictions for the target are as sure as those for the source.

    Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in Semantic
    Segmentation", 2019, equations 7 to 9. A discriminator sees how sure predictions are,
    class by class. For whole images, which the paper has not, it is a network of linear
    layers. Dates are judged one by one, but for those without an image. Network and
    discriminator are trained in one backward pass: the network's gradient goes through a
    copy of the discriminator that is constant, which gives the gradients of the paper's
    two passes.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'target'})

    def __init__(self, weight: float = 0.001, lr_scale: float = 1.0) -> None:
        """Initialize a new AdvEnt instance.

        Args:
            weight: Weight of the adversarial loss. The paper has 0.001.
            lr_scale: Learning rate of the discriminator, relative to the network's. The
                paper has 0.0001 and 0.00025.
        """
        super().__init__()
        self.weight, self.lr_scale = weight, lr_scale

    def build(self, spec: Spec) -> None:
        """Make a discriminator of maps or of images."""
        # A label is a choice between two classes, of which the discriminator judges one
        # after the other.
        classes = 2 if spec.labels else spec.num_outputs
        self.discriminator = (
            ConvDiscriminator(classes)
            if spec.maps
            else MLPDiscriminator(classes, 1, width=256)
        )

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features, unlabelled = step.read_both()
        logits = step.net.predict(features)
        source, seen = _information(step, logits, features.valid)
        target, there = _information(
            step, step.net.predict(unlabelled), unlabelled.valid
        )
        constant = {k: v.detach() for k, v in self.discriminator.named_parameters()}
        fooled = functional_call(self.discriminator, constant, (target,))
        told = [
            _judged(self.discriminator(source.detach()), 1, seen),
            _judged(self.discriminator(target.detach()), 0, there),
        ]
        terms = {
            'risk': step.risk(logits),
            'adversarial': self.weight * _judged(fooled, 1, there),
            'discriminator': torch.stack(told).mean(),
        }
        return Outcome(logits, terms)


def _information(
    step: Step, logits: Tensor, valid: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Tell how sure predictions are, of labels in a row, and which images there are."""
    images, counted = images_of(logits, valid)
    found = information_map(step.criterion.class_logits(images))
    if found.ndim == 3:
        found = found.movedim(1, -1).flatten(0, 1)
    # In the precision of the network, and so of the discriminator.
    return found.to(logits.dtype), counted


def _judged(logits: Tensor, source: int, counted: Tensor) -> Tensor:
    """Compare a discriminator's judgement with the truth, or what it is to believe."""
    expected = torch.full_like(logits, source, dtype=torch.float32)
    losses = F.binary_cross_entropy_with_logits(
        logits.float(), expected, reduction='none'
    )
    return mean_of(losses, counted)
