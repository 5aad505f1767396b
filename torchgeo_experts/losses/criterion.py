# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The criterion: what a prediction costs, one number a sample."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from .focal import sigmoid_focal, softmax_focal

TaskName = Literal['binary', 'multiclass', 'multilabel']
LossName = Literal['ce', 'bce', 'focal']


class Criterion(nn.Module, ABC):
    """Risk and accuracy of each sample.

    Methods need per-sample risks: they group them by domain or weigh them. A sample's
    risk is the mean over its elements (pixels, dates, labels) that are not ignored, and
    0 where all are; such a sample counts in no mean over samples (:meth:`mean`). The
    published CoDEX code takes one mean over all pixels of a batch. Weights of classes
    multiply losses and nothing else: the mean risk is not divided by their sum, as that
    of PyTorch's cross-entropy is.
    """

    def __init__(
        self,
        gamma: float = 0.0,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
    ) -> None:
        """Initialize a new Criterion instance.

        Args:
            gamma: Exponent of the focal loss, 0 for cross-entropy.
            weight: Weight of each class, or of positives of each label.
            ignore_index: Target value that does not count.
        """
        super().__init__()
        self.gamma = gamma
        self.ignore_index = ignore_index
        self.weight: Tensor | None
        self.register_buffer('weight', weight, persistent=False)

    def valid(self, target: Tensor) -> Tensor:
        """Tell which elements count.

        Args:
            target: Targets, any shape.

        Returns:
            Boolean mask of the same shape.
        """
        if self.ignore_index is None:
            return torch.ones_like(target, dtype=torch.bool)
        return target != self.ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the risk of each sample.

        Args:
            logits: Scores, shape (B, C, ...).
            target: Targets, shape (B, ...), or (B, L, ...) for several labels.

        Returns:
            Risks, float32, shape (B,).
        """
        target = self.shape_target(target)
        valid = self.valid(target)
        return _masked_mean(self.elements(logits, target.where(valid, 0)), valid)

    def judged(self, target: Tensor) -> Tensor:
        """Tell which samples have anything that counts.

        Args:
            target: Targets, any shape (B, ...).

        Returns:
            Boolean, shape (B,).
        """
        return self.valid(target).reshape(len(target), -1).any(dim=1)

    def mean(self, values: Tensor, target: Tensor) -> Tensor:
        """Average over the samples that have anything that counts.

        Args:
            values: A value of each sample, such as its risk, shape (B,).
            target: Targets, any shape (B, ...).

        Returns:
            The mean, a scalar; 0 if nothing counts.
        """
        judged = self.judged(target)
        return values.where(judged, 0).sum() / judged.sum().clamp(min=1)

    def accuracies(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the accuracies of several predictions of each sample.

        For classification these are 0 or 1, for maps shares of right pixels (CoDEX,
        section 3.2). No class is decided on, which for maps of many experts would take
        longer than to predict them: a class that scores as high as the best is right.

        Args:
            logits: Scores, shape (B, E, C, ...).
            target: Targets, as in :meth:`forward`.

        Returns:
            Accuracies in [0, 1], float32, shape (B, E).
        """
        target = self.shape_target(target)
        valid = self.valid(target)
        right = self.hits(logits, target.where(valid, 0)) & valid[:, None]
        total = valid.reshape(len(valid), -1).sum(dim=1, keepdim=True)
        return right.reshape(*logits.shape[:2], -1).sum(dim=2) / total.clamp(min=1)

    def shape_target(self, target: Tensor) -> Tensor:
        """Give targets the shape of predictions.

        Args:
            target: Targets as they come in a batch.

        Returns:
            Targets with the shape of :meth:`predict`.
        """
        return target

    def class_logits(self, logits: Tensor) -> Tensor:
        r"""Turn scores into those of classes that exclude each other.

        What is made for classes, such as an entropy, works for labels too. Scores and not
        probabilities, as the logarithm of a probability is exact only from scores.

        Args:
            logits: Scores, shape (B, C, ...).

        Returns:
            Scores of classes, shape (B, C, ...). A label is a choice between two, with
            scores 0 and :math:`z`, shape (B, 2, L, ...).
        """
        return logits

    @abstractmethod
    def elements(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of each element.

        Args:
            logits: Scores, shape (B, C, ...).
            target: Targets in the shape of predictions, with no ignored value.

        Returns:
            Losses with the shape of predictions.
        """

    @abstractmethod
    def predict(self, logits: Tensor) -> Tensor:
        """Decide on classes.

        Args:
            logits: Scores, shape (B, C, ...).

        Returns:
            int64: classes, shape (B, ...), or 0 and 1 a label, shape (B, L, ...).
        """

    @abstractmethod
    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Tell where the target is what scores say.

        Args:
            logits: Scores, shape (B, E, C, ...).
            target: Targets in the shape of predictions, with no ignored value.

        Returns:
            Boolean, of the shape of predictions with E after B.
        """

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """Turn scores into probabilities.

        Args:
            logits: Scores, shape (B, C, ...).

        Returns:
            Probabilities, float32, shape (B, C, ...).
        """


class MulticlassCriterion(Criterion):
    """Cross-entropy or softmax focal loss over exclusive classes."""

    def elements(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of each element."""
        return softmax_focal(logits, target, self.gamma, self.weight)

    def predict(self, logits: Tensor) -> Tensor:
        """Take the class with the highest score."""
        # The same as argmax, which takes ten times as long for maps on a CPU.
        return logits.max(dim=1).indices

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compare the score of the target with the highest one."""
        index = target[:, None, None].expand(-1, logits.shape[1], 1, *target.shape[1:])
        return logits.gather(2, index).squeeze(2) >= logits.amax(dim=2)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Apply the softmax over classes."""
        return logits.float().softmax(dim=1)


class MultilabelCriterion(Criterion):
    """Binary cross-entropy or sigmoid focal loss over independent labels."""

    def elements(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of each element."""
        return sigmoid_focal(logits, target, self.gamma, self.weight)

    def predict(self, logits: Tensor) -> Tensor:
        """Take the labels with a probability of at least one half."""
        return (logits >= 0).long()

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compare the decision on each label with the target."""
        return (logits >= 0) == target[:, None].bool()

    def class_logits(self, logits: Tensor) -> Tensor:
        """Put a score of 0 for its absence before that of each label."""
        return torch.stack([torch.zeros_like(logits), logits], dim=1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Apply the sigmoid to each label."""
        return logits.float().sigmoid()


class BinaryCriterion(MultilabelCriterion):
    """A single label, whose targets come without a label dimension."""

    def shape_target(self, target: Tensor) -> Tensor:
        """Add the label dimension."""
        return target.unsqueeze(1)


CRITERIA: dict[str, type[Criterion]] = {
    'multiclass': MulticlassCriterion,
    'multilabel': MultilabelCriterion,
    'binary': BinaryCriterion,
}


def make_criterion(
    task: TaskName,
    loss: LossName,
    gamma: float = 2.0,
    class_weights: Sequence[float] | None = None,
    pos_weight: float | Sequence[float] | None = None,
    ignore_index: int | None = None,
    num_outputs: int | None = None,
) -> Criterion:
    """Make the criterion that a task's arguments describe.

    Args:
        task: One of 'binary', 'multiclass' or 'multilabel'.
        loss: 'ce' for classes, 'bce' for labels, 'focal' for either.
        gamma: Exponent of the focal loss.
        class_weights: Weight of each class (multiclass).
        pos_weight: Weight of positives, one value or one a label (binary, multilabel).
        ignore_index: Target value that does not count.
        num_outputs: Number of logits, to check the number of weights.

    Returns:
        The criterion.

    Raises:
        ValueError: If loss, task and weights do not go together.
    """
    if (loss, task == 'multiclass') in [('ce', False), ('bce', True)]:
        fit = "'ce' or 'focal'" if task == 'multiclass' else "'bce' or 'focal'"
        raise ValueError(f"loss='{loss}' does not fit task='{task}': use {fit}")
    given = {'class_weights': class_weights, 'pos_weight': pos_weight}
    used, unused = given if task == 'multiclass' else reversed(given)
    if given[unused] is not None:
        raise ValueError(f"{unused} is not for task='{task}': use {used}")
    weight = None
    if given[used] is not None:
        weight = torch.as_tensor(given[used]).float().reshape(-1)
        # One weight may be meant for all labels, but not for all classes.
        fitting = {num_outputs} | ({1} if task != 'multiclass' else set())
        if num_outputs is not None and len(weight) not in fitting:
            raise ValueError(
                f'{used} has {len(weight)} values, expected {num_outputs}, one an output'
            )
    return CRITERIA[task](gamma if loss == 'focal' else 0.0, weight, ignore_index)


def _masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    values, valid = (
        values.flatten(1) if values.ndim > 1 else values[:, None],
        (valid.flatten(1) if valid.ndim > 1 else valid[:, None]),
    )
    return values.where(valid, 0).sum(dim=1) / valid.sum(dim=1).clamp(min=1)
