# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import pytest
import torch

from torchgeo_experts.datasets import SyntheticEarth, SyntheticEarthSegmentation


def make(**kwargs: int) -> SyntheticEarthSegmentation:
    return SyntheticEarthSegmentation(**{'samples_per_domain': 24, 'size': 16} | kwargs)  # type: ignore[arg-type]


def test_shapes_and_keys() -> None:
    sample = make()[0]
    assert set(sample) == {'image', 'mask', 'domain', 'group', 'lon', 'lat'}
    assert sample['image'].shape == (3, 16, 16) and sample['mask'].shape == (16, 16)


def test_classes_are_the_ground_and_those_of_classification() -> None:
    ring = SyntheticEarth('val', samples_per_domain=1).classes
    assert make().classes == ('ground', *ring)
    assert make(num_classes=11).classes == ('ground', *SyntheticEarth.all_classes)


def test_masks_are_the_classes_of_the_regions() -> None:
    data = make()
    for i in range(0, len(data), 37):
        for y in range(16):
            for x in range(16):
                region = int(data.regions[i, y, x])
                assert data.masks[i, y, x] == data.land[i, 0, region]
                assert (data.masks[i, y, x] == 0) == (region == 0)


def test_classes_in_an_image_are_distinct_and_equally_frequent() -> None:
    data = make(samples_per_domain=100)
    assert all(len(set(row)) == 5 for row in data.land[:, 0].tolist())
    share = torch.bincount(data.land[:, 0, 1:].flatten())[1:] / data.land[:, 0].numel()
    torch.testing.assert_close(share, torch.full((6,), 4 / 5 / 6), atol=0.01, rtol=0)


def test_few_classes_make_few_regions() -> None:
    data = make(num_classes=3)
    assert data.land.shape == (384, 1, 3)
    assert data.masks.unique().tolist() == [0, 1, 2]


def test_months_are_those_of_a_year() -> None:
    assert make().months.unique().tolist() == list(range(12))


@pytest.mark.parametrize('num_classes', [2, 12])
def test_numbers_of_classes_are_checked(num_classes: int) -> None:
    message = f'num_classes must be 3 to 11, found {num_classes}'
    with pytest.raises(ValueError, match=message):
        make(num_classes=num_classes)
