# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

import read_windows
import series_files
from torchgeo_experts.datasets.muds_footprints import draw_mask
from torchgeo_experts.datasets.place_series import SeriesReader, Window


class Numbers(SeriesReader):
    """Patches that hold the number of their first pixel."""

    def __init__(self, wrong: int | None = None) -> None:
        self.wrong, self.seen = wrong, list[int]()

    @property
    def places(self) -> tuple[str, ...]:
        return ('a',)

    def valid(self, place: str) -> Tensor:
        return torch.ones(24).bool()

    def read_images(self, place: str, window: Window) -> Tensor:
        number = 8 * (window.row // 128) + window.column // 128
        self.seen.append(number)
        return torch.tensor([-1 if number == self.wrong else number])

    def read_masks(self, place: str, window: Window) -> Tensor:
        return torch.tensor([1])


def test_order_is_random_and_goes_by_the_seed() -> None:
    orders = []
    for seed in (1, 1, 2):
        reader = Numbers()
        patches = read_windows.Patches(reader, 'a', True)
        assert read_windows.patches_a_second(patches, 0, 12, seed) > 0
        orders.append(reader.seen)
    assert orders[0] == orders[1] != orders[2]
    assert len(set(orders[0])) == 12
    assert orders[0] != sorted(orders[0])


@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
def test_a_row_for_each_number_of_workers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fresh worker takes seconds to start.
    monkeypatch.setattr(read_windows, 'grown_memory', lambda patches: 12.4)
    args = argparse.Namespace(workers=[0, 1], repeats=2, patches=8, naive_patches=4)
    ours, naive = (read_windows.Patches(Numbers(), 'a', False) for _ in '12')
    read_windows.compare('numbers', ours, naive, args)
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert [row[:2] for row in rows] == [['numbers', '0'], ['numbers', '1']]
    for row in rows:
        fast, slow, ratio = (float(cell.split()[0]) for cell in row[2:5])
        assert min(fast, slow, ratio) > 0
        assert row[5:] == ['12', '12']


def test_other_values_are_refused() -> None:
    args = argparse.Namespace(workers=[0], repeats=1, patches=4, naive_patches=4)
    ours = read_windows.Patches(Numbers(wrong=37), 'a', False)
    with pytest.raises(AssertionError, match='not equal'):
        read_windows.compare(
            '', ours, read_windows.Patches(Numbers(), 'a', False), args
        )


def test_spread() -> None:
    assert read_windows.spread([3.0, 1.25, 2.0]) == '2 (1.25 to 3)'


def test_files_are_realistic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_files, 'MONTHS', ('2018_01', '2018_02'))
    images = series_files.scene(np.random.default_rng(0), 4, 2)
    assert 0.1 < images.mean() < 0.9
    # A land: what is near is alike, and months too, but for their grain.
    flat = images[:, 0].reshape(2, -1)
    assert np.corrcoef(flat)[0, 1] > 0.5
    how = {'compress': 'deflate'}
    series_files.write_cube(tmp_path / 'cubes', images, how)
    series_files.write_place(tmp_path / 'places', images, how)
    (image, *_) = sorted((tmp_path / 'cubes' / 'planet').rglob('*.tif'))
    with rasterio.open(image) as file:
        pixels = file.read()
    assert (pixels.dtype, pixels.shape) == ('int16', (4, 1024, 1024))
    np.testing.assert_array_equal(pixels, (10_000 * images[0]).astype(np.int16))
    # Neither noise nor blank.
    assert 0.4 < image.stat().st_size / pixels.nbytes < 0.95
    (labels, *_) = sorted((tmp_path / 'cubes' / 'labels').rglob('*.tif'))
    with rasterio.open(labels) as file:
        assert (file.read().sum(axis=0) == 255).all()
    place = tmp_path / 'places' / series_files.PLACE
    image, footprints = (
        next((place / folder).glob('*2018_01*')) for folder in ('images', 'labels')
    )
    # 600 boxes of 12 pixels, some of which overlap.
    assert 0.9 * 7200 < (draw_mask(image, footprints) == 1).sum() < 1.1 * 7200
