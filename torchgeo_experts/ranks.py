# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Which of several processes this one is."""

import torch.distributed as dist


def this_rank() -> tuple[int, int]:
    """Tell the number of ranks and this one's.

    Returns:
        Those of the process group, or (1, 0) where there is none.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size(), dist.get_rank()
    return 1, 0
