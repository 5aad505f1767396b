# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Losses and gradients of a batch, on two ranks and on one; run by test_gather.py."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from torchgeo_experts.losses.balance import balance_loss, switch_loss
from torchgeo_experts.losses.gather import gather_with_grad
from torchgeo_experts.losses.invariance import invariance_loss, invariance_loss_outside
from torchgeo_experts.losses.soft_group_dro import SoftGroupDRO

SIZE = 24


def data() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        'x': torch.randn(SIZE, 5, generator=generator, dtype=torch.float64),
        'labels': torch.randint(3, (SIZE,), generator=generator),
        'experts': torch.randint(4, (SIZE,), generator=generator),
        'noise': torch.randn(SIZE, 4, generator=generator, dtype=torch.float64),
        'members': torch.rand(SIZE, 4, generator=generator, dtype=torch.float64),
    }


def losses(out: Tensor, batch: dict[str, Tensor], dro: nn.Module) -> dict[str, Tensor]:
    """All losses of this rank's outputs (B, 4)."""
    joined = gather_with_grad(out)
    labels, experts, noise = (
        gather_with_grad(batch[key]) for key in ('labels', 'experts', 'noise')
    )
    found = {
        'inside': invariance_loss(joined, labels, experts),
        'outside': invariance_loss_outside(joined, labels, experts),
        'balance': balance_loss(joined, joined + noise, 1.0, 2),
        'switch': switch_loss(joined, joined + noise, 2),
    }
    # An update of weights of groups first.
    dro(out.square().mean(dim=1), batch['members'])
    return found | {'dro': dro(out.square().mean(dim=1), batch['members'])}


def measure(rank: int, ranks: int) -> dict[str, Tensor]:
    """Losses and gradients of one rank's part of the data."""
    part = slice(rank * SIZE // ranks, (rank + 1) * SIZE // ranks)
    batch = {key: value[part] for key, value in data().items()}
    result = {'order': gather_with_grad(batch['labels'])}
    for name in ('inside', 'outside', 'balance', 'switch', 'dro'):
        torch.manual_seed(0)
        net = nn.Linear(5, 4).double()
        dro = SoftGroupDRO(4, 0.5)
        loss = losses(net(batch['x']), batch, dro)[name]
        loss.backward()
        grad = net.weight.grad
        assert grad is not None
        if ranks > 1:  # as DDP does, which takes longer to import than all of this
            dist.all_reduce(grad)
            grad /= ranks
        result |= {name: loss.detach(), f'{name}-grad': grad}
        result['weights'] = dro.log_weights
    return result


def main(folder: Path, rank: int) -> None:
    if rank == 0:
        torch.save(measure(0, 1), folder / 'alone.pt')
    meeting = (folder / 'meeting').as_uri()
    dist.init_process_group('gloo', init_method=meeting, rank=rank, world_size=2)
    torch.save(measure(rank, 2), folder / f'{rank}.pt')
    dist.barrier()
    dist.destroy_process_group()


if __name__ == '__main__':
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
