# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Correlation alignment: of source domains, or of source and target."""

from typing import ClassVar

from ..losses.coral import deep_coral_loss, pairwise_moment_distance
from ..losses.grouping import Groups
from .base import Objective, Outcome, Step
from .elements import draw_vectors


class CORAL(Objective):
    """Features of all training domains have equal means and covariances.

    As in WILDS and DomainBed, after Sun and Saenko, "Deep CORAL", 2016. See
    :func:`~torchgeo_experts.losses.coral.pairwise_moment_distance`. Batches should hold
    several domains.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'domain'})

    def __init__(self, weight: float = 1.0, pixels: int = 4096) -> None:
        """Initialize a new CORAL instance.

        Args:
            weight: Weight of the distance. WILDS: 0.1 for FMoW, 10 for iWildCam.
            pixels: Most pixels of a batch that are compared, of maps.
        """
        super().__init__()
        self.weight, self.pixels = weight, pixels

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features = step.net.backbone.read(step.batch)
        logits = step.net.predict(features)
        vectors, samples = draw_vectors(features.head, self.pixels)
        groups = Groups.of(step.domain[samples], step.judged[samples])
        distance = pairwise_moment_distance(vectors, groups)
        terms = {'risk': step.risk(logits), 'coral': self.weight * distance}
        return Outcome(logits, terms)


class DeepCORAL(Objective):
    """Features of source and target have equal covariances.

    Sun and Saenko, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", 2016,
    equation 1; one of CoDEX's baselines.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'target'})

    def __init__(self, weight: float = 1.0, pixels: int = 4096) -> None:
        """Initialize a new DeepCORAL instance.

        Args:
            weight: Weight of the distance.
            pixels: Most pixels of source, and of target, that are compared, of maps.
        """
        super().__init__()
        self.weight, self.pixels = weight, pixels

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features, unlabelled = step.read_both()
        logits = step.net.predict(features)
        source, target = (
            draw_vectors(found.head, self.pixels)[0] for found in (features, unlabelled)
        )
        distance = self.weight * deep_coral_loss(source, target)
        return Outcome(logits, {'risk': step.risk(logits), 'coral': distance})
