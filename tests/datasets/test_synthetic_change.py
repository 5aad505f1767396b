# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from datetime import date, timedelta
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from sklearn.metrics import f1_score

from torchgeo_experts.datasets import SyntheticEarth, SyntheticEarthChange

#: Number of the class on maps of the land, where the ground is 0.
BUILT = 1 + SyntheticEarth.all_classes.index('built-up')


def make(**kwargs: Any) -> SyntheticEarthChange:
    arguments = {'samples_per_domain': 40, 'size': 16} | kwargs
    return SyntheticEarthChange(**arguments)


def test_shapes_and_keys() -> None:
    data = make()
    sample = data[0]
    assert set(sample) == {'image', 'mask', 'dates', 'domain', 'group', 'lon', 'lat'}
    assert sample['image'].shape == (2, 3, 16, 16)
    assert sample['mask'].shape == (1, 16, 16)
    assert data.classes == ('no change', 'change')
    assert data.land_classes[BUILT] == 'built-up' and len(data.land_classes) == 7


def test_dates_are_months_of_2018_and_2020() -> None:
    data = make()
    first, second = (
        {date(2018, 1, 1) + timedelta(days) for days in column.tolist()}
        for column in data.dates.T
    )
    assert first == {date(2018, month, 1) for month in range(1, 13)}
    assert second == {date(2020, month, 1) for month in range(1, 13)}


def test_masks_follow_from_maps_of_both_dates() -> None:
    data = make()
    for i in range(0, len(data), 23):
        before, after = (data.land[i, t][data.regions[i].long()] for t in (0, 1))
        expected = (after == BUILT) & (before != BUILT)
        assert data[i]['mask'][0].equal(expected.long())


class TestHistory:
    def test_a_tenth_to_a_quarter_becomes_built_up(self) -> None:
        for seed in range(3):
            assert 0.1 < make(seed=seed).masks.float().mean() < 0.25

    def test_half_of_the_changes_are_to_built_up(self) -> None:
        before, after = make(samples_per_domain=100).land[:, :, 1:].unbind(dim=1)
        changed = before != after
        to_built = (after == BUILT)[changed].float().mean().item()
        assert changed.float().mean().item() == pytest.approx(0.5, abs=0.02)
        assert to_built == pytest.approx(0.5, abs=0.03)

    def test_there_is_what_misleads(self) -> None:
        before, after = make().land[:, :, 1:].unbind(dim=1)
        pairs = torch.zeros(7, 7).index_put_(
            (before.flatten(), after.flatten()), torch.ones(()), accumulate=True
        )[1:, 1:]
        # All pairs of classes but one kind: what is built-up stays so.
        left = torch.zeros(6, 6, dtype=torch.bool)
        left[BUILT - 1] = True
        left[BUILT - 1, BUILT - 1] = False
        assert pairs[left].sum() == 0 and pairs[~left].min() > 5
        share = pairs[BUILT - 1, BUILT - 1] / pairs.sum()
        assert share.item() == pytest.approx(0.15, abs=0.03)

    def test_colours_change_with_the_class_only(self) -> None:
        data = make()
        same = data.land[:, 0] == data.land[:, 1]
        assert (data.chroma[:, 0] == data.chroma[:, 1]).all(dim=-1).equal(same)


@pytest.mark.parametrize('naive', [False, True])
def test_score_is_the_f1_of_the_maps(naive: bool) -> None:
    data = make()
    found = data.recognize(naive)
    maps = [found[i][:, data.regions[i].long()] for i in range(len(data))]
    before, after = torch.stack(maps, dim=1)
    guessed = (after == BUILT) & (before != BUILT)
    expected = f1_score(data.masks.flatten(), guessed.flatten())
    assert data.rule_score(naive) == pytest.approx(expected)
    if not naive:
        assert data.rule_f1 == data.rule_score()


def test_number_of_classes_is_fixed() -> None:
    with pytest.raises(TypeError, match='num_classes'):
        make(num_classes=3)


def test_plot_names_dates() -> None:
    data = make(samples_per_domain=1)
    sample = data[0]
    figure = data.plot(sample | {'prediction': sample['mask'][0]})
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[2:] == ['Mask', 'Prediction']
    assert titles[0].startswith('2018-') and titles[1].startswith('2020-')
    plt.close(figure)
