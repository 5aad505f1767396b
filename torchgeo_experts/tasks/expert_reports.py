# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What tasks with experts tell: other uses of the experts, their weights and affinity."""

from abc import abstractmethod
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..metrics import GroupMeans
from ..models import Affinity, ExpertNet, Features
from ..models.pooling import mean_over_time
from ..objectives.codex import expert_accuracies
from ..plots import plot_affinity, plot_mixture_weights
from .base import DomainTask
from .figures import save_figure
from .tables import write_weights


class MixtureReports(DomainTask):
    """Base class of tasks that mix experts, with what they evaluate and report."""

    #: A :class:`~torchgeo_experts.models.nets.MixtureNet`.
    model: Any
    #: Mean mixture weights of each group.
    group_weights: GroupMeans

    def decisions(
        self, features: Features, logits: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Decide with the mixture, and by other uses of the experts.

        Args:
            features: What the backbone gave.
            logits: Logits of the mixture, shape (B, C, ...).
            target: Targets, for the oracle.

        Returns:
            Predicted classes of the mixture, of the ``Uniform`` mixture, of the
            ``BestWeighted`` expert, and of the ``Oracle``: for each sample the expert
            that is best on it (CoDEX, section 4.2), one expert for all dates of a series.
        """
        experts = self.model.experts
        mixture = self.model.mixture(features)
        uniform = torch.full_like(mixture, 1 / experts.num_domains)
        return super().decisions(features, logits, target) | {
            'Uniform': self.criterion.predict(experts.mix(features.head, uniform)),
            'BestWeighted': self.criterion.predict(
                experts(features.head, mixture.argmax(dim=-1))
            ),
            'Oracle': self._oracle(features.head, target),
        }

    def _oracle(self, features: Tensor, target: Tensor) -> Tensor:
        """Take from each sample's best expert what it predicts."""
        experts = self.model.experts
        accuracy = expert_accuracies(experts, features, target, self.criterion)
        best = accuracy.argmax(dim=1)
        return self.criterion.predict(experts(features, best))

    def observe(self, batch: Sample, features: Features) -> None:
        """Keep the mean mixture weights of each domain.

        Args:
            batch: A test batch.
            features: What the backbone gave.
        """
        super().observe(batch, features)
        weights = self.model.mixture(features)
        if weights.ndim == 3:
            weights = mean_over_time(weights, features.valid)
        self.group_weights.update(weights, self.group(batch))

    def on_test_epoch_end(self) -> None:
        """Log test metrics; write tables and figures of the experts."""
        super().on_test_epoch_end()
        weights = self.group_weights.compute().cpu()
        self.group_weights.reset()
        self._report_mixture(weights)

    @rank_zero_only
    def _report_mixture(self, weights: Tensor) -> None:
        experts = self.expert_names
        path = self.report_dir / 'mixture_weights.csv'
        write_weights(path, self.group_names, experts, weights)
        figure = plot_mixture_weights(weights, self.group_names, experts)
        save_figure(self, figure, 'mixture_weights')

    @property
    def expert_names(self) -> tuple[str, ...]:
        """Names of the experts: of their training domains, or numbers."""
        return self.domain_names or tuple(
            map(str, range(self.model.experts.num_domains))
        )

    def predictions(self, features: Features) -> dict[str, Tensor]:
        """Predict, and tell the mixture weights.

        Args:
            features: What the backbone gave.

        Returns:
            ``probabilities``, shape (B, C, ...), and ``weights``, shape (B, D), or
            (B, T, D) if the selector chooses for each date.
        """
        weights = self.model.mixture(features)
        logits = self.model.experts.mix(features.head, weights)
        return {
            'probabilities': self.criterion.probabilities(logits),
            'weights': weights,
        }


class ExpertReports(MixtureReports):
    """Base class of tasks whose experts have an affinity to each other, which is told."""

    model: ExpertNet

    @property
    @abstractmethod
    def affinity(self) -> Affinity:
        """Affinity between the training domains."""

    @rank_zero_only
    def _report_mixture(self, weights: Tensor) -> None:
        super()._report_mixture(weights)
        experts = self.expert_names
        everything = torch.arange(len(experts), device=self.device)
        domains = getattr(getattr(self.trainer, 'datamodule', None), 'domains', None)
        angles = torch.full((len(experts), len(experts)), torch.nan)
        if domains is not None and domains.names == experts:
            angles = domains.angles()
        figure = plot_affinity(self.affinity(everything), experts, angles)
        save_figure(self, figure, 'affinity')
