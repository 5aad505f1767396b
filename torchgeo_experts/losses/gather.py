# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Batches of all ranks, for losses that compare samples with each other."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..ranks import this_rank


def gather_with_grad(tensor: Tensor) -> Tensor:
    """Join the tensors of all ranks, so that gradients are those of one big batch.

    For losses that are the same function of the joined batch on every rank. All ranks
    then hold the same gradient of it, so nothing has to be sent back: each takes the
    part of its own samples, times the number of ranks, as DDP averages the gradients of
    parameters over ranks. With no communication in the backward pass, it cannot get in
    the way of DDP's own. PyTorch's ``torch.distributed.nn.functional``, deprecated by
    now, would sum gradients over ranks to the same end.

    Args:
        tensor: Any type, shape (B, ...), the same shape on every rank. To sum over ranks
            what has no samples, add a first dimension of length 1 and sum over it.

    Returns:
        Shape (ranks * B, ...), in order of ranks. Without a process group, or with one
        rank, the tensor itself.
    """
    ranks, rank = this_rank()
    if ranks == 1:
        return tensor
    gathered: Tensor = _Gather.apply(tensor, ranks, rank)
    return gathered


class _Gather(torch.autograd.Function):
    """Gathering, with a backward pass that needs no communication."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, ranks: int, rank: int) -> Tensor:
        """Join the tensors of all ranks."""
        ctx.ranks, ctx.own = ranks, slice(rank * len(tensor), (rank + 1) * len(tensor))
        parts = [torch.empty_like(tensor).contiguous() for _ in range(ranks)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Take the gradient of this rank's samples."""
        return grad[ctx.own] * ctx.ranks, None, None
