# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from torch.utils.data import DataLoader

from torchgeo_experts import Domains, SyntheticEarth, SyntheticEarthDataModule
from torchgeo_experts.datasets.earth import BANDS, class_chroma
from torchgeo_experts.datasets.places import find_places


def make(split: str = 'train', **kwargs: Any) -> SyntheticEarth:
    return SyntheticEarth(split, **{'samples_per_domain': 24} | kwargs)  # type: ignore[arg-type]


class TestPlaces:
    def test_splits_are_disjoint_and_apart(self) -> None:
        places = find_places({'train': 16, 'val': 4, 'test': 8}, seed=0)
        distances = places.kilometres().fill_diagonal_(torch.inf)
        # Domains are discs of 100 km radius.
        assert distances.min() > 500

    def test_places_do_not_depend_on_other_splits(self) -> None:
        few = find_places({'train': 5, 'val': 2, 'test': 3}, seed=4).names
        many = find_places({'train': 20, 'val': 9, 'test': 11}, seed=4).names
        assert few == many[:5] + many[20:22] + many[29:32]

    def test_samples_lie_within_their_domain(self) -> None:
        data = make('test')
        places = find_places({'train': 16, 'val': 4, 'test': 8}, seed=0)
        samples = Domains(map(str, range(len(data))), data.lon, data.lat)  # type: ignore[arg-type]
        distance = samples.kilometres(places)[torch.arange(len(data)), data.group]
        assert distance.max() <= 100.1
        # Evenly over a disc: half of them lie in the inner 71 km.
        assert 0.35 < (distance < 100 / 2**0.5).float().mean() < 0.65


class TestSamples:
    def test_contract(self) -> None:
        data = make('train', in_channels=4, size=16)
        sample = data[5]
        assert sample['image'].shape == (4, 16, 16)
        assert sample['image'].dtype == torch.float32
        assert 0 <= sample['image'].min() < sample['image'].max() <= 255
        for key in ('label', 'domain', 'group'):
            assert sample[key].dtype == torch.int64 and sample[key].ndim == 0
        for key in ('lon', 'lat'):
            assert sample[key].dtype == torch.float32 and sample[key].ndim == 0
        assert data.domain.equal(data.group)
        assert make('val').domain.unique().tolist() == [-1]
        assert make('test').group.unique().tolist() == list(range(20, 28))

    def test_classes_are_equally_frequent_in_each_domain(self) -> None:
        data = make('train')
        for group in data.group.unique():
            counts = torch.bincount(data.label[data.group == group])
            assert counts.tolist() == [4] * 6

    def test_a_sample_depends_on_nothing_else(self) -> None:
        small = make('test', num_test_domains=2, num_train_domains=3)
        large = make('test', num_test_domains=4, num_train_domains=9)
        assert small.images.equal(large.images[: len(small)])
        more = make(
            'test', num_test_domains=2, num_train_domains=3, samples_per_domain=30
        )
        assert more.images[:24].equal(small.images[:24])
        assert more.images[30:54].equal(small.images[24:])

    def test_seed_changes_everything(self) -> None:
        one, other = make('val'), make('val', seed=1)
        assert one.groups != other.groups
        assert not one.images.equal(other.images)

    @pytest.mark.parametrize(
        'seed, pixels, place, chroma',
        [
            (
                0,
                [153, 142, 120, 134, 108, 151, 125, 98, 151, 158, 132, 142],
                (-31.894187, 32.180454),
                (24.80505, -21.61413),
            ),
            (
                7,
                [105, 89, 118, 116, 136, 86, 104, 117, 139, 125, 118, 127],
                (-162.53952, -52.22607),
                (7.11242, -29.12867),
            ),
        ],
    )
    def test_samples_are_those_of_version_0_1(
        self,
        seed: int,
        pixels: list[int],
        place: tuple[float, float],
        chroma: tuple[float, float],
    ) -> None:
        data = make('test', seed=seed)
        sample = data[100]
        found = sample['image'][:, ::16, ::16].flatten()
        # Other machines may round the other way.
        torch.testing.assert_close(found, torch.tensor(pixels).float(), atol=1, rtol=0)
        assert (sample['label'], sample['group']) == (4, 24)
        assert (sample['lon'], sample['lat']) == pytest.approx(place, abs=1e-4)
        assert data.chroma[100].tolist() == pytest.approx(chroma, abs=1e-3)

    @pytest.mark.parametrize('workers', [0, 2])
    def test_workers_load_the_same(self, workers: int) -> None:
        data = make('val')
        batches = list(DataLoader(data, 7, num_workers=workers))
        images = torch.cat([batch['image'] for batch in batches])
        assert images.equal(data.images.float())

    def test_transforms_are_applied(self) -> None:
        data = make('val', transforms=lambda s: s | {'image': -s['image']})
        assert data[0]['image'].max() <= 0


class TestShift:
    def accuracy(self, data: SyntheticEarth, shift: float) -> float:
        """Accuracy of the rule that knows place and colour."""
        ring = class_chroma(data.fields[:, 0], len(data.classes), shift)
        nearest = torch.cdist(data.chroma[:, None], ring).squeeze(1).argmin(1)
        return (nearest == data.label).float().mean().item()

    @pytest.mark.parametrize('shift', [0.0, 1.0, 3.0])
    def test_best_accuracy_is_reached_by_who_knows_the_place(
        self, shift: float
    ) -> None:
        data = make('train', shift=shift, samples_per_domain=400, size=8)
        assert self.accuracy(data, shift) == pytest.approx(
            data.best_accuracy, abs=0.012
        )

    def test_without_shift_the_place_does_not_matter(self) -> None:
        data = make('train', shift=0.0)
        # A rule for an Earth without climate.
        assert self.accuracy(data, 0.0) == pytest.approx(data.best_accuracy, abs=0.05)

    def test_with_shift_one_rule_fails(self) -> None:
        data = make('train', shift=1.0, samples_per_domain=200, size=8)
        assert self.accuracy(data, 0.0) < data.best_accuracy - 0.25

    def test_images_show_the_colour(self) -> None:
        """The colour of the class can be read from rounded images, place known."""
        data = make('train', samples_per_domain=60)
        bands = torch.linalg.pinv(torch.tensor(BANDS[:3]))
        colours = torch.einsum('lc,nchw->nlhw', bands, data.images.float())[:, 1:]
        # The ground lies near grey, so the region is where colour is strong.
        strength = colours.norm(dim=1)
        strong = strength > strength.flatten(1).quantile(0.8, dim=1)[:, None, None]
        found = (colours * strong[:, None]).sum((2, 3)) / strong.sum((1, 2))[:, None]
        agreement = torch.nn.functional.cosine_similarity(found, data.chroma)
        assert agreement.median() > 0.98
        ring = class_chroma(data.fields[:, 0], 6, 1.0)
        nearest = torch.cdist(found[:, None], ring).squeeze(1).argmin(1)
        accuracy = (nearest == data.label).float().mean().item()
        assert accuracy > data.best_accuracy - 0.1

    def test_near_places_look_alike(self) -> None:
        """Mean colours of the classes, painted: near and far places compared."""
        data = make('train', num_train_domains=60, samples_per_domain=60, size=16)
        means = torch.stack(
            [
                data.images[(data.group == g) & (data.label == c)]
                .float()
                .mean((0, 2, 3))
                for g in range(60)
                for c in range(6)
            ]
        ).view(60, -1)
        differences = torch.cdist(means, means)
        kilometres = data.domains.kilometres()
        apart = ~torch.eye(60, dtype=torch.bool)
        near = differences[apart & (kilometres < 2500)].mean()
        far = differences[apart & (kilometres > 8000)].mean()
        assert near < 0.7 * far


def test_plot_names_class_place_and_prediction() -> None:
    data = make('val')
    figure = data.plot(data[1] | {'prediction': torch.tensor(3)}, suptitle='here')
    title = figure.axes[0].get_title()
    assert title == f'Label: forest\nPrediction: cropland\nPlace: {data.groups[16]}'
    plt.close(figure)


@pytest.mark.parametrize(
    'arguments, message',
    [
        ({'split': 'all'}, "split must be one of .* found 'all'"),
        ({'num_val_domains': 0}, 'at least one domain'),
        ({'samples_per_domain': 0}, 'samples_per_domain must be positive, found 0'),
        ({'num_classes': 11}, 'num_classes must be 2 to 10, found 11'),
        ({'size': 30}, 'size must be a multiple of 4, and at least 8, found 30'),
        ({'in_channels': 1}, 'in_channels must be 3 or 4, found 1'),
        ({'noise': -1.0}, 'noise must not be negative'),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**arguments)


class TestDataModule:
    def test_splits_and_names(self) -> None:
        module = SyntheticEarthDataModule(samples_per_domain=6)
        module.setup('fit')
        module.setup('test')
        assert (module.num_domains, module.num_classes) == (16, 6)
        assert module.groups[:16] == module.domains.names
        assert module.split_domains['train'] == module.domains.names
        assert module.split_domains['val'] == module.groups[16:20]
        assert module.split_domains['test'] == module.groups[20:]
        assert module.domains.located

    def test_prediction_uses_the_test_split(self) -> None:
        module = SyntheticEarthDataModule(samples_per_domain=6)
        module.setup('predict')
        batch = next(iter(module.predict_dataloader()))
        assert (batch['group'] >= 20).all()

    def test_images_are_normalized(self) -> None:
        module = SyntheticEarthDataModule(samples_per_domain=60)
        module.setup('fit')
        batch = next(iter(module.train_dataloader()))
        image = module.aug(batch)['image']
        assert image.mean().abs() < 0.2 and 0.8 < image.std() < 1.2

    def test_batches_are_balanced(self) -> None:
        module = SyntheticEarthDataModule(
            samples_per_domain=24, batch_size=32, domains_per_batch=8
        )
        module.setup('fit')
        for batch in module.train_dataloader():
            counts = batch['domain'].bincount()
            assert counts[counts > 0].tolist() == [4] * 8
