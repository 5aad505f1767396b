# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from typing import Any

import kornia.augmentation as K
import pytest
import torch
from torch import Tensor

from torchgeo_experts.datamodules.frame_masks import FrameMasks, with_frame_masks


def series(*augmentations: Any) -> K.AugmentationSequential:
    return K.AugmentationSequential(
        K.VideoSequential(*augmentations), data_keys=None, keepdim=True
    )


def batch(*mask_shape: int) -> dict[str, Tensor]:
    """Make images that show their mask."""
    mask = torch.randint(0, 2, mask_shape)
    shown = mask.float().reshape(3, -1, 1, 12, 12)
    return {
        'image': shown.expand(3, 2, 4, 12, 12).clone(),
        'mask': mask,
        'domain': torch.arange(3),
        'lon': torch.tensor([1.0, torch.nan, 3.0]),
    }


@pytest.mark.parametrize('shape', [(3, 12, 12), (3, 1, 12, 12)])
def test_images_and_masks_move_alike(shape: tuple[int, ...]) -> None:
    augmentation = with_frame_masks(
        series(K.RandomCrop((8, 8)), K.RandomHorizontalFlip())
    )
    before = batch(*shape)
    after = augmentation(dict(before))
    assert after['mask'].shape == (*shape[:-2], 8, 8)
    assert after['mask'].dtype == torch.int64
    shown = after['mask'].float().reshape(3, 1, 1, 8, 8)
    torch.testing.assert_close(after['image'], shown.expand(3, 2, 4, 8, 8))
    for key in ('domain', 'lon'):
        assert after[key].dtype == before[key].dtype
        torch.testing.assert_close(after[key], before[key], equal_nan=True)


def test_what_needs_no_change() -> None:
    """A mask a frame, no mask at all, and images that are no series."""
    seen = []

    def augmentation(sample: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(sample)
        return sample

    frame_masks = FrameMasks(augmentation)
    whole = batch(3, 2, 12, 12)
    single = {'image': torch.zeros(3, 4, 12, 12), 'mask': torch.zeros(3, 12, 12)}
    for given in (whole, {'image': whole['image']}, single):
        assert frame_masks(given) is given is seen[-1]


def test_which_augmentations() -> None:
    plain = K.AugmentationSequential(K.RandomHorizontalFlip(), data_keys=None)
    assert with_frame_masks(plain) is plain
    assert with_frame_masks(None) is None
    once = with_frame_masks(series(K.RandomHorizontalFlip()))
    assert isinstance(once, FrameMasks)
    assert with_frame_masks(once) is once
