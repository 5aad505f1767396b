# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The interface of training methods."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..configurable import Configurable
from ..losses import Criterion


@dataclass(frozen=True)
class Step:
    """What an objective sees of one training step."""

    #: The network, a :class:`~torchgeo_experts.models.SingleNet` or
    #: :class:`~torchgeo_experts.models.ExpertNet`.
    net: Any
    #: The batch, with its image and metadata.
    batch: Sample
    #: Targets: labels (B,) or masks (B, ...).
    target: Tensor
    #: Risk and accuracy of each sample.
    criterion: Criterion

    def risk(self, logits: Tensor) -> Tensor:
        """Average the risk over samples.

        Args:
            logits: Logits, shape (B, C, ...).

        Returns:
            The mean over samples that have a target, a scalar.
        """
        return self.criterion.mean(self.criterion(logits, self.target), self.target)

    @property
    def domain(self) -> Tensor:
        """Training domain of each sample, int64, shape (B,)."""
        return self.batch['domain']


class Outcome(NamedTuple):
    """What an objective makes of a step."""

    #: Logits that training metrics judge, shape (B, C, ...).
    logits: Tensor
    #: Weighted terms of the loss by name, scalars; the loss is their sum.
    terms: dict[str, Tensor]


class Objective(Configurable, ABC):
    """A training method: what one step minimizes.

    A method is one small class, and works for classification, segmentation and change
    detection alike, as it sees risks a sample and never the shape of a target.
    """

    #: What it needs beyond images and targets: 'domain'.
    requires: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step.

        Args:
            step: What the step has.

        Returns:
            Logits, and the terms of the loss.
        """
