# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Gradient matching between domains."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .base import Objective, Outcome, Step


class Fish(Objective):
    """Gradients of different domains point the same way.

    Shi et al., "Gradient Matching for Domain Generalization", 2022, algorithm 1: a copy of
    the network takes a few steps, each on a batch of one domain, and the network follows it
    part of the way. Here the network itself takes the steps, and goes back to where it
    was, but for that part: the same numbers, with one network and one optimizer. Set
    ``domains_per_batch: 1`` of the datamodule. Before a validation and at the end of an
    epoch the network follows after fewer steps, so that the copy is neither validated nor
    saved. Only a checkpoint that is written between them (``every_n_train_steps``) holds
    the copy, to go on from. With several ranks a step is on the mean gradient of as many
    domains.
    """

    requires: ClassVar[frozenset[str]] = frozenset({'domain'})

    def __init__(self, steps: int = 5, share: float = 0.5) -> None:
        """Initialize a new Fish instance.

        Args:
            steps: Steps of the copy, each on one domain. The paper has 5 for FMoW, 10 for
                iWildCam.
            share: Part of the way that the network follows, epsilon. DomainBed: 0.5; the
                paper's code has 0.01 divided by the number of steps.
        """
        super().__init__()
        self.steps, self.share = steps, share
        self.taken = 0
        #: Where the network was before the copy left it, by name.
        self.slow: dict[str, Tensor] = {}

    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step."""
        if not self.slow:
            self.slow = _copy(step.net)
        logits = step.net.predict(step.net.backbone.read(step.batch))
        return Outcome(logits, {'risk': step.risk(logits)})

    def after_step(self, net: nn.Module, optimizer: Optimizer) -> None:
        """After the last step of the copy, follow it."""
        self.taken += 1
        if self.taken == self.steps:
            self._follow(net)

    def before_use(self, net: nn.Module) -> None:
        """Follow the copy, if it is on its way."""
        if self.taken:
            self._follow(net)

    @torch.no_grad()
    def _follow(self, net: nn.Module) -> None:
        for name, value in _moving(net).items():
            # From where the network was, towards the copy.
            value.copy_(torch.lerp(self.slow[name].to(value), value, self.share))
        self.slow, self.taken = _copy(net), 0

    def get_extra_state(self) -> dict[str, Any]:
        """Tell what a checkpoint must keep."""
        return {'taken': torch.tensor(self.taken), 'slow': dict(self.slow)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Args:
            state: What :meth:`get_extra_state` told.
        """
        self.taken, self.slow = int(state['taken']), dict(state['slow'])


def _moving(net: nn.Module) -> dict[str, Tensor]:
    """List what training moves: weights and batch statistics."""
    return {k: v for k, v in net.state_dict().items() if v.is_floating_point()}


def _copy(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in _moving(net).items()}
