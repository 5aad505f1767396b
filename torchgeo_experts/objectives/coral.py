# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Correlation alignment: of source domains, or of source and target."""

from typing import ClassVar

from torch import Tensor

from ..losses.coral import deep_coral_loss, pairwise_moment_distance
from ..losses.grouping import Groups
from ..losses.precision import at_least_single
from ..models import Features
from .base import Objective, Outcome, Step
from .elements import draw_vectors


class CORAL(Objective):
    """Features of all training domains have equal means and covariances.

    As in WILDS and DomainBed, after Sun and Saenko, "Deep CORAL", 2016. See
    :func:`~torchgeo_experts.losses.coral.pairwise_moment_distance`. Batches should hold
    several domains.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'domain'})

    def __init__(self, weight: float = 1.0, pixels: int = 1024) -> None:
        """Initialize a new CORAL instance.

        Args:
            weight: Weight of the distance. WILDS: 0.1 for FMoW, 10 for iWildCam.
            pixels: Most pixels of a batch that are compared, of maps. Time and memory
                grow with its square.
        """
        super().__init__()
        self.weight, self.pixels = weight, pixels

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features = step.net.backbone.read(step.batch)
        logits = step.net.predict(features)
        vectors, samples, counted = draw_vectors(
            features.head, self.pixels, features.valid
        )
        groups = Groups.of(step.domain[samples], step.judged[samples] & counted)
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
        (source, some), (target, others) = (
            self._draw(found) for found in (features, unlabelled)
        )
        distance = deep_coral_loss(source, target).where(some & others, 0)
        terms = {'risk': step.risk(logits), 'coral': self.weight * distance}
        return Outcome(logits, terms)

    def _draw(self, features: Features) -> tuple[Tensor, Tensor]:
        """Draw vectors with the covariance of those that count, and tell if it has one.

        The others are put to the mean, so that the size depends on no number, and all are
        spread as if they were not there.
        """
        vectors, _, counted = draw_vectors(features.head, self.pixels, features.valid)
        vectors, count = at_least_single(vectors), counted.sum()
        kept = counted[:, None]
        mean = vectors.where(kept, 0).sum(dim=0) / count.clamp(min=1)
        larger = (len(vectors) - 1) / (count - 1).clamp(min=1).to(vectors)
        return (vectors - mean).where(kept, 0) * larger.sqrt(), count > 1
