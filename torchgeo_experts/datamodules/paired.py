# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training samples that come with an image of the target domains, without its label."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import Dataset, DistributedSampler
from torchgeo.datasets.utils import Sample

from ..targets import TARGET_PREFIX, target_of

#: Entries that training must not see of a target, or that mean nothing there.
HIDDEN = ('label', 'mask', 'domain', 'group')


class PairedDataset(Dataset[Sample]):
    """Samples of one data set, each with an image of another one."""

    def __init__(self, source: Any, target: Any) -> None:
        """Initialize a new PairedDataset instance.

        Args:
            source: Labelled samples.
            target: Samples of which no label is read out.
        """
        self.source, self.target = source, target

    def __len__(self) -> int:
        """Return the number of labelled samples."""
        return len(self.source)

    def __getitem__(self, pair: tuple[int, int]) -> Sample:
        """Return a pair.

        Args:
            pair: Index of a labelled sample, and of another one.

        Returns:
            The labelled sample, with ``target_image`` and what else is known of the other
            one.
        """
        index, other = pair
        target = self.target[other]
        shown = {f'{TARGET_PREFIX}{k}': v for k, v in target.items() if k not in HIDDEN}
        return self.source[index] | shown


class PairSampler(DistributedSampler[tuple[int, int]]):
    """Pairs the indices of two samplers; the second starts over when it ends.

    An epoch is one of the first sampler.
    """

    def __init__(
        self, source: DistributedSampler[int], target: DistributedSampler[int]
    ) -> None:
        """Initialize a new PairSampler instance.

        Args:
            source: Draws labelled samples.
            target: Draws others.

        Raises:
            ValueError: If there are fewer of these than ranks.
        """
        if not len(target):
            raise ValueError(
                f'{target.num_replicas} ranks need at least as many target images'
            )
        super().__init__(
            source.dataset, source.num_replicas, source.rank, seed=source.seed
        )
        self.source, self.other = source, target

    def __len__(self) -> int:
        """Return the number of pairs that this rank draws in an epoch."""
        return len(self.source)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Draw one epoch."""
        return zip(self.source, self._others(), strict=False)

    def set_epoch(self, epoch: int) -> None:
        """Announce an epoch.

        Args:
            epoch: Its number.
        """
        super().set_epoch(epoch)
        self.source.set_epoch(epoch)

    def _others(self) -> Iterator[int]:
        rounds = -(-len(self.source) // len(self.other))
        for turn in range(rounds):
            # Another order each time, which depends on nothing but the epoch.
            self.other.set_epoch(self.epoch * rounds + turn)
            yield from self.other


def augment_pairs(batch: Sample, augment: Callable[[Sample], Sample]) -> Sample:
    """Augment labelled samples and targets, each by themselves.

    Args:
        batch: A batch, of pairs or not.
        augment: What augments a batch.

    Returns:
        The batch.
    """
    source = {k: v for k, v in batch.items() if not k.startswith(TARGET_PREFIX)}
    target = target_of(batch)
    found = augment(source)
    if target:
        found = found | {f'{TARGET_PREFIX}{k}': v for k, v in augment(target).items()}
    return found
