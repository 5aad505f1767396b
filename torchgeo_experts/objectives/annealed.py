# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Objectives whose penalty waits until the network has learned something."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..losses.grouping import Groups
from .base import Objective, Outcome, Step


class AnnealedPenalty(Objective):
    """Mean risk of the domains of a batch, and a penalty that gets its weight later.

    In the first steps the penalty has a small weight. When it gets its own, the moments
    of the optimizer are forgotten, as in DomainBed: they are those of another loss.
    Batches should hold several domains (``domains_per_batch`` of the datamodule).
    With several ranks a penalty is that of each rank's batch, averaged.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'domain'})
    #: Most weight of the penalty in the first steps.
    most_early: ClassVar[float] = 1.0
    #: Its name in the logs.
    name: ClassVar[str]

    def __init__(self, weight: float, anneal_steps: int) -> None:
        """Initialize a new AnnealedPenalty instance.

        Args:
            weight: Weight of the penalty.
            anneal_steps: Steps before it has that weight.
        """
        super().__init__()
        self.weight, self.anneal_steps = weight, anneal_steps
        #: Steps taken so far, a plain number: nothing has to wait for the device.
        self.steps = 0

    @property
    def early_weight(self) -> float:
        """Weight of the penalty in the first steps."""
        return min(self.most_early, self.weight)

    @abstractmethod
    def penalty(
        self, step: Step, logits: Tensor, risks: Tensor, groups: Groups
    ) -> Tensor:
        """Compute the penalty, without its weight.

        Args:
            step: What the step has.
            logits: Logits, shape (B, C, ...).
            risks: Risk of each sample, shape (B,).
            groups: Domains of the batch.

        Returns:
            A scalar.
        """

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        logits = step.net.predict(step.net.backbone.read(step.batch))
        risks = step.criterion(logits, step.target)
        groups = Groups.of(step.domain, step.judged)
        weight = self.weight if self.steps >= self.anneal_steps else self.early_weight
        terms = {'risk': groups.mean(groups.means(risks))}
        if weight:
            terms[self.name] = weight * self.penalty(step, logits, risks, groups)
        return Outcome(logits, terms)

    def after_step(self, net: nn.Module, optimizer: Optimizer) -> None:
        """Count the step; forget the optimizer's moments when the loss changes."""
        self.steps += 1
        if self.steps == self.anneal_steps and self.weight != self.early_weight:
            optimizer.state.clear()

    def get_extra_state(self) -> dict[str, Any]:
        """Tell what a checkpoint must keep."""
        return {'steps': torch.tensor(self.steps)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Args:
            state: What :meth:`get_extra_state` told.
        """
        self.steps = int(state['steps'])
