# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import colorsys
from typing import Any

import kornia.augmentation as K
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from torchgeo_experts.augmentations import BandColorJitter
from torchgeo_experts.datamodules.series_augmentation import SeriesAugmentation

MEAN, STD = [80.0, 90.0, 70.0, 130.0, 60.0], [30.0, 25.0, 20.0, 40.0, 10.0]
GREY = np.array([0.299, 0.587, 0.114])


def measured(*shape: int) -> Tensor:
    """Numbers of a sensor, with all but black and white."""
    generator = torch.Generator().manual_seed(0)
    return 20 + 200 * torch.rand(shape, generator=generator, dtype=torch.float64)


def naive(image: Tensor, rgb: tuple[int, ...], factors: dict[str, float]) -> np.ndarray:
    """The four changes, one image (C, H, W) and one pixel at a time."""
    found = image.numpy().copy()
    colours = found[list(rgb)] * factors['brightness']
    mean = np.einsum('c,chw->hw', GREY, colours).mean()
    colours = factors['contrast'] * (colours - mean) + mean
    for y, x in np.ndindex(colours.shape[1:]):
        pixel = colours[:, y, x]
        grey = GREY @ pixel
        pixel = factors['saturation'] * (pixel - grey) + grey
        # Hue is the same whatever is added to all colours, and colorsys wants none < 0.
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel - pixel.min()))
        turned = colorsys.hsv_to_rgb((hue + factors['hue']) % 1, saturation, value)
        found[list(rgb), y, x] = np.array(turned) + pixel.min()
    for c in set(range(len(found))) - set(rgb):
        band = found[c] * factors['other_brightness']
        found[c] = factors['other_contrast'] * (band - band.mean()) + band.mean()
    return found


def factors_of(jitter: BandColorJitter, sample: int) -> dict[str, float]:
    """What was drawn for a sample."""
    names = [name for name, value in jitter._params.items() if value.shape == (4,)]
    return {name: jitter._params[name][sample].item() for name in names}


class TestImages:
    @pytest.mark.parametrize('rgb', [(0, 1, 2), (2, 1, 0), (3, 0, 4)])
    def test_matches_a_loop(self, rgb: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        image = measured(4, 5, 6, 7)
        jitter = BandColorJitter(5, rgb, mean=MEAN, std=STD)
        mean, std = (torch.tensor(x).double().view(-1, 1, 1) for x in (MEAN, STD))
        found = jitter((image - mean) / std) * std + mean
        for sample in range(4):
            factors = factors_of(jitter, sample)
            expected = naive(image[sample], rgb, factors)
            np.testing.assert_allclose(found[sample], expected, rtol=1e-5)

    def test_three_bands_are_as_by_torchvision(self) -> None:
        torch.manual_seed(0)
        # Far enough from 0 and 1 that nothing is cut off.
        image = 0.35 + 0.1 * torch.rand(4, 3, 8, 8)
        jitter = BandColorJitter(3)
        found = jitter(image)
        for sample in range(4):
            factors = factors_of(jitter, sample)
            expected = TF.adjust_brightness(image[sample], factors['brightness'])
            expected = TF.adjust_contrast(expected, factors['contrast'])
            expected = TF.adjust_saturation(expected, factors['saturation'])
            expected = TF.adjust_hue(expected, factors['hue'])
            assert 0 < expected.min() and expected.max() < 1
            # Torchvision's weights of grey have four digits.
            torch.testing.assert_close(found[sample], expected, atol=3e-4, rtol=0)

    def test_order_of_all_but_hue_does_not_matter(self) -> None:
        torch.manual_seed(0)
        image = 0.35 + 0.1 * torch.rand(4, 3, 8, 8)
        jitter = BandColorJitter(3, hue=0.0)
        found = jitter(image)
        for sample in range(4):
            factors = factors_of(jitter, sample)
            expected = TF.adjust_saturation(image[sample], factors['saturation'])
            expected = TF.adjust_contrast(expected, factors['contrast'])
            expected = TF.adjust_brightness(expected, factors['brightness'])
            torch.testing.assert_close(found[sample], expected, atol=3e-4, rtol=0)

    @pytest.mark.parametrize('std', [1.0, 255.0])
    def test_units_need_not_be_told(self, std: float) -> None:
        image = measured(4, 4, 5, 5)
        torch.manual_seed(0)
        expected = BandColorJitter(4)(image)
        torch.manual_seed(0)
        found = BandColorJitter(4)(image / std) * std
        # Kornia adds a small number in its hue.
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)

    def test_ranges_of_zero_change_nothing(self) -> None:
        image = torch.randn(4, 5, 6, 6)
        jitter = BandColorJitter(5, (0, 1, 2), 0, 0, 0, 0, mean=MEAN, std=STD)
        torch.testing.assert_close(jitter(image), image)

    def test_other_bands_share_factors_that_are_not_those_of_colours(self) -> None:
        torch.manual_seed(0)
        image = measured(4, 5, 6, 6)
        image[:, 4] = image[:, 3] = image[:, 0]
        found = BandColorJitter(5, contrast=0, saturation=0, hue=0)(image)
        ratio = found / image
        expected = ratio[:, [0, 0, 0, 3, 3], :1, :1].expand_as(ratio)
        torch.testing.assert_close(ratio, expected)
        assert ((ratio[:, 0] - ratio[:, 3]).abs() > 1e-3).all()
        # Samples have factors of their own too.
        assert len(ratio[:, [0, 3], 0, 0].unique()) == 8
        assert ratio.min() >= 0.5 and ratio.max() <= 1.5

    def test_nothing_is_cut_off(self) -> None:
        torch.manual_seed(0)
        image = torch.randn(4, 4, 16, 16)
        found = BandColorJitter(4, mean=[100.0] * 4, std=50.0)(image)
        assert found.isfinite().all() and found.min() < -1 and found.max() > 1
        unequal = (found[:, :, 1:] != found[:, :, :-1]).float().mean()
        assert unequal > 0.999

    def test_hue_needs_no_positive_numbers(self) -> None:
        torch.manual_seed(0)
        image = measured(4, 3, 6, 6)
        # The brightest colour of each pixel becomes 0.
        below = image - image.amax(dim=1, keepdim=True)
        jitter = BandColorJitter(3, brightness=0, contrast=0, saturation=0)
        found = jitter(below)
        for sample in range(4):
            expected = naive(below[sample], (0, 1, 2), factors_of(jitter, sample))
            np.testing.assert_allclose(found[sample], expected, rtol=1e-5, atol=1e-5)

    def test_grey_stays_grey(self) -> None:
        image = torch.rand(4, 1, 6, 6).expand(4, 3, 6, 6)
        found = BandColorJitter(3)(image)
        torch.testing.assert_close(found, found[:, :1].expand_as(found))

    def test_some_samples_are_left_alone(self) -> None:
        torch.manual_seed(0)
        image = torch.rand(40, 4, 3, 3)
        same = (BandColorJitter(4, p=0.5)(image) == image).flatten(1).all(dim=1)
        assert 8 < same.sum() < 32

    def test_half_precision_keeps_its_type(self) -> None:
        image = torch.rand(2, 4, 6, 6).bfloat16()
        found = BandColorJitter(4)(image)
        assert found.dtype == torch.bfloat16 and found.isfinite().all()


class TestSeries:
    def test_dates_are_jittered_alike(self) -> None:
        torch.manual_seed(0)
        series = measured(4, 3, 5, 6, 6)
        jitter = BandColorJitter(5, (2, 1, 0))
        found = jitter(series.flatten(1, 2)).unflatten(1, (3, 5))
        for sample in range(4):
            factors = factors_of(jitter, sample)
            for date in range(3):
                expected = naive(series[sample, date], (2, 1, 0), factors)
                np.testing.assert_allclose(found[sample, date], expected, rtol=1e-5)

    @pytest.mark.parametrize('shape', [(4, 5, 10, 10), (4, 3, 5, 10, 10)])
    @pytest.mark.parametrize('masks', [(), (1,), (3,)])
    def test_in_a_datamodule_masks_and_metadata_stay(
        self, shape: tuple[int, ...], masks: tuple[int, ...]
    ) -> None:
        torch.manual_seed(0)
        image = measured(*shape).float()
        batch = {
            'image': image.clone(),
            'mask': torch.randint(0, 7, (4, *masks, 10, 10)),
            'domain': torch.arange(4),
        }
        mean, std = torch.tensor(MEAN), torch.tensor(STD)
        jitter = BandColorJitter(5, mean=MEAN, std=STD)
        found = SeriesAugmentation(mean, std, [jitter])(dict(batch))
        assert found['mask'].equal(batch['mask']) and found['mask'].dtype == torch.int64
        assert found['domain'].equal(batch['domain'])
        assert found['image'].shape == shape
        back = found['image'] * std[:, None, None] + mean[:, None, None]
        frames = back.double().view(4, -1, 5, 10, 10)
        images = image.double().view(4, -1, 5, 10, 10)
        for sample in range(4):
            factors = factors_of(jitter, sample)
            for date in range(frames.shape[1]):
                expected = naive(images[sample, date], (0, 1, 2), factors)
                np.testing.assert_allclose(
                    frames[sample, date], expected, rtol=1e-4, atol=1e-2
                )

    def test_goes_with_transforms_of_space(self) -> None:
        torch.manual_seed(0)
        mask = torch.randint(0, 7, (4, 1, 10, 10))
        image = mask[:, :, None].float().expand(4, 3, 5, 10, 10).clone()
        only_contrast = BandColorJitter(5, brightness=0, saturation=0, hue=0)
        augment = SeriesAugmentation(
            torch.tensor(0.0),
            torch.tensor(1.0),
            [K.RandomHorizontalFlip(p=0.5), only_contrast, K.RandomVerticalFlip(p=0.5)],
        )
        found = augment({'image': image, 'mask': mask})
        # Still, each pixel's brightness is that of its class.
        flat = found['image'][:, 0, 0].flatten(1), found['mask'].flatten(1).float()
        for bright, label in zip(*flat, strict=True):
            assert np.corrcoef(bright, label)[0, 1] == pytest.approx(1, abs=1e-5)
        assert not found['mask'].equal(mask)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        ({'rgb': (0, 1)}, r'rgb must be three bands from 0 to 3, found \(0, 1\)'),
        ({'rgb': (0, 1, 1)}, 'rgb must be three bands'),
        ({'rgb': (2, 3, 4)}, 'rgb must be three bands'),
        ({'mean': [1.0, 2.0]}, 'one value or 4, found 2'),
        ({'std': [1.0, 2.0, 3.0]}, 'one value or 4, found 3'),
        ({'hue': 0.6}, 'hue out of bounds'),
        ({'brightness': -0.1}, 'brightness'),
    ],
)
def test_wrong_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BandColorJitter(4, **kwargs)


def test_channels_that_are_no_whole_dates_are_refused() -> None:
    with pytest.raises(ValueError, match='num_bands=4 does not fit 6 channels'):
        BandColorJitter(4)(torch.rand(2, 6, 3, 3))


def test_yaml() -> None:
    parser = ArgumentParser()
    parser.add_argument('--augmentations', type=list[nn.Module])
    entry = {
        'class_path': 'torchgeo_experts.augmentations.BandColorJitter',
        'init_args': {'num_bands': 4, 'rgb': [2, 1, 0], 'mean': [1, 2, 3, 4]},
    }
    config = parser.parse_object({'augmentations': [entry]})
    (jitter,) = parser.instantiate_classes(config).augmentations
    assert isinstance(jitter, BandColorJitter)
    assert jitter.rgb == (2, 1, 0) and jitter.mean.flatten().tolist() == [1, 2, 3, 4]


def test_host_does_not_wait_for_numbers() -> None:
    jitter = BandColorJitter(4)
    with FakeTensorMode(allow_non_fake_inputs=True):
        params = {
            name: torch.rand(2)
            for name in (
                'brightness',
                'contrast',
                'saturation',
                'hue',
                'other_brightness',
                'other_contrast',
            )
        }
        found = jitter.apply_transform(torch.rand(2, 8, 3, 3), params, {})
        assert found.shape == (2, 8, 3, 3)
