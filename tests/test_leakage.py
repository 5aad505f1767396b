# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import itertools
import math
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from PIL import Image
from torch import Tensor
from torchgeo.datamodules import EuroSATDataModule, L8BiomeDataModule
from torchgeo.datasets import EuroSAT, NonGeoDataset

from datamodules.domain_files import CITIES, eurosat_place, write_eurosat, write_l8biome
from torchgeo_experts import (
    DomainDataModule,
    Domains,
    FilePlaces,
    GridDomains,
    PolygonDomains,
    SyntheticEarthDataModule,
)
from torchgeo_experts.datamodules.base import PlacesDataModule
from torchgeo_experts.domains import great_circle_angles, unit_vectors
from torchgeo_experts.leakage import (
    LeakageReport,
    leakage_report,
    report_text,
    warnings_of,
    write_report,
)
from torchgeo_experts.leakage.contents import SplitContents
from torchgeo_experts.leakage.distances import least_kilometres

NAN = float('nan')

#: Domain, lon and lat of the samples of each split.
SAMPLES: dict[str, list[tuple[str, float, float]]] = {
    'train': [
        ('Rome', 12.5, 41.9),
        ('Rome', 12.6, 41.8),
        ('Oslo', 10.7, 59.9),
        ('Rome', NAN, NAN),
    ],
    'val': [('Bari', 16.9, 41.1), ('Oslo', 10.8, 59.8), ('Nowhere', NAN, NAN)],
    'test': [('Fiji', 179.0, -17.0), ('Fiji', -179.0, -17.0), ('Latina', 12.9, 41.5)],
}
#: Centres of the training domains; not the means of their samples.
CENTRES = {'Rome': (12.0, 42.0), 'Oslo': (11.0, 60.0)}
GROUPS = ('Rome', 'Oslo', 'Bari', 'Fiji', 'Latina', 'Nowhere')


def haversine(a: tuple[float, float], b: tuple[float, float]) -> float:
    (lon, lat), (lon2, lat2) = (np.radians(place) for place in (a, b))
    chord = math.sin((lat2 - lat) / 2) ** 2
    chord += math.cos(lat) * math.cos(lat2) * math.sin((lon2 - lon) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(chord))


class Listed(NonGeoDataset):
    """Samples of known places, with targets as given."""

    def __init__(
        self, split: str, samples: Any, targets: dict[str, list[Any]], key: str
    ) -> None:
        self.samples, self.targets_of, self.key = (
            samples[split],
            targets.get(split),
            key,
        )
        names = [name for name, _, _ in self.samples]
        self.group = torch.tensor([GROUPS.index(name) for name in names])
        self.domain = self.group.where(self.group < 2, -1)
        self.lon, self.lat = torch.tensor([s[1:] for s in self.samples]).T
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        self.read.append(index)
        sample = {'image': torch.zeros(1, 4, 4), 'group': self.group[index]}
        if self.targets_of is not None:
            sample[self.key] = torch.as_tensor(self.targets_of[index])
        return sample


class Labelled(Listed):
    """Samples whose labels are known without reading."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.label = torch.tensor(self.targets_of)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        raise AssertionError('images must not be read')


class ListedDataModule(PlacesDataModule):
    def __init__(
        self,
        targets: dict[str, list[Any]] | None = None,
        key: str = 'label',
        classes: tuple[str, ...] = ('water', 'land', 'ice'),
        dataset_class: type[Listed] = Listed,
        samples: Any = SAMPLES,
    ) -> None:
        super().__init__(dataset_class)
        self.arguments, self.names = (samples, targets or {}, key), classes

    def configure_domains(self) -> None:
        lon, lat = zip(*CENTRES.values(), strict=True)
        self.domains, self.groups = Domains([*CENTRES], lon, lat), GROUPS
        self.classes = self.names

    def make_dataset(self, split: str) -> Any:
        return self.dataset_class(split, *self.arguments)  # type: ignore[call-arg]


def row(report: LeakageReport, split: str, domain: str) -> pd.Series:
    table = report.domains
    found = table[(table['split'] == split) & (table['domain'] == domain)]
    assert len(found) == 1
    return found.iloc[0]


@pytest.fixture(scope='module')
def report() -> LeakageReport:
    return leakage_report(ListedDataModule())


class TestDomains:
    def test_one_row_a_split_and_domain(self, report: LeakageReport) -> None:
        rows = report.domains[['split', 'domain', 'samples', 'unknown_place']]
        assert rows.to_numpy().tolist() == [
            ['train', 'Rome', 3, 1],
            ['train', 'Oslo', 1, 0],
            ['val', 'Oslo', 1, 0],
            ['val', 'Bari', 1, 0],
            ['val', 'Nowhere', 1, 1],
            ['test', 'Fiji', 2, 0],
            ['test', 'Latina', 1, 0],
        ]
        assert report.training == ('Rome', 'Oslo')

    def test_places(self, report: LeakageReport) -> None:
        for split, name in (('train', 'Rome'), ('train', 'Oslo'), ('val', 'Oslo')):
            found = row(report, split, name)
            assert (found['lon'], found['lat']) == pytest.approx(CENTRES[name])
        # The mean direction: not in Africa, and a little south of its samples.
        fiji = row(report, 'test', 'Fiji')
        assert abs(fiji['lon']) == pytest.approx(180)
        assert fiji['lat'] == pytest.approx(-17, abs=0.01)
        assert row(report, 'val', 'Nowhere')[['lon', 'lat', 'km']].isna().all()

    def test_distances_between_centres(self, report: LeakageReport) -> None:
        apart = haversine(CENTRES['Rome'], CENTRES['Oslo'])
        for name, other in (('Rome', 'Oslo'), ('Oslo', 'Rome')):
            found = row(report, 'train', name)
            assert found['nearest'] == other
            assert found['km'] == pytest.approx(apart)
        bari = row(report, 'val', 'Bari')
        assert bari['nearest'] == 'Rome'
        assert bari['km'] == pytest.approx(haversine((16.9, 41.1), CENTRES['Rome']))
        # A training domain in another split is at no distance from itself.
        oslo = row(report, 'val', 'Oslo')
        assert (oslo['nearest'], oslo['km']) == ('Oslo', pytest.approx(0, abs=1e-6))
        fiji = row(report, 'test', 'Fiji')
        assert fiji['nearest'] == 'Oslo'
        middle = (fiji['lon'], fiji['lat'])
        assert fiji['km'] == pytest.approx(haversine(middle, CENTRES['Oslo']))
        assert row(report, 'val', 'Nowhere')['nearest'] == ''

    def test_distances_between_samples(self, report: LeakageReport) -> None:
        for split, name in (('val', 'Oslo'), ('val', 'Bari'), ('test', 'Fiji')):
            found = row(report, split, name)
            least = min(
                (haversine((lon, lat), there), other)
                for (own, lon, lat), (other, *there) in itertools.product(
                    SAMPLES[split], SAMPLES['train']
                )
                if own == name and not math.isnan(there[0])
            )
            assert found['sample_km'] == pytest.approx(least[0], abs=0.01)
            assert found['nearest_sample'] == least[1]
        nowhere = row(report, 'val', 'Nowhere')
        assert math.isnan(nowhere['sample_km'])
        assert report.domains.query('split == "train"')['sample_km'].isna().all()

    @pytest.mark.parametrize('spread', [1.0, 90.0])
    def test_distances_of_many_samples(self, spread: float) -> None:
        generator = torch.Generator().manual_seed(0)

        def draw(count: int, groups: int) -> SplitContents:
            group = torch.randint(groups, (count,), generator=generator)
            lon, lat = torch.randn(2, count, generator=generator).double() * spread
            lon, lat = (lon + 60 * group).remainder(360) - 180, lat.remainder(160) - 80
            lat[group == 0] = lon[group == 0] = NAN
            return SplitContents(None, group, lon, lat, None, [], group)

        held, train = draw(700, 3), draw(1500, 4)
        found = least_kilometres(held, train, torch.tensor([2, 0, 1]), 5)
        assert found[1].isnan().all()
        assert found[:, [0, 4]].isnan().all()
        vectors = [unit_vectors(each.lon, each.lat) for each in (held, train)]
        angles = great_circle_angles(*vectors)
        for row, group in ((0, 2), (2, 1)):
            for domain in (1, 2, 3):
                own = angles[held.group == group][:, train.group == domain]
                least = 6371.0088 * float(own.min())
                assert found[row, domain] == pytest.approx(least, abs=1e-6)


class TestPairs:
    def test_nearest_first_and_none_with_itself(self, report: LeakageReport) -> None:
        pairs = report.pairs
        assert pairs[['split', 'domain', 'training_domain']].to_numpy().tolist() == [
            ['test', 'Latina', 'Rome'],
            ['val', 'Bari', 'Rome'],
            ['val', 'Oslo', 'Rome'],
            ['test', 'Latina', 'Oslo'],
            ['val', 'Bari', 'Oslo'],
            ['test', 'Fiji', 'Oslo'],
            ['test', 'Fiji', 'Rome'],
            ['val', 'Nowhere', 'Rome'],
            ['val', 'Nowhere', 'Oslo'],
        ]
        assert pairs['km'][0] == pytest.approx(haversine((12.9, 41.5), (12.0, 42.0)))
        assert pairs['sample_km'][0] == pytest.approx(
            haversine((12.9, 41.5), (12.6, 41.8)), abs=0.01
        )
        assert pairs['sample_km'][5] < pairs['sample_km'][6]

    def test_by_centres_where_samples_have_no_place(self) -> None:
        class Unplaced(Listed):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                del self.lon, self.lat

        report = leakage_report(ListedDataModule(dataset_class=Unplaced))
        assert report.pairs['sample_km'].isna().all()
        # Of training domains the place is known all the same.
        assert list(report.pairs['domain'])[:1] == ['Oslo']
        assert report.pairs['km'][0] == pytest.approx(
            haversine(CENTRES['Oslo'], CENTRES['Rome'])
        )
        assert report.domains['unknown_place'].equals(report.domains['samples'])

    def test_domains_in_several_splits(self, report: LeakageReport) -> None:
        assert report.shared.to_numpy().tolist() == [['Oslo', ('train', 'val')]]


#: Labels of SAMPLES.
LABELS = {'train': [0, 1, 1, 0], 'val': [2, 1, 0], 'test': [0, 0, 2]}


class TestShares:
    def test_labels_that_are_known(self) -> None:
        shares = leakage_report(ListedDataModule(LABELS, dataset_class=Labelled)).shares
        assert (shares.pixels, shares.read) == (False, None)
        assert list(shares.domains.columns) == ['water', 'land', 'ice']
        np.testing.assert_allclose(
            shares.domains,
            [
                [2 / 3, 1 / 3, 0],
                [0, 1, 0],
                [0, 1, 0],
                [0, 0, 1],
                [1, 0, 0],
                [1, 0, 0],
                [0, 0, 1],
            ],
        )
        assert list(shares.splits.columns) == ['train', 'val', 'test']
        np.testing.assert_allclose(
            shares.splits.T, [[0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3], [2 / 3, 0, 1 / 3]]
        )

    def test_labels_that_are_read(self) -> None:
        read = leakage_report(ListedDataModule(LABELS)).shares
        known = leakage_report(ListedDataModule(LABELS, dataset_class=Labelled)).shares
        assert read.read == 8
        pd.testing.assert_frame_equal(read.domains, known.domains)
        pd.testing.assert_frame_equal(read.splits, known.splits)

    def test_several_labels_a_sample(self) -> None:
        labels = {
            split: [[1, 0, 1]] + [[0, 1, 0]] * (len(rows) - 1)
            for split, rows in SAMPLES.items()
        }
        shares = leakage_report(ListedDataModule(labels)).shares.domains
        # Rome has three samples, and four labels.
        assert shares.iloc[0].tolist() == [0.25, 0.5, 0.25]

    def test_pixels(self) -> None:
        masks = {
            split: [[[n % 3, 1, 1, 255]] * 4 for n in range(len(rows))]
            for split, rows in SAMPLES.items()
        }
        shares = leakage_report(ListedDataModule(masks, 'mask')).shares
        assert shares.pixels
        assert list(shares.domains.columns) == ['water', 'land', 'ice', 'no class']
        # Rome's masks are those of samples 0, 1 and 3: 0, 1 and 0.
        rome = [2 / 12, 7 / 12, 0, 3 / 12]
        assert shares.domains.iloc[0].tolist() == pytest.approx(rome)
        # Splits count domains by all their samples.
        train = (3 * np.array(rome) + [0, 0.5, 0.25, 0.25]) / 4
        assert shares.splits['train'].tolist() == pytest.approx(train)

    def test_what_is_no_class_is_no_new_class(self) -> None:
        masks = {split: [[[0]]] * len(rows) for split, rows in SAMPLES.items()}
        report = leakage_report(ListedDataModule(masks | {'val': [[[9]]] * 3}, 'mask'))
        assert report.shares.splits.loc['no class'].tolist() == [0, 1, 0]
        assert not [line for line in warnings_of(report) if 'not seen' in line]

    def test_only_some_samples_are_read(self) -> None:
        many = {s: [('Rome' if s == 'train' else 'Bari', 1, 2)] * 40 for s in SAMPLES}
        masks = {split: [[[n % 2]] for n in range(40)] for split in SAMPLES}
        datamodule = ListedDataModule(masks, 'mask', samples=many)
        first = leakage_report(datamodule, samples=5)
        read = datamodule.train_dataset.read  # type: ignore[attr-defined]
        assert len(read) == 5
        assert read == sorted(read)
        assert read != list(range(5))
        assert first.shares.read == 5
        again = leakage_report(datamodule, samples=5)
        assert datamodule.train_dataset.read == read  # type: ignore[attr-defined]
        pd.testing.assert_frame_equal(again.shares.domains, first.shares.domains)
        share = np.mean([n % 2 for n in read])
        assert first.shares.splits['train'].tolist() == pytest.approx(
            [1 - share, share, 0]
        )

    def test_none_are_read(self) -> None:
        datamodule = ListedDataModule(LABELS)
        report = leakage_report(datamodule, samples=0)
        assert datamodule.train_dataset.read == []  # type: ignore[attr-defined]
        assert report.shares.domains.isna().all(axis=None)
        assert 'Shares' not in report_text(report)

    def test_numbers_that_are_no_classes(self) -> None:
        for values in (0.5, NAN):
            heights = {s: [[[values, 1.0]]] * len(rows) for s, rows in SAMPLES.items()}
            report = leakage_report(ListedDataModule(heights, 'mask'))
            assert report.shares.domains.isna().all(axis=None)
        assert report.shares.splits.isna().all(axis=None)

    def test_classes_without_names(self) -> None:
        shares = leakage_report(ListedDataModule(LABELS, classes=())).shares
        assert list(shares.domains.columns) == ['0', '1', '2']
        assert shares.splits['test'].tolist() == pytest.approx([2 / 3, 0, 1 / 3])

    def test_split_without_targets(self) -> None:
        some = {'train': LABELS['train'], 'val': LABELS['val']}
        shares = leakage_report(ListedDataModule(some)).shares
        assert shares.splits['test'].isna().all()
        assert shares.splits['train'].tolist() == [0.5, 0.5, 0]


class TestDataModules:
    def test_without_domains(self, tmp_path: Path) -> None:
        with pytest.raises(
            ValueError, match=r'EuroSATDataModule have no domains.*Domain'
        ):
            leakage_report(EuroSATDataModule(root=tmp_path))

    def test_samples_in_no_domain(self, tmp_path: Path) -> None:
        write_eurosat(tmp_path, images=7, classes=5)
        regions = {'only': shapely.box(5, 45, 30, 65)}
        file = tmp_path / 'regions.geojson'
        names, boxes = list(regions), list(regions.values())
        frame = geopandas.GeoDataFrame({'name': names}, geometry=boxes, crs='EPSG:4326')
        frame.to_file(file)
        datamodule = DomainDataModule(
            EuroSATDataModule(root=tmp_path), PolygonDomains(file, 'name'), FilePlaces()
        )
        with pytest.warns(UserWarning, match='in no domain'):
            report = leakage_report(datamodule)
        elsewhere = row(report, 'test', 'elsewhere')
        assert elsewhere['samples'] == 28
        assert elsewhere[['lon', 'lat', 'km']].isna().all()
        assert elsewhere['sample_km'] > 1000
        # It is no domain, so that it is not shared.
        assert report.shared['domain'].tolist() == ['only']

    def test_negative_samples(self) -> None:
        with pytest.raises(ValueError, match='must not be negative, found -1'):
            leakage_report(ListedDataModule(), -1)

    def test_synthetic_earth(self) -> None:
        datamodule = SyntheticEarthDataModule(3, 2, 4, samples_per_domain=12)
        report = leakage_report(datamodule)
        counts = report.domains.groupby('split')['domain'].size().to_dict()
        assert counts == {'train': 3, 'val': 2, 'test': 4}
        assert report.shared.empty
        assert report.shares.read is None
        assert report.shares.splits.sum().tolist() == pytest.approx([1, 1, 1])
        # Samples lie within 100 km of the place of their domain.
        gap = report.pairs['km'] - report.pairs['sample_km']
        assert 0 < gap.min() < gap.max() < 200

    def test_synthetic_maps(self) -> None:
        datamodule = SyntheticEarthDataModule(
            3, 1, 1, task='segmentation', samples_per_domain=4, size=16
        )
        shares = leakage_report(datamodule).shares
        assert shares.pixels
        mask = datamodule.train_dataset.masks  # type: ignore[union-attr]
        expected = mask.flatten().bincount(minlength=7) / mask.numel()
        assert shares.splits['train'].tolist() == pytest.approx(expected.tolist())

    @pytest.mark.parametrize('held_out', [True, False])
    def test_wrapped_images(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_out: bool
    ) -> None:
        write_eurosat(tmp_path, images=7, classes=5)

        def refuse(*args: Any) -> None:
            raise AssertionError('images must not be read')

        monkeypatch.setattr(EuroSAT, '__getitem__', refuse)
        split = {'val_domains': ['S20W080'], 'test_domains': ['N30E020']}
        datamodule = DomainDataModule(
            EuroSATDataModule(root=tmp_path),
            GridDomains(10.0),
            FilePlaces(),
            **(split if held_out else {}),  # type: ignore[arg-type]
        )
        report = leakage_report(datamodule)
        # Image n is of class n % 5: of all 21 images, or of 7 to 13.
        shares = report.shares.splits
        assert report.shares.read is None
        if held_out:
            assert report.shared.empty
            expected = [5 / 21] + [4 / 21] * 4
            assert shares['test'].tolist() == pytest.approx(expected)
            athens = row(report, 'test', 'N30E020')
            assert athens['samples'] == 21
            least = min(
                haversine(eurosat_place('athens', a), eurosat_place('cairo', b))
                for a in range(21)
                for b in range(21)
            )
            assert athens['sample_km'] == pytest.approx(least, abs=0.01)
            assert athens['nearest_sample'] == 'N30E030'
        else:
            assert len(report.shared) == len(set(report.domains['domain'])) == 5
            assert set(report.shared['splits']) == {('train', 'val', 'test')}
            expected = [1 / 7, 1 / 7, 2 / 7, 2 / 7, 1 / 7]
            assert shares['val'].tolist() == pytest.approx(expected)

    @pytest.mark.filterwarnings('ignore:The inplace keyword')
    @pytest.mark.filterwarnings('ignore:Use torchgeo.samplers')
    @pytest.mark.filterwarnings('ignore:Use geopandas')
    def test_wrapped_rasters(self, tmp_path: Path) -> None:
        write_l8biome(tmp_path)
        wrapped = L8BiomeDataModule(4, 16, 40, paths=str(tmp_path))
        report = leakage_report(DomainDataModule(wrapped, GridDomains(1.0)), samples=3)
        # One cell a scene, each in one of the splits.
        names = {f'N45E{lon:03}' for lon in range(5, 15)}
        assert set(report.domains['domain']) == names
        assert set(report.domains['split']) == {'train', 'val', 'test'}
        assert (report.domains['samples'] >= 9).all()
        for _, found in report.domains.iterrows():
            assert found['lon'] == pytest.approx(
                float(found['domain'][4:]) + 0.5, abs=0.05
            )
            assert found['lat'] == pytest.approx(45.5, abs=0.05)
        # All pixels are 128, which is clear sky, but for what is outside a scene.
        assert report.shares.pixels
        known = report.shares.domains.dropna()
        assert len(known) >= 6
        assert known['Clear'].min() > 0.5
        assert (known['Clear'] + known['Fill']).tolist() == pytest.approx(
            [1] * len(known)
        )
        # Neighbours are a degree apart, and their patches less.
        nearest = report.domains.query('split != "train"')
        assert (nearest['sample_km'] < nearest['km']).all()
        assert nearest['km'].min() == pytest.approx(78, abs=3)


class TestText:
    def test_splits(self, report: LeakageReport) -> None:
        lines = report_text(report).splitlines()
        train, val, test = (
            next(line.split() for line in lines if line.startswith(split))
            for split in ('train', 'val', 'test')
        )
        apart = f'{haversine(CENTRES["Rome"], CENTRES["Oslo"]):.0f}'
        assert train == ['train', '2', '4', '1', apart, apart, '-', '-']
        assert val[:5] == ['val', '3', '3', '1', '0.0']
        latina = haversine((12.9, 41.5), (12.6, 41.8))
        assert test[:4] == ['test', '2', '3', '0']
        assert test[6] == f'{latina:.1f}'

    def test_pairs(self, report: LeakageReport) -> None:
        lines = report_text(report).splitlines()
        start = lines.index('The nearest pairs')
        assert lines[start + 2].split()[:3] == ['test', 'Latina', 'Rome']
        assert lines[start + 2].endswith('nearer than 50 km: may leak')
        assert 'leak' not in lines[start + 3]
        assert 'Nowhere' not in report_text(report)

    def test_shares(self) -> None:
        text = report_text(leakage_report(ListedDataModule(LABELS)))
        assert 'percent of samples of up to 8 samples a domain' in text
        line = next(line for line in text.splitlines() if line.startswith('water'))
        assert line.split() == ['water', '50.0', '33.3', '66.7']

    def test_classes_of_no_split(self) -> None:
        names = tuple(f'class {n}' for n in range(9))
        text = report_text(leakage_report(ListedDataModule(LABELS, classes=names)))
        assert [n for n in names if n in text] == ['class 0', 'class 1', 'class 2']
        assert 'and 6 more that no split shows' in text

    def test_warnings(self) -> None:
        known = ListedDataModule(LABELS, dataset_class=Labelled)
        assert warnings_of(leakage_report(known)) == [
            '1 domain in several splits (train, val): Oslo',
            '1 domain of test nearer than 50 km to a training domain: Latina',
            '1 of 4 samples of train are of unknown place',
            '1 of 3 samples of val are of unknown place',
            '1 class of val not seen in train: ice',
            '1 class of test not seen in train: ice',
        ]
        read = warnings_of(leakage_report(ListedDataModule(LABELS)))
        assert (
            read[-1] == '1 class of test not seen in train (of the samples read): ice'
        )
        clean = leakage_report(SyntheticEarthDataModule(3, 2, 4, samples_per_domain=12))
        assert warnings_of(clean) == []
        assert 'Look at' not in report_text(clean)

    def test_long_lists_are_cut(self) -> None:
        lists = {s: [(name, 12, 42) for name in GROUPS] for s in SAMPLES}
        labels = {
            'train': [0] * 6,
            'val': list(range(1, 7)),
            'test': [*range(7, 12), 13],
        }
        names = tuple(f'c{n}' for n in range(14))
        report = leakage_report(ListedDataModule(labels, classes=names, samples=lists))
        found = [line for line in warnings_of(report) if 'class' in line]
        assert found[0].startswith('6 classes of val not seen in train (')
        assert found[0].endswith('): c1, c2, c3, c4, c5, c6')
        report.shares.splits.loc[names[1:], 'test'] = 0.1
        found = [line for line in warnings_of(report) if 'class' in line]
        assert found[1].endswith('c7, c8, and 5 more')

    def test_files(self, tmp_path: Path) -> None:
        report = leakage_report(ListedDataModule(LABELS))
        files = write_report(report, tmp_path / 'a' / 'b')
        assert [file.name for file in files] == ['domains.csv', 'domains.png']
        table = pd.read_csv(files[0], keep_default_na=False, na_values=[''])
        assert list(table.columns) == [
            *('split', 'domain', 'lon', 'lat', 'samples', 'unknown_place'),
            *('nearest', 'km', 'nearest_sample', 'sample_km'),
            *('share_water', 'share_land', 'share_ice'),
        ]
        assert table['domain'].tolist() == report.domains['domain'].tolist()
        np.testing.assert_allclose(
            table['km'], report.domains['km'], rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(table.iloc[:, -3:], report.shares.domains, rtol=1e-5)
        with Image.open(files[1]) as picture:
            assert picture.size[0] > 800
            assert len(picture.convert('RGB').getcolors(1 << 24) or ()) > 10

    def test_no_map_without_places(self, tmp_path: Path) -> None:
        class Unplaced(ListedDataModule):
            def configure_domains(self) -> None:
                super().configure_domains()
                self.domains = Domains(self.domains.names)

        nowhere = {s: [(n, NAN, NAN) for n, *_ in rows] for s, rows in SAMPLES.items()}
        report = leakage_report(Unplaced(samples=nowhere))
        assert [f.name for f in write_report(report, tmp_path)] == ['domains.csv']
        text = report_text(report)
        assert 'The nearest pairs' not in text
        assert '4 of 4 samples of train are of unknown place' in text


def test_cities_are_apart() -> None:
    # The tests of wrapped images rely on it.
    assert haversine(CITIES['athens'], CITIES['cairo']) > 500
