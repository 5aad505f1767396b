# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from pyproj import Geod
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.warp import transform
from shapely.geometry import box

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

import eurosat_moge_report

import eurosat_report
import eurosat_table
from eurosat_countries import FOLDS, write_table


class TestTable:
    def test_centres_and_countries(self, tmp_path: Path) -> None:
        # Two countries side by side, the second with an island beyond it.
        places = {
            'Forest_1': (5.0, 50.0),
            'Forest_2': (9.0, 51.0),
            'Forest_3': (12.5, 50),
        }
        folder = tmp_path / 'Forest'
        folder.mkdir()
        crs = CRS.from_epsg(32632)
        for name, (lon, lat) in places.items():
            (x,), (y,) = transform('EPSG:4326', crs, [lon], [lat])
            grid = from_origin(x - 320, y + 320, 10, 10)
            profile = {'driver': 'GTiff', 'height': 64, 'width': 64, 'count': 1}
            with rasterio.open(
                folder / f'{name}.tif',
                'w',
                crs=crs,
                transform=grid,
                dtype='uint8',
                **profile,
            ) as image:
                image.write(np.zeros((1, 64, 64), np.uint8))
        polygons = gpd.GeoDataFrame(
            {'NAME': ['West', 'East']},
            geometry=[box(0, 45, 7, 55), box(7, 45, 12, 55)],
            crs='EPSG:4326',
        )
        polygons.to_file(tmp_path / 'countries.gpkg')
        table = eurosat_table.add_countries(
            eurosat_table.read_centres(tmp_path), tmp_path / 'countries.gpkg', 'NAME'
        )
        assert table['filename'].tolist() == [f'Forest/{n}.jpg' for n in places]
        np.testing.assert_allclose(
            table[['lon', 'lat']], list(places.values()), atol=1e-5
        )
        # The third lies off the coast of the second country.
        assert table['country'].tolist() == ['West', 'East', 'East']


@pytest.fixture
def folds(tmp_path: Path) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    countries = [c for group in FOLDS.values() for c in group] + ['Malta']
    rows = {
        'filename': [f'{i}.jpg' for i in range(2000)],
        'country': generator.choice(countries, 2000),
        'lon': generator.uniform(-10, 30, 2000),
        'lat': generator.uniform(35, 65, 2000),
    }
    pd.DataFrame(rows).to_csv(tmp_path / 'metadata.csv', index=False)
    write_table(tmp_path / 'metadata.csv', tmp_path / 'folds.csv')
    return pd.read_csv(tmp_path / 'folds.csv')


class TestFolds:
    def test_each_country_is_tested_once_and_never_trained_on(
        self, folds: pd.DataFrame
    ) -> None:
        assert 'Malta' not in set(folds['country'])
        for fold, countries in FOLDS.items():
            held_out = folds['country'].isin(countries)
            assert (folds.loc[held_out, fold] == 'test').all()
            assert not (folds.loc[~held_out, fold] == 'test').any()

    def test_a_cell_has_one_role(self, folds: pd.DataFrame) -> None:
        cell = (folds['lon'] // 0.5).astype(str) + (folds['lat'] // 0.5).astype(str)
        for fold in FOLDS:
            seen = folds[folds[fold] != 'test']
            roles = seen.groupby(cell[seen.index])[fold].nunique()
            assert (roles == 1).all()
            shares = seen[fold].value_counts(normalize=True)
            assert shares['val'] == pytest.approx(0.1, abs=0.03)
            assert shares['id_test'] == pytest.approx(0.1, abs=0.03)


def test_interval_covers_the_mean_of_countries() -> None:
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(100):
        low, high = eurosat_report.interval(generator.normal(2, 1, 20))
        inside += low < 2 < high
    # 95 %, a little less with 20 countries.
    assert 85 <= inside <= 99


class TestMoGEReport:
    def test_distances(self, folds: pd.DataFrame, tmp_path: Path) -> None:
        """Of the images of a country, to training images of its own fold."""
        found = eurosat_moge_report.distances(tmp_path / 'folds.csv')
        fold = next(name for name, group in FOLDS.items() if 'Spain' in group)
        training = folds[folds[fold] == 'train'][['lon', 'lat']].to_numpy()
        spain = folds[folds['country'] == 'Spain'][['lon', 'lat']].to_numpy()[::5]
        geod = Geod(a=6371008.8, b=6371008.8)
        nearest = [
            min(geod.inv(*place, *other)[2] for other in training) / 1000
            for place in spain
        ]
        assert found['Spain'] == pytest.approx(np.median(nearest), rel=1e-4)
        assert set(found.index) == set(folds['country'])

    def test_own_images(self) -> None:
        table = pd.DataFrame(
            {
                'first choice': ['0', '1', '2', 'unknown place'],
                'samples': [30, 10, 0, 5],
                '0': [0.9, 0.4, np.nan, 0.1],
                '1': [0.5, 0.6, np.nan, 0.1],
                '2': [0.3, 0.2, np.nan, 0.1],
            }
        )
        # 0.9 against a mean of 0.4, and 0.6 against 0.3, three images to one.
        assert eurosat_moge_report.dominance(table) == pytest.approx(
            0.75 * 0.5 + 0.25 * 0.3
        )
        matrix = np.array([[1, 0.2], [0.4, 1]])
        assert eurosat_moge_report.mean_off_diagonal(matrix) == pytest.approx(0.3)

    def test_only_complete_folds(self) -> None:
        rows = [('ERM', 'erm', ''), ('MoGE', 'moge', '')]
        table = pd.DataFrame(
            {
                'fold': ['a', 'a', 'b', 'a', 'a'],
                'seed': [0, 0, 0, 1, 0],
                'arm': ['erm', 'moge', 'erm', 'moge', 'other'],
            }
        )
        found = eurosat_report.complete(table, rows)
        assert found.index.tolist() == [0, 1]
