# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Distributionally robust optimization over domains."""

from typing import ClassVar

from .. import losses
from .base import Objective, Outcome, Spec, Step


class GroupDRO(Objective):
    """The risk of the worst domains.

    Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts", 2020. See
    :class:`~torchgeo_experts.losses.GroupDRO`. WILDS draws domains alike
    (``domains_per_batch`` of the datamodule).
    """

    requires: ClassVar[frozenset[str]] = frozenset({'domain'})

    def __init__(self, step_size: float = 0.01) -> None:
        """Initialize a new GroupDRO instance.

        Args:
            step_size: How fast domains of a high risk gain weight. WILDS: 0.01.
        """
        super().__init__()
        self.step_size = step_size

    def build(self, spec: Spec) -> None:
        """Make a weight for each training domain."""
        assert spec.num_domains is not None
        self.robust = losses.GroupDRO(spec.num_domains, self.step_size)

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        logits = step.net.predict(step.net.backbone.read(step.batch))
        risks = step.criterion(logits, step.target)
        return Outcome(logits, {'risk': self.robust(risks, step.domain, step.judged)})
