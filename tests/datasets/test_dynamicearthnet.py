# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import json
import pickle
import re
import shutil
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from torch.utils.data import DataLoader
from torchgeo.datasets import DatasetNotFoundError

from datasets.dynamicearthnet_files import (
    CELLS,
    CUBES,
    TEST,
    TRAIN,
    VAL,
    grey,
    image_path,
    label_path,
    labels,
    one_hot,
    reflectances,
    write_geotiff,
    write_labels,
    write_processed,
    write_raw,
)
from torchgeo_experts.datasets.dynamicearthnet import CLASSES, DynamicEarthNet
from torchgeo_experts.datasets.dynamicearthnet_places import SPLITS
from torchgeo_experts.datasets.dynamicearthnet_raw import month_of

DATA = Path(__file__).parents[3] / 'shared' / 'data'
DAYS = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
DAYS += [365, 396, 424, 455, 485, 516, 546, 577, 608, 638, 669, 699]
#: Centre of the tile of each cube in degrees, as the project that made them gives it.
PLACES = {
    '1311_3077_13': (-122.36572265625, 40.79717741518767),
    '2470_5030_13': (-71.43310546875, -37.94419750075404),
    '1286_2921_13': (-123.46435546875, 45.78284835197676),
}


@pytest.fixture(scope='module')
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp('raw'))


@pytest.fixture(scope='module')
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('processed')
    write_processed(folder / 'DynamicEarthNet')
    return folder


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Cubes of the official split that are not there are warned of: not here."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', r'.*cubes (are left out|with months)')
        yield


def index_of(place: int, cell: tuple[int, int]) -> int:
    return place * 64 + cell[0] * 8 + cell[1]


def expected_mask(cube: str, cell: tuple[int, int], num_classes: int) -> np.ndarray:
    maps = np.stack([labels(cube, month, cell) for month in range(24)]).astype(int)
    maps[maps >= num_classes] = 255
    return maps


class TestPlaces:
    def test_official_splits(self) -> None:
        assert [len(SPLITS[split]) for split in ('train', 'val', 'test')] == [
            55,
            10,
            10,
        ]
        names = [name for split in SPLITS.values() for name in split]
        assert len(set(names)) == 75
        assert all(list(split) == sorted(split) for split in SPLITS.values())

    def test_real_table(self) -> None:
        path = DATA / 'dynamicearthnet_lonlat.json'
        if not path.exists():
            pytest.skip('no table of places')
        table = json.loads(path.read_text())
        assert {s: sorted(cubes) for s, cubes in table.items()} == {
            s: list(cubes) for s, cubes in SPLITS.items()
        }

    @pytest.mark.parametrize(
        ('name', 'month'),
        [
            ('2018-01-01.tif', 0),
            ('2019-12-01.tif', 23),
            ('10N-122W-40N-L3H-SR-2018_02_01.tif', 1),
            ('10N-122W-40N-L3H-SR-2019-01-01.TIF', 12),
            ('2018-01-02.tif', None),
            ('2018-13-01.tif', None),
            ('2017-12-01.tif', None),
            ('2020-01-01.tif', None),
            ('2018-01-01.tif.aux.xml', None),
            ('._2018-01-01.tif', None),
            ('readme.tif', None),
        ],
    )
    def test_month(self, name: str, month: int | None) -> None:
        assert month_of(name) == month


class TestRaw:
    @pytest.mark.parametrize('num_classes', [6, 7])
    def test_samples(self, raw: Path, num_classes: Any) -> None:
        dataset = DynamicEarthNet(raw, 'train', num_classes)
        assert dataset.form == 'raw'
        assert dataset.classes == CLASSES[:num_classes]
        assert dataset.places == TRAIN and len(dataset) == 4 * 64
        for place, cube in enumerate(TRAIN):
            for cell in CELLS[:: 2 if place else 1]:
                sample = dataset[index_of(place, cell)]
                files = [reflectances(cube, month, cell) for month in range(24)]
                # Files begin with blue.
                expected = np.stack(files)[:, [2, 1, 0, 3]]
                assert sample['image'].dtype == torch.float32
                np.testing.assert_array_equal(sample['image'], expected)
                assert sample['mask'].dtype == torch.int64
                mask = expected_mask(cube, cell, num_classes)
                np.testing.assert_array_equal(sample['mask'], mask)
                assert sample['dates'].tolist() == DAYS
                assert sample['valid'].all()
                assert sample['domain'] == sample['group'] == place
        blank = dataset[index_of(0, (0, 1))]
        assert not blank['image'].any()
        # No band of the labels is set there.
        assert (blank['mask'] == 255).all()

    def test_splits_and_places(self, raw: Path) -> None:
        groups = (*TRAIN, *TEST, *VAL)
        for split, cubes, group in (('train', TRAIN, 0), ('val', VAL, 5)):
            dataset = DynamicEarthNet(raw, split)
            assert dataset.places == cubes and dataset.groups == groups
            assert dataset.domains.names == TRAIN
            assert dataset.group[0] == group
        test = DynamicEarthNet(raw, 'test')
        assert test.domain.unique().tolist() == [-1]
        assert test.group.unique().tolist() == [4]
        for dataset, cube, start in (
            (DynamicEarthNet(raw), '1311_3077_13', 0),
            (DynamicEarthNet(raw), '2470_5030_13', 128),
            (test, '1286_2921_13', 0),
        ):
            lon, lat = PLACES[cube]
            corners = [start, start + 63]
            # 7 of 8 patches of 384 m between the two, half of that to the centre.
            north = 3.5 * 384 / 6378137 * 180 / np.pi
            east = north / np.cos(np.radians(lat))
            np.testing.assert_allclose(
                dataset.lon[corners], [lon - east, lon + east], atol=5e-5
            )
            np.testing.assert_allclose(
                dataset.lat[corners], [lat + north, lat - north], atol=5e-5
            )

    def test_in_a_folder_of_root(self, raw: Path, tmp_path: Path) -> None:
        (tmp_path / 'DynamicEarthNet').symlink_to(raw)
        dataset = DynamicEarthNet(tmp_path, 'val')
        assert dataset.places == VAL and dataset.form == 'raw'
        expected = DynamicEarthNet(raw, 'val')[0]['image']
        assert torch.equal(dataset[0]['image'], expected)

    def test_missing_month(self, tmp_path: Path) -> None:
        write_raw(tmp_path, [TRAIN[0]], months=[0, 3, 23])
        label_path(tmp_path, TRAIN[0], 23).unlink()
        image_path(tmp_path, TRAIN[0], 3).unlink()
        with pytest.warns(UserWarning) as caught:
            dataset = DynamicEarthNet(tmp_path)
        messages = [str(warning.message) for warning in caught]
        gaps = [m for m in messages if 'with months without' in m]
        assert len(gaps) == 2
        assert (
            'without image (how many), which are ignored: 1311_3077_13 (22)' in gaps[0]
        )
        assert (
            'without label (how many), which are ignored: 1311_3077_13 (22)' in gaps[1]
        )
        sample = dataset[0]
        assert sample['valid'].nonzero().flatten().tolist() == [0, 23]
        assert not sample['image'][1:23].any()
        assert (sample['mask'][1:] == 255).all()
        first = expected_mask(TRAIN[0], (0, 0), 6)[0]
        np.testing.assert_array_equal(sample['mask'][0], first)
        last = reflectances(TRAIN[0], 23, (0, 0))[[2, 1, 0, 3]]
        np.testing.assert_array_equal(sample['image'][23], last)

    def test_several_classes_of_a_pixel(self, tmp_path: Path) -> None:
        write_raw(tmp_path, [TRAIN[0]], months=[0])
        classes = np.zeros((128, 128), int)
        bands = one_hot(classes)
        bands[5, :64] = 255
        bands[3, 64:] = 1
        bands[0, 64:, :64] = 0
        write_geotiff(label_path(tmp_path, TRAIN[0], 0), {(0, 0): bands}, 7, 'uint8')
        mask = DynamicEarthNet(tmp_path)[0]['mask'][0]
        assert (mask[:64] == 255).all()
        assert (mask[64:, :64] == 3).all() and (mask[64:, 64:] == 255).all()

    def test_missing_cubes(self, raw: Path) -> None:
        with pytest.warns(
            UserWarning, match=r'left out of the val split: no images of'
        ):
            DynamicEarthNet(raw, 'val')
        with pytest.warns(UserWarning) as caught:
            DynamicEarthNet(raw, 'train')
        (message,) = (str(warning.message) for warning in caught)
        images, labels = message.split('; ')
        # Missing at the publisher.
        assert '1417_3281_13' in images and 'no labels of 1417_3281_13' in labels
        assert '1311_3077_13' not in message and '1286_2921_13' not in message
        assert caught[0].filename == __file__

    def test_only_planet_is_missing(self, tmp_path: Path) -> None:
        write_raw(tmp_path, TRAIN[:2], months=[0])
        shutil.rmtree(tmp_path / 'planet')
        with pytest.warns(UserWarning, match=r'split: no images of 1311_3077_13, .*;'):
            dataset = DynamicEarthNet(tmp_path)
        assert dataset.places == TRAIN[1:2]

    def test_no_labels_for_test(self, tmp_path: Path) -> None:
        write_raw(tmp_path, (*TRAIN[:1], *TEST), months=[0])
        shutil.rmtree(tmp_path / 'labels' / '1286_2921_13_10N')
        message = (
            rf'^{re.escape(str(tmp_path))}: the test split is empty: no images of 1330_.*'
            r'no labels of 1286_2921_13, .*labels of validation and test cubes at'
            r' https://mediatum\.ub\.tum\.de/1738088$'
        )
        with pytest.raises(ValueError, match=message):
            DynamicEarthNet(tmp_path, 'test')
        # Other splits do without.
        assert len(DynamicEarthNet(tmp_path, 'train')) == 64

    def test_no_training_cube(self, tmp_path: Path) -> None:
        write_raw(tmp_path, TEST, months=[0])
        with pytest.raises(ValueError, match='the train split is empty: no images of'):
            DynamicEarthNet(tmp_path, 'test')

    def test_copies(self, tmp_path: Path) -> None:
        write_raw(tmp_path, TRAIN[:1], months=[0])
        folder = image_path(tmp_path, TRAIN[0], 0).parent
        shutil.copytree(folder, tmp_path / 'planet.10N' / '1311_3077_13' / 'PF-SR')
        message = r'two files of one month of the cube 1311_3077_13: .* and .*: remove'
        with pytest.raises(ValueError, match=message):
            DynamicEarthNet(tmp_path)

    def test_damaged_files(self, tmp_path: Path) -> None:
        write_raw(tmp_path, TRAIN[:1], months=[0, 1])
        dataset = DynamicEarthNet(tmp_path)
        path = image_path(tmp_path, TRAIN[0], 1)
        whole = path.read_bytes()
        path.write_bytes(whole[:2000])
        with pytest.raises(OSError, match=rf'cannot read {re.escape(str(path))}'):
            dataset[0]
        path.write_bytes(whole)
        path = label_path(tmp_path, TRAIN[0], 0)
        write_geotiff(path, {}, 3, 'uint8')
        with pytest.raises(ValueError, match=rf'{path.name} has 3 bands, there is no'):
            dataset[0]
        write_geotiff(path, {}, 7, 'uint8', 1024, 512)
        with pytest.raises(ValueError, match=rf'{path.name} has 1024 rows and 512 col'):
            dataset[0]

    def test_real_crops(self, tmp_path: Path) -> None:
        """Real pixels, enlarged to whole images of the true layout."""
        crops = sorted((DATA / 'geobench2_mini' / 'dynamicearthnet').glob('*.npz'))
        if not crops:
            pytest.skip('no real crops')
        expected = {}
        for path in crops:
            cube, month = path.stem[:12], path.stem[-7:]
            with np.load(path) as crop:
                first = crop['dates'].tolist().index(f'{month}-01')
                image, classes = crop['planet'][first], crop['label']
            # Four pixels of a crop make a patch.
            image = image[:, 4:8, 8:12].repeat(32, axis=1).repeat(32, axis=2)
            classes = classes[4:8, 8:12].repeat(32, axis=0).repeat(32, axis=1)
            number = 12 * (int(month[:4]) - 2018) + int(month[5:]) - 1
            folder = tmp_path / 'planet' / '16N' / '11E-89N' / cube / 'PF-SR'
            write_geotiff(folder / f'{month}-01.tif', {(1, 2): image}, 4, 'int16')
            folder = tmp_path / 'labels' / f'{cube}_16N' / 'Labels' / 'Raster' / 'x'
            bands = {(1, 2): one_hot(classes)}
            write_geotiff(folder / f'x-{month}-01.tif', bands, 7, 'uint8')
            expected[cube] = (number, image[[2, 1, 0, 3]], classes)
        dataset = DynamicEarthNet(tmp_path)
        assert dataset.places == tuple(expected)
        for place, (month, image, classes) in enumerate(expected.values()):
            sample = dataset[index_of(place, (1, 2))]
            np.testing.assert_array_equal(sample['image'][month], image)
            np.testing.assert_array_equal(sample['mask'][month], classes)
            assert sample['valid'].nonzero().flatten().tolist() == [month]


class TestProcessed:
    @pytest.mark.parametrize('num_classes', [6, 7])
    def test_samples(self, processed: Path, num_classes: Any) -> None:
        dataset = DynamicEarthNet(processed, 'train', num_classes)
        assert dataset.form == 'processed'
        assert dataset.classes == CLASSES[:num_classes]
        assert dataset.places == TRAIN and len(dataset) == 4 * 64
        for place, cell in ((0, (0, 0)), (0, (2, 5)), (3, (7, 7))):
            sample = dataset[index_of(place, cell)]
            cube = TRAIN[place]
            values = [grey(cube, month, cell) for month in range(24)]
            image = torch.tensor([[v, v, v, 255 - v] for v in values])[..., None, None]
            assert sample['image'].dtype == torch.float32
            assert torch.equal(sample['image'], image.float().expand(24, 4, 128, 128))
            # What has no label is snow and ice in these files.
            mask = np.stack([labels(cube, month, cell) for month in range(24)])
            mask = np.minimum(mask, 6).astype(int)
            mask[mask >= num_classes] = 255
            np.testing.assert_array_equal(sample['mask'], mask)
            assert sample['mask'].dtype == torch.int64
            assert sample['dates'].tolist() == DAYS and sample['valid'].all()
            assert sample['domain'] == sample['group'] == place

    def test_textures(self, tmp_path: Path) -> None:
        """Pixels are those that another decoder reads, with textures."""
        write_processed(tmp_path, {'train': TRAIN[:1]}, months=[1], listed=False)
        folder = tmp_path / 'train' / TRAIN[0]
        paths = [folder / f'{TRAIN[0]}_31_{kind}.jpeg' for kind in ('rgb', 'infra')]
        pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=np.uint8)
        pixels = pixels.repeat(16, axis=0).repeat(16, axis=1)
        Image.fromarray(pixels[..., :3]).save(paths[0], quality=80)
        Image.fromarray(pixels[..., 3]).save(paths[1], quality=80)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', NotGeoreferencedWarning)
            with rasterio.open(paths[0]) as rgb, rasterio.open(paths[1]) as infra:
                expected = np.concatenate([rgb.read(), infra.read()])
        dataset = DynamicEarthNet(tmp_path)
        for row, column in ((0, 0), (3, 6)):
            rows = slice(128 * row, 128 * row + 128)
            columns = slice(128 * column, 128 * column + 128)
            found = dataset[index_of(0, (row, column))]['image'][1]
            np.testing.assert_array_equal(found, expected[:, rows, columns])

    def test_cache(self, processed: Path, tmp_path: Path) -> None:
        cache = tmp_path / 'cache'
        plain = DynamicEarthNet(processed, 'val')
        cached = DynamicEarthNet(processed, 'val', cache=cache)
        assert not cache.exists()
        for index in (0, 21, 63):
            assert torch.equal(cached[index]['image'], plain[index]['image'])
        assert [path.name[:13] for path in cache.iterdir()] == ['1973_3709_13-']

    def test_same_places_as_raw(self, raw: Path, processed: Path) -> None:
        for split in ('train', 'val', 'test'):
            a, b = DynamicEarthNet(raw, split), DynamicEarthNet(processed, split)
            assert a.groups == b.groups and a.domains.names == b.domains.names
            for key in ('domain', 'group', 'lon', 'lat'):
                assert torch.equal(getattr(a, key), getattr(b, key))

    def test_no_warning(self, processed: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            DynamicEarthNet(processed)

    def test_other_splits(self, tmp_path: Path) -> None:
        splits = {'train': [TRAIN[1], VAL[0]], 'val': [TRAIN[0]], 'test': [TEST[0]]}
        write_processed(tmp_path, splits, months=[0])
        # Names without zoom, and in another order than that of the domains.
        (tmp_path / 'split.json').write_text(
            json.dumps(splits | {'train': ['2235_3403', '1973_3709']})
        )
        dataset = DynamicEarthNet(tmp_path)
        assert dataset.domains.names == (VAL[0], TRAIN[1])
        assert DynamicEarthNet(tmp_path, 'val').places == (TRAIN[0],)
        # The split is that of the list, whatever the folder.
        shutil.move(tmp_path / 'val' / TRAIN[0], tmp_path / 'test' / TRAIN[0])
        expected = grey(TRAIN[0], 0, (0, 0))
        assert DynamicEarthNet(tmp_path, 'val')[0]['image'][0, 0, 0, 0] == expected

    def test_official_split_without_list(self, tmp_path: Path) -> None:
        splits = {'train': TRAIN[:2], 'val': VAL, 'test': TEST}
        write_processed(tmp_path, splits, months=[0], listed=False)
        assert DynamicEarthNet(tmp_path).places == TRAIN[:2]
        assert DynamicEarthNet(tmp_path, 'test').places == TEST

    @pytest.mark.parametrize(
        ('text', 'message'),
        [
            ('{"train": ', 'is incomplete or damaged'),
            ('[]', 'no list of places of the train split'),
            ('{"train": ["1311_3077"]}', 'no list of places of the val split'),
            ('{"train": 3, "val": [], "test": []}', 'of the train split'),
            (
                '{"train": ["x"], "val": [], "test": []}',
                'train split must be a list of',
            ),
            (
                '{"train": ["1311_3077"], "val": ["1311_3077_13"], "test": ["1_1_13"]}',
                "the place 1311_3077_13 is in the split 'train' and again in 'val'",
            ),
            (
                '{"train": ["1311_3077"], "val": ["1_2_13"], "test": []}',
                'the test split has no places',
            ),
        ],
    )
    def test_wrong_list(self, tmp_path: Path, text: str, message: str) -> None:
        write_processed(tmp_path, {'train': TRAIN[:1]}, months=[0])
        (tmp_path / 'split.json').write_text(text)
        with pytest.raises(ValueError, match=rf'split\.json:? .*{message}'):
            DynamicEarthNet(tmp_path)

    def test_missing_cube_and_months(self, tmp_path: Path) -> None:
        splits = {'train': TRAIN[:2], 'val': VAL, 'test': TEST}
        write_processed(tmp_path, splits, months=[0, 23])
        (tmp_path / 'labels' / f'{TRAIN[1]}.npy').unlink()
        shutil.rmtree(tmp_path / 'val')
        with pytest.warns(UserWarning) as caught:
            dataset = DynamicEarthNet(tmp_path)
        assert str(caught[0].message) == (
            f'{tmp_path}: cubes are left out of the train split: no labels of'
            ' 2235_3403_13'
        )
        assert '1311_3077_13 (22)' in str(caught[1].message) and len(caught) == 2
        assert dataset.places == TRAIN[:1]
        assert dataset.groups == (TRAIN[0], TEST[0])
        sample = dataset[0]
        assert sample['valid'].nonzero().flatten().tolist() == [0, 23]
        assert sample['image'][23, 3, 0, 0] == 255 - grey(TRAIN[0], 23, (0, 0))
        assert not sample['image'][1:23].any()
        assert (sample['mask'][1:23] == 255).all()
        assert (
            sample['mask'][0] == torch.from_numpy(expected_mask(TRAIN[0], (0, 0), 6)[0])
        ).all()
        with pytest.raises(
            ValueError, match='the val split is empty: no images of 1973'
        ):
            DynamicEarthNet(tmp_path, 'val')

    def test_cube_without_images(self, tmp_path: Path) -> None:
        """Only images of other days are there, which are not read."""
        write_processed(tmp_path, {'train': TRAIN[:2]}, months=[0], listed=False)
        for path in (tmp_path / 'train' / TRAIN[1]).glob('*_0_*.jpeg'):
            path.unlink()
        with pytest.warns(UserWarning, match=r'split: no images of .*2235_3403_13'):
            dataset = DynamicEarthNet(tmp_path)
        assert dataset.places == TRAIN[:1]

    def test_half_an_image(self, tmp_path: Path) -> None:
        write_processed(tmp_path, {'train': TRAIN[:1]}, months=[0, 1], listed=False)
        (tmp_path / 'train' / TRAIN[0] / f'{TRAIN[0]}_31_infra.jpeg').unlink()
        message = r'1311_3077_13_31_rgb\.jpeg is half of an image, the files of day 31'
        with pytest.raises(ValueError, match=message):
            DynamicEarthNet(tmp_path)

    def test_cube_in_two_folders(self, tmp_path: Path) -> None:
        splits = {'train': TRAIN[:1], 'test': TRAIN[:1]}
        write_processed(tmp_path, splits, months=[0], listed=False)
        with pytest.raises(
            ValueError, match=r'cube 1311_3077_13 is in .*test.* and in'
        ):
            DynamicEarthNet(tmp_path)

    def test_damaged_files(self, tmp_path: Path) -> None:
        write_processed(tmp_path, {'train': TRAIN[:1]}, months=[0], listed=False)
        path = tmp_path / 'labels' / f'{TRAIN[0]}.npy'
        dataset = DynamicEarthNet(tmp_path)
        wrong: list[tuple[Any, str]] = [
            (
                np.zeros((24, 512, 512), np.int8),
                r'holds int8 of shape \(24, 512, 512\)',
            ),
            (
                np.zeros((24, 1024, 1024), bool),
                r'holds bool of shape .*, expected integ',
            ),
        ]
        for array, message in wrong:
            np.save(path, array)
            with pytest.raises(ValueError, match=rf'{TRAIN[0]}\.npy {message}'):
                dataset[0]
        for value, found in ((7, 'from 0 to 7'), (-1, 'from -1 to 0')):
            array = np.lib.format.open_memmap(path, 'w+', np.int8, (24, 1024, 1024))
            array[5, 3, 4] = value
            array.flush()
            with pytest.raises(
                ValueError, match=rf'npy holds labels {found}, expected'
            ):
                dataset[0]
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(OSError, match=rf'cannot read .*{TRAIN[0]}\.npy'):
            dataset[0]
        write_labels(tmp_path, TRAIN[0])
        jpeg = tmp_path / 'train' / TRAIN[0] / f'{TRAIN[0]}_0_rgb.jpeg'
        jpeg.write_bytes(jpeg.read_bytes()[:5000])
        with pytest.raises(OSError, match=r'cannot read .*_0_rgb\.jpeg'):
            DynamicEarthNet(tmp_path)[0]


class TestForms:
    def test_nothing(self, tmp_path: Path) -> None:
        # Folders of other data sets.
        for name in ('train', 'planet', 'labels'):
            (tmp_path / name / 'cats').mkdir(parents=True)
        with pytest.raises(DatasetNotFoundError, match=re.escape(str(tmp_path))):
            DynamicEarthNet(tmp_path)
        with pytest.raises(DatasetNotFoundError):
            DynamicEarthNet(tmp_path / 'nowhere')

    def test_both_forms(self, tmp_path: Path) -> None:
        write_raw(tmp_path, TRAIN[:1], months=[0])
        write_processed(tmp_path / 'DynamicEarthNet', {'train': TRAIN[:1]}, months=[0])
        message = 'found the processed form in .*DynamicEarthNet and the raw form in'
        with pytest.raises(ValueError, match=message):
            DynamicEarthNet(tmp_path)

    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            ({'split': 'predict'}, 'split must be one of'),
            ({'num_classes': 5}, 'num_classes must be 6 or 7, found 5'),
        ],
    )
    def test_wrong_arguments(
        self, raw: Path, arguments: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            DynamicEarthNet(raw, **arguments)

    @pytest.mark.parametrize('form', ['raw', 'processed'])
    def test_workers(
        self, form: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        dataset = DynamicEarthNet(request.getfixturevalue(form), 'test', cache=tmp_path)
        expected = dataset[0]
        copy = pickle.loads(pickle.dumps(dataset))
        for key, value in copy[0].items():
            assert torch.equal(value, expected[key])
        sample = next(iter(DataLoader(dataset, 2, num_workers=2)))
        assert torch.equal(sample['image'][0], expected['image'])
        assert torch.equal(sample['mask'][0], expected['mask'])

    @pytest.mark.parametrize('form', ['raw', 'processed'])
    def test_no_image_is_read_at_first(
        self, form: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = request.getfixturevalue(form)
        for name in ('rasterio.open', 'PIL.Image.open', 'numpy.load'):
            monkeypatch.setattr(name, None)
        assert len(DynamicEarthNet(root)) == 256

    def test_plot(self, raw: Path) -> None:
        dataset = DynamicEarthNet(raw)
        figure = dataset.plot(dataset[0])
        assert len(figure.axes) == 16
        assert figure.axes[0].get_title() == '2018-01-01'
        plt.close(figure)


class TestArchives:
    def test_processed(self, processed: Path, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / 'DynamicEarthNet.zip', 'w') as archive:
            for path in sorted(processed.rglob('*.*')):
                if TRAIN[0] in path.name or TEST[0] in path.name:
                    archive.write(path, path.relative_to(processed))
        dataset = DynamicEarthNet(tmp_path)
        assert dataset.form == 'processed' and dataset.places == TRAIN[:1]
        expected = DynamicEarthNet(processed)[0]
        for key, value in dataset[0].items():
            assert torch.equal(value, expected[key])
        # Once is enough.
        (tmp_path / 'DynamicEarthNet.zip').write_bytes(b'damaged')
        assert len(DynamicEarthNet(tmp_path, 'test')) == 64

    def test_one_process_at_a_time(
        self, processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What another process unpacks meanwhile is not unpacked again."""
        archive = tmp_path / 'DynamicEarthNet.zip'
        archive.write_bytes(b'damaged')

        def lock(*arguments: object) -> None:
            (tmp_path / 'DynamicEarthNet').symlink_to(processed / 'DynamicEarthNet')

        monkeypatch.setattr('torchgeo_experts.datasets.archives.fcntl.flock', lock)
        assert len(DynamicEarthNet(tmp_path)) == 256

    def test_damaged(self, tmp_path: Path) -> None:
        (tmp_path / 'DynamicEarthNet.zip').write_bytes(b'PK no zip')
        with pytest.raises(OSError, match=r'DynamicEarthNet\.zip is incomplete or dam'):
            DynamicEarthNet(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ['DynamicEarthNet.zip']

    def pack(self, root: Path, target: Path, name: str, *members: str) -> None:
        with tarfile.open(target / name, 'w') as archive:
            for member in members:
                archive.add(root / member, member)

    def test_raw(self, tmp_path: Path) -> None:
        files = write_raw(tmp_path / 'files', TRAIN[:2], months=[0, 1])
        root = tmp_path / 'root'
        root.mkdir()
        self.pack(files, root, 'planet.10N.tar', 'planet')
        self.pack(files, root, 'planet.17N.tar', 'planet.17N')
        self.pack(files, root, 'labels.tar.gz', 'labels')
        dataset = DynamicEarthNet(root)
        assert dataset.places == TRAIN[:2]
        names = {path.name for path in root.iterdir() if path.is_dir()}
        assert names == {'planet.10N', 'planet.17N', 'labels'}
        expected = DynamicEarthNet(files)
        for index in (0, 127):
            for key, value in dataset[index].items():
                assert torch.equal(value, expected[index][key])
        # One that was not unpacked any more, when the process was killed.
        shutil.rmtree(root / 'planet.17N')
        assert DynamicEarthNet(root).places == TRAIN[:2]

    def test_raw_unpacked_by_hand(self, tmp_path: Path) -> None:
        write_raw(tmp_path, TRAIN[:1], months=[0])
        for name in ('planet.10N.zip', 'labels.tar'):
            (tmp_path / name).write_bytes(b'not looked at')
        assert DynamicEarthNet(tmp_path).places == TRAIN[:1]

    def test_damaged_raw(self, tmp_path: Path) -> None:
        write_raw(tmp_path, TRAIN[:1], months=[0])
        shutil.rmtree(tmp_path / 'labels')
        (tmp_path / 'labels.zip').write_bytes(b'PK no zip')
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(OSError, match=r'labels\.zip is incomplete or damaged'):
            DynamicEarthNet(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == before

    def test_archives_of_others(self, tmp_path: Path) -> None:
        (tmp_path / 'labels.zip').write_bytes(b'of another data set')
        write_processed(
            tmp_path / 'DynamicEarthNet', {'train': TRAIN[:1]}, months=[0], listed=False
        )
        assert len(DynamicEarthNet(tmp_path)) == 64


def test_all_cubes_of_the_writer_are_irregular_in_their_own_way() -> None:
    assert {*TRAIN, *VAL, *TEST} == set(CUBES)
