# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Empirical risk minimization."""

from .base import Objective, Outcome, Step


class ERM(Objective):
    """Mean risk over all samples, whatever their domain (Vapnik, 1991).

    The baseline of both papers, figure 2 (a) of CoDEX.
    """

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        logits = step.net.predict(step.net.backbone.read(step.batch))
        return Outcome(logits, {'risk': step.risk(logits)})
