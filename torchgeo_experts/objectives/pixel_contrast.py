# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Contrastive learning of the features of pixels."""

from typing import ClassVar

import torch.nn.functional as F
from torch import nn

from ..losses.pixel_contrast import draw_elements, supervised_contrast
from .base import Objective, Outcome, Spec, Step


class PixelContrast(Objective):
    """Pixels of one class have features alike, in whatever image.

    Zhao et al., "Contrastive Learning for Label Efficient Semantic Segmentation", 2021,
    trained jointly with the risk, as CoDEX's published code does; the paper trains one
    after the other. Pixels are drawn from all images of a batch, classes alike. Those
    without a label are not, and so no pixel of a date without an image.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'map_of_image', 'exclusive'})

    def __init__(
        self,
        weight: float = 0.1,
        temperature: float = 0.07,
        pixels: int = 1024,
        width: int = 128,
    ) -> None:
        """Initialize a new PixelContrast instance.

        Args:
            weight: Weight of the contrastive loss.
            temperature: Its temperature.
            pixels: Pixels of a batch that are compared.
            width: Number of features that are compared.
        """
        super().__init__()
        self.weight, self.temperature = weight, temperature
        self.pixels, self.width = pixels, width

    def build(self, spec: Spec) -> None:
        """Make the projection that contrast is measured after."""
        features = spec.num_features
        self.projection = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Linear(features, self.width)
        )

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features = step.net.backbone.read(step.batch)
        logits = step.net.predict(features)
        maps, target = features.head.flatten(0, -4), step.target.flatten(0, -3)
        vectors, labels, counted = draw_elements(
            maps, target, self.pixels, step.criterion.ignore_index
        )
        projected = F.normalize(self.projection(vectors).float(), dim=1)
        contrast = supervised_contrast(projected, labels, self.temperature, counted)
        terms = {'risk': step.risk(logits), 'contrast': self.weight * contrast}
        return Outcome(logits, terms)
