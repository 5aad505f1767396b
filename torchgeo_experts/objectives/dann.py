# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domain-adversarial training."""

from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..losses.adversarial import reversal_ramp, reverse_gradient
from ..models import Features
from ..models.discriminators import MLPDiscriminator
from .base import Objective, Outcome, Spec, Step
from .elements import draw_vectors


class AdversarialFeatures(Objective):
    """Base class: a discriminator tells domains apart, and features learn to hide them.

    Ganin et al., "Domain-Adversarial Training of Neural Networks", 2016. One backward
    pass trains both, as gradients are reversed between them.
    """

    #: Tells domains apart.
    discriminator: nn.Module

    def __init__(
        self, weight: float = 1.0, width: int = 1024, lr_scale: float = 1.0
    ) -> None:
        """Initialize a new AdversarialFeatures instance.

        Args:
            weight: Weight of the discriminator's loss. WILDS: 1 for FMoW, 0.1 for
                iWildCam. The reversed gradient also rises from 0 to 1 in the course of
                the training, as in the paper (WILDS: 1 from the start).
            width: Number of features of the discriminator's hidden layers.
            lr_scale: Learning rate of the discriminator, relative to the network's. WILDS
                has 10 for its features.
        """
        super().__init__()
        self.weight, self.width, self.lr_scale = weight, width, lr_scale

    @abstractmethod
    def confuse(self, step: Step, features: Features, reverse: float) -> Tensor:
        """Compute the discriminator's loss.

        Args:
            step: What the step has.
            features: Features of the labelled batch.
            reverse: Factor of the reversed gradient.

        Returns:
            A scalar.
        """

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features = step.net.backbone.read(step.batch)
        logits = step.net.predict(features)
        loss = self.confuse(step, features, reversal_ramp(step.progress))
        terms = {'risk': step.risk(logits), 'adversarial': self.weight * loss}
        return Outcome(logits, terms)

    def judge(self, features: Features, reverse: float) -> tuple[Tensor, Tensor]:
        """Have the discriminator judge features, of maps those of some pixels.

        Args:
            features: Features.
            reverse: Factor of the reversed gradient.

        Returns:
            Logits, shape (N, K), and the sample of each, shape (N,).
        """
        vectors, samples = draw_vectors(features.head, 1024)
        logits: Tensor = self.discriminator(reverse_gradient(vectors, reverse))
        return logits.float(), samples


class DANN(AdversarialFeatures):
    """The discriminator names the training domain (domain generalization, as in WILDS)."""

    requires: ClassVar[frozenset[str]] = frozenset({'domain'})

    def build(self, spec: Spec) -> None:
        """Make a discriminator of all training domains."""
        assert spec.num_domains is not None
        self.discriminator = MLPDiscriminator(
            spec.num_features, spec.num_domains, self.width
        )

    def confuse(self, step: Step, features: Features, reverse: float) -> Tensor:
        """Compute the discriminator's loss."""
        logits, samples = self.judge(features, reverse)
        return F.cross_entropy(logits, step.domain[samples])


class TargetDANN(AdversarialFeatures):
    """The discriminator tells source from target (domain adaptation, as in CoDEX)."""

    requires: ClassVar[frozenset[str]] = frozenset({'target'})

    def build(self, spec: Spec) -> None:
        """Make a discriminator of two domains."""
        self.discriminator = MLPDiscriminator(spec.num_features, 1, self.width)

    def confuse(self, step: Step, features: Features, reverse: float) -> Tensor:
        """Compute the discriminator's loss."""
        source, _ = self.judge(features, reverse)
        target, _ = self.judge(step.net.backbone.read(step.unlabelled), reverse)
        losses = [
            F.binary_cross_entropy_with_logits(source, torch.ones_like(source)),
            F.binary_cross_entropy_with_logits(target, torch.zeros_like(target)),
        ]
        return torch.stack(losses).mean()
