# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The groups of a batch, for losses that compare domains."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from .precision import at_least_single


@dataclass(frozen=True)
class Groups:
    """Which samples of a batch belong together.

    A batch of B samples has at most B groups: slot i stands for the group whose first
    counted sample is i, and is empty if there is none. So shapes do not depend on what a
    batch holds, and the host never has to wait for the device to tell how many groups
    there are. Any number names a group: -1, no training domain, is a group like others.

    These are the groups of one rank. With several ranks, penalties made of them are
    estimates of each rank, which DDP averages.
    """

    #: Which slots hold a group, boolean, shape (B,).
    present: Tensor
    #: Which samples count in the group of each slot, boolean, shape (B slots, B samples).
    members: Tensor

    @classmethod
    def of(cls, group: Tensor, counted: Tensor | None = None) -> Self:
        """Find the groups of a batch.

        Args:
            group: Group of each sample, int64, shape (B,).
            counted: Which samples count, boolean, shape (B,), such as those that have a
                target. Default: all.

        Returns:
            The groups that have a sample that counts.

        Raises:
            ValueError: If shapes do not fit.
        """
        if counted is None:
            counted = torch.ones_like(group, dtype=torch.bool)
        if group.ndim != 1 or counted.shape != group.shape:
            raise ValueError(
                'expected group (B,) and counted (B,), found'
                f' {tuple(group.shape)} and {tuple(counted.shape)}'
            )
        together = (group[:, None] == group) & counted[:, None] & counted
        present = counted & ~together.tril(-1).any(dim=1)
        return cls(present, together & present[:, None])

    @property
    def count(self) -> Tensor:
        """Number of groups, int64, a scalar."""
        return self.present.sum()

    @property
    def counted(self) -> Tensor:
        """Which samples are in a group, boolean, shape (B,)."""
        return self.members.any(dim=0)

    @property
    def sizes(self) -> Tensor:
        """Number of samples in the group of each slot, int64, shape (B,)."""
        return self.members.sum(dim=1)

    @property
    def slot(self) -> Tensor:
        """Slot of each sample's group, int64, shape (B,); 0 if it is in none."""
        if not len(self.members):
            return torch.zeros_like(self.present, dtype=torch.long)
        # A sample is in one group at most. Small numbers, since there are B x B of them.
        return self.members.to(torch.uint8).argmax(dim=0)

    def means(self, values: Tensor) -> Tensor:
        """Average over the samples of each group.

        Args:
            values: Values of each sample, shape (B, ...), any type. Those of samples that
                do not count may be anything, even no number.

        Returns:
            Means in the slots of groups, and 0 in empty ones, float32 or better, shape
            (B, ...).
        """
        values = at_least_single(values)
        shape = (-1, *[1] * (values.ndim - 1))
        values = values.where(self.counted.view(shape), 0)
        # No product of matrices: it may be rounded to fewer digits, and takes B times as
        # many operations.
        sums = torch.zeros_like(values).index_add(0, self.slot, values)
        return sums / self.sizes.clamp(min=1).view(shape)

    def mean(self, slot_values: Tensor) -> Tensor:
        """Average over groups.

        Args:
            slot_values: A value of each slot, shape (B,). Those of empty slots may be
                anything.

        Returns:
            The mean, a scalar; 0 if there is no group.
        """
        return slot_values.where(self.present, 0).sum() / self.count.clamp(min=1)

    def variance(self, slot_values: Tensor) -> Tensor:
        """Compute the population variance over groups.

        Args:
            slot_values: As in :meth:`mean`.

        Returns:
            The mean squared deviation from the mean, a scalar; 0 if there is no group.
        """
        # Empty slots are put to 0 first: infinity would have a gradient of no number.
        slot_values = slot_values.where(self.present, 0)
        return self.mean((slot_values - self.mean(slot_values)).square())
