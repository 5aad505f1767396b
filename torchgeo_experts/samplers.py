# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Samplers that know domains and ranks."""

import os
from collections.abc import Iterator, Sized

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from .ranks import this_rank


def run_seed() -> int:
    """Tell the seed of the run, as Lightning announces it to all processes.

    Returns:
        The seed given to ``seed_everything``, 0 if there was none.
    """
    return int(os.environ.get('PL_GLOBAL_SEED', '0'))


class ShuffleSampler(DistributedSampler[int]):
    """Shuffle samples by the run's seed and the epoch alone.

    PyTorch's own shuffling depends on what else has drawn random numbers before, so that
    a resumed run would see other batches. It is a
    :class:`~torch.utils.data.DistributedSampler` with one process too: Lightning leaves
    it in place and announces epochs to it.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        """Initialize a new ShuffleSampler instance.

        Args:
            dataset: Data set to draw from. With several ranks, samples that cannot be
                shared out equally are left out of an epoch.
            seed: Seed of the order, the same on every rank. Default: the run's.
        """
        replicas, rank = this_rank()
        super().__init__(
            dataset,  # type: ignore[arg-type]
            replicas,
            rank,
            shuffle=True,
            seed=run_seed() if seed is None else seed,
            drop_last=True,
        )


class DomainBalancedSampler(DistributedSampler[int]):
    """Draw batches in which every domain has as many samples as any other.

    Each run of ``batch_size`` indices holds ``domains_per_batch`` domains with equally
    many samples each. Domains take turns in random order, and so do the samples of a
    domain: no sample returns before all others of its domain were drawn.

    It is a sampler of indices, used with ``DataLoader(batch_size=batch_size,
    drop_last=True)``, and a :class:`~torch.utils.data.DistributedSampler`: Lightning
    leaves it in place and announces epochs to it, and each rank draws its own batches.
    """

    def __init__(
        self,
        domains: Tensor,
        batch_size: int,
        domains_per_batch: int,
        seed: int | None = None,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        """Initialize a new DomainBalancedSampler instance.

        Args:
            domains: Domain of each sample of the data set, int64, shape (N,). Samples
                outside the training domains (-1) are never drawn.
            batch_size: Samples a batch and rank.
            domains_per_batch: Domains a batch.
            seed: Seed of the order, the same on every rank. Default: the run's.
            num_replicas: Number of ranks. Default: read from the process group.
            rank: This rank. Default: read from the process group.

        Raises:
            ValueError: If the batch cannot be shared out equally, there are fewer
                domains with samples than a batch needs, or too few samples for one
                batch a rank.
        """
        world = this_rank()
        num_replicas = world[0] if num_replicas is None else num_replicas
        rank = world[1] if rank is None else rank
        seed = run_seed() if seed is None else seed
        self.members = {
            int(d): (domains == d).nonzero().flatten()
            for d in domains.unique()
            if d >= 0
        }
        if domains_per_batch < 1 or batch_size % domains_per_batch:
            raise ValueError(
                f'batch_size={batch_size} cannot be shared out equally to'
                f' domains_per_batch={domains_per_batch} domains: choose a divisor'
            )
        if domains_per_batch > len(self.members):
            raise ValueError(
                f'domains_per_batch={domains_per_batch}, but only'
                f' {len(self.members)} training domains have samples'
            )
        self.batch_size = batch_size
        self.domains_per_batch = domains_per_batch
        self.num_batches = sum(map(len, self.members.values())) // (
            batch_size * num_replicas
        )
        if not self.num_batches:
            raise ValueError(
                f'{num_replicas} ranks with batch_size={batch_size} need more than the'
                f' {sum(map(len, self.members.values()))} samples of training domains'
            )
        super().__init__(domains, num_replicas, rank, seed=seed, drop_last=True)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """Return the number of indices that this rank draws in an epoch."""
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        """Draw one epoch.

        Every rank draws the batches of all ranks and keeps its own, so that ranks never
        see the same sample of a domain in one pass.
        """
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        turns = _Turns(torch.tensor(list(self.members)), generator)
        samples = {d: _Turns(rows, generator) for d, rows in self.members.items()}
        per_domain = self.batch_size // self.domains_per_batch
        for batch in range(self.num_batches * self.num_replicas):
            drawn = [
                index
                for domain in turns.take(self.domains_per_batch)
                for index in samples[domain].take(per_domain)
            ]
            if batch % self.num_replicas == self.rank:
                yield from drawn


class _Turns:
    """Items that take turns: a new shuffle begins when all were taken."""

    def __init__(self, items: Tensor, generator: torch.Generator) -> None:
        self.items, self.generator = items, generator
        self.left: list[int] = []

    def take(self, count: int) -> list[int]:
        """Take items; within one call none repeats unless there are too few."""
        taken: list[int] = []
        while len(taken) < count:
            if not self.left:
                order = torch.randperm(len(self.items), generator=self.generator)
                fresh = self.items[order].tolist()
                # Those just taken go last, so that a batch never holds one twice.
                self.left = [i for i in fresh if i not in taken]
                self.left += [i for i in fresh if i in taken]
            taken.append(self.left.pop(0))
        return taken
