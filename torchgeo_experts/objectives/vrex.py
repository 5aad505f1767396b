# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Risk extrapolation."""

from typing import ClassVar

from torch import Tensor

from ..losses.grouping import Groups
from ..losses.vrex import vrex_penalty
from .annealed import AnnealedPenalty
from .base import Step


class VREx(AnnealedPenalty):
    """Equal risks in all domains.

    Krueger et al., "Out-of-Distribution Generalization via Risk Extrapolation", 2021. See
    :func:`~torchgeo_experts.losses.vrex.vrex_penalty`.
    """

    name: ClassVar[str] = 'vrex'

    def __init__(self, weight: float = 10.0, anneal_steps: int = 500) -> None:
        """Initialize a new VREx instance.

        Args:
            weight: Weight of the penalty. DomainBed: 10.
            anneal_steps: Steps before it has that weight; it is 1 at most until then.
        """
        super().__init__(weight, anneal_steps)

    def penalty(
        self, step: Step, logits: Tensor, risks: Tensor, groups: Groups
    ) -> Tensor:
        """Compute the penalty."""
        return vrex_penalty(risks, groups)
