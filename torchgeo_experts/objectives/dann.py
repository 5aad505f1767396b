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
from .elements import draw_vectors, mean_of


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
    def confuse(self, step: Step) -> tuple[Features, Tensor]:
        """Compute the discriminator's loss.

        Args:
            step: What the step has.

        Returns:
            Features of the labelled batch, and the loss, a scalar.
        """

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features, loss = self.confuse(step)
        logits = step.net.predict(features)
        terms = {'risk': step.risk(logits), 'adversarial': self.weight * loss}
        return Outcome(logits, terms)

    def judge(self, step: Step, features: Features) -> tuple[Tensor, Tensor, Tensor]:
        """Have the discriminator judge features, of maps those of some pixels.

        Args:
            step: What the step has.
            features: Features.

        Returns:
            Logits, shape (N, K), the sample of each, shape (N,), and which of them
            count, bool, shape (N,).
        """
        vectors, samples, counted = draw_vectors(features.head, 1024, features.valid)
        vectors = reverse_gradient(vectors, reversal_ramp(step.progress))
        logits: Tensor = self.discriminator(vectors)
        return logits.float(), samples, counted


class DANN(AdversarialFeatures):
    """The discriminator names the training domain (domain generalization, as in WILDS)."""

    requires: ClassVar[frozenset[str]] = frozenset({'domain', 'progress'})

    def build(self, spec: Spec) -> None:
        """Make a discriminator of all training domains."""
        assert spec.num_domains is not None
        self.discriminator = MLPDiscriminator(
            spec.num_features, spec.num_domains, self.width
        )

    def confuse(self, step: Step) -> tuple[Features, Tensor]:
        """Compute the discriminator's loss."""
        features = step.net.backbone.read(step.batch)
        logits, samples, counted = self.judge(step, features)
        losses = F.cross_entropy(logits, step.domain[samples], reduction='none')
        return features, mean_of(losses, counted)


class TargetDANN(AdversarialFeatures):
    """The discriminator tells source from target (domain adaptation, as in CoDEX)."""

    requires: ClassVar[frozenset[str]] = frozenset({'target', 'progress'})

    def build(self, spec: Spec) -> None:
        """Make a discriminator of two domains."""
        self.discriminator = MLPDiscriminator(spec.num_features, 1, self.width)

    def confuse(self, step: Step) -> tuple[Features, Tensor]:
        """Compute the discriminator's loss."""
        features, unlabelled = step.read_both()
        means = []
        for found, truth in ((features, 1.0), (unlabelled, 0.0)):
            logits, _, counted = self.judge(step, found)
            losses = F.binary_cross_entropy_with_logits(
                logits, torch.full_like(logits, truth), reduction='none'
            )
            means.append(mean_of(losses, counted))
        return features, torch.stack(means).mean()
