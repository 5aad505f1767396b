# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Experts of training domains that are mixed by what is known of them, and no selector."""

from typing import ClassVar

from ..models.relations import PlaceRelation
from .base import Objective, Outcome, Step


class OwnExperts(Objective):
    """Each sample trains the expert of its domain ("per-domain models").

    The experts are heads on a shared backbone, as in figure 2 (b) of CoDEX. MoGE's "per
    region models" are whole networks: for these train one model a region.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'domain', 'own_domain'})

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        features = step.net.backbone.read(step.batch)
        logits = step.net.experts(features.head, step.domain)
        return Outcome(logits, {'domain': step.risk(logits)})


class D3G(Objective):
    """The own expert is right, and so are all others together, by their relation to it.

    Yao et al., "Improving Domain Generalization with Domain Relations", 2024. In test the
    experts are mixed by the relation of the place to the training domains.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'domain', 'place_relation'})

    def __init__(self, consistency_weight: float = 0.5) -> None:
        """Initialize a new D3G instance.

        Args:
            consistency_weight: Weight of the risk of the other experts. Public
                re-implementations have 0.5.
        """
        super().__init__()
        self.consistency_weight = consistency_weight

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        relation: PlaceRelation = step.net.relation
        head = step.net.backbone.inner.read(step.batch).head
        weights = relation.others(step.batch, step.domain)
        logits, others = step.net.experts.forward_and_mix(head, step.domain, weights)
        consistency = self.consistency_weight * step.risk(others)
        return Outcome(
            logits, {'domain': step.risk(logits), 'consistency': consistency}
        )
