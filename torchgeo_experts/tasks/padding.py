# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Samples that a distributed sampler adds to make ranks equal."""

from typing import Any

from torch.utils.data import DistributedSampler


def count_own(loader: Any, batch_idx: int, size: int) -> int:
    """Count the samples of an evaluation batch that are not padding.

    Lightning shares an evaluation set out with a
    :class:`~torch.utils.data.DistributedSampler`, which repeats samples until all ranks
    have equally many. Counted twice, they bias metrics, and the worst domain most. They
    stand at the end, so the others are the first of a batch.

    Args:
        loader: The data loader that gave the batch.
        batch_idx: Number of the batch on this rank.
        size: Number of samples in the batch.

    Returns:
        How many of its first samples to count.
    """
    sampler = getattr(loader, 'sampler', None)
    if not isinstance(sampler, DistributedSampler) or sampler.drop_last:
        return size
    first = batch_idx * loader.batch_size
    # Rank r gets samples r, r + replicas, r + 2 * replicas, ...
    total = len(sampler.dataset)  # type: ignore[arg-type]
    own = (total - sampler.rank + sampler.num_replicas - 1) // sampler.num_replicas
    return min(size, max(0, own - first))
