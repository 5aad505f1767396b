# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What tasks tell whose experts, if they have some, are mixed by domain or place."""

from abc import abstractmethod
from typing import Any

from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..models import Features
from ..models.relations import Relation
from .expert_reports import MixtureReports


class RelatedReports(MixtureReports):
    """Base class of tasks that tell about experts if a relation mixes some."""

    @property
    @abstractmethod
    def _relation(self) -> Relation | None:
        """What mixes experts of domains, if there are any."""

    @property
    def _reports(self) -> Any:
        """What a task with experts tells, or else what any task does."""
        known = self._relation is not None
        return super() if known else super(MixtureReports, self)

    def decisions(
        self, features: Features, logits: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Decide in all the ways that a test compares.

        Args:
            features: What the backbone gave.
            logits: What the model predicts, shape (B, C, ...).
            target: Targets, for decisions that may look at them.

        Returns:
            Predicted classes a way, the model's own first.
        """
        found: dict[str, Tensor] = self._reports.decisions(features, logits, target)
        return found

    def observe(self, batch: Sample, features: Features) -> None:
        """Keep what else a test batch tells.

        Args:
            batch: A test batch.
            features: What the backbone gave.
        """
        self._reports.observe(batch, features)

    def on_test_epoch_end(self) -> None:
        """Log test metrics; write tables and figures."""
        self._reports.on_test_epoch_end()

    def predictions(self, features: Features) -> dict[str, Tensor]:
        """Predict.

        Args:
            features: What the backbone gave.

        Returns:
            ``probabilities``, shape (B, C, ...), and with experts also their mixture
            ``weights``, shape (B, D).
        """
        found: dict[str, Tensor] = self._reports.predictions(features)
        return found
