# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Distributionally robust risk over domains."""

import torch
from torch import Tensor, nn

from .soft_group_dro import SoftGroupDRO


class GroupDRO(nn.Module):
    r"""Risk of the worst groups, where a sample belongs to one.

    Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts" (2020),
    algorithm 1: in each step the weight of group :math:`d` grows with its mean risk
    :math:`L_d`, :math:`q_d \leftarrow q_d \exp(\eta L_d) / Z`, and the loss is
    :math:`\sum_d q_d L_d`. As in WILDS and DomainBed, weights are not divided by their
    sum over the groups of the batch: with many groups, of which a batch has few, the loss
    is small. It is :class:`SoftGroupDRO` with memberships of 0 and 1, with the same
    weights and mean risks on all ranks.
    """

    def __init__(self, num_groups: int, step_size: float = 0.01) -> None:
        r"""Initialize a new GroupDRO instance.

        Args:
            num_groups: Number of groups D.
            step_size: :math:`\eta`. WILDS and DomainBed: 0.01.

        Raises:
            ValueError: If an argument is out of range.
        """
        super().__init__()
        self.soft = SoftGroupDRO(num_groups, step_size)

    @property
    def weights(self) -> Tensor:
        """Weights q of groups, which sum to 1, float32, shape (D,)."""
        return self.soft.weights

    def forward(
        self, risks: Tensor, group: Tensor, counted: Tensor | None = None
    ) -> Tensor:
        """Compute the loss; in training, update weights first.

        Args:
            risks: Risk of each sample, shape (B,), any floating type.
            group: Group of each sample, int64, shape (B,). Samples with another value
                than 0 to D - 1, such as -1 for no training domain, do not count.
            counted: Which samples count, boolean, shape (B,), such as those that have a
                target. Default: all.

        Returns:
            The loss, a scalar, float32 or better.

        Raises:
            ValueError: If shapes do not fit.
        """
        shapes = risks.shape, group.shape, (group if counted is None else counted).shape
        if risks.ndim != 1 or len(set(shapes)) > 1:
            raise ValueError(
                'expected risks, group and counted (B,), found'
                f' {", ".join(str(tuple(shape)) for shape in shapes)}'
            )
        groups = torch.arange(self.soft.num_groups, device=group.device)
        members = group[:, None] == groups
        if counted is not None:
            members = members & counted[:, None]
        # A risk that is no number would show in products with memberships of 0.
        loss: Tensor = self.soft(risks.where(members.any(dim=1), 0), members)
        return loss
