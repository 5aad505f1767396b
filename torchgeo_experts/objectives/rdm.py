# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Risk distribution matching."""

from typing import ClassVar

from torch import Tensor

from ..losses.grouping import Groups
from ..losses.rdm import rdm_penalty, risk_variance_penalty
from ..models.affinity import positive
from .annealed import AnnealedPenalty
from .base import Step


class RDM(AnnealedPenalty):
    """The risks of the worst domain are spread like those of all.

    Nguyen et al., "Domain Generalisation via Risk Distribution Matching", 2024. See
    :func:`~torchgeo_experts.losses.rdm.rdm_penalty`. It needs many samples a domain. The
    published code also lowers the learning rate when the penalty sets in; here it stays.
    """

    name: ClassVar[str] = 'rdm'
    most_early: ClassVar[float] = 0.0

    def __init__(
        self,
        weight: float = 5.0,
        variance_weight: float = 0.004,
        anneal_steps: int = 1500,
    ) -> None:
        """Initialize a new RDM instance.

        Args:
            weight: Weight of the penalty. The paper has 5, and 0.5 for DomainNet.
            variance_weight: Weight of the variance of risks. The paper has 0.004, and 0
                for some data sets.
            anneal_steps: Steps before the penalty sets in; the paper has 1500 to 2400.
        """
        super().__init__(positive('weight', weight), anneal_steps)
        self.variance_weight = variance_weight

    def penalty(
        self, step: Step, logits: Tensor, risks: Tensor, groups: Groups
    ) -> Tensor:
        """Compute the penalty; the variance has a weight of its own."""
        spread = risk_variance_penalty(risks, groups)
        share = self.variance_weight / self.weight
        return rdm_penalty(risks, groups) + share * spread
