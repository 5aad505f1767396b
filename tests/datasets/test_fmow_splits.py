# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datasets.fmow_files import MIXED, TIMES, Row, numbers, random_rows, write_wilds
from torchgeo_experts.datasets.fmow import FMoW
from torchgeo_experts.datasets.fmow_countries import region_of, repaired


@pytest.fixture(scope='module')
def wilds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('fmow')
    write_wilds(root / 'fmow_v1.1', MIXED)
    return root


class TestSplits:
    def test_one_region_left_out(self, wilds: Path) -> None:
        train = FMoW(wilds, split_by='region', size=8)
        assert train.domains.names == ('Europe', 'Other')
        assert train.groups == ('Europe', 'Other', 'Asia', 'Americas')
        regions = {
            split: {train.groups[i] for i in train.with_split(split).group.tolist()}
            for split in ('train', 'id_val', 'val', 'id_test', 'test')
        }
        assert regions == {
            'train': {'Europe', 'Other'},
            'id_val': {'Americas'},
            'val': {'Other'},
            'id_test': {'Asia'},
            'test': {'Asia'},
        }
        # Otherwise they are the rows of WILDS.
        for split in regions:
            names = [Path(p).name for p in map(train.with_split(split).path, range(1))]
            assert int(names[0][8:-4]) in numbers(split)
        assert train.with_split('test').domain.tolist() == [-1]
        assert len(FMoW(wilds, split_by='region', left_out='Europe', size=8)) == 2
        with pytest.raises(ValueError, match=r"left_out is one of .*found 'asia'"):
            FMoW(wilds, split_by='region', left_out='asia')

    def test_few_of_a_region(self, tmp_path: Path) -> None:
        """Few validation images of the region are for training, the rest as they were."""
        write_wilds(tmp_path, random_rows(600, seed=3))
        usual = FMoW(tmp_path, split_by='region', size=8)
        ordinary = FMoW(tmp_path, split='val', size=8)
        asia = ordinary.groups.index('Asia')
        of_asia = {
            f
            for f, g in zip(ordinary.files, ordinary.group.tolist(), strict=True)
            if g == asia
        }
        assert len(of_asia) > 4
        drawn = set()
        for seed in range(3):
            few = FMoW(tmp_path, split_by='few', few_samples=3, split_seed=seed, size=8)
            assert few.domains.names == ('Asia',) and few.groups == ('Asia',)
            files = [set(few.with_split(split).files) for split in ('train', 'val')]
            assert len(files[0]) == len(few) == 3
            assert not files[0] & files[1] and files[0] | files[1] == of_asia
            drawn.add(frozenset(files[0]))
            for split in ('test', 'id_test'):
                same = usual.with_split(split).files
                assert list(few.with_split(split).files) == list(same)
        assert len(drawn) > 1
        with pytest.raises(
            ValueError, match='few_samples=600 must be above 0 and below'
        ):
            FMoW(tmp_path, split_by='few', few_samples=600, size=8)

    def test_countries(self, tmp_path: Path) -> None:
        rows = random_rows(300, seed=2)
        write_wilds(tmp_path, rows)
        seen = set()
        for seed in range(6):
            train = FMoW(
                tmp_path,
                split_by='countries',
                domain_by='country',
                size=8,
                train_countries=5,
                val_countries=2,
                test_countries=3,
                split_seed=seed,
            )
            assert {k: v.domains for k, v in train.sizes.items()} == {
                'train': 5,
                'val': 2,
                'test': 3,
            }
            owners: dict[int, str] = {}
            for split in train.sizes:
                data = train.with_split(split)
                for country in set(data.country.tolist()):
                    assert owners.setdefault(country, split) == split
            assert len(owners) == 10
            # All images with a split in WILDS, and only those.
            all_splits = FMoW(tmp_path, group_by='country', size=8)
            counts: Counter[str] = Counter()
            for split in all_splits.sizes:
                data = all_splits.with_split(split)
                counts += Counter(data.countries[i] for i in data.country.tolist())
            for split, (images, _) in train.sizes.items():
                data = train.with_split(split)
                names = {data.countries[i] for i in data.country.tolist()}
                assert images == sum(counts[name] for name in names)
            seen.add(train.domains.names)
        assert len(seen) > 3

    def test_countries_by_name_and_size(self, tmp_path: Path) -> None:
        rows = [r for r in random_rows(300, seed=2) if r.code not in ('KEN', 'NAM')]
        rows += [
            Row('train', 'zoo', c, TIMES[0], i) for c in ('KEN', 'NAM') for i in (1, 2)
        ]
        write_wilds(tmp_path, rows)
        for seed in range(4):
            data = FMoW(
                tmp_path,
                'test',
                split_by='countries',
                domain_by='country',
                size=8,
                train_countries=6,
                val_countries=2,
                test_countries=['NAM'],
                min_samples=3,
                split_seed=seed,
            )
            assert data.sizes['test'] == (2, 1) and data.domain.tolist() == [-1, -1]
            assert 'KEN' not in data.groups
        with pytest.raises(ValueError, match='9 domains with enough samples are left'):
            FMoW(
                tmp_path,
                split_by='countries',
                train_countries=8,
                val_countries=2,
                test_countries=['NAM'],
                min_samples=3,
            )
        with pytest.raises(ValueError, match=r"split is one of .*found 'id_val'"):
            FMoW(
                tmp_path,
                'id_val',
                split_by='countries',
                train_countries=1,
                val_countries=1,
                test_countries='FRA',
            )

    def test_min_samples(self, wilds: Path) -> None:
        with pytest.warns(
            UserWarning, match=r'2 domains .*min_samples=2.*: Asia, Other'
        ):
            data = FMoW(wilds, min_samples=2, size=8)
        assert data.domains.names == ('Europe',) and len(data) == 2
        assert data.sizes['train'] == (2, 1) and data.sizes['val'] == (2, 2)
        assert data.with_split('val').domain.tolist() == [-1, -1]
        with pytest.raises(ValueError, match='min_samples=9 images, the largest has 2'):
            FMoW(wilds, min_samples=9)

    def test_names(self, wilds: Path) -> None:
        with pytest.raises(ValueError, match=r"split is one of .*found 'dev'"):
            FMoW(wilds, 'dev')
        with pytest.raises(ValueError, match=r"split_by must be one of .*found 'x'"):
            FMoW(wilds, split_by='x')  # type: ignore[arg-type]
        for name in ('domain_by', 'group_by'):
            with pytest.raises(ValueError, match=r"one of .*found 'city'"):
                FMoW(wilds, **{name: 'city'})  # type: ignore[arg-type]


class TestCountries:
    def test_regions(self) -> None:
        """Spot checks against the tables of the United Nations (M49)."""
        for region, codes in {
            'Asia': 'AFG CYP GEO TUR TWN TLS KAZ PSE',
            'Europe': 'RUS GBR ISL ROU UKR MKD SJM',
            'Africa': 'EGY SSD REU MYT ZAF COD',
            'Americas': 'GRL USA TTO FLK BES',
            'Oceania': 'AUS GUM PNG PYF NRU',
            'Other': 'ATA KO- CA- XKX NA ',
        }.items():
            assert {region_of(code) for code in codes.split(' ')} == {region}

    def test_repairs(self) -> None:
        places = {
            ('CA-', 49.87, 40.41): 'AZE',  # Baku
            ('CA-', 47.15, 41.19): 'AZE',  # Sheki
            ('CA-', 48.29, 42.06): 'RUS',  # Derbent
            ('CA-', 47.50, 42.98): 'RUS',  # Makhachkala
            ('CA-', 47.74, 41.46): 'RUS',  # Akhty, south of Baku's border by the sea
            ('CA-', np.nan, np.nan): 'CA-',
            ('KO-', 21.17, 42.66): 'XKX',
            ('KO-', np.nan, np.nan): 'XKX',
            ('RUS', 49.87, 40.41): 'RUS',
        }
        codes, lon, lat = (np.array(v) for v in zip(*places, strict=True))
        assert repaired(codes.astype(object), lon, lat).tolist() == list(
            places.values()
        )
