# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import math
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import torch
from PIL import Image
from sklearn.cluster import KMeans
from torch import Tensor

from datamodules.domain_files import write_geotiff
from torchgeo_experts.datamodules.rules import (
    AttributeDomains,
    AttributePlaces,
    ClusterDomains,
    FilePlaces,
    GridDomains,
    PolygonDomains,
    Samples,
    TableDomains,
    TablePlaces,
    UsualPlaces,
)
from torchgeo_experts.datamodules.rules.clusters import spherical_kmeans
from torchgeo_experts.domains import unit_vectors


class Data:
    """A data set that knows what it is given."""

    def __init__(self, count: int = 3, **attributes: Any) -> None:
        self.count = count
        vars(self).update(attributes)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'image': torch.zeros(1), 'city': torch.tensor(10 * index)}


def samples(*rows: int, count: int = 3, **attributes: Any) -> Samples:
    return Samples(Data(count, **attributes), rows)


def degrees(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class TestAttributes:
    @pytest.mark.parametrize(
        'attributes',
        [
            {'place': ['a', 'b', None]},
            {'place': ('a', 'b', '')},
            {'place': np.array(['a', 'b', ''])},
            {'place': pd.Series(['a', 'b', None], index=[7, 8, 9])},
            {'place': pd.DataFrame({0: ['a', 'b', None], 1: [1, 2, 3]})},
            {'df': pd.DataFrame({'place': ['a', 'b', None]}, index=[7, 8, 9])},
            {'files': [{'place': 'a'}, {'place': 'b'}, {'place': None}]},
        ],
    )
    def test_where_it_may_be(self, attributes: dict[str, Any]) -> None:
        rule = AttributeDomains('place')
        assert rule.names(samples(2, 0, 1, **attributes)) == [None, 'a', 'b']

    def test_numbers(self) -> None:
        rule = AttributeDomains('city')
        assert rule.names(samples(1, 2, city=torch.tensor([1, 2, 3]))) == ['2', '3']

    def test_key_of_samples(self) -> None:
        with pytest.warns(UserWarning, match="tells 'city' only in its samples: all 2"):
            names = AttributeDomains('city').names(samples(2, 0))
        assert names == ['20', '0']
        assert AttributeDomains('city').names(samples()) == []

    def test_not_there(self) -> None:
        frame = pd.DataFrame({'country': list('abc')})
        data = samples(
            0, df=frame, files=[{'mask': 1}] * 3, ids=list('abc'), root='abc'
        )
        with pytest.raises(
            ValueError,
            match=(
                r"Data has no 'town': .* \(found: \['country \(of df\)', 'mask \(of"
                r" files\)', 'ids'\]\), nor a key .* \(found: \['city', 'image'\]\)"
            ),
        ):
            AttributeDomains('town').names(data)

    def test_wrong_length(self) -> None:
        with pytest.raises(ValueError, match="Data has no 'place'"):
            AttributeDomains('place').names(samples(0, place=['a', 'b']))

    def test_places(self) -> None:
        frame = pd.DataFrame({'x': [1, 2, 3], 'y': ['4', '5', '4° N']})
        lon, lat = AttributePlaces('x', 'y').locate(samples(1, 0, df=frame))
        assert (lon.tolist(), lat.tolist()) == ([2, 1], [5, 4])
        with pytest.raises(ValueError, match="'y' of Data are no degrees"):
            AttributePlaces('x', 'y').locate(samples(2, df=frame))
        lon, _ = AttributePlaces('x', 'x').locate(
            samples(0, 1, 2, x=[None, 1, math.nan])
        )
        assert lon.isnan().tolist() == [True, False, True]

    def test_usual_places(self) -> None:
        frame = pd.DataFrame({'longitude': [1, 2, 3], 'latitude': [4, 5, 6]})
        lon, lat = UsualPlaces().locate(samples(1, df=frame))
        assert (lon.tolist(), lat.tolist()) == ([2], [5])
        lon, lat = UsualPlaces().locate(samples(0, 1, lon=[1, 2, 3]))
        assert lon.isnan().all() and lat.isnan().all()


class TestTables:
    @pytest.fixture
    def table(self, tmp_path: Path) -> Path:
        path = tmp_path / 'table.csv'
        path.write_text(
            'filename,domain,lon,lat\n'
            'Forest/a.jpg,Spain,-3,40\n'
            'River/a.jpg,France,2,48\n'
            'River/b.tif,Peru,,\n'
            'deep/er/c.jpg,Chile,-70.5,-33\n'
        )
        return path

    @pytest.mark.parametrize(
        ('file', 'name'),
        [
            ('/data/Forest/a.jpg', 'Spain'),
            (Path('/data/River/a.jpg'), 'France'),
            ('/data/River/a.tif', 'France'),  # another suffix
            ('c', 'Chile'),  # an identifier
            ('other/c.jpg\n', 'Chile'),  # the only one of that name
            ('elsewhere/b.tif', 'Peru'),
            (('/data/River/b.tif', 3), 'Peru'),  # ImageFolder
            ({'mask': 'x', 'image': 'River/b.tif'}, 'Peru'),
            ({'images1': ['River/b.tif', 'x'], 'mask': 'x'}, 'Peru'),
            ({'s2': 'Forest/a.jpg'}, 'Spain'),
        ],
    )
    def test_which_row(self, table: Path, file: Any, name: str) -> None:
        assert TableDomains(table).names(samples(0, files=[file, '', ''])) == [name]

    def test_places(self, table: Path) -> None:
        data = samples(0, 1, count=2, ids=['b', 'c'])
        rule = TableDomains(table)
        assert rule.places is not None
        for places in (
            rule.places,
            TablePlaces(table),
            TablePlaces(table, files='ids'),
        ):
            lon, lat = places.locate(data)
            assert lon[0].isnan() and lat[0].isnan()
            assert (lon[1].item(), lat[1].item()) == (-70.5, -33)

    def test_columns(self, tmp_path: Path) -> None:
        path = tmp_path / 'table.parquet'
        pd.DataFrame({'id': ['a', 'b'], 'biome': ['wet', 'dry']}).to_parquet(path)
        rule = TableDomains(path, 'id', 'biome')
        assert rule.names(samples(1, 0, count=2, ids=['a', 'b'])) == ['dry', 'wet']
        with pytest.raises(ValueError, match=r"no column 'filename' .*found: \['id'"):
            TableDomains(path).names(samples(0, ids=list('abc')))
        with pytest.raises(ValueError, match=r"no column 'lon' \(lon_column\)"):
            TablePlaces(path, 'id', lat_column='y').locate(samples(0, ids=list('abc')))

    def test_missing(self, table: Path) -> None:
        data = samples(0, 1, 2, files=['Forest/a.jpg', 'x/y.jpg', 'z.jpg'])
        with pytest.raises(
            ValueError,
            match=(
                r"table.csv: no row for 2 of 3 samples of Data, the first is 'x/y.jpg';"
                r" the first file of the table is 'Forest/a.jpg'"
            ),
        ):
            TableDomains(table).names(data)

    def test_ambiguous(self, table: Path) -> None:
        with pytest.raises(
            ValueError, match=r"rows \[2, 3\] may all be meant for 'a.jpg'"
        ):
            TableDomains(table).names(samples(0, files=['a.jpg', 'b', 'c']))

    def test_wrong_rows(self, tmp_path: Path) -> None:
        path = tmp_path / 'table.csv'
        data = samples(0, count=1, ids=['a'])
        path.write_text('filename,domain,lon,lat\na,,1,2\n')
        with pytest.raises(ValueError, match=r"table.csv, row 2, file 'a': no domain"):
            TableDomains(path).names(data)
        path.write_text('filename,domain,lon,lat\na,b,x,2\n')
        with pytest.raises(ValueError, match=r"row 2, file 'a': lon 'x' is no number"):
            TableDomains(path).names(data)
        path.write_text('filename,domain\n')
        with pytest.raises(ValueError, match='the table has no rows'):
            TableDomains(path).names(data)
        with pytest.raises(FileNotFoundError, match='no table at'):
            TableDomains(tmp_path / 'none.csv').names(data)

    def test_unknown_files(self, table: Path) -> None:
        with pytest.raises(
            ValueError, match=r"does not tell the files .*none of \('files'"
        ):
            TableDomains(table).names(samples(0, chips=list('abc')))
        with pytest.raises(
            ValueError, match="it has no 'chip' with one value a sample"
        ):
            TableDomains(table, files='chip').names(samples(0, chips=list('abc')))
        rule = TableDomains(table, files='chips')
        assert rule.names(samples(2, chips=list('abc'))) == ['Chile']


class TestFilePlaces:
    def test_centre(self, tmp_path: Path) -> None:
        pixels = np.zeros((2, 5, 8), np.uint8)
        expected = {
            'a.tif': (12.34, 56.78),
            'b.tif': (-77.1, -12.2),
            'c.tif': (180, 0.5),
        }
        for name, place in expected.items():
            write_geotiff(tmp_path / name, pixels, *place)
        places = FilePlaces()
        paths = [tmp_path / name for name in expected]
        for data in (
            samples(0, 1, 2, files=paths),
            samples(0, 1, 2, files=list(expected), root=tmp_path),
        ):
            lon, lat = places.locate(data)
            torch.testing.assert_close(
                lon[:2], degrees(12.34, -77.1), rtol=0, atol=1e-7
            )
            assert abs(lon[2]) == pytest.approx(180, abs=1e-7)
            torch.testing.assert_close(
                lat, degrees(56.78, -12.2, 0.5), rtol=0, atol=1e-7
            )
            for path in paths:
                path.unlink(missing_ok=True)  # no file is read twice

    def test_errors(self, tmp_path: Path) -> None:
        path = tmp_path / 'a.tif'
        with pytest.raises(ValueError, match=r'a.tif: no such file .*TablePlaces'):
            FilePlaces().locate(samples(0, count=1, files=[path]))
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)
        with (
            pytest.warns(match='no geotransform'),
            pytest.raises(ValueError, match=r'a.tif: the file has no georeference'),
        ):
            FilePlaces().locate(samples(0, count=1, files=[path]))

    def test_no_place_on_earth(self, tmp_path: Path) -> None:
        with rasterio.open(
            tmp_path / 'a.tif',
            'w',
            driver='GTiff',
            dtype='uint8',
            count=1,
            height=2,
            width=2,
            crs='EPSG:32633',
            transform=rasterio.transform.from_origin(1e12, 1e12, 10, 10),
        ) as file:
            file.write(np.zeros((1, 2, 2), np.uint8))
        with pytest.raises(
            ValueError, match=r'a.tif: \(1e\+12, 1e\+12\) is no place in EPSG'
        ):
            FilePlaces().locate(samples(0, count=1, files=[tmp_path / 'a.tif']))


class TestGrid:
    @pytest.mark.parametrize(
        ('step', 'lon', 'lat', 'name'),
        [
            (10, 13.4, 52.5, 'N50E010'),
            (10.0, 10.0, 50.0, 'N50E010'),
            (10, -0.1, -0.1, 'S10W010'),
            (10, 0, 0, 'N00E000'),
            (10, 180, 90, 'N80W180'),
            (10, -180, -90, 'S90W180'),
            (0.5, 13.4, 52.7, 'N52.5E013.0'),
            (0.25, -77.1, -12.2, 'S12.25W077.25'),
            (60, 170, 80, 'N60E120'),
        ],
    )
    def test_names(self, step: float, lon: float, lat: float, name: str) -> None:
        assert GridDomains(step).names(degrees(lon), degrees(lat)) == [name]

    def test_unknown(self) -> None:
        assert GridDomains(1).names(degrees(math.nan), degrees(math.nan)) == [None]

    @pytest.mark.parametrize('step', [0, -1, 181])
    def test_step(self, step: float) -> None:
        with pytest.raises(
            ValueError, match=f'between 0 and 180 degrees, found {step}'
        ):
            GridDomains(step)


class TestPolygons:
    @pytest.fixture(params=['places.gpkg', 'places.geojson', 'places.parquet'])
    def file(self, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
        frame = gpd.GeoDataFrame(
            {'name': ['west', 'east', 'east', 'over']},
            geometry=[
                shapely.box(0, 0, 10, 10),
                shapely.box(20, 0, 30, 10),
                shapely.box(179, 0, 180, 10),
                shapely.box(5, 0, 25, 5),
            ],
            crs='EPSG:4326',
        )
        path = tmp_path / request.param
        if path.suffix == '.parquet':
            frame.to_crs('EPSG:3857').to_parquet(path)
        else:
            frame.to_file(path)
        return path

    def test_names(self, file: Path) -> None:
        rule = PolygonDomains(file, 'name')
        lon = degrees(1, 6, 15, 22, 22, 15, 179.5, math.nan)
        lat = degrees(1, 1, 1, 1, 8, 8, 5, math.nan)
        expected = ['west', 'west', 'over', 'east', 'east', None, 'east', None]
        assert rule.names(lon, lat) == expected

    def test_nearest(self, file: Path) -> None:
        lon, lat = degrees(10.5, 13, 19.1, -179.9, 15), degrees(8, 8, 8, 5, 60)
        names = PolygonDomains(file, 'name', max_km=150).names(lon, lat)
        # 55 km, 330 km (222 km from the other one's edge), 99 km, over the dateline, far
        assert names == ['west', None, 'east', 'east', None]
        names = PolygonDomains(file, 'name', max_km=400).names(lon, lat)
        assert names == ['west', 'west', 'east', 'east', None]

    def test_distance_shrinks_towards_the_pole(self, tmp_path: Path) -> None:
        box = gpd.GeoDataFrame(
            {'name': ['a']}, geometry=[shapely.box(0, 59, 10, 61)], crs='EPSG:4326'
        )
        box.to_file(tmp_path / 'a.gpkg')
        # One degree of longitude at 60 north is 55.6 km.
        for max_km, name in ((55, None), (56, 'a')):
            rule = PolygonDomains(tmp_path / 'a.gpkg', 'name', max_km=max_km)
            assert rule.names(degrees(11), degrees(60)) == [name]

    def test_errors(self, tmp_path: Path) -> None:
        place = (degrees(1), degrees(1))
        path = tmp_path / 'a.parquet'
        with pytest.raises(FileNotFoundError, match='no file of polygons at'):
            PolygonDomains(path, 'name').names(*place)
        frame = gpd.GeoDataFrame(
            {'id': ['a', None]}, geometry=[shapely.box(0, 0, 1, 1)] * 2
        )
        frame.to_parquet(path)
        with pytest.raises(ValueError, match=r"no column 'name', found: \['id'\]"):
            PolygonDomains(path, 'name').names(*place)
        with pytest.raises(ValueError, match='have no coordinate reference system'):
            PolygonDomains(path, 'id').names(*place)
        frame.set_crs('EPSG:4326').to_parquet(path)
        with pytest.raises(ValueError, match=r'1 polygons have no name .* is number 1'):
            PolygonDomains(path, 'id').names(*place)


class TestClusters:
    def places(self, spread: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Draw 30 places around each of five, one of them on the dateline."""
        centres = torch.tensor([[10, 50], [40, -10], [-60, -30], [179, 10], [100, 70]])
        generator = torch.Generator().manual_seed(seed)
        noise = spread * torch.randn(5, 30, 2, generator=generator)
        lon, lat = (centres[:, None] + noise).double().reshape(-1, 2).unbind(1)
        return (lon + 180) % 360 - 180, lat

    def test_like_scikit_learn(self) -> None:
        lon, lat = self.places()
        points = unit_vectors(lon, lat).numpy()
        expected = KMeans(5, n_init=10, random_state=0).fit(points)
        centres = spherical_kmeans(points, 5)
        theirs = expected.cluster_centers_
        theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
        order = np.lexsort(centres.T), np.lexsort(theirs.T)
        np.testing.assert_allclose(centres[order[0]], theirs[order[1]], atol=1e-9)

    def test_no_worse_than_scikit_learn(self) -> None:
        points = unit_vectors(*self.places(spread=25)).numpy()
        theirs = KMeans(8, n_init=10, random_state=0).fit(points).cluster_centers_
        theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
        ours = spherical_kmeans(points, 8)
        cosines = [(points @ centres.T).max(axis=1).sum() for centres in (ours, theirs)]
        assert cosines[0] >= 0.999 * cosines[1]

    def test_names(self) -> None:
        lon, lat = self.places()
        rule = ClusterDomains(5)
        rule.fit(lon, lat)
        names = rule.names(lon, lat)
        assert all(len(set(names[i : i + 30])) == 1 for i in range(0, 150, 30))
        # From west to east; the mean of the one on the dateline lies east of it or west.
        assert names[60] < names[0] < names[30] < names[120]
        assert set(names) == {f'cluster {i}' for i in range(1, 6)}
        assert rule.names(degrees(-179.5), degrees(10)) == [names[90]]

    def test_same_seed_same_clusters(self) -> None:
        lon, lat = self.places(spread=30)
        first, second, other = (ClusterDomains(12, seed) for seed in (0, 0, 1))
        for rule in (first, second, other):
            rule.fit(lon, lat)
        assert first.names(lon, lat) == second.names(lon, lat)
        assert first.names(lon, lat)[0] == 'cluster 01' or first.centres.shape == (
            12,
            3,
        )
        assert not torch.equal(first.centres, other.centres)

    def test_far_and_unknown_places(self) -> None:
        rule = ClusterDomains(1, max_km=120)
        rule.fit(degrees(0, 0, math.nan), degrees(0, 0, math.nan))
        names = rule.names(degrees(1, 1.1, math.nan), degrees(0, 0, math.nan))
        assert names == ['cluster 1', None, None]

    def test_too_few_places(self) -> None:
        rule = ClusterDomains(3)
        with pytest.raises(ValueError, match=r'3 clusters need .* samples have 2'):
            rule.fit(degrees(0, 0, 1, math.nan), degrees(0, 0, 1, math.nan))
        with pytest.raises(ValueError, match='at least 1, found 0'):
            ClusterDomains(0)
