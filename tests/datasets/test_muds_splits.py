# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import csv
import math
from pathlib import Path

import pytest

from datasets.muds_files import lon_lat, tile
from torchgeo_experts.datasets.muds import MUDS
from torchgeo_experts.datasets.muds_splits import draw_splits, near_places
from torchgeo_experts.datasets.split_file import read_split_file

DATA = Path(__file__).parents[3] / 'shared' / 'data'
SERIES, TILES = DATA / 'sn7_muds_128', DATA / 'geobench2_mini' / 'spacenet7'


class TestSplits:
    #: Ten places on the equator, 0.5 degrees (56 km) or 5 degrees apart.
    row = tuple(
        f'{x}_4096_13' for x in (0, 11, 22, 200, 211, 500, 700, 900, 1100, 1300)
    )

    def test_near_places(self) -> None:
        groups = near_places(self.row[::-1])
        assert [g for g in groups if len(g) > 1] == [
            ['0_4096_13', '11_4096_13', '22_4096_13'],
            ['200_4096_13', '211_4096_13'],
        ]
        assert sorted(name for group in groups for name in group) == sorted(self.row)
        # 22 tiles are 107 km: only those in the middle are near to both.
        assert len(near_places(self.row, 50.0)) == 10

    def test_draw(self) -> None:
        seen = {split: set() for split in ('train', 'val', 'test')}
        for seed in range(40):
            splits = draw_splits(self.row, seed)
            assert splits == draw_splits(self.row[::-1], seed)
            names = [name for split in splits.values() for name in split]
            assert sorted(names) == sorted(self.row)
            for group in near_places(self.row):
                assert sum(bool(set(group) & set(s)) for s in splits.values()) == 1
            # A sixth of ten places is nearer to two than to one.
            assert [len(splits[s]) for s in ('train', 'val', 'test')] == [6, 2, 2]
            for split, places in splits.items():
                seen[split].update(places)
        # A group of three is more than a sixth of ten places.
        assert seen['train'] == set(self.row)
        assert seen['test'] == seen['val'] == set(self.row[3:])

    @pytest.mark.parametrize('count', range(3, 9))
    def test_few_places(self, count: int) -> None:
        splits = draw_splits(self.row[-count:], 0)
        assert all(splits.values())
        assert sum(map(len, splits.values())) == count

    def test_groups_that_do_not_fit(self) -> None:
        splits = draw_splits([*self.row[:3], *self.row[5:7]], 0)
        assert sorted(map(len, splits.values())) == [1, 1, 3]
        assert set(splits['train']) == set(self.row[:3])
        with pytest.raises(ValueError, match='found 5 places in 2 groups'):
            draw_splits(self.row[:5], 0)

    def test_places_without_a_tile(self) -> None:
        with pytest.raises(ValueError, match="'lima' is not named after a tile"):
            draw_splits(['oslo', 'rome', 'lima'], 0)

    def test_read(self, tmp_path: Path) -> None:
        path = tmp_path / 'split.json'
        path.write_text('{"val": ["b", "a"], "test": ["c"], "train": ["d"], "x": 1}')
        expected = {'train': ('d',), 'val': ('a', 'b'), 'test': ('c',)}
        assert read_split_file(path) == expected


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def distance(a: str, b: str) -> float:
    """Compute the distance between centres of tiles, in kilometres."""
    (lon, lat), (lon2, lat2) = (
        (map(math.radians, lon_lat(n, 512, 512))) for n in (a, b)
    )
    half = math.sin((lat - lat2) / 2) ** 2
    half += math.cos(lat) * math.cos(lat2) * math.sin((lon - lon2) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(half))


@pytest.mark.skipif(not SERIES.is_dir(), reason='MUDS is not here')
class TestRealNames:
    rows = rows_of(SERIES / 'metadata.csv') if SERIES.is_dir() else []

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """All 1,423 names as empty files, which are not read to list the places."""
        for row in self.rows:
            image = tmp_path / row['filename'].replace('.jpg', '.tif')
            labels = image.parents[1] / 'labels'
            if not labels.exists():
                image.parent.mkdir(parents=True)
                labels.mkdir()
            image.touch()
            (labels / f'{image.stem}_Buildings.geojson').touch()
        return tmp_path

    def test_places_and_months(self, root: Path) -> None:
        datasets = [MUDS(root, split) for split in ('train', 'val', 'test')]
        assert [len(d) for d in datasets] == [2560, 640, 640]
        assert len(datasets[0].groups) == 60
        table: dict[str, list[bool]] = {}
        for row in self.rows:
            months = table.setdefault(row['aoi'], [False] * 24)
            month = 12 * (int(row['year']) - 2018) + int(row['month']) - 1
            if 0 <= month < 24:
                months[month] = True
        found = {p: datasets[0].reader.valid(p).tolist() for p in datasets[0].groups}
        assert found == table
        # Of 1,423 images 37 are of 2017 and 46 of 2020.
        assert sum(map(sum, found.values())) == 1423 - 37 - 46
        places = {row['aoi']: (row['lon'], row['lat']) for row in self.rows}
        domains = datasets[0].domains
        for name, lon, lat in zip(domains, domains.lon, domains.lat, strict=True):
            written = tuple(map(float, places[name]))
            assert (lon.item(), lat.item()) == pytest.approx(written, abs=1e-4)

    def test_neighbours(self) -> None:
        names = sorted({row['aoi'] for row in self.rows})
        groups = [g for g in near_places(names) if len(g) > 1]
        short = [['_'.join(map(str, tile(name))) for name in group] for group in groups]
        assert sorted(short) == [
            ['1429_3296', '1433_3310'],
            ['4815_3378', '4816_3380', '4819_3372'],
            ['5753_3655', '5759_3655'],
            ['6460_3370', '6460_3366', '6468_3360'],
            ['6678_3548', '6679_3549'],
            ['6763_3346', '6764_3347'],
        ]
        for seed in range(6):
            splits = draw_splits(names, seed)
            assert [len(s) for s in splits.values()] == [40, 10, 10]
            owner = {n: split for split, places in splits.items() for n in places}
            for i, name in enumerate(names):
                for other in names[:i]:
                    if owner[name] != owner[other]:
                        assert distance(name, other) > 60
