# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Learning from one's own predictions for unlabelled images."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from ..losses.entropy import entropy_loss, max_square_loss
from ..losses.pseudo_labels import pseudo_label_risk
from .base import Objective, Outcome, Step
from .elements import images_of, mean_of


class SelfTraining(Objective):
    """Base class: the risk of labelled images, and a loss of predictions of others.

    Of unlabelled series each date that has an image counts as one.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'target'})
    #: Name of the loss in the logs.
    name: ClassVar[str]

    def __init__(self, weight: float) -> None:
        """Initialize a new SelfTraining instance.

        Args:
            weight: Weight of the loss of unlabelled images.
        """
        super().__init__()
        self.weight = weight

    @abstractmethod
    def loss(self, step: Step, logits: Tensor) -> Tensor:
        """Compute the loss of predictions of unlabelled images.

        Args:
            step: What the step has.
            logits: Logits of images, shape (N, C, ...).

        Returns:
            The loss of each image, shape (N,).
        """

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features, unlabelled = step.read_both()
        logits = step.net.predict(features)
        images, counted = images_of(step.net.predict(unlabelled), unlabelled.valid)
        loss = mean_of(self.loss(step, images), counted)
        return Outcome(
            logits, {'risk': step.risk(logits), self.name: self.weight * loss}
        )


class MinEnt(SelfTraining):
    """Predictions for the target become sure, by their entropy.

    Vu et al., "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in Semantic
    Segmentation", 2019, section 3.1. See
    :func:`~torchgeo_experts.losses.entropy.entropy_loss`.
    """

    name: ClassVar[str] = 'entropy'

    def __init__(self, weight: float = 0.001) -> None:
        """Initialize a new MinEnt instance.

        Args:
            weight: Weight of the entropy. The paper has 0.001. Its equation sums over
                pixels, its published code takes the mean, as we do.
        """
        super().__init__(weight)

    def loss(self, step: Step, logits: Tensor) -> Tensor:
        """Compute the loss of predictions of unlabelled images."""
        return entropy_loss(step.criterion.class_logits(logits))


class MaxSquare(SelfTraining):
    """Predictions for the target become sure, the doubtful ones not too fast.

    Chen et al., "Domain Adaptation for Semantic Segmentation with Maximum Squares Loss",
    2019. See :func:`~torchgeo_experts.losses.entropy.max_square_loss`.
    """

    name: ClassVar[str] = 'max_square'

    def __init__(self, weight: float = 0.3) -> None:
        """Initialize a new MaxSquare instance.

        Args:
            weight: Weight of the loss. CoDEX has 0.3, and does not tell whether its loss
                is a mean over classes, as in the code that the paper published, too.
        """
        super().__init__(weight)

    def loss(self, step: Step, logits: Tensor) -> Tensor:
        """Compute the loss of predictions of unlabelled images."""
        return max_square_loss(step.criterion.class_logits(logits))


class PseudoLabels(SelfTraining):
    """Sure predictions for the target count as labels.

    Lee, "Pseudo-Label", 2013, with the schedule of WILDS (Sagawa et al., 2022): the weight
    rises over the first part of the training.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'target', 'progress'})
    name: ClassVar[str] = 'pseudo_labels'

    def __init__(
        self, weight: float = 1.0, threshold: float = 0.7, ramp: float = 0.4
    ) -> None:
        """Initialize a new PseudoLabels instance.

        Args:
            weight: Weight of the loss, in the end.
            threshold: Least probability of a prediction that counts.
            ramp: Part of the training over which the weight rises.
        """
        super().__init__(weight)
        self.threshold, self.ramp = threshold, ramp

    def loss(self, step: Step, logits: Tensor) -> Tensor:
        """Compute the loss of predictions of unlabelled images."""
        risen = min(step.progress / self.ramp, 1.0) if self.ramp else 1.0
        return risen * pseudo_label_risk(logits, step.criterion, self.threshold)
