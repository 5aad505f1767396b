# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training on images in the style of others."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from ..losses.style import transfer_statistics
from .base import Objective, Outcome, Step


class StyleTransfer(Objective):
    """Base class: each image takes on the channel statistics of another one.

    This is the simple stand-in for a network of style transfer: mean and standard
    deviation of each band (AdaIN, Huang and Belongie, 2017, on pixels). StyleAugment (Chun
    and Park, 2021) and CoDEX have networks for it, whose weights are not at hand.
    """

    def __init__(self, strength: float = 1.0) -> None:
        """Initialize a new StyleTransfer instance.

        Args:
            strength: Most that an image takes on, from 0 to 1. How much is drawn for each
                image.
        """
        super().__init__()
        self.strength = strength

    @abstractmethod
    def styles(self, step: Step) -> Tensor:
        """Choose an image to take the style of, for each image.

        Args:
            step: What the step has.

        Returns:
            Images, shape (B, ...).
        """

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        image = step.batch['image']
        strength = self.strength * torch.rand(len(image), device=image.device)
        image = transfer_statistics(image, self.styles(step), strength)
        logits = step.net.predict(step.net.backbone.read(step.batch | {'image': image}))
        return Outcome(logits, {'risk': step.risk(logits)})


class StyleAugment(StyleTransfer):
    """The style of other images of the batch, as in StyleAugment."""

    def styles(self, step: Step) -> Tensor:
        """Choose an image to take the style of, for each image."""
        image = step.batch['image']
        return image[torch.randperm(len(image), device=image.device)]


class TargetStyle(StyleTransfer):
    """The style of unlabelled images of the target domains, as in CoDEX's comparison."""

    requires: ClassVar[frozenset[str]] = frozenset({'target'})

    def styles(self, step: Step) -> Tensor:
        """Choose an image to take the style of, for each image."""
        return step.unlabelled['image']
