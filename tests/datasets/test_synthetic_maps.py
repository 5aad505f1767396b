# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What the data sets of maps share. Each has tests of its own beside this file."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from torchgeo_experts.datasets import (
    SyntheticEarth,
    SyntheticEarthChange,
    SyntheticEarthSegmentation,
    SyntheticEarthSeries,
)
from torchgeo_experts.datasets.earth import BANDS, MOTTLE, best_accuracy, class_chroma
from torchgeo_experts.datasets.synthetic_maps import SyntheticMaps

MAPS = (SyntheticEarthSegmentation, SyntheticEarthSeries, SyntheticEarthChange)


def make(
    dataset_class: type[SyntheticMaps], split: str = 'train', **kwargs: Any
) -> SyntheticMaps:
    arguments = {'samples_per_domain': 12, 'size': 24} | kwargs
    return dataset_class(split, **arguments)  # type: ignore[arg-type]


def unmixed(data: SyntheticMaps) -> Tensor:
    """Light and colour of each pixel, (N, T, 3, H, W), read from the bands."""
    bands = torch.linalg.pinv(torch.tensor(BANDS[: data.images.shape[-3]]))
    images = data.images.float().unflatten(0, (len(data), -1)).flatten(1, -4)
    return torch.einsum('lc,ntchw->ntlhw', bands, images)


def painted_chroma(data: SyntheticMaps) -> Tensor:
    """Mean colour of each region, (N, T, R, 2), read from the images."""
    own = torch.nn.functional.one_hot(data.regions.long(), data.land.shape[2]).float()
    total = torch.einsum('nhwr,ntchw->ntrc', own, unmixed(data)[:, :, 1:])
    return total / own.sum((1, 2))[:, None, :, None]


@pytest.mark.parametrize('dataset_class', MAPS)
class TestSamples:
    def test_contract(self, dataset_class: type[SyntheticMaps]) -> None:
        data = make(dataset_class, in_channels=4)
        sample = data[5]
        assert sample['image'].dtype == torch.float32
        assert sample['image'].shape[-3:] == (4, 24, 24)
        assert 0 <= sample['image'].min() < sample['image'].max() <= 255
        assert sample['mask'].dtype == torch.int64
        assert sample['mask'].shape[-2:] == (24, 24)
        assert 0 <= sample['mask'].min() <= sample['mask'].max() < len(data.classes)
        for key in ('domain', 'group'):
            assert sample[key].dtype == torch.int64 and sample[key].ndim == 0
        for key in ('lon', 'lat'):
            assert sample[key].dtype == torch.float32 and sample[key].ndim == 0
        assert data.images.dtype == data.masks.dtype == torch.uint8

    def test_splits_are_disjoint(self, dataset_class: type[SyntheticMaps]) -> None:
        splits = [make(dataset_class, s, size=8) for s in ('train', 'val', 'test')]
        seen = [set(data.group.tolist()) for data in splits]
        assert seen == [set(range(16)), set(range(16, 20)), set(range(20, 28))]
        assert len(set(splits[0].groups)) == 28
        assert splits[0].domains.names == splits[0].groups[:16]
        assert splits[0].domain.equal(splits[0].group)
        assert splits[2].domain.unique().tolist() == [-1]
        points = [set(zip(d.lon.tolist(), d.lat.tolist(), strict=True)) for d in splits]
        assert not points[0] & points[1] | points[0] & points[2] | points[1] & points[2]

    def test_places_are_those_of_classification(
        self, dataset_class: type[SyntheticMaps]
    ) -> None:
        data, other = make(dataset_class, size=8), SyntheticEarth(samples_per_domain=1)
        assert data.groups == other.groups
        away = data.domains.kilometres(
            type(data.domains)(map(str, range(len(data))), data.lon, data.lat)  # type: ignore[arg-type]
        )
        assert away[data.group, torch.arange(len(data))].max() < 100.1

    def test_a_sample_depends_on_nothing_else(
        self, dataset_class: type[SyntheticMaps]
    ) -> None:
        one = make(dataset_class, 'test', num_test_domains=2, num_train_domains=3)
        two = make(
            dataset_class,
            'test',
            num_test_domains=4,
            num_train_domains=9,
            samples_per_domain=17,
        )
        for name in ('images', 'masks', 'lon', 'lat', 'fields', 'months'):
            small, large = getattr(one, name), getattr(two, name)
            assert large[:12].equal(small[:12])
            assert large[17:29].equal(small[12:])

    def test_seed_decides(self, dataset_class: type[SyntheticMaps]) -> None:
        one, same = make(dataset_class, 'val'), make(dataset_class, 'val')
        other = make(dataset_class, 'val', seed=1)
        assert one.images.equal(same.images) and one.masks.equal(same.masks)
        assert one.groups != other.groups
        assert not one.masks.equal(other.masks)

    @pytest.mark.parametrize('workers', [0, 2])
    def test_batches_are_samples(
        self, dataset_class: type[SyntheticMaps], workers: int
    ) -> None:
        data = make(dataset_class, 'val')
        batches = list(DataLoader(data, 7, num_workers=workers))
        images = torch.cat([batch['image'] for batch in batches])
        masks = torch.cat([batch['mask'] for batch in batches])
        assert images.equal(data.images.float()) and masks.equal(data.masks.long())

    def test_transforms_are_applied(self, dataset_class: type[SyntheticMaps]) -> None:
        data = make(
            dataset_class, 'val', transforms=lambda s: s | {'mask': s['mask'] + 1}
        )
        assert data[0]['mask'].min() == 1


@pytest.mark.parametrize('dataset_class', MAPS)
class TestImages:
    def test_regions_are_several_and_large(
        self, dataset_class: type[SyntheticMaps]
    ) -> None:
        data = make(dataset_class, samples_per_domain=40)
        share = data.areas / data.areas.sum(1, keepdim=True)
        assert 0.27 < share[:, 0].mean() < 0.4
        assert ((share[:, 1:] > 0.02).sum(1) >= 3).all()
        # Coherent: most neighbours belong to the same region.
        same = data.regions[:, 1:] == data.regions[:, :-1]
        assert same.float().mean() > 0.85

    def test_regions_have_their_colour(
        self, dataset_class: type[SyntheticMaps]
    ) -> None:
        data = make(dataset_class, size=48, clue=0.0)
        large = (data.areas > 50)[:, None].expand(data.land.shape)
        error = (painted_chroma(data) - data.chroma).norm(dim=-1)
        assert error[large].max() < 0.5

    def test_knowing_the_climate_pixels_give_the_class(
        self, dataset_class: type[SyntheticMaps]
    ) -> None:
        """A rule that sees images, outlines and the place does as well as promised."""
        data = make(dataset_class, size=48, samples_per_domain=16)
        ring = class_chroma(data.fields[:, 0], 6, 1.0)
        found = painted_chroma(data)[:, :, 1:]
        nearest = 1 + torch.cdist(found.flatten(1, 2), ring).argmin(2)
        right = nearest.view(found.shape[:3]) == data.land[:, :, 1:]
        weights = data.areas.double()[:, None].expand(data.land.shape)
        share = (right * weights[..., 1:]).sum() + weights[..., 0].sum()
        expected = SyntheticMaps.rule_score(data)
        assert share / weights.sum() == pytest.approx(expected, abs=0.02)

    def test_ground_is_lighter(self, dataset_class: type[SyntheticMaps]) -> None:
        data = make(dataset_class)
        ground = (data.regions == 0).float()[:, None]
        light = unmixed(data)[:, :, 0]
        inside = (light * ground).sum((2, 3)) / ground.sum((2, 3))
        outside = (light * (1 - ground)).sum((2, 3)) / (1 - ground).sum((2, 3))
        assert (inside - outside).mean().item() == pytest.approx(18, abs=0.5)
        assert (inside > outside).all()

    def test_mottles_show_the_climate(self, dataset_class: type[SyntheticMaps]) -> None:
        """The line of the mottles in chroma, found by principal components."""
        data = make(dataset_class, size=48)
        colours = unmixed(data)[:, 0, 1:]
        own = torch.nn.functional.one_hot(data.regions.long(), data.land.shape[2])
        means = torch.einsum('nhwr,nrc->nchw', own.float(), data.chroma[:, 0])
        rest = (colours - means).flatten(2)
        values, vectors = torch.linalg.eigh(rest @ rest.mT / rest.shape[2])
        line = torch.atan2(vectors[:, 1, 1], vectors[:, 0, 1])
        error = (line - torch.pi / 4 * data.fields[:, 0]) % torch.pi
        assert torch.minimum(error, torch.pi - error).max() < 0.05
        strength = values[:, 1].sqrt().mean().item()
        assert strength == pytest.approx(2 * MOTTLE, rel=0.03)
        weak = make(dataset_class, size=48, clue=1.0)
        assert weak.masks.equal(data.masks) and weak.fields.equal(data.fields)
        assert not weak.images.equal(data.images)


class TestRules:
    @pytest.mark.parametrize('dataset_class', MAPS)
    def test_without_shift_the_place_does_not_matter(
        self, dataset_class: type[SyntheticMaps]
    ) -> None:
        data = make(dataset_class, shift=0.0)
        assert data.rule_score(naive=True) == data.rule_score()

    @pytest.mark.parametrize('dataset_class', MAPS)
    def test_with_shift_one_rule_fails(
        self, dataset_class: type[SyntheticMaps]
    ) -> None:
        data = make(dataset_class, samples_per_domain=40)
        assert data.rule_score(naive=True) < data.rule_score() - 0.25

    @pytest.mark.parametrize('dataset_class', MAPS)
    def test_without_noise_the_rule_is_right(
        self, dataset_class: type[SyntheticMaps]
    ) -> None:
        data = make(dataset_class, noise=0.0)
        assert data.rule_score() == 1
        assert data.rule_score(naive=True) < 1

    @pytest.mark.parametrize('dataset_class', MAPS[:2])
    @pytest.mark.parametrize('num_classes', [4, 7])
    def test_accuracy_follows_from_that_of_classification(
        self, dataset_class: Any, num_classes: int
    ) -> None:
        data = make(dataset_class, num_classes=num_classes, samples_per_domain=120)
        ground = (data.regions == 0).double().mean().item()
        expected = ground + (1 - ground) * best_accuracy(num_classes - 1, 0.3)
        assert data.rule_score() == data.rule_accuracy  # type: ignore[attr-defined]
        assert data.rule_score() == pytest.approx(expected, abs=0.01)

    def test_accuracy_is_that_of_the_maps(self) -> None:
        data = make(SyntheticEarthSeries)
        found, right = data.recognize(), []
        for i in range(len(data)):
            guessed = found[i][:, data.regions[i].long()]
            right.append((guessed == data[i]['mask']).double().mean())
        assert data.rule_score() == pytest.approx(np.mean(right))


@pytest.mark.parametrize('dataset_class', MAPS)
@pytest.mark.parametrize(
    'arguments, message',
    [
        ({'split': 'all'}, "split must be one of .* found 'all'"),
        ({'num_val_domains': 0}, 'at least one domain'),
        ({'samples_per_domain': 0}, 'samples_per_domain must be positive, found 0'),
        ({'size': 30}, 'size must be a multiple of 4, and at least 8, found 30'),
        ({'in_channels': 1}, 'in_channels must be 3 or 4, found 1'),
        ({'noise': -1.0}, 'noise must not be negative'),
        ({'clue': -1.0}, 'clue must not be negative'),
    ],
)
def test_wrong_arguments_are_refused(
    dataset_class: type[SyntheticMaps], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(dataset_class, **arguments)


@pytest.mark.parametrize('dataset_class', MAPS)
def test_plots_have_a_legend(dataset_class: type[SyntheticMaps]) -> None:
    data = make(dataset_class, 'val')
    sample = data[0]
    figure = data.plot(sample | {'prediction': sample['mask']}, suptitle='here')  # type: ignore[attr-defined]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == list(data.classes)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[-1] == 'Prediction' and 'Mask' in titles
    assert figure.get_suptitle() == 'here'
    plain = data.plot(sample, show_titles=False)  # type: ignore[attr-defined]
    assert {ax.get_title() for ax in plain.axes} == {''}
    assert len(plain.axes) < len(figure.axes)
    plt.close('all')
