# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from datetime import date
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch

from torchgeo_experts.datasets import SyntheticEarthSeries

#: 2018 and 2019 are no leap years.
MONTH_LENGTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] * 2


def make(**kwargs: Any) -> SyntheticEarthSeries:
    arguments = {'samples_per_domain': 24, 'size': 16} | kwargs
    return SyntheticEarthSeries(**arguments)


def test_shapes_and_keys() -> None:
    sample = make()[0]
    assert set(sample) == {'image', 'mask', 'dates', 'domain', 'group', 'lon', 'lat'}
    assert sample['image'].shape == (6, 3, 16, 16)
    assert sample['mask'].shape == (6, 16, 16)
    assert sample['dates'].shape == (6,) and sample['dates'].dtype == torch.int64


class TestDates:
    def test_all_months(self) -> None:
        expected = [sum(MONTH_LENGTHS[:month]) for month in range(24)]
        dates = make(num_dates=24, samples_per_domain=1)[3]['dates'].tolist()
        assert dates == expected
        assert dates[:3] == [0, 31, 59] and dates[-1] == 699

    def test_six_are_four_months_apart(self) -> None:
        expected = [
            (date(2018 + month // 12, month % 12 + 1, 1) - date(2018, 1, 1)).days
            for month in range(0, 24, 4)
        ]
        assert make(samples_per_domain=1)[0]['dates'].tolist() == expected

    @pytest.mark.parametrize('num_dates', [1, 5, 7, 23])
    def test_any_number_is_spread_evenly(self, num_dates: int) -> None:
        data = make(num_dates=num_dates, samples_per_domain=1)
        steps = data.months[0].diff(append=torch.tensor([24]))
        assert data.months[0, 0] == 0 and steps.max() - steps.min() <= 1

    @pytest.mark.parametrize('num_dates', [0, 25])
    def test_numbers_are_checked(self, num_dates: int) -> None:
        message = f'num_dates must be 1 to 24, found {num_dates}'
        with pytest.raises(ValueError, match=message):
            make(num_dates=num_dates)


class TestHistory:
    def test_masks_are_the_classes_of_the_regions(self) -> None:
        data = make()
        for i in range(0, len(data), 41):
            for t in range(6):
                for region in range(5):
                    inside = data.masks[i, t][data.regions[i] == region]
                    assert (inside == data.land[i, t, region]).all()

    def test_a_region_changes_once_or_not_at_all(self) -> None:
        data = make(samples_per_domain=100)
        steps = data.land.diff(dim=1) != 0
        changes = steps.sum(dim=1)
        assert (changes[:, 0] == 0).all() and changes.max() == 1
        assert changes[:, 1:].float().mean().item() == pytest.approx(0.3, abs=0.02)
        # All dates but the first are equally likely.
        share = steps[..., 1:].float().mean(dim=(0, 2))
        torch.testing.assert_close(share, torch.full((5,), 0.06), atol=0.012, rtol=0)

    def test_colours_change_with_the_class_only(self) -> None:
        data = make()
        changes = data.land.diff(dim=1) != 0
        turns = data.chroma.diff(dim=1).norm(dim=-1) > 0
        assert turns.equal(changes)

    def test_maps_of_dates_differ(self) -> None:
        masks = make().masks.float()
        differ = (masks[:, 0] != masks[:, -1]).float().mean()
        assert 0.15 < differ < 0.25


class TestImages:
    def test_light_follows_the_season(self) -> None:
        data = make(num_dates=24, samples_per_domain=4)
        light = data.images.float().mean(dim=(2, 3, 4))
        year = torch.arange(24) / 12
        phase = 2 * torch.pi * (year - data.fields[:, 2:] / 2)
        both = torch.stack([light, phase.cos()])
        both = both - both.mean(dim=2, keepdim=True)
        agreement = (both[0] * both[1]).sum(1) / both.norm(dim=2).prod(dim=0)
        assert agreement.median() > 0.95

    def test_mottles_are_drawn_anew(self) -> None:
        """What is left of the ground without its mean is alike at no two dates."""
        data = make(size=48, samples_per_domain=4)
        ground = (data.regions == 0).float()[:, None, None]
        images = data.images.float()
        mean = (images * ground).sum((3, 4)) / ground.sum((3, 4))
        rest = ((images - mean[..., None, None]) * ground).transpose(0, 1).flatten(1)
        agreement = torch.corrcoef(rest) - torch.eye(6)
        assert agreement.abs().max() < 0.05

    def test_an_image_does_not_depend_on_other_dates(self) -> None:
        few, many = make(), make(num_dates=24)
        # Nothing has changed at the first date.
        assert few.images[:, 0].equal(many.images[:, 0])
        still = (few.land[:, :1] == few.land).all(dim=2).all(dim=1)
        still &= (many.land[:, :1] == many.land).all(dim=2).all(dim=1)
        assert still.sum() > 50
        assert few.images[still].equal(many.images[still][:, ::4])


def test_plot_shows_some_of_many_dates() -> None:
    data = make(num_dates=24, samples_per_domain=1)
    figure = data.plot(data[0])
    titles = [ax.get_title() for ax in figure.axes]
    assert len(titles) == 16
    assert titles[0] == '2018-01-01' and titles[7] == '2019-12-01'
    plt.close(figure)
