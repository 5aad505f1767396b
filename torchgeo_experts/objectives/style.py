# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training on images in the style of others."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torchgeo.datasets.utils import Sample

from ..losses.mixing import random_circle
from ..losses.style import transfer_statistics
from .base import Objective, Outcome, Step
from .elements import dates_of


class StyleTransfer(Objective):
    """Base class: each image takes on the channel statistics of another one.

    This is the simple stand-in for a network of style transfer: mean and standard
    deviation of each band (AdaIN, Huang and Belongie, 2017, on pixels). StyleAugment (Chun
    and Park, 2021) and CoDEX have networks for it, whose weights are not at hand. Dates
    without an image have no say, and a series without any gives no style.
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
    def styles(self, step: Step) -> Sample:
        """Choose an image to take the style of, for each image.

        Args:
            step: What the step has.

        Returns:
            A batch of as many images, and ``valid``, if they are series that have it.
        """

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        image = step.batch['image']
        strength = self.strength * torch.rand(len(image), device=image.device)
        style = self.styles(step)
        image = transfer_statistics(
            image, style['image'], strength, dates_of(step.batch), dates_of(style)
        )
        logits = step.net.predict(step.net.backbone.read(step.batch | {'image': image}))
        return Outcome(logits, {'risk': step.risk(logits)})


class StyleAugment(StyleTransfer):
    """The style of other images of the batch, as in StyleAugment."""

    def styles(self, step: Step) -> Sample:
        """Choose an image to take the style of, for each image."""
        image = step.batch['image']
        other = random_circle(len(image), image.device)
        keys = step.batch.keys() & {'image', 'valid'}
        return {key: step.batch[key][other] for key in keys}


class TargetStyle(StyleTransfer):
    """The style of unlabelled images of the target domains, as in CoDEX's comparison."""

    requires: ClassVar[frozenset[str]] = frozenset({'target'})

    def styles(self, step: Step) -> Sample:
        """Choose an image to take the style of, for each image."""
        return step.unlabelled
