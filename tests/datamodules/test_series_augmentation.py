# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import kornia.augmentation as K
import pytest
import torch
from torch import Tensor, nn

from torchgeo_experts.datamodules.series_augmentation import SeriesAugmentation

ZERO, ONE = torch.zeros(()), torch.ones(())


def flips() -> list[nn.Module]:
    return [K.RandomHorizontalFlip(p=1.0), K.RandomVerticalFlip(p=1.0)]


def dihedral() -> list[nn.Module]:
    return [K.RandomHorizontalFlip(p=0.5), K.RandomRotation90(times=(0, 3), p=1.0)]


def series(masks: int, dates: int = 3, batch: int = 8) -> dict[str, Tensor]:
    """Series whose bands are multiples of their masks."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 7, (batch, masks, 10, 10), generator=generator)
    image = mask.float().expand(-1, dates, -1, -1) if masks == 1 else mask.float()
    bands = torch.tensor([1.0, 2.0])[:, None, None]
    return {
        'image': image[:, :, None] * bands,
        'mask': mask,
        'dates': torch.arange(dates).expand(batch, -1).clone(),
        'domain': torch.arange(batch),
        'lon': torch.linspace(-180, 180, batch),
    }


class TestNormalization:
    @pytest.mark.parametrize('shape', [(4, 3, 6, 6), (4, 5, 3, 6, 6)])
    @pytest.mark.parametrize('augmented', [False, True])
    def test_is_by_band(self, shape: tuple[int, ...], augmented: bool) -> None:
        mean, std = torch.tensor([100.0, 120.0, 90.0]), torch.tensor([20.0, 30.0, 10.0])
        image = 255 * torch.rand(shape, generator=torch.Generator().manual_seed(1))
        augmentations = [K.RandomHorizontalFlip(p=1.0)] if augmented else None
        batch = {'image': image.clone(), 'domain': torch.arange(4)}
        found = SeriesAugmentation(mean, std, augmentations)(batch)
        expected = (image - mean[:, None, None]) / std[:, None, None]
        expected = expected.flip(-1) if augmented else expected
        torch.testing.assert_close(found['image'], expected)
        assert found['domain'].equal(torch.arange(4))
        # What was handed in is as it was.
        assert batch['image'].equal(image)

    def test_one_value_is_for_all_bands(self) -> None:
        batch = series(masks=1)
        found = SeriesAugmentation(torch.tensor(3.0), torch.tensor(2.0))(batch)
        torch.testing.assert_close(found['image'], (batch['image'] - 3) / 2)
        assert found['mask'] is batch['mask']

    def test_one_date_has_a_time_axis_too(self) -> None:
        batch = series(masks=1, dates=1)
        found = SeriesAugmentation(ZERO, ONE, flips())(batch)
        assert found['image'].shape == (8, 1, 2, 10, 10)


class TestSeries:
    @pytest.mark.parametrize('masks', [1, 3])
    def test_flips_are_those_of_the_mask(self, masks: int) -> None:
        batch = series(masks)
        found = SeriesAugmentation(ZERO, ONE, flips())(batch)
        torch.testing.assert_close(found['image'], batch['image'].flip(-1, -2))
        assert found['mask'].equal(batch['mask'].flip(-1, -2))

    @pytest.mark.parametrize('masks', [1, 3])
    def test_all_dates_and_masks_get_one_transform(self, masks: int) -> None:
        torch.manual_seed(0)
        batch = series(masks)
        found = SeriesAugmentation(ZERO, ONE, dihedral())(batch)
        expected = found['mask'].float().expand(-1, 3, -1, -1)
        # Kornia turns by interpolation.
        for band, factor in enumerate((1, 2)):
            image = found['image'][:, :, band]
            torch.testing.assert_close(image, factor * expected, atol=1e-3, rtol=0)
        moved = (found['mask'] != batch['mask']).flatten(1).any(dim=1)
        assert moved.sum() > 2

    def test_samples_get_transforms_of_their_own(self) -> None:
        torch.manual_seed(0)
        batch = series(masks=1)
        batch = {key: value[:1].expand_as(value) for key, value in batch.items()}
        mask = SeriesAugmentation(ZERO, ONE, dihedral())(batch)['mask']
        assert len(mask.flatten(1).unique(dim=0)) > 2

    def test_masks_stay_classes(self) -> None:
        torch.manual_seed(0)
        batch = series(masks=3)
        augment = SeriesAugmentation(ZERO, ONE, [K.RandomRotation(45.0, p=1.0)])
        found = augment(batch)
        assert found['mask'].dtype == torch.int64
        assert set(found['mask'].unique().tolist()) <= set(range(7))

    def test_a_mask_without_an_axis_keeps_its_shape(self) -> None:
        batch = series(masks=1)
        batch['mask'] = batch['mask'].squeeze(1)
        found = SeriesAugmentation(ZERO, ONE, flips())(batch)
        assert found['mask'].equal(batch['mask'].flip(-1, -2))

    def test_crops_change_the_size(self) -> None:
        batch = series(masks=1)
        found = SeriesAugmentation(ZERO, ONE, [K.RandomCrop((6, 4), p=1.0)])(batch)
        assert found['image'].shape == (8, 3, 2, 6, 4)
        assert found['mask'].shape == (8, 1, 6, 4)
        expected = found['mask'].float().expand(-1, 3, -1, -1)
        torch.testing.assert_close(found['image'][:, :, 0], expected)

    def test_other_entries_are_left_alone(self) -> None:
        batch = series(masks=1)
        found = SeriesAugmentation(ZERO, ONE, flips())(batch)
        assert set(found) == set(batch)
        for key in ('dates', 'domain', 'lon'):
            assert found[key] is batch[key]

    def test_masks_are_not_needed(self) -> None:
        batch = series(masks=1)
        del batch['mask']
        found = SeriesAugmentation(ZERO, ONE, flips())(batch)
        torch.testing.assert_close(found['image'], batch['image'].flip(-1, -2))


@pytest.mark.parametrize('mask_shape', [(8, 10, 10), (8, 1, 10, 10)])
def test_images_are_augmented_as_by_kornia(mask_shape: tuple[int, ...]) -> None:
    batch = {
        'image': torch.rand(8, 3, 10, 10),
        'mask': torch.randint(0, 7, mask_shape),
        'domain': torch.arange(8),
    }
    mean, std = torch.tensor(0.5), torch.tensor(0.2)
    plain = K.AugmentationSequential(
        K.Normalize(mean, std), *dihedral(), data_keys=None, keepdim=True
    )
    torch.manual_seed(3)
    expected = plain({key: value.clone() for key, value in batch.items()})
    torch.manual_seed(3)
    found = SeriesAugmentation(mean, std, dihedral())(batch)
    assert set(found) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)
