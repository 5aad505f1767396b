# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Metrics per domain, exact however samples are shared out to processes."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

TaskName = Literal['binary', 'multiclass', 'multilabel']


class Scores(NamedTuple):
    """Scores by name."""

    #: Number of samples of each group, shape (G,).
    samples: Tensor
    #: Scores of each group, each of shape (G,), NaN where one is not defined.
    groups: dict[str, Tensor]
    #: Scores of all samples together, scalars.
    overall: dict[str, Tensor]

    def unsqueezed(self) -> 'Scores':
        """Give a single group its dimension back, which torchmetrics takes off."""
        groups = {name: values.reshape(-1) for name, values in self.groups.items()}
        return Scores(self.samples.reshape(-1), groups, self.overall)


class DomainScores(Metric):
    """Scores of each group of samples: domains, regions, cameras.

    Its states are counts, which add up exactly over batches and processes. As in WILDS,
    averages over classes take only the classes that the targets of a group have, and
    groups with no sample count nowhere.
    """

    full_state_update = False
    higher_is_better = True

    hits: Tensor
    predicted: Tensor
    present: Tensor
    judged: Tensor
    samples: Tensor

    def __init__(
        self,
        num_groups: int,
        num_classes: int,
        task: TaskName = 'multiclass',
        ignore_index: int | None = None,
    ) -> None:
        """Initialize a new DomainScores instance.

        Args:
            num_groups: Number of groups G.
            num_classes: Number of classes or labels C.
            task: One of 'binary', 'multiclass' or 'multilabel'.
            ignore_index: Target value that does not count.
        """
        super().__init__()
        self.num_groups = num_groups
        self.num_classes = num_classes
        self.task = task
        self.ignore_index = ignore_index
        for name in ('hits', 'predicted', 'present', 'judged'):
            zeros = torch.zeros(num_groups, num_classes, dtype=torch.long)
            self.add_state(name, zeros, dist_reduce_fx='sum')
        self.add_state(
            'samples', torch.zeros(num_groups, dtype=torch.long), dist_reduce_fx='sum'
        )

    def update(self, prediction: Tensor, target: Tensor, group: Tensor) -> None:
        """Count a batch.

        Args:
            prediction: Predicted classes, int64, shape (B, ...), or 0 and 1 a label, shape
                (B, C, ...).
            target: Targets, of the same shape.
            group: Group of each sample, int64, shape (B,).
        """
        self.samples.index_add_(0, group, torch.ones_like(group))
        if self.ignore_index is None:
            valid = torch.ones_like(target, dtype=torch.bool)
        else:
            valid = target != self.ignore_index
        target = target.where(valid, 0)
        if self.task == 'multiclass':
            self._count_classes(prediction, target, valid, group)
        else:
            self._count_labels(prediction, target, valid, group)

    def _count_classes(
        self, prediction: Tensor, target: Tensor, valid: Tensor, group: Tensor
    ) -> None:
        group = group.view(-1, *[1] * (target.ndim - 1)).expand_as(target)
        for state, classes, counted in (
            (self.hits, target, valid & (prediction == target)),
            (self.predicted, prediction, valid),
            (self.present, target, valid),
        ):
            cell = (group * self.num_classes + classes).flatten()
            # index_add_ and not bincount, which would wait for the device.
            state.view(-1).index_add_(0, cell, counted.flatten().long())
        everything = torch.zeros_like(self.samples)
        everything.index_add_(0, group.flatten(), valid.flatten().long())
        self.judged += everything[:, None]

    def _count_labels(
        self, prediction: Tensor, target: Tensor, valid: Tensor, group: Tensor
    ) -> None:
        for state, counted in (
            (self.hits, prediction * target * valid),
            (self.predicted, prediction * valid),
            (self.present, target * valid),
            (self.judged, valid),
        ):
            per_sample = counted.long().reshape(*counted.shape[:2], -1).sum(-1)
            state.index_add_(0, group, per_sample)

    def compute(self) -> 'Scores':
        """Compute the scores.

        Returns:
            Those of each group and those of all samples together.
        """
        # On the CPU: not every device knows double precision.
        counts = [
            count.cpu()
            for count in (self.hits, self.predicted, self.present, self.judged)
        ]
        pooled = self.scores(*(count.sum(0, keepdim=True) for count in counts))
        return Scores(
            samples=self.samples.cpu().clone(),
            groups=self.scores(*counts),
            overall={name: values[0] for name, values in pooled.items()},
        )

    def scores(
        self, hits: Tensor, predicted: Tensor, present: Tensor, judged: Tensor
    ) -> dict[str, Tensor]:
        """Compute scores from counts, under TorchGeo's names.

        Args:
            hits: Elements of a class that were found, shape (G, C).
            predicted: Elements predicted as a class, shape (G, C).
            present: Elements of a class, shape (G, C).
            judged: Elements judged, shape (G, C).

        Returns:
            ``OverallAccuracy``, the share of right elements; ``AverageAccuracy``,
            ``AverageF1Score`` and ``AverageJaccardIndex``, means over the classes that are
            present, or over the labels. Each of shape (G,).
        """
        hits, predicted, present = hits.double(), predicted.double(), present.double()
        exclusive = self.task == 'multiclass'
        # Of a label, a right "no" counts like a right "yes".
        right_of_each = judged - predicted - present + 2 * hits
        right = hits.sum(1) if exclusive else right_of_each.sum(1)
        elements = present.sum(1) if exclusive else judged.sum(1)
        average = {
            'AverageAccuracy': hits / present if exclusive else right_of_each / judged,
            'AverageF1Score': 2 * hits / (predicted + present),
            'AverageJaccardIndex': hits / (predicted + present - hits),
        }
        result = {'OverallAccuracy': right / elements}
        for name, values in average.items():
            counted = present > 0 if exclusive else values.isfinite()
            result[name] = values.where(counted, torch.nan).nanmean(dim=1)
        return {name: values.float() for name, values in result.items()}


class MeanRisk(Metric):
    """Mean over the samples that have a target. A risk that is no number shows in it.

    (torchmetrics' own mean leaves out what is no number, or else the weights.)
    """

    full_state_update = False

    total: Tensor
    samples: Tensor

    def __init__(self) -> None:
        """Initialize a new MeanRisk instance."""
        super().__init__()
        self.add_state('total', torch.tensor(0.0), dist_reduce_fx='sum')
        self.add_state('samples', torch.tensor(0), dist_reduce_fx='sum')

    def update(self, risks: Tensor, judged: Tensor) -> None:
        """Add a batch.

        Args:
            risks: Risk of each sample, shape (B,).
            judged: Which samples count, bool, shape (B,).
        """
        self.total += risks.where(judged, 0).sum()
        self.samples += judged.sum()

    def compute(self) -> Tensor:
        """Compute the mean.

        Returns:
            The mean, NaN if no sample counts.
        """
        return self.total / self.samples


class GroupMeans(Metric):
    """Mean of a vector over the samples of each group."""

    full_state_update = False

    total: Tensor
    samples: Tensor

    def __init__(self, num_groups: int, size: int) -> None:
        """Initialize a new GroupMeans instance.

        Args:
            num_groups: Number of groups G.
            size: Size S of the vectors.
        """
        super().__init__()
        total = torch.zeros(num_groups, size)
        self.add_state('total', total, dist_reduce_fx='sum')
        count = torch.zeros(num_groups, dtype=torch.long)
        self.add_state('samples', count, dist_reduce_fx='sum')

    def update(self, values: Tensor, group: Tensor) -> None:
        """Add a batch.

        Args:
            values: Vectors, shape (B, S).
            group: Group of each sample, int64, shape (B,).
        """
        self.total.index_add_(0, group, values.to(self.total.dtype))
        self.samples.index_add_(0, group, torch.ones_like(group))

    def compute(self) -> Tensor:
        """Compute the means.

        Returns:
            Means, shape (G, S), NaN for groups with no sample.
        """
        return self.total / self.samples[:, None]


def worst(values: Tensor) -> Tensor:
    """Take the lowest value of the groups that have one.

    Args:
        values: Scores of groups, shape (G,), NaN where there is none.

    Returns:
        The lowest, NaN if no group has a value.
    """
    lowest = values.nan_to_num(torch.inf).min()
    return lowest.where(lowest.isfinite(), torch.nan)
