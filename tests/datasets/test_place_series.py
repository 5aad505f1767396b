# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import math
import pickle
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from torchgeo_experts.datasets.place_series import (
    PlaceSeries,
    SeriesReader,
    Window,
    check_split,
    check_splits,
)

SPLITS = {
    'train': ['4096_4095_13', '10_2048_13'],
    'val': ['L15-0331E-1257N_1327_3160_13'],
    'test': ['8191_5000_13', '100_2048_13'],
}
#: Days since 2018-01-01 of the first days of the months of 2018 and 2019.
DAYS = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
DAYS += [365, 396, 424, 455, 485, 516, 546, 577, 608, 638, 669, 699]


class ToyReader(SeriesReader):
    """Pixels tell their place, month, channel, row and column."""

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(sorted(name for names in SPLITS.values() for name in names))

    def valid(self, place: str) -> Tensor:
        return torch.arange(24) != self.places.index(place)

    def read_images(self, place: str, window: Window) -> Tensor:
        return self._pixels(place, window, 3).float() * self.valid(place).view(
            24, 1, 1, 1
        )

    def read_masks(self, place: str, window: Window) -> Tensor:
        masks = self._pixels(place, window, 1)[:, 0] % 4
        return masks.where(self.valid(place).view(24, 1, 1), 255)

    def _pixels(self, place: str, window: Window, channels: int) -> Tensor:
        rows = torch.arange(window.row, window.row + window.size)
        columns = torch.arange(window.column, window.column + window.size)
        name, month, channel, row, column = torch.meshgrid(
            torch.tensor([self.places.index(place)]),
            torch.arange(24),
            torch.arange(channels),
            rows,
            columns,
            indexing='ij',
        )
        return (name + 10 * month + 240 * channel + 1000 * row + 3 * column)[0]


class ToySeries(PlaceSeries):
    classes = ('water', 'forest', 'soil', 'wetlands')


def make(split: str = 'train', **kwargs: Any) -> ToySeries:
    return ToySeries(ToyReader(), SPLITS, split, **kwargs)


def test_samples() -> None:
    dataset = make('test')
    reader = ToyReader()
    assert len(dataset) == 2 * 64
    for index, place, row, column in (
        (0, '8191_5000_13', 0, 0),
        (13, '8191_5000_13', 128, 640),
        (127, '100_2048_13', 896, 896),
    ):
        sample = dataset[index]
        assert set(sample) == {
            *('image', 'mask', 'dates', 'valid', 'domain', 'group', 'lon', 'lat')
        }
        window = Window(row, column, 128)
        assert sample['image'].dtype == torch.float32
        assert sample['image'].shape == (24, 3, 128, 128)
        assert torch.equal(sample['image'], reader.read_images(place, window))
        assert sample['mask'].dtype == torch.int64
        assert torch.equal(sample['mask'], reader.read_masks(place, window))
        assert torch.equal(sample['valid'], reader.valid(place))
        assert sample['dates'].tolist() == DAYS
    # One pixel by hand: place 0, month 2, channel 1, row 130, column 645.
    pixel = dataset[64 + 13]['image'][2, 1, 2, 5]
    name = reader.places.index('100_2048_13')
    assert pixel == name + 10 * 2 + 240 + 1000 * 130 + 3 * 645


def test_domains_and_groups() -> None:
    train, val, test = make('train'), make('val'), make('test')
    groups = (*SPLITS['train'], '100_2048_13', '8191_5000_13', *SPLITS['val'])
    for dataset in (train, val, test):
        assert dataset.domains.names == tuple(SPLITS['train'])
        assert dataset.groups == groups
        for key in ('domain', 'group', 'lon', 'lat'):
            values = getattr(dataset, key)
            assert values.shape == (len(dataset),)
            assert dataset[7][key] == values[7] and dataset[7][key].shape == ()
            assert dataset[7][key].dtype == values.dtype
    assert train.domain.tolist() == train.group.tolist() == [0] * 64 + [1] * 64
    assert val.domain.tolist() == [-1] * 64
    assert val.group.tolist() == [4] * 64
    assert test.domain.tolist() == [-1] * 128
    assert test.group.tolist() == [3] * 64 + [2] * 64
    assert train.domain.dtype == train.group.dtype == torch.int64
    assert train.lon.dtype == train.lat.dtype == torch.float32


def test_centres_of_patches() -> None:
    dataset = make('train')
    # The tile north-east of 0, 0 is 360 / 8192 degrees wide.
    width = 360 / 8192
    assert dataset.domains.lon[0] == pytest.approx(width / 2)
    assert dataset.domains.lat[0] == pytest.approx(width / 2, rel=1e-6)
    # Rows go south, columns go east.
    for index, row, column in ((0, 0, 0), (7, 0, 7), (8, 1, 0), (63, 7, 7)):
        lon = (column + 0.5) / 8 * width
        lat = (7.5 - row) / 8 * width
        assert dataset.lon[index] == pytest.approx(lon, abs=1e-6)
        assert dataset.lat[index] == pytest.approx(lat, abs=1e-6)
    # The dateline is not crossed.
    far = make('test')
    assert far.lon[:64].min() > 179.9 and far.lon[:64].max() < 180


def test_size_on_the_ground() -> None:
    """Images that cover less than their tile have patches nearer to its centre."""
    dataset = make('train', metres=3072.0)
    centre = dataset.domains.lat[1].item()
    assert centre == pytest.approx(66.5, abs=0.02)
    lat = dataset.lat[64:].double()
    lon = dataset.lon[64:].double()
    # Patches of 384 m on a sphere of 6378137 m.
    north = math.radians(lat[0].item() - lat[56].item()) * 6378137
    assert north == pytest.approx(7 * 384, rel=1e-3)
    east = math.radians(lon[7].item() - lon[0].item()) * 6378137
    assert east * math.cos(math.radians(centre)) == pytest.approx(7 * 384, rel=1e-2)
    assert lat.mean().item() == pytest.approx(centre, abs=1e-4)


def test_indices() -> None:
    dataset = make('train')
    assert torch.equal(dataset[-1]['image'], dataset[127]['image'])
    assert dataset[-1]['lat'] == dataset.lat[127]
    for index in (128, -129):
        with pytest.raises(IndexError):
            dataset[index]


def test_samples_are_copies() -> None:
    dataset = make('train')
    sample = dataset[0]
    for value in sample.values():
        value.zero_()
    assert dataset[0]['dates'].tolist() == DAYS
    assert dataset.lon[0] != 0


def test_transforms_and_workers() -> None:
    def brighter(sample: dict[str, Tensor]) -> dict[str, Tensor]:
        return sample | {'image': sample['image'] + 1}

    plain, brightened = make('val'), make('val', transforms=brighter)
    assert torch.equal(brightened[3]['image'], plain[3]['image'] + 1)
    loader = DataLoader(pickle.loads(pickle.dumps(plain)), 1, num_workers=2)
    batch = next(iter(loader))
    assert torch.equal(batch['image'][0], plain[0]['image'])


def test_plot() -> None:
    dataset = make('train')
    sample = dataset[0]
    figure = dataset.plot(sample | {'prediction': sample['mask']}, suptitle='A place')
    titles = [ax.get_title() for ax in figure.axes]
    # Month 1 has no image, and eight of the other 23 are shown.
    assert titles[0] == '2018-01-01' and titles[7] == '2019-12-01'
    assert len(titles) == 24 and '2018-02-01' not in titles
    assert titles[8] == 'Mask' and titles[16] == 'Prediction'
    assert figure.get_suptitle() == 'A place'
    plt.close(figure)
    bare = dataset.plot(sample | {'valid': torch.zeros(24).bool()}, show_titles=False)
    assert len(bare.axes) == 16 and not any(ax.get_title() for ax in bare.axes)
    plt.close(bare)


def test_unknown_split() -> None:
    message = r"split must be one of \['train', 'val', 'test'\], found 'predict'"
    with pytest.raises(ValueError, match=message):
        make('predict')
    with pytest.raises(ValueError, match=message):
        check_split('predict', SPLITS)


def test_check_splits() -> None:
    found = [name for names in SPLITS.values() for name in names]
    check_splits(SPLITS, found, 'list.json')
    with pytest.raises(ValueError, match=r'list\.json: no files of the places 10_2048'):
        check_splits(SPLITS, found[:1] + found[2:], 'list.json')
    with pytest.raises(ValueError, match=r'list\.json: the val split has no places'):
        check_splits(SPLITS | {'val': []}, found, 'list.json')
    shared = SPLITS | {'test': ['10_2048_13']}
    message = r"list\.json: the place 10_2048_13 is in the split 'train' and .* 'test'"
    with pytest.raises(ValueError, match=message):
        check_splits(shared, found, 'list.json')
