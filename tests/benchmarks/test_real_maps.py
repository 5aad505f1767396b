# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import math
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

import real_files
import real_maps
from torchgeo_experts import CoDEXChangeTask, DomainChangeTask
from torchgeo_experts.domains import Domains

DATA = Path(__file__).parents[3] / 'shared' / 'data'
FOLDERS = ('geobench2_mini', 'oscd_dubai', 'sn7_muds_128')

Array = NDArray[np.uint8]


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def save(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def corner(x: int, y: int) -> tuple[float, float]:
    """Longitude and latitude of a tile's upper left corner, by mercantile's formula."""
    n = math.pi - 2 * math.pi * y / 8192
    lat = math.degrees(math.atan(0.5 * (math.exp(n) - math.exp(-n))))
    return x / 8192 * 360 - 180, lat


class TestTileCentre:
    @pytest.mark.parametrize(('x', 'y'), [(5184, 3399), (1549, 3087), (4840, 4096)])
    def test_lies_between_the_corners(self, x: int, y: int) -> None:
        (west, north), (east, south) = corner(x, y), corner(x + 1, y + 1)
        lon, lat = real_files.tile_centre(x, y)
        assert lon == pytest.approx((west + east) / 2)
        # The middle of a tile is not quite that of its latitudes.
        assert lat == pytest.approx((south + north) / 2, abs=1e-5)

    def test_is_on_both_hemispheres(self) -> None:
        assert real_files.tile_centre(0, 4095)[1] == pytest.approx(
            -real_files.tile_centre(0, 4096)[1]
        )


class TestBuildings:
    def test_tiles_labels_and_places(self, tmp_path: Path) -> None:
        arrays = {}
        for x, y, part in ((5184, 3399, 'p00'), (4840, 4088, 'p01')):
            stem = f'global_monthly_2020_01_mosaic_L15-1E-2N_{x}_{y}_13_{part}'
            image = noise(512, 512, 3) ^ np.uint8(x % 256)
            mask = 255 * (noise(512, 512) > 200).astype(np.uint8)
            save(tmp_path / 'spacenet7' / f'{stem}_image.png', image)
            save(tmp_path / 'spacenet7' / f'{stem}_mask.png', mask)
            arrays[x] = image, mask
        places, samples = real_files.read_buildings(tmp_path)
        # In the order of file names.
        assert places.names == ('4840_4088 Uganda', '5184_3399 Kuwait')
        assert samples['place'].tolist() == [0] * 16 + [1] * 16
        for place, x in enumerate((4840, 5184)):
            image, mask = arrays[x]
            for tile in range(16):
                row, column = divmod(tile, 4)
                area = np.s_[
                    128 * row : 128 * (row + 1), 128 * column : 128 * (column + 1)
                ]
                expected = image[area].transpose(2, 0, 1)
                number = 16 * place + tile
                np.testing.assert_array_equal(samples['image'][number], expected)
                np.testing.assert_array_equal(
                    samples['mask'][number], mask[area] // 255
                )
        west, north = corner(5184, 3399)
        assert 0 < places.lon[1].item() - west < 360 / 8192
        assert corner(5184, 3400)[1] < places.lat[1].item() < north
        assert samples['lat'][16].item() == pytest.approx(places.lat[1].item())
        assert samples['mask'].dtype == torch.int64


class TestChange:
    def test_pairs_and_strips(self, tmp_path: Path) -> None:
        # Two rows and four columns of whole tiles, and what is left over.
        pair = noise(2, 160, 310, 3)
        change = 255 * (noise(160, 310) > 220).astype(np.uint8)
        for name, array in (('img1', pair[0]), ('img2', pair[1]), ('cm', change)):
            save(tmp_path / f'{name}.png', array)
        places, samples = real_files.read_change(tmp_path)
        assert places.names == ('west', 'centre', 'east')
        assert samples['image'].shape == (8, 2, 3, 75, 75)
        assert samples['mask'].shape == (8, 1, 75, 75)
        assert samples['place'].tolist() == [0, 0, 1, 2] * 2
        # Row 1, column 2.
        area = np.s_[75:150, 150:225]
        for step in (0, 1):
            expected = pair[step][area].transpose(2, 0, 1)
            np.testing.assert_array_equal(samples['image'][6, step], expected)
        np.testing.assert_array_equal(samples['mask'][6, 0], change[area] // 255)
        assert samples['lon'].isnan().all()
        assert samples['lat'].isnan().all()


class TestMonthlySeries:
    @pytest.fixture
    def series(self, tmp_path: Path) -> real_files.MonthlySeries:
        # Of the second place, a month before the first one and one after the last.
        months = {'a': [(2018, 1), (2019, 12)], 'b': [(2017, 12), (2018, 3), (2020, 1)]}
        rows = []
        for aoi, dates in months.items():
            for year, month in dates:
                name = f'train/{aoi}/images/{year}_{month:02}.png'
                save(tmp_path / name, np.uint8(month) + noise(16, 16, 3) // 2)
                row = {'filename': name, 'aoi': aoi, 'year': year, 'month': month}
                place = {'lon': 10.0 if aoi == 'a' else -20.0, 'lat': 5.0}
                rows.append(row | place | {'udm_masked': month == 3})
        # In no order.
        pd.DataFrame(rows[::-1]).to_csv(tmp_path / 'metadata.csv', index=False)
        return real_files.MonthlySeries(tmp_path)

    def test_months_are_aligned(self, series: real_files.MonthlySeries) -> None:
        a, b = series[0], series[1]
        assert a['valid'].nonzero().flatten().tolist() == [0, 23]
        assert b['valid'].nonzero().flatten().tolist() == [2]
        assert series.outside == 2
        for month, step in ((1, 0), (12, 23)):
            expected = (month + noise(16, 16, 3) // 2).transpose(2, 0, 1)
            np.testing.assert_array_equal(a['image'][step], expected)
        assert not b['image'][~b['valid']].any()
        assert b['image'].shape == (24, 3, 16, 16)

    def test_dates_count_from_the_first_day(
        self, series: real_files.MonthlySeries
    ) -> None:
        days = [
            (date(2018 + i // 12, i % 12 + 1, 1) - date(2018, 1, 1)).days
            for i in range(24)
        ]
        assert series[1]['dates'].tolist() == days
        assert days[:3] == [0, 31, 59]

    def test_target_and_place(self, series: real_files.MonthlySeries) -> None:
        sample = series[1]
        grey = (3 + noise(16, 16, 3) // 2).astype(float).mean(axis=2)
        np.testing.assert_array_equal(sample['mask'][2], grey > grey.mean())
        assert (sample['mask'][~sample['valid']] == real_files.IGNORED).all()
        assert (sample['lon'], sample['lat']) == (-20, 5)
        assert series.domains.names == ('a', 'b')


@pytest.fixture
def module() -> real_maps.LeaveOneOut:
    places = Domains(['a', 'b', 'c'], [1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
    place = torch.arange(24) % 3
    samples = {
        'image': 255 * torch.rand(24, 2, 3, 19, 19),
        'mask': torch.randint(0, 2, (24, 1, 19, 19)),
        'place': place,
        'lon': places.lon.float()[place],
        'lat': places.lat.float()[place],
    }
    return real_maps.LeaveOneOut(places, samples, held_out=1)


class TestLeaveOneOut:
    def test_places_of_splits(self, module: real_maps.LeaveOneOut) -> None:
        module.setup('fit')
        module.setup('test')
        assert module.domains.names == ('a', 'c')
        assert module.domains.lat.tolist() == [4, 6]
        assert module.groups == ('a', 'c', 'b')
        assert module.split_domains == {
            'train': ('a', 'c'),
            'val': ('a', 'c'),
            'test': ('b',),
        }
        sizes = {'train': 12, 'val': 4, 'test': 8}
        for split, size in sizes.items():
            data = getattr(module, f'{split}_dataset')
            assert len(data) == size
            # Domains go with their places.
            expected = {'a': (0, 0, 1.0), 'c': (1, 1, 3.0), 'b': (-1, 2, 2.0)}
            found = {
                (s['domain'].item(), s['group'].item(), s['lon'].item())
                for s in (data[i] for i in range(size))
            }
            assert found == {expected[name] for name in module.split_domains[split]}

    def test_each_way_is_scored(
        self, module: real_maps.LeaveOneOut, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(real_maps, 'EPOCHS', 1)
        found = real_maps.compare(
            (DomainChangeTask, CoDEXChangeTask),
            {'model': 'multiutae', 'num_filters': 32},
            module,
        )
        assert list(found) == ['ERM', 'CoDEX', 'uniform', 'oracle']
        for metrics in found.values():
            assert all(0 <= score <= 1 for score in metrics.values())


class TestConstantAnswer:
    @pytest.mark.parametrize('share', [0.1, 0.4])
    def test_scores(self, share: float) -> None:
        target = torch.arange(1000) < 1000 * share
        wrong = target.float().mean().item()
        of = {name: constant(share) for name, (_, constant) in real_maps.SCORES.items()}
        assert of['OA'] == pytest.approx(1 - wrong)
        # No building: the background's intersection over union, and nothing else.
        assert of['mIoU'] == pytest.approx((1 - wrong) / 2)
        # Change everywhere: precision is the share, recall 1.
        assert of['F1 of change'] == pytest.approx(2 / (1 / wrong + 1))


@pytest.mark.skipif(
    not all((DATA / name).is_dir() for name in FOLDERS), reason='the data are not here'
)
class TestRealData:
    def test_buildings(self) -> None:
        root = DATA / 'geobench2_mini'
        places, samples = real_files.read_buildings(root)
        assert len(places) == 5
        table = pd.read_csv(root / 'spacenet7' / 'metadata.csv')
        tiles = table['aoi'].str.split('_').str[1:3].str.join('_')
        for name, share in zip(tiles, table['building_frac'], strict=True):
            (place,) = [i for i, p in enumerate(places) if p.startswith(name)]
            mask = samples['mask'][samples['place'] == place]
            assert len(mask) == 16
            assert mask.float().mean().item() == pytest.approx(share, abs=1e-4)

    def test_change(self) -> None:
        _, samples = real_files.read_change(DATA / 'oscd_dubai')
        assert len(samples['image']) == 80
        # The README's share of change is that of the whole scene.
        assert samples['mask'].float().mean().item() == pytest.approx(0.099, abs=0.005)

    def test_series(self) -> None:
        series = real_files.MonthlySeries(DATA / 'sn7_muds_128')
        assert len(series) == 60
        assert len(series.table) + series.outside == 1423
        assert series.table['udm_masked'].any()
        sample = series[0]
        assert sample['image'].shape == (24, 3, 128, 128)
        assert 0.3 < sample['mask'][sample['valid']].float().mean() < 0.7
        # The same formula as that of the table.
        for name, lon, lat in zip(
            series.domains.names, series.domains.lon, series.domains.lat, strict=True
        ):
            x, y = name.split('_')[1:3]
            centre = real_files.tile_centre(int(x), int(y))
            assert centre == pytest.approx((lon.item(), lat.item()), abs=1e-4)
