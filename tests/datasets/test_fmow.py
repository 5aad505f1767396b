# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import math
import pickle
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import CenterCrop, Compose, Resize

from datasets.fmow_files import CODES, LABELS, MIXED, numbers, pixels, write_wilds
from torchgeo_experts.datasets.fmow import FMoW
from torchgeo_experts.datasets.fmow_classes import CLASSES
from torchgeo_experts.datasets.fmow_images import read_square


@pytest.fixture(scope='module')
def wilds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('fmow')
    write_wilds(root / 'fmow_v1.1', MIXED)
    return root


class TestWilds:
    @pytest.mark.parametrize('split', ['train', 'id_val', 'id_test', 'val', 'test'])
    def test_samples(self, wilds: Path, split: str) -> None:
        data = FMoW(wilds, split, size=8)
        expected = [MIXED[i] for i in numbers(split)]
        assert len(data) == len(expected)
        for number, row, sample in zip(numbers(split), expected, data, strict=True):
            assert sample['image'].dtype == torch.float32
            wanted = pixels(number).transpose(2, 0, 1)
            np.testing.assert_array_equal(sample['image'], wanted)
            for key in ('label', 'domain', 'group'):
                assert sample[key].dtype == torch.int64 and sample[key].shape == ()
            for key in ('lon', 'lat'):
                assert sample[key].dtype == torch.float32 and sample[key].shape == ()
                assert sample[key] == np.float32(getattr(row, key))
            assert sample['label'] == LABELS[row.category]
            assert CLASSES[sample['label']] == row.category
            region = CODES[row.code][2] or 'Other'
            assert data.groups[sample['group']] == region
            seen = region in ('Europe', 'Asia', 'Other')  # those of training
            wanted_domain = data.domains.names.index(region) if seen else -1
            assert sample['domain'] == wanted_domain
        # Regions count in the order of the table, which begins with rows of France,
        # China, ...
        assert data.domains.names == ('Europe', 'Asia', 'Other')
        assert data.groups == ('Europe', 'Asia', 'Other', 'Americas')
        np.testing.assert_allclose(
            data.domains.lon, [2.5015, 104.003, 21.004], atol=1e-4
        )

    def test_countries(self, wilds: Path) -> None:
        data = FMoW(wilds, 'val', domain_by='country', group_by='country', size=8)
        assert data.domains.names == ('CHN', 'FRA', 'XKX')
        assert data.groups == ('CHN', 'FRA', 'XKX', 'AZE', 'IND', 'USA')
        assert data.domain.tolist() == [-1, 0]
        assert [data.groups[i] for i in data.group.tolist()] == ['AZE', 'CHN']
        assert [data.countries[i] for i in data.country.tolist()] == ['AZE', 'CHN']
        # As in WILDS, the region is that of the code that is none.
        assert [data.regions[i] for i in data.region.tolist()] == ['Other', 'Asia']
        assert data.unranked_groups == ()

    def test_years_as_domains_and_regions_as_groups(self, wilds: Path) -> None:
        data = FMoW(wilds, 'id_test', domain_by='year', size=8)
        assert data.domains.names == ('2002', '2010', '2012')
        assert not data.domains.located
        assert data.groups[:3] == data.domains.names
        assert sorted(data.groups[3:]) == ['Americas', 'Asia', 'Europe', 'Other']
        assert data.domain.tolist() == [1, 1] and data.year.tolist() == [2010, 2010]
        assert [data.groups[i] for i in data.group.tolist()] == ['Europe', 'Asia']
        assert data.unranked_groups == ('Other',)

    def test_with_split(self, wilds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        train = FMoW(wilds, size=8)
        expected = FMoW(wilds, 'test', size=8)
        monkeypatch.setattr('pandas.read_csv', None)
        data = train.with_split('test')
        assert train.split == 'train' and len(train) == 4
        for key in ('label', 'domain', 'group', 'lon', 'lat'):
            torch.testing.assert_close(getattr(data, key), getattr(expected, key))
        torch.testing.assert_close(data[1], expected[1])

    def test_samples_are_their_own(self, wilds: Path) -> None:
        data = FMoW(wilds, size=8)
        data[0]['label'].fill_(9)
        data[0]['lon'].fill_(9)
        assert data[0]['label'] == 12 and data[0]['lon'] < 3
        torch.testing.assert_close(data[-1], data[3])
        with pytest.raises(IndexError):
            data[4]

    def test_transforms_and_size(self, wilds: Path) -> None:
        data = FMoW(wilds, size=5, transforms=lambda sample: {'x': sample['image']})
        expected = Image.fromarray(pixels(0)).resize((5, 5), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(
            data[0]['x'], np.moveaxis(np.array(expected), 2, 0)
        )

    def test_root_is_the_folder_itself(self, wilds: Path) -> None:
        assert len(FMoW(wilds / 'fmow_v1.1', size=8)) == 4
        assert len(FMoW(str(wilds), size=8)) == 4

    def test_workers(self, wilds: Path) -> None:
        data = pickle.loads(pickle.dumps(FMoW(wilds, size=8)))
        torch.testing.assert_close(data[2], FMoW(wilds, size=8)[2])
        loader = DataLoader(
            data, batch_size=2, num_workers=1, multiprocessing_context='fork'
        )
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)
            batches = list(loader)
        labels = torch.cat([batch['label'] for batch in batches])
        torch.testing.assert_close(labels, data.label)


class TestSquare:
    @pytest.mark.parametrize('size', [(40, 23), (23, 40), (16, 16), (31, 31), (50, 16)])
    def test_as_wilds_made_its_images(
        self, tmp_path: Path, size: tuple[int, int]
    ) -> None:
        width, height = size
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        path = tmp_path / 'x.png'
        Image.fromarray(pixels).save(path)
        expected = Compose([Resize(16), CenterCrop(16)])(Image.open(path))
        found = read_square(str(path), 16)
        np.testing.assert_array_equal(found, np.moveaxis(np.array(expected), 2, 0))

    def test_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Image.new('RGB', (30, 30)).save(tmp_path / 'x.png')
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
        assert read_square(str(tmp_path / 'x.png'), 8).shape == (3, 8, 8)
        assert Image.MAX_IMAGE_PIXELS == 100

    def test_grey_and_16_bits(self, tmp_path: Path) -> None:
        Image.new('L', (8, 8), 77).save(tmp_path / 'x.png')
        assert (read_square(str(tmp_path / 'x.png'), 8) == 77).all()
        Image.fromarray(np.full((8, 8), 999, np.uint16)).save(tmp_path / 'y.png')
        with pytest.raises(OSError, match=r'y\.png.*do not fit 8 bits'):
            read_square(str(tmp_path / 'y.png'), 8)


def test_classes() -> None:
    assert len(CLASSES) == 62 and list(CLASSES) == sorted(CLASSES)
    assert {name: CLASSES.index(name) for name in LABELS} == LABELS


def test_plot(wilds: Path) -> None:
    data = FMoW(wilds, size=8)
    sample = data[0] | {'prediction': torch.tensor(61)}
    figure = data.plot(sample, suptitle='title')
    title = figure.axes[0].get_title()
    assert title == 'Label: dam\nPrediction: zoo\nEurope (lat 48.25, lon 2.50)'
    plt.close(figure)
    sample = data[0] | {'lon': torch.tensor(math.nan), 'lat': torch.tensor(math.nan)}
    figure = data.plot(sample)
    assert figure.axes[0].get_title() == 'Label: dam\nEurope'
    plt.close(figure)
    figure = data.plot(sample, show_titles=False)
    assert figure.axes[0].get_title() == ''
    plt.close(figure)
