# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Distributionally robust risk over groups that samples belong to in part."""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from .gather import gather_with_grad
from .precision import at_least_single


class SoftGroupDRO(nn.Module):
    r"""Risk of the worst groups, where a sample may belong to several (PG-DRO).

    Ghosal & Li, "Distributionally Robust Optimization with Probabilistic Group" (2023):
    group :math:`g` has the risk :math:`\ell_g = \sum_b w_{bg} \ell_b / \sum_b w_{bg}`
    with memberships :math:`w`; in each step its weight grows,
    :math:`q_g \leftarrow q_g \exp(\eta \ell_g) / Z`, and the loss is
    :math:`\sum_g q_g \ell_g`. With memberships of 0 and 1 this is GroupDRO (Sagawa et
    al., "Distributionally Robust Neural Networks for Group Shifts", 2020). MoGE has it
    over "router-induced soft groups" on MapInWild (repository of the GCPR 2026 version,
    without a formula).

    Groups are those of all ranks together: every rank has the same weights. A group that
    a batch has nothing of grows by the factor 1. Memberships are constants here, as in
    PG-DRO, where they come from another model: else a gate could lower the loss by
    calling hard samples members of other groups.
    """

    def __init__(
        self,
        num_groups: int,
        step_size: float = 0.01,
        adjustment: float = 0.0,
        group_sizes: Sequence[float] | None = None,
    ) -> None:
        r"""Initialize a new SoftGroupDRO instance.

        Args:
            num_groups: Number of groups G.
            step_size: :math:`\eta`. GroupDRO and PG-DRO: 0.01.
            adjustment: :math:`C` of GroupDRO's adjustment: weights grow by
                :math:`\ell_g + C / \sqrt{n_g}`, as small groups generalize worse. The
                loss stays as it is, as in the published code.
            group_sizes: :math:`n_g`, the sums of memberships over the training set, for
                an adjustment.

        Raises:
            ValueError: If an argument is out of range, or sizes are missing.
        """
        super().__init__()
        if num_groups < 1 or step_size < 0 or adjustment < 0:
            raise ValueError(
                'num_groups must be at least 1, step_size and adjustment at least 0,'
                f' found {num_groups}, {step_size} and {adjustment}'
            )
        sizes = [1.0] * num_groups if group_sizes is None else list(group_sizes)
        if adjustment and group_sizes is None:
            raise ValueError(f'adjustment={adjustment} needs group_sizes')
        if len(sizes) != num_groups or min(sizes) <= 0:
            raise ValueError(
                f'group_sizes must be {num_groups} positive numbers, found {group_sizes}'
            )
        self.num_groups = num_groups
        self.step_size = step_size
        self.adjustment = adjustment
        self.group_sizes = group_sizes
        uniform = torch.zeros(num_groups).log_softmax(dim=0)
        self.log_weights: Tensor
        self.bonus: Tensor
        # Logarithms: a weight near 0 can still come back.
        self.register_buffer('log_weights', uniform)
        bonus = adjustment / torch.tensor(sizes).float().sqrt()
        self.register_buffer('bonus', bonus, persistent=False)

    @property
    def weights(self) -> Tensor:
        """Weights of groups, which sum to 1, float32, shape (G,)."""
        return self.log_weights.exp()

    def forward(self, risks: Tensor, memberships: Tensor) -> Tensor:
        """Compute the loss; in training, update weights first.

        Args:
            risks: Risk of each sample, shape (B,), any floating type.
            memberships: How much each sample belongs to each group, not negative, shape
                (B, G). A row of zeros leaves a sample out, such as one without target.

        Returns:
            The loss, a scalar, float32 or better.

        Raises:
            ValueError: If shapes do not fit.
        """
        if risks.ndim != 1 or memberships.shape != (len(risks), self.num_groups):
            raise ValueError(
                f'expected risks (B,) and memberships (B, {self.num_groups}), found'
                f' {tuple(risks.shape)} and {tuple(memberships.shape)}'
            )
        members = at_least_single(memberships.detach())
        sums = (members * at_least_single(risks)[:, None]).sum(dim=0)
        both = torch.stack([sums, members.sum(dim=0)])
        # The sums of all ranks; batches may differ in size.
        sums, mass = gather_with_grad(both[None]).sum(dim=0)
        present = mass > 0
        group_risks = sums / mass.where(present, 1)
        if self.training:
            self._update(group_risks.detach(), present)
        return (self.weights * group_risks).sum()

    @torch.no_grad()
    def _update(self, group_risks: Tensor, present: Tensor) -> None:
        # A step that mixed precision skips, as it overflowed, must not spoil weights.
        counted = present & group_risks.isfinite()
        growth = self.step_size * (group_risks + self.bonus).where(counted, 0)
        self.log_weights.copy_((self.log_weights + growth).log_softmax(dim=0))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Half precision would round away steps of a hundredth: weights stay in float32.
        exact = self.log_weights
        super()._apply(fn, recurse)
        if self.log_weights.dtype != exact.dtype:
            self.log_weights = exact.to(self.log_weights.device)
        return self


def class_groups(memberships: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Split groups by class, so that each has one risk a class.

    Args:
        memberships: How much each sample belongs to each of G groups, shape (B, G).
        labels: Class of each sample, int64, shape (B,). Samples with another value than
            0 to ``num_classes`` - 1 belong to no group.
        num_classes: Number of classes C.

    Returns:
        Memberships in G * C groups, shape (B, G * C); class c of group g is at
        g * C + c.
    """
    classes = torch.arange(num_classes, device=labels.device)
    one_hot = labels[:, None] == classes
    return (memberships[:, :, None] * one_hot[:, None]).flatten(1)
