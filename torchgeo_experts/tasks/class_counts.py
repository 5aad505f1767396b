# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""How often each class occurs in training."""

import torch
from torch import Tensor, nn


class ClassCounts(nn.Module):
    """Counts of the classes that training has seen, which checkpoints keep.

    They are what a classifier takes for granted about a new place, domain-balanced batches
    included. Under DDP each process counts its own samples, and those of the first are
    kept: shares are the same but for chance.
    """

    #: Counts, int64, shape (C,), or of labels (2, L), absent ones and present ones.
    counts: Tensor

    def __init__(self, num_outputs: int, labels: bool) -> None:
        """Initialize a new ClassCounts instance.

        Args:
            num_outputs: Number of classes C, or of labels L.
            labels: Whether they are labels, which do not exclude each other.
        """
        super().__init__()
        self.labels = labels
        shape = (2, num_outputs) if labels else (num_outputs,)
        self.register_buffer('counts', torch.zeros(shape, dtype=torch.long))

    def update(self, target: Tensor, valid: Tensor) -> None:
        """Count a batch.

        Args:
            target: Targets in the shape of predictions, (B, ...), or (B, L, ...) of labels.
            valid: Which of them count, bool, of the same shape.
        """
        if self.labels:
            present, counted = (x.transpose(0, 1).flatten(1) for x in (target, valid))
            present = (present == 1) & counted
            self.counts += torch.stack([counted & ~present, present]).sum(dim=2)
        else:
            classes = target.where(valid, 0).flatten()
            self.counts.index_add_(0, classes, valid.flatten().long())

    def shares(self, weight: Tensor | None) -> Tensor:
        """Tell how often a loss has seen each class.

        Args:
            weight: Weight of each class in the loss, shape (C,), or of positives of
                labels, shape (L,) or (1,). None: all count alike.

        Returns:
            Not divided by their sum, float32, of the shape of the counts.
        """
        counts = self.counts.float()
        if weight is None:
            return counts
        if self.labels:
            return torch.stack([counts[0], counts[1] * weight])
        return counts * weight
