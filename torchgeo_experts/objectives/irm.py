# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Invariant risk minimization."""

from typing import ClassVar

from torch import Tensor

from ..losses.grouping import Groups
from ..losses.irm import irm_penalty
from .annealed import AnnealedPenalty
from .base import Step


class IRM(AnnealedPenalty):
    """A classifier that is optimal in every domain at once (IRMv1).

    Arjovsky et al., "Invariant Risk Minimization", 2019. See
    :func:`~torchgeo_experts.losses.irm.irm_penalty`.
    """

    name: ClassVar[str] = 'irm'

    def __init__(self, weight: float = 1.0, anneal_steps: int = 500) -> None:
        """Initialize a new IRM instance.

        Args:
            weight: Weight of the penalty. WILDS: 1 for FMoW and iWildCam, DomainBed: 100.
            anneal_steps: Steps before it has that weight; it is 1 at most until then.
        """
        super().__init__(weight, anneal_steps)

    def penalty(
        self, step: Step, logits: Tensor, risks: Tensor, groups: Groups
    ) -> Tensor:
        """Compute the penalty."""
        return irm_penalty(logits, step.target, step.criterion, step.domain)
