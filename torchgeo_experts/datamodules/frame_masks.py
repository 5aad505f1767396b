# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""TorchGeo's augmentations of image series, with any version of kornia."""

from collections.abc import Callable
from typing import Any

import kornia.augmentation as K
from torchgeo.datasets.utils import Sample


class FrameMasks:
    """An augmentation of image series that is shown the mask of every frame.

    Since kornia 0.9, ``VideoSequential`` wants as many masks as images, and TorchGeo's
    data sets of change have one mask for all. It is repeated for the augmentation, which
    treats all frames alike, and taken back afterwards.
    """

    def __init__(self, augmentation: Callable[[Sample], Sample]) -> None:
        """Initialize a new FrameMasks instance.

        Args:
            augmentation: Augmentation of a batch with ``image`` (B, T, C, H, W).
        """
        self.augmentation = augmentation

    def __call__(self, batch: Sample) -> Sample:
        """Augment a batch.

        Args:
            batch: A batch with ``image`` (B, T, C, H, W), and a ``mask`` (B, H, W) or
                (B, 1, H, W), or without.

        Returns:
            The batch, its mask of the same rank as before.
        """
        image, mask = batch['image'], batch.get('mask')
        shared = (
            mask is not None
            and image.ndim == 5
            and (mask.ndim == 3 or (mask.ndim == 4 and mask.shape[1] == 1))
        )
        if mask is None or not shared:
            return self.augmentation(batch)
        frames = mask.reshape(len(mask), 1, 1, *mask.shape[-2:])
        frames = frames.expand(-1, image.shape[1], -1, -1, -1)
        batch = self.augmentation(batch | {'mask': frames})
        first = batch['mask'][:, 0]
        return batch | {'mask': first if mask.ndim == 4 else first[:, 0]}


def with_frame_masks(augmentation: Any) -> Any:
    """Make an augmentation of image series work with one mask for all frames.

    Args:
        augmentation: An augmentation, or None.

    Returns:
        A :class:`FrameMasks` where kornia's ``VideoSequential`` takes part, else
        *augmentation* itself.
    """
    if not isinstance(augmentation, K.AugmentationSequential):
        return augmentation
    series = any(
        isinstance(child, K.VideoSequential) for child in augmentation.children()
    )
    return FrameMasks(augmentation) if series else augmentation
