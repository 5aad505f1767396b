# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains for four of TorchGeo's own datamodules, on small files in their layout."""

import csv
import pickle
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
import torch
import yaml
from commands import torchgeo
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rasterio.warp import transform
from torch import Tensor
from torch.utils.data import Subset
from torchgeo.datamodules import (
    EuroSATDataModule,
    L8BiomeDataModule,
    LandCoverAIDataModule,
    LEVIRCDDataModule,
    NonGeoDataModule,
    OSCDDataModule,
)
from torchgeo.datasets import L8Biome, NonGeoDataset, roi_split, unbind_samples
from torchgeo.samplers import GriddedPatchSampler, RandomPatchSampler
from torchgeo.tasks import SemanticSegmentation

from datamodules.domain_files import (
    CELLS,
    CITIES,
    eurosat_place,
    write_eurosat,
    write_l8biome,
    write_landcoverai,
    write_levircd,
    write_oscd,
)
from torchgeo_experts import PriorAdaptation
from torchgeo_experts.datamodules import (
    AttributeDomains,
    ClusterDomains,
    DomainDataModule,
    FilePlaces,
    GridDomains,
    PolygonDomains,
    TableDomains,
)
from torchgeo_experts.tasks import (
    DomainChangeTask,
    DomainClassificationTask,
    DomainSegmentationTask,
)

pytestmark = [
    pytest.mark.filterwarnings('ignore:The inplace keyword'),
    pytest.mark.filterwarnings('ignore:Length of split at index'),
]
PLACE_KEYS = ('domain', 'group', 'lon', 'lat')


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files of all data sets, each in a folder of its own."""
    root = tmp_path_factory.mktemp('data')
    write_eurosat(root / 'eurosat')
    write_l8biome(root / 'l8biome')
    write_landcoverai(root / 'landcoverai')
    write_levircd(root / 'levircd')
    write_oscd(root / 'oscd')
    with (root / 'sheets.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['filename', 'domain', 'lon', 'lat'])
        for sheet, place in {
            '7-A': (15, 54),
            '20-D': (16, 53),
            '48-C': ('', ''),
        }.items():
            for number in range(12):
                writer.writerow([f'output/M-33-{sheet}_{number}.jpg', sheet, *place])
    return root


def eurosat(root: Path, rule: Any = None, **kwargs: Any) -> DomainDataModule:
    wrapped = EuroSATDataModule(batch_size=8, root=root / 'eurosat')
    rule = GridDomains(10) if rule is None else rule
    return DomainDataModule(wrapped, rule, **({'places': FilePlaces()} | kwargs))


def l8biome(root: Path, rule: Any = None, **kwargs: Any) -> DomainDataModule:
    wrapped = L8BiomeDataModule(
        4, 16, 40, kwargs.pop('num_workers', 0), paths=str(root / 'l8biome')
    )
    return DomainDataModule(wrapped, GridDomains(1) if rule is None else rule, **kwargs)


def landcoverai(root: Path, **kwargs: Any) -> DomainDataModule:
    wrapped = LandCoverAIDataModule(4, root=root / 'landcoverai')
    return DomainDataModule(wrapped, TableDomains(root / 'sheets.csv'), **kwargs)


def levircd(root: Path, **kwargs: Any) -> DomainDataModule:
    wrapped = LEVIRCDDataModule(2, 16, root=root / 'levircd')
    return DomainDataModule(wrapped, EvenOdd(), **kwargs)


def oscd(root: Path, **kwargs: Any) -> DomainDataModule:
    wrapped = OSCDDataModule(2, 16, val_split_pct=0.5, root=str(root / 'oscd'))
    return DomainDataModule(wrapped, AttributeDomains('region'), FilePlaces(), **kwargs)


class EvenOdd(AttributeDomains):
    """A rule of the user's own: names pairs by their number."""

    def __init__(self) -> None:
        super().__init__('image1')

    def names(self, samples: Any) -> list[str | None]:
        files = super().names(samples)
        return ['even' if int(str(f)[-5]) % 2 == 0 else 'odd' for f in files]


def trainer(folder: Path, **kwargs: Any) -> Trainer:
    return Trainer(
        accelerator='cpu',
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        **({'max_epochs': 1, 'enable_checkpointing': False} | kwargs),
    )


class Stage:
    """What a datamodule asks of a trainer."""

    training = validating = sanity_checking = testing = predicting = False

    def __init__(self, stage: str) -> None:
        setattr(self, stage, True)


def batches(datamodule: DomainDataModule, split: str) -> list[dict[str, Tensor]]:
    """Load all batches of a split, and augment them as in a run."""
    stage = {'train': 'training', 'val': 'validating', 'test': 'testing'}
    stages = {'train': 'fit', 'val': 'validate', 'test': 'test', 'predict': 'predict'}
    datamodule.setup(stages[split])
    datamodule.trainer = Stage(stage.get(split, 'predicting'))  # type: ignore[assignment]
    loader = getattr(datamodule, f'{split}_dataloader')()
    return [datamodule.on_after_batch_transfer(batch, 0) for batch in loader]


def check_places(batch: dict[str, Tensor]) -> None:
    """Check kinds and shapes of what samples are given."""
    size = len(batch['image'])
    for key in PLACE_KEYS:
        whole = key in ('domain', 'group')
        assert batch[key].shape == (size,), key
        assert batch[key].dtype == (torch.int64 if whole else torch.float32), key
    (*_, last) = unbind_samples(batch)
    assert last['domain'].shape == ()


#: What makes the datamodule of each kind of task, and the shapes of image and target.
KINDS: dict[str, tuple[Callable[..., DomainDataModule], str, Any, Any]] = {
    'classification': (eurosat, 'label', (13, 16, 16), ()),
    'rasters': (l8biome, 'mask', (11, 16, 16), (16, 16)),
    'segmentation': (landcoverai, 'mask', (3, 16, 16), (16, 16)),
    'change': (levircd, 'mask', (2, 3, 16, 16), (1, 16, 16)),
    'change_of_cities': (oscd, 'mask', (2, 13, 16, 16), (1, 16, 16)),
}


@pytest.mark.parametrize('kind', KINDS)
class TestAllKinds:
    def test_batches(self, root: Path, kind: str) -> None:
        make, target, image_shape, target_shape = KINDS[kind]
        datamodule = make(root)
        for split in ('train', 'test', 'predict'):
            found = batches(datamodule, split)
            assert found
            for batch in found:
                check_places(batch)
                assert batch['image'].shape[1:] == image_shape
                assert batch[target].shape[1:] == target_shape
                assert batch['image'].dtype == torch.float32
                assert batch[target].dtype == torch.int64
            domain = torch.cat([batch['domain'] for batch in found])
            assert domain.max() < datamodule.num_domains
            if split == 'train':
                assert domain.min() >= 0
            groups = torch.cat([batch['group'] for batch in found]).unique().tolist()
            present = tuple(datamodule.groups[i] for i in groups)
            assert present == datamodule.split_domains[split] or split == 'train'
            assert set(present) <= set(datamodule.split_domains[split])
        training = tuple(datamodule.domains)
        assert datamodule.groups[: len(training)] == training

    def test_same_seed_same_batches(
        self, root: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make = KINDS[kind][0]
        first, again, other = (make(root) for _ in range(3))
        places = []
        for seed, datamodule in ((1, first), (1, again), (2, other)):
            monkeypatch.setenv('PL_GLOBAL_SEED', str(seed))
            datamodule.setup('fit')
            loaded = list(datamodule.train_dataloader())
            places.append(
                [
                    torch.cat([batch[key] for batch in loaded]).nan_to_num()
                    for key in PLACE_KEYS
                ]
            )
        assert all(map(torch.equal, places[0], places[1]))
        assert not all(map(torch.equal, places[0], places[2]))
        # A resumed run goes on with its own seed.
        other.load_state_dict(first.state_dict() | {'seed': 1})
        loaded = list(other.train_dataloader())
        lon = torch.cat([batch['lon'] for batch in loaded]).nan_to_num()
        assert torch.equal(lon, places[0][2])

    def test_state_is_plain(self, root: Path, kind: str, tmp_path: Path) -> None:
        state = KINDS[kind][0](root).state_dict()
        torch.save(state, tmp_path / 'state.ckpt')
        assert torch.load(tmp_path / 'state.ckpt', weights_only=True) == state

    def test_test_alone_knows_the_training_domains(self, root: Path, kind: str) -> None:
        make = KINDS[kind][0]
        after_fit, alone = make(root), make(root)
        for stage in ('fit', 'test'):
            after_fit.setup(stage)
        alone.setup('test')
        assert tuple(alone.domains) == tuple(after_fit.domains)
        assert alone.split_domains['test'] == after_fit.split_domains['test']
        torch.testing.assert_close(
            alone.domains.lon, after_fit.domains.lon, equal_nan=True
        )


class TestClassification:
    def test_domains_and_places(self, root: Path) -> None:
        datamodule = eurosat(root)
        for stage in ('fit', 'test'):
            datamodule.setup(stage)
        assert tuple(datamodule.domains) == tuple(sorted(set(CELLS.values())))
        assert datamodule.groups == tuple(datamodule.domains)
        assert datamodule.num_classes == 10
        assert datamodule.classes == tuple(f'Class{i}' for i in range(10))
        for split in ('train', 'val', 'test'):
            dataset = getattr(datamodule, f'{split}_dataset')
            assert len(dataset) == 60
            for index in range(0, 60, 7):
                file = Path(dataset.imgs[index][0]).stem
                city = file.split('_')[1].rstrip('0123456789')
                lon, lat = eurosat_place(
                    city, int(file.removeprefix(file.split(city)[0] + city))
                )
                sample = dataset[index]
                assert sample['lon'].item() == pytest.approx(lon, abs=1e-5)
                assert sample['lat'].item() == pytest.approx(lat, abs=1e-5)
                assert datamodule.groups[sample['group']] == CELLS[city]
                assert sample['domain'] == sample['group']
                assert sample['label'] == int(file[5])

    def test_domain_lies_amid_its_samples(self, root: Path) -> None:
        datamodule = eurosat(root)
        datamodule.setup('fit')
        lima = tuple(datamodule.domains).index(CELLS['lima'])
        assert datamodule.domains.lon[lima] == pytest.approx(
            CITIES['lima'][0] + 0.045, abs=1e-4
        )

    def test_hold_out_domains(self, root: Path) -> None:
        datamodule = eurosat(
            root, val_domains=['S40E110'], test_domains=2, split_seed=1
        )
        for stage in ('fit', 'test', 'predict'):
            datamodule.setup(stage)
        splits = datamodule.split_domains
        assert splits['val'] == ('S40E110',)
        assert len(splits['test']) == 2 and len(splits['train']) == 2
        assert set().union(*splits.values()) == set(CELLS.values())
        assert splits['predict'] == splits['test']
        sizes = [
            len(getattr(datamodule, f'{s}_dataset')) for s in ('train', 'val', 'test')
        ]
        # All three splits of the data set, put together.
        assert sum(sizes) == 180 and sizes[1] == 30
        assert tuple(datamodule.domains) == splits['train']
        assert (
            datamodule.test_dataset is not None and datamodule.train_dataset is not None
        )
        assert (datamodule.test_dataset.domain == -1).all()
        assert (datamodule.train_dataset.domain >= 0).all()
        for index in (0, 31, -1):
            sample = datamodule.test_dataset[index]
            name = GridDomains(10).names(sample['lon'][None], sample['lat'][None])[0]
            assert name == datamodule.groups[sample['group']]
        again = eurosat(root, val_domains=['S40E110'], test_domains=2, split_seed=1)
        again.setup('test')
        assert again.split_domains['test'] == splits['test']

    def test_domains_per_batch(self, root: Path) -> None:
        datamodule = eurosat(root, domains_per_batch=4)
        datamodule.setup('fit')
        loader = datamodule.train_dataloader()
        assert len(loader) == 7
        for batch in loader:
            assert sorted(Counter(batch['domain'].tolist()).values()) == [2] * 4

    def test_min_samples(self, root: Path) -> None:
        # Athens has ten training samples, Berlin and Oslo share a domain with twenty.
        datamodule = eurosat(root, min_samples=11)
        with pytest.warns(
            UserWarning,
            match=r'4 domains .* min_samples=11 training samples of EuroSATData.*: N30E020, ',
        ):
            datamodule.setup('fit')
        with warnings.catch_warnings():
            warnings.simplefilter('error')  # once is enough
            datamodule.setup('validate')
        assert tuple(datamodule.domains) == ('N50E010',)
        assert (
            datamodule.train_dataset is not None and datamodule.val_dataset is not None
        )
        assert (len(datamodule.train_dataset), len(datamodule.val_dataset)) == (20, 60)
        assert datamodule.split_domains['val'] == datamodule.groups
        with pytest.raises(
            ValueError, match=r'no domain to train on: .*domain has 20 \(min'
        ):
            eurosat(root, min_samples=21).setup('fit')

    def test_clusters_are_those_of_training_places(self, root: Path) -> None:
        datamodule = eurosat(root, ClusterDomains(6))
        datamodule.setup('fit')
        assert datamodule.num_domains == 6
        assert datamodule.train_dataset is not None
        counts = Counter(datamodule.train_dataset.domain.tolist())
        assert set(counts.values()) == {10}
        # From west to east.
        lon = sorted(place[0] for place in CITIES.values())
        torch.testing.assert_close(
            datamodule.domains.lon,
            torch.tensor(lon).double() + 0.045,
            rtol=0,
            atol=1e-3,
        )

    def test_samples_in_no_domain(self, root: Path, tmp_path: Path) -> None:
        frame = gpd.GeoDataFrame(
            {'name': ['Europe', 'Peru']},
            geometry=[shapely.box(0, 35, 30, 70), shapely.box(-80, -20, -70, 0)],
            crs='EPSG:4326',
        )
        frame.to_file(tmp_path / 'regions.gpkg')
        datamodule = eurosat(root, PolygonDomains(tmp_path / 'regions.gpkg', 'name'))
        with pytest.warns(
            UserWarning, match=r'^20 of 60 training samples of EuroSATData.* left'
        ):
            datamodule.setup('fit')
        assert tuple(datamodule.domains) == ('Europe', 'Peru')
        assert datamodule.groups == ('Europe', 'Peru', 'elsewhere')
        assert (
            datamodule.train_dataset is not None and datamodule.val_dataset is not None
        )
        assert (len(datamodule.train_dataset), len(datamodule.val_dataset)) == (40, 60)
        assert Counter(datamodule.val_dataset.group.tolist()) == {0: 30, 1: 10, 2: 20}
        assert (
            datamodule.val_dataset.domain[datamodule.val_dataset.group == 2] == -1
        ).all()
        far = frame.set_geometry([shapely.box(0, 0, 1, 1)] * 2, crs='EPSG:4326')
        far.to_file(tmp_path / 'far.gpkg')
        rule = PolygonDomains(tmp_path / 'far.gpkg', 'name')
        with pytest.raises(
            ValueError,
            match=r'60 of 60 training samples of EuroSATDataModule are in no domain',
        ):
            eurosat(root, rule).setup('fit')

    def test_places_are_needed(self, root: Path) -> None:
        with pytest.raises(
            ValueError,
            match=r'GridDomains names domains by place, and EuroSAT does not tell',
        ):
            eurosat(root, places=None).setup('fit')

    def test_classes(self, root: Path) -> None:
        datamodule = eurosat(root, classes=['a', 'b'])
        datamodule.setup('fit')
        assert datamodule.classes == ('a', 'b')

    def test_plot(self, root: Path) -> None:
        datamodule = eurosat(root)
        datamodule.setup('fit')
        assert datamodule.val_dataset is not None
        sample = datamodule.val_dataset[0]
        figure = datamodule.plot(sample)
        assert figure is not None
        assert figure.axes[0].get_title() == 'Label: Class0'


#: Tasks that are fitted with the datamodule of their kind.
TASKS: dict[str, Callable[[], Any]] = {
    'classification': lambda: DomainClassificationTask(
        model='test_resnet', in_channels=13, num_classes=10
    ),
    'rasters': lambda: DomainSegmentationTask(
        backbone='resnet18', in_channels=11, num_classes=5
    ),
    'segmentation': lambda: DomainSegmentationTask(backbone='resnet18', num_classes=5),
    'change': lambda: DomainChangeTask(backbone='resnet18'),
    'change_of_cities': lambda: DomainChangeTask(backbone='resnet18', in_channels=13),
}


@pytest.mark.parametrize('kind', TASKS)
def test_fit(root: Path, tmp_path: Path, kind: str) -> None:
    datamodule, task = KINDS[kind][0](root), TASKS[kind]()
    run = trainer(tmp_path, callbacks=[PriorAdaptation()])
    run.fit(task, datamodule)
    assert task.domain_names == tuple(datamodule.domains)
    assert task.hparams['num_domains'] == datamodule.num_domains
    assert datamodule.datamodule.trainer is run
    (scores,) = run.test(task, datamodule, verbose=False)
    assert 0 <= scores['test_WorstDomainOverallAccuracy'] <= 1
    assert 0 <= scores['test_PriorAdaptedOverallAccuracy'] <= 1
    with (tmp_path / 'domains.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert {row['domain'] for row in rows if int(row['samples'])} == set(
        datamodule.split_domains['test']
    )
    assert run.predict(task, datamodule)


class TestRasters:
    def test_patches_lie_in_their_scene(self, root: Path) -> None:
        """Pixels tell the scene, and the scene its place."""
        datamodule = l8biome(root)
        for stage in ('fit', 'test'):
            datamodule.setup(stage)
        seen = set()
        files: dict[tuple[int, int], set[int]] = {}
        for number, loader in enumerate(
            (
                datamodule.train_dataloader(),
                datamodule.val_dataloader(),
                datamodule.test_dataloader(),
            )
        ):
            for batch in loader:
                scene = batch['image'].amax(dim=(1, 2, 3)).long()
                names = [f'N45E{4 + number:03}' for number in scene.tolist()]
                assert [datamodule.groups[i] for i in batch['group']] == names
                assert (
                    datamodule.domains.ids(names).tolist() == batch['domain'].tolist()
                )
                seen |= set(names)
                for pair in zip(batch['scene'].tolist(), scene.tolist(), strict=True):
                    files.setdefault((number, pair[0]), set()).add(pair[1])
        assert len(seen) == 10
        # Each number of a scene, of one data set, is one file.
        assert {len(scenes) for scenes in files.values()} == {1}
        assert all(number >= 0 for _, number in files)
        assert datamodule.num_classes == 5

    def test_places(self, root: Path) -> None:
        """As GDAL transforms the centres of what the sampler gives."""
        datamodule = l8biome(root)
        datamodule.setup('fit')
        wrapped: Any = datamodule.datamodule
        patches = list(wrapped.val_sampler)
        batch = [datamodule.val_dataset[patch] for patch in patches]  # type: ignore[index]
        x, y = ([(p[i].start + p[i].stop) / 2 for p in patches] for i in (0, 1))
        expected = transform('EPSG:3857', 'EPSG:4326', x, y)
        for key, values in zip(('lon', 'lat'), expected, strict=True):
            found = torch.stack([sample[key] for sample in batch])
            torch.testing.assert_close(
                found, torch.tensor(values).float(), rtol=0, atol=1e-6
            )

    def test_training_domains_are_where_patches_fall(self, root: Path) -> None:
        # Two scenes to a cell, and half a scene.
        datamodule = l8biome(root, GridDomains(2))
        datamodule.setup('fit')
        drawn = set()
        for _ in range(5):
            for batch in datamodule.train_dataloader():
                drawn |= set(batch['domain'].tolist())
        assert drawn == set(range(datamodule.num_domains))

    def test_patches_outside_are_not_drawn(self, root: Path, tmp_path: Path) -> None:
        frame = gpd.GeoDataFrame(
            {'name': ['west', 'east']},
            geometry=[shapely.box(5, 40, 7, 50), shapely.box(7, 40, 9.5, 50)],
            crs='EPSG:4326',
        )
        frame.to_file(tmp_path / 'regions.gpkg')
        datamodule = l8biome(root, PolygonDomains(tmp_path / 'regions.gpkg', 'name'))
        with pytest.warns(
            UserWarning, match=r'of \d+ places of training patches of L8B'
        ):
            datamodule.setup('fit')
        assert tuple(datamodule.domains) == ('east', 'west')
        loader = datamodule.train_dataloader()
        loaded = list(loader)
        assert len(loaded) == len(loader) == 10
        assert min(int(batch['domain'].min()) for batch in loaded) == 0
        # Half a scene lies in the polygon.
        assert max(float(batch['lon'].max()) for batch in loaded) <= 9.5
        assert 'elsewhere' in datamodule.split_domains['val']

    def test_min_samples(self, root: Path) -> None:
        datamodule = l8biome(root, min_samples=50)
        with pytest.raises(
            ValueError, match=r'no domain to train on: 0 of \d+ places of train'
        ):
            datamodule.setup('fit')

    def test_workers(self, root: Path) -> None:
        alone, helped = l8biome(root), l8biome(root, num_workers=2)
        found = []
        for datamodule in (alone, helped):
            datamodule.setup('fit')
            batch = next(iter(datamodule.train_dataloader()))
            found.append([batch[key] for key in ('image', *PLACE_KEYS)])
        for one, other in zip(*found, strict=True):
            assert torch.equal(one, other)

    def test_fit_test_predict(self, root: Path, tmp_path: Path) -> None:
        """With TorchGeo's own task: nothing is in its way."""
        datamodule = l8biome(root)
        task = SemanticSegmentation(
            model='fcn', num_filters=2, in_channels=11, num_classes=5, lr=1e-3
        )
        run = trainer(tmp_path, max_epochs=2, limit_val_batches=2)
        run.fit(task, datamodule)
        # Another epoch, other patches.
        loader: Any = run.train_dataloader
        assert loader.sampler.epoch == 1
        assert run.test(task, datamodule, verbose=False)
        assert run.predict(task, datamodule)

    def test_one_data_set_for_all_splits(self, root: Path) -> None:
        """Splits are made by the regions of samplers, as NAIPChesapeake does."""

        class Regions(L8BiomeDataModule):
            def setup(self, stage: str) -> None:
                self.dataset = L8Biome(**self.kwargs)
                west, east = shapely.box(0, 0, 9e5, 9e6), shapely.box(9e5, 0, 5e6, 9e6)
                self.train_sampler = RandomPatchSampler(
                    self.dataset, size=16, length=20, roi=west
                )
                self.val_sampler = GriddedPatchSampler(self.dataset, size=16, roi=east)

        wrapped = Regions(4, 16, paths=str(root / 'l8biome'))
        datamodule = DomainDataModule(wrapped, GridDomains(1))
        for _ in range(2):  # as in a second fit
            datamodule.setup('fit')
            train, val = (datamodule.split_domains[split] for split in ('train', 'val'))
            assert max(train) < 'N45E008' <= min(val)
            assert tuple(datamodule.domains) == train
            assert len(list(datamodule.train_dataloader())) == 5
            lon = [float(b['lon'].min()) for b in datamodule.val_dataloader()]
            assert min(lon) > 8.085
            assert wrapped.train_dataset is None

    def test_union_and_regions(self, root: Path) -> None:
        """A user's own datamodule, split by regions of interest."""

        class Regions(L8BiomeDataModule):
            def setup(self, stage: str) -> None:
                super().setup(stage)
                assert self.train_dataset is not None and self.val_dataset is not None
                both = self.train_dataset | self.val_dataset  # type: ignore[operator]
                west, east = shapely.box(0, 0, 9e5, 9e6), shapely.box(9e5, 0, 5e6, 9e6)
                self.train_dataset, self.val_dataset = roi_split(both, [west, east])
                if stage == 'fit':
                    from torchgeo.samplers import (
                        GriddedPatchSampler,
                        RandomPatchSampler,
                    )

                    self.train_sampler = RandomPatchSampler(
                        self.train_dataset, size=16, length=20
                    )
                    self.val_sampler = GriddedPatchSampler(self.val_dataset, size=16)

        wrapped = Regions(4, 16, paths=str(root / 'l8biome'))
        datamodule = DomainDataModule(wrapped, GridDomains(1))
        datamodule.setup('fit')
        train, val = (datamodule.split_domains[split] for split in ('train', 'val'))
        # 9e5 metres are 8.085 degrees.
        assert max(train) < 'N45E008' <= min(val)
        for batch in datamodule.train_dataloader():
            check_places(batch)
            assert batch['lon'].max() < 8.085

    @pytest.mark.parametrize(
        ('rule', 'kwargs', 'error', 'message'),
        [
            (
                AttributeDomains('x'),
                {},
                TypeError,
                r'AttributeDomains .* L8Bio.*GridDomains',
            ),
            (
                None,
                {'places': FilePlaces()},
                ValueError,
                'places is for data sets of images',
            ),
            (
                None,
                {'val_domains': 1, 'test_domains': 1},
                ValueError,
                r'val_dom.*roi_split',
            ),
            (None, {'domains_per_batch': 2}, ValueError, 'domains_per_batch is for'),
        ],
    )
    def test_what_rasters_cannot(
        self, root: Path, rule: Any, kwargs: Any, error: Any, message: str
    ) -> None:
        with pytest.raises(error, match=message):
            l8biome(root, rule, **kwargs)


class TestSegmentation:
    def test_table(self, root: Path) -> None:
        datamodule = landcoverai(root)
        datamodule.setup('fit')
        assert tuple(datamodule.domains) == ('20-D', '48-C', '7-A')
        torch.testing.assert_close(
            datamodule.domains.lon,
            torch.tensor([16, torch.nan, 15]).double(),
            equal_nan=True,
        )
        assert datamodule.classes == (
            'Background',
            'Building',
            'Woodland',
            'Water',
            'Road',
        )
        dataset: Any = datamodule.train_dataset
        names = [identifier.strip().split('_')[0][5:] for identifier in dataset.ids]
        assert [datamodule.groups[i] for i in dataset.group] == names
        lat = torch.stack([dataset[index]['lat'] for index in range(len(dataset))])
        expected = [
            {'7-A': 54.0, '20-D': 53.0, '48-C': torch.nan}[name] for name in names
        ]
        torch.testing.assert_close(lat, torch.tensor(expected), equal_nan=True)

    def test_hold_out_a_sheet(self, root: Path) -> None:
        datamodule = landcoverai(root, val_domains=['7-A'], test_domains=['48-C'])
        found = batches(datamodule, 'test')
        assert sum(len(batch['image']) for batch in found) == 12
        assert {int(d) for batch in found for d in batch['domain']} == {-1}
        assert datamodule.groups == ('20-D', '48-C')

    def test_missing_row(self, root: Path, tmp_path: Path) -> None:
        lines = (root / 'sheets.csv').read_text().splitlines()
        (tmp_path / 'short.csv').write_text('\n'.join(lines[:-11]))
        wrapped = LandCoverAIDataModule(4, root=root / 'landcoverai')
        datamodule = DomainDataModule(wrapped, TableDomains(tmp_path / 'short.csv'))
        with pytest.raises(
            ValueError,
            match=r"short.csv: no row for 3 of 12 .*LandCoverAI, .*'M-33-48-C_1'",
        ):
            datamodule.setup('fit')


class TestChange:
    @pytest.mark.parametrize('make', [levircd, oscd])
    def test_masks_fit_images(
        self, root: Path, make: Callable[[Path], DomainDataModule]
    ) -> None:
        """Crops of images and masks are the same, with any version of kornia."""
        datamodule = make(root)
        for split in ('train', 'test'):
            for batch in batches(datamodule, split):
                shown = batch['image'][:, :, 0]
                high = shown > (shown.amin() + shown.amax()) / 2
                assert torch.equal(high[:, 0], batch['mask'][:, 0].bool())
                assert torch.equal(high[:, 1], batch['mask'][:, 0].bool())

    def test_cities(self, root: Path) -> None:
        datamodule = oscd(root)
        datamodule.setup('fit')
        datamodule.setup('test')
        train = datamodule.train_dataset
        assert train is not None and isinstance(train.dataset, Subset)
        # All else is the data set's own.
        assert {file['region'] for file in train.files} == set(CITIES) - {
            'lima',
            'perth',
        }
        assert datamodule.split_domains['test'] == ('lima', 'perth')
        places = [CITIES[name] for name in datamodule.domains]
        found = torch.stack([datamodule.domains.lon, datamodule.domains.lat], dim=1)
        torch.testing.assert_close(
            found, torch.tensor(places).double(), rtol=0, atol=1e-5
        )

    def test_hold_out_cities(self, root: Path) -> None:
        datamodule = oscd(root, val_domains=['oslo'], test_domains=['cairo', 'lima'])
        datamodule.setup('test')
        assert tuple(datamodule.domains) == ('athens', 'berlin', 'perth')
        assert datamodule.split_domains['test'] == ('cairo', 'lima')


class Squares(NonGeoDataset):
    """A data set with three places that it tells itself."""

    def __init__(self, split: str = 'train') -> None:
        self.lon, self.lat = [1.0, 21.0, 41.0] * 2, [5.0] * 6

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image = torch.zeros(3, 4, 4)
        return {
            'image': image,
            'label': torch.tensor(0),
            'lon': torch.tensor(7.0).double(),
        }


class TestOtherDatamodules:
    def test_places_of_the_data_set(self) -> None:
        datamodule = DomainDataModule(NonGeoDataModule(Squares, 2), GridDomains(10))
        datamodule.setup('fit')
        assert tuple(datamodule.domains) == ('N00E000', 'N00E020', 'N00E040')
        batch = next(iter(datamodule.val_dataloader()))
        assert batch['lon'].tolist() == [1, 21] and batch['lon'].dtype == torch.float32
        assert datamodule.num_classes is None and datamodule.classes == ()

    def test_wrong_places(self) -> None:
        class Wrong(Squares):
            def __init__(self, split: str) -> None:
                super().__init__(split)
                self.lat[4] = 95.0

        datamodule = DomainDataModule(NonGeoDataModule(Wrong, 2), GridDomains(10))
        with pytest.raises(
            ValueError, match=r'Wrong, sample 4: lon=21, lat=95 is no place'
        ):
            datamodule.setup('fit')

    def test_validation_on_training_samples(self) -> None:
        """Samples that are in two splits are pooled once."""

        class Shared(NonGeoDataModule):
            def setup(self, stage: str) -> None:
                dataset = Squares()
                self.train_dataset = self.val_dataset = Subset(dataset, range(4))
                self.test_dataset = Subset(dataset, [4, 5])

        datamodule = DomainDataModule(
            Shared(Squares, 1), GridDomains(10), val_domains=1, test_domains=1
        )
        for stage in ('fit', 'test'):
            datamodule.setup(stage)
        sizes = [
            len(getattr(datamodule, f'{s}_dataset')) for s in ('train', 'val', 'test')
        ]
        assert sizes == [2, 2, 2]

    def test_collate_that_leaves_out(self) -> None:
        wrapped: Any = NonGeoDataModule(Squares, 2)
        wrapped.collate_fn = lambda samples: {
            'image': torch.stack([s['image'] for s in samples])
        }
        datamodule = DomainDataModule(wrapped, GridDomains(10))
        datamodule.setup('fit')
        batch = next(iter(datamodule.train_dataloader()))
        check_places(batch)
        assert set(batch) == {'image', *PLACE_KEYS}

    def test_no_such_split(self) -> None:
        class TrainOnly(NonGeoDataModule):
            def setup(self, stage: str) -> None:
                self.train_dataset = self.val_dataset = Squares()

        datamodule = DomainDataModule(TrainOnly(Squares, 2), GridDomains(10))
        datamodule.setup('fit')
        for stage in ('test', 'predict'):
            with pytest.raises(MisconfigurationException, match=f'no {stage} data set'):
                datamodule.setup(stage)

    def test_prediction_has_a_data_set_of_its_own(self) -> None:
        class Public(NonGeoDataModule):
            def setup(self, stage: str) -> None:
                super().setup(stage)
                if stage == 'predict':
                    self.predict_dataset = Subset(Squares(), [2])

        datamodule = DomainDataModule(Public(Squares, 2), GridDomains(10))
        datamodule.setup('predict')
        assert datamodule.split_domains['predict'] == ('N00E040',)
        assert len(list(datamodule.predict_dataloader())) == 1

    def test_samplers_of_batches(self, root: Path) -> None:
        wrapped: Any = L8BiomeDataModule(4, 16, 8, paths=str(root / 'l8biome'))
        setup = wrapped.setup

        def batched(stage: str) -> None:
            setup(stage)
            wrapped.train_batch_sampler, wrapped.train_sampler = [[]], None

        wrapped.setup = batched
        with pytest.raises(MisconfigurationException, match='has no train_sampler'):
            DomainDataModule(wrapped, GridDomains(1)).setup('fit')

    def test_all_else_is_the_data_sets_own(self) -> None:
        datamodule = DomainDataModule(NonGeoDataModule(Squares, 2), GridDomains(10))
        datamodule.setup('fit')
        dataset: Any = datamodule.val_dataset
        assert dataset.all_bands == ()
        assert not hasattr(dataset, 'nothing') and not hasattr(dataset, '__nothing__')

    def test_pickle(self) -> None:
        datamodule = DomainDataModule(NonGeoDataModule(Squares, 2), GridDomains(10))
        datamodule.setup('fit')
        dataset = pickle.loads(pickle.dumps(datamodule.train_dataset))
        assert len(dataset) == 6 and dataset.lat[0] == 5

    def test_arguments(self) -> None:
        with pytest.raises(
            ValueError, match=r'give both .* or neither; found 2 and None'
        ):
            DomainDataModule(
                NonGeoDataModule(Squares, 2), GridDomains(10), val_domains=2
            )


def test_from_yaml(root: Path, tmp_path: Path) -> None:
    """As a user does: their YAML, put inside."""
    names = 'torchgeo_experts.datamodules.'
    config = {
        'trainer': {
            'max_epochs': 1,
            'accelerator': 'cpu',
            'enable_progress_bar': False,
        },
        'model': {
            'class_path': 'torchgeo_experts.DomainClassificationTask',
            'init_args': {'model': 'test_resnet', 'in_channels': 13, 'num_classes': 10},
        },
        'data': {
            'class_path': f'{names}DomainDataModule',
            'init_args': {
                'datamodule': {
                    'class_path': 'torchgeo.datamodules.EuroSATDataModule',
                    'init_args': {'batch_size': 8},
                    'dict_kwargs': {'root': str(root / 'eurosat')},
                },
                'domains': {
                    'class_path': f'{names}ClusterDomains',
                    'init_args': {'count': 4},
                },
                'places': {'class_path': f'{names}FilePlaces'},
                'val_domains': ['cluster 1'],
                'test_domains': 1,
            },
        },
    }
    (tmp_path / 'config.yaml').write_text(yaml.safe_dump(config))
    arguments = ['--config', str(tmp_path / 'config.yaml')]
    arguments += ['--trainer.default_root_dir', str(tmp_path)]
    torchgeo(['fit', *arguments])
    (path,) = tmp_path.glob('lightning_logs/*/checkpoints/*.ckpt')
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint['hyper_parameters']['num_domains'] == 2
    assert checkpoint['DomainDataModule'] == {'seed': 0}
    torchgeo(['test', *arguments, '--ckpt_path', str(path)])
    task = DomainClassificationTask.load_from_checkpoint(path, weights_only=True)
    assert task.hparams['in_channels'] == 13
    assert not {'datamodule', 'domains'} & set(task.hparams)
