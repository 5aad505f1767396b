# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Images of the target domains in a training batch, without their labels."""

from torchgeo.datasets.utils import Sample

#: What the names of a target's entries begin with. Kornia takes them for no image, so that
#: labelled images and targets are augmented each by themselves.
TARGET_PREFIX = 'target_'


def target_of(batch: Sample) -> Sample:
    """Take the targets of a batch out of it.

    Args:
        batch: A batch of pairs.

    Returns:
        A batch of targets, without labels; empty if there are none.
    """
    return {
        key.removeprefix(TARGET_PREFIX): value
        for key, value in batch.items()
        if key.startswith(TARGET_PREFIX)
    }
