# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Normalization and augmentation of batches of images and of series."""

from collections.abc import Sequence
from typing import Any, cast

import kornia.augmentation as K
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample


class SeriesAugmentation(nn.Module):
    """Normalize images, and augment them with their masks, one date or many.

    All dates of a series and its masks get the same transform: time is folded into
    channels. Kornia's ``VideoSequential`` would do it too, but its version 0.9 refuses
    series with one mask. Augmentations see ``T * C`` channels, so those that need three
    channels are for single images.
    """

    def __init__(
        self,
        mean: Tensor,
        std: Tensor,
        augmentations: Sequence[nn.Module] | None = None,
    ) -> None:
        """Initialize a new SeriesAugmentation instance.

        Args:
            mean: Mean to subtract from images, shape () or (C,).
            std: Standard deviation to divide images by, shape () or (C,).
            augmentations: Kornia augmentations, applied after normalization.
        """
        super().__init__()
        self.normalize = K.Normalize(mean, std, keepdim=True)
        self.augment: K.AugmentationSequential | None = None
        if augmentations:
            self.augment = K.AugmentationSequential(
                *cast(list[Any], augmentations), data_keys=None, keepdim=True
            )

    def forward(self, batch: Sample) -> Sample:
        """Normalize and augment a batch.

        Args:
            batch: A batch with ``image``, float32, shape (B, C, H, W) or
                (B, T, C, H, W), and perhaps with ``mask``, shape (B, H, W) or
                (B, maps, H, W).

        Returns:
            The batch, with all other entries as they were.
        """
        images = batch['image']
        # Means are of bands, so that dates stand beside samples here.
        frames = self.normalize(images.flatten(0, -4))
        batch = batch | {'image': frames.reshape(images.shape)}
        if self.augment is None:
            return batch
        if images.ndim == 4:
            return self.augment(batch)
        return batch | self._augment_series(batch)

    def _augment_series(self, batch: Sample) -> Sample:
        """Augment series and their masks, without telling of other entries."""
        assert self.augment is not None
        dates = batch['image'].shape[1]
        folded = {'image': batch['image'].flatten(1, 2)}
        if 'mask' in batch:
            mask = batch['mask']
            # As many masks as there are, in the place of channels.
            folded['mask'] = mask.reshape(len(mask), -1, *mask.shape[-2:]).float()
        augmented = self.augment(folded)
        augmented['image'] = augmented['image'].unflatten(1, (dates, -1))
        if 'mask' in batch:
            shape = (*mask.shape[:-2], *augmented['mask'].shape[-2:])
            augmented['mask'] = augmented['mask'].round().to(mask.dtype).reshape(shape)
        return augmented
