# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import hashlib
import json
import math
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchgeo.datasets import OSCD, DatasetNotFoundError

from datasets.oscd_files import (
    ALL,
    BOXES,
    DATES,
    FOLDER,
    OTHER_DATES,
    RGB,
    SIZES,
    TEST,
    TRAIN,
    changes,
    pixels,
    write_images,
    write_labels,
    write_oscd,
    write_tiff,
    zip_oscd,
)
from torchgeo_experts.datasets import oscd_files
from torchgeo_experts.datasets.oscd_cities import TEST_CITIES, TRAIN_CITIES
from torchgeo_experts.datasets.oscd_domains import OSCDDomains
from torchgeo_experts.datasets.oscd_tiles import TILINGS

DUBAI = Path(__file__).parents[3] / 'shared' / 'data' / 'oscd_dubai'
IMAGES = f'{FOLDER}Images'
LABELS = f'{FOLDER}Train Labels'
#: Cities that are for training unless others are held out.
DEFAULT_TRAIN = [c for c in TRAIN if c not in ('beirut', 'hongkong', 'mumbai')]


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_oscd(tmp_path_factory.mktemp('oscd'))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Dubai and those training cities that are not held out, red, green and blue."""
    return write_oscd(tmp_path, ['aguasclaras', 'dubai'], RGB)


def few(root: Path, split: str = 'train', **kwargs: Any) -> OSCDDomains:
    """Train on aguasclaras alone."""
    others = [city for city in TRAIN if city != 'aguasclaras']
    return OSCDDomains(root, split, exclude_cities=others, val_cities=[], **kwargs)


def starts(side: int) -> list[int]:
    """Where tiles begin that lie side by side."""
    return [0, 75, 150, 225][: side // 75]


class TestSamples:
    @pytest.mark.parametrize('bands', [RGB, ALL, ['B8A', 'B12']])
    @pytest.mark.parametrize('split', ['train', 'val', 'test'])
    def test_native(self, root: Path, split: str, bands: list[str]) -> None:
        dataset = OSCDDomains(root, split, bands)
        cities = {
            'train': DEFAULT_TRAIN,
            'val': ['beirut', 'hongkong', 'mumbai'],
            'test': TEST,
        }[split]
        numbers = [ALL.index(band) for band in bands]
        index = 0
        for city in cities:
            values, changed = pixels(city)[:, numbers], changes(city)
            height, width = changed.shape
            for row in starts(height):
                for column in starts(width):
                    sample = dataset[index]
                    window = np.s_[..., row : row + 75, column : column + 75]
                    assert sample['image'].dtype == torch.float32
                    assert sample['mask'].dtype == torch.int64
                    np.testing.assert_array_equal(sample['image'], values[window])
                    np.testing.assert_array_equal(sample['mask'], changed[None][window])
                    assert dataset.groups[sample['group']] == city
                    index += 1
        assert index == len(dataset)

    def test_names_of_bands(self, root: Path) -> None:
        rgb, every = few(root), few(root, bands='all')
        assert rgb.bands == tuple(RGB) and every.bands == tuple(ALL)
        torch.testing.assert_close(rgb[0]['image'], every[0]['image'][:, [3, 2, 1]])

    def test_as_torchgeo_reads_them(self, root: Path) -> None:
        """Whole cities of TorchGeo's data set, cut here."""
        theirs, ours = OSCD(root, 'test'), OSCDDomains(root, 'test', 'all')
        cities = {file['region']: i for i, file in enumerate(theirs.files)}
        whole = theirs[cities['dubai']]
        tiles = [s for s in ours if ours.groups[s['group']] == 'dubai']
        assert len(tiles) == 4
        for number, tile in enumerate(tiles):
            rows, columns = 75 * (number // 2), 75 * (number % 2)
            for key in ('image', 'mask'):
                part = whole[key][..., rows : rows + 75, columns : columns + 75]
                torch.testing.assert_close(tile[key], part, rtol=0, atol=0)

    def test_domains_and_groups(self, root: Path) -> None:
        others = ['beirut', 'hongkong', 'mumbai']
        for split in ('train', 'val', 'test'):
            dataset = OSCDDomains(root, split)
            assert list(dataset.domains) == DEFAULT_TRAIN
            assert list(dataset.groups) == DEFAULT_TRAIN + sorted(others + TEST)
            assert dataset.domains.located
            for index, sample in enumerate(dataset):
                for key in ('domain', 'group'):
                    assert sample[key].dtype == torch.int64 and sample[key].shape == ()
                    assert sample[key] == getattr(dataset, key)[index]
                city = dataset.groups[sample['group']]
                expected = DEFAULT_TRAIN.index(city) if city in DEFAULT_TRAIN else -1
                assert sample['domain'] == expected

    def test_other_cities(self, root: Path) -> None:
        dataset = OSCDDomains(
            root, 'val', val_cities=['pisa', 'bercy'], exclude_cities=['saclay_e']
        )
        train = [c for c in TRAIN if c not in ('pisa', 'bercy', 'saclay_e')]
        assert list(dataset.domains) == train
        assert 'saclay_e' not in dataset.groups
        names = [dataset.groups[i] for i in dataset.group]
        assert names == ['bercy', 'pisa'] and dataset.domain.tolist() == [-1, -1]
        # All 14, as in the paper.
        assert len(OSCDDomains(root, val_cities=[]).domains) == 14

    def test_places(self, root: Path) -> None:
        dataset = OSCDDomains(root)
        # 151 x 160 pixels are 2 x 2 tiles.
        west, south, east, north = BOXES['aguasclaras']
        index = dataset.groups.index('aguasclaras')
        tiles = [s for s in dataset if s['group'] == index]
        for tile, (y, x) in zip(
            tiles,
            [(37.5, 37.5), (37.5, 112.5), (112.5, 37.5), (112.5, 112.5)],
            strict=True,
        ):
            assert tile['lon'].dtype == tile['lat'].dtype == torch.float32
            lon = west + (east - west) * x / 160
            lat = north - (north - south) * y / 151
            np.testing.assert_allclose(tile['lon'], lon, atol=1e-5)
            np.testing.assert_allclose(tile['lat'], lat, atol=1e-5)
        # Without a file of the box it is the centre of the city.
        (paris,) = (s for s in dataset if s['group'] == dataset.groups.index('paris'))
        np.testing.assert_allclose(paris['lon'], 2.33283, atol=1e-5)
        np.testing.assert_allclose(paris['lat'], 48.82132, atol=1e-5)
        assert not dataset.lon.isnan().any() and not dataset.lat.isnan().any()

    def test_dates(self, root: Path) -> None:
        dataset = OSCDDomains(root, 'test')
        for sample in dataset:
            city = dataset.groups[sample['group']]
            assert sample['dates'].dtype == torch.int64
            assert sample['dates'].tolist() == [*DATES.get(city, OTHER_DATES)[2:]]
        assert few(root)[0]['dates'].tolist() == [-870, -185]

    def test_index_error_negative_index_and_copies(self, root: Path) -> None:
        dataset = few(root)
        last = changes('aguasclaras')[None, 75:150, 75:150]
        np.testing.assert_array_equal(dataset[-1]['mask'], last)
        with pytest.raises(IndexError):
            dataset[4]
        for value in dataset[-1].values():
            value.fill_(1)
        np.testing.assert_array_equal(dataset[-1]['mask'], last)
        assert dataset.group.tolist() == [0] * 4

    def test_transforms(self, root: Path) -> None:
        dataset = few(root, transforms=lambda sample: {'image': sample['image'] + 1})
        assert dataset[0].keys() == {'image'}

    def test_tiff_mask_alone(self, small: Path) -> None:
        (small / LABELS / 'aguasclaras' / 'cm' / 'cm.png').unlink()
        dataset = few(small)
        expected = changes('aguasclaras')[None, 75:150, :75]
        np.testing.assert_array_equal(dataset[2]['mask'], expected)

    def test_workers_and_pickles(self, root: Path) -> None:
        dataset = few(root)
        copy = pickle.loads(pickle.dumps(dataset))
        torch.testing.assert_close(copy[1], dataset[1], rtol=0, atol=0)
        loader = DataLoader(dataset, batch_size=1, num_workers=2)
        for batch, sample in zip(loader, dataset, strict=True):
            torch.testing.assert_close(batch['image'][0], sample['image'])

    def test_images_are_not_read_before_they_are_asked_for(
        self, small: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(oscd_files.CityFiles, 'read_images', None)
            patch.setattr(oscd_files.CityFiles, 'read_mask', None)
            dataset = few(small)
        assert len(dataset) == 4 and dataset[0]['image'].shape == (2, 3, 75, 75)


def resized(values: np.ndarray, mode: str) -> Tensor:
    """Resize a whole city to 600 x 600."""
    image = torch.from_numpy(values.astype(np.float64))[None]
    antialias = mode == 'bilinear'
    return F.interpolate(image, (600, 600), mode=mode, antialias=antialias)[0]


class TestTilings:
    def test_paper(self, root: Path) -> None:
        dataset = few(root, tiling='paper')
        assert len(dataset) == 64
        values = pixels('aguasclaras')[:, [3, 2, 1]].reshape(6, 151, 160)
        image = resized(values, 'bilinear').unflatten(0, (2, 3)).float()
        mask = resized(changes('aguasclaras')[None], 'nearest-exact').long()
        for number, sample in enumerate(dataset):
            row, column = 75 * (number // 8), 75 * (number % 8)
            window = np.s_[..., row : row + 75, column : column + 75]
            torch.testing.assert_close(sample['image'], image[window])
            torch.testing.assert_close(sample['mask'], mask[window], rtol=0, atol=0)
        west, south, east, north = BOXES['aguasclaras']
        lon = [west + (i + 0.5) / 8 * (east - west) for i in range(8)]
        lat = [north - (i + 0.5) / 8 * (north - south) for i in range(8)]
        np.testing.assert_allclose(dataset.lon.view(8, 8), [lon] * 8, atol=1e-5)
        np.testing.assert_allclose(dataset.lat.view(8, 8).T, [lat] * 8, atol=1e-5)

    @pytest.mark.parametrize('shape', [(75, 390), (599, 600), (601, 785), (1180, 1200)])
    def test_paper_of_all_sizes(self, shape: tuple[int, int]) -> None:
        """Cities are made larger and smaller as one would a whole city."""
        generator = np.random.default_rng(0)
        values = generator.integers(0, 20000, (2, *shape)).astype(np.float32)
        classes = torch.from_numpy(generator.integers(0, 2, (1, *shape)))
        image = resized(values, 'bilinear').float()
        mask = resized(classes.numpy(), 'nearest-exact').long()
        tiling = TILINGS['paper']
        rows, columns = (tiling.spans(side) for side in shape)
        assert len(rows) == len(columns) == 8
        for i in (0, 3, 7):
            for j in (0, 5, 7):
                r, c = rows[i], columns[j]
                read = np.s_[:, r.start : r.stop, c.start : c.stop]
                made = np.s_[:, 75 * i : 75 * i + 75, 75 * j : 75 * j + 75]
                tile = tiling.fit_image(torch.from_numpy(values[read]), r, c)
                assert tile.dtype == torch.float32
                torch.testing.assert_close(tile, image[made])
                # No more is read than a tile needs.
                assert r.stop - r.start <= 75 * max(shape[0] / 600, 1) + 4
                torch.testing.assert_close(
                    tiling.fit_mask(classes[read], r, c), mask[made]
                )

    def test_paper_leaves_600_pixels_as_they_are(self) -> None:
        spans = TILINGS['paper'].spans(600)
        assert [(s.start, s.stop) for s in spans] == [
            (75 * i, 75 * i + 75) for i in range(8)
        ]
        image = torch.rand(3, 75, 75) * 20000
        torch.testing.assert_close(
            TILINGS['paper'].fit_image(image, spans[1], spans[6]), image, rtol=0, atol=0
        )

    @pytest.mark.parametrize(
        ('side', 'expected'),
        [
            (75, [0] * 8),
            (160, [0, 12, 24, 36, 49, 61, 73, 85]),
            (600, [0, 75, 150, 225, 300, 375, 450, 525]),
            (700, [0, 89, 179, 268, 357, 446, 536, 625]),
        ],
    )
    def test_overlap(self, side: int, expected: list[int]) -> None:
        spans = TILINGS['overlap'].spans(side)
        assert [span.start for span in spans] == expected
        assert all(span.stop == span.start + 75 for span in spans)
        assert [s.centre * side for s in spans] == pytest.approx(
            [start + 37.5 for start in expected]
        )

    def test_overlap_samples(self, root: Path) -> None:
        dataset = few(root, tiling='overlap')
        assert len(dataset) == 64
        # Row 1 of 151 pixels begins at 76 / 7, column 2 of 160 at 2 * 85 / 7.
        values = pixels('aguasclaras')[:, [3, 2, 1], 11:86, 24:99]
        np.testing.assert_array_equal(dataset[10]['image'], values)
        np.testing.assert_array_equal(
            dataset[10]['mask'], changes('aguasclaras')[None, 11:86, 24:99]
        )

    def test_as_many_tiles_as_in_the_paper(self, root: Path) -> None:
        for tiling in ('paper', 'overlap'):
            sizes = [
                len(OSCDDomains(root, split, tiling=tiling, val_cities=[]))
                for split in ('train', 'test')
            ]
            assert sizes == [896, 640]

    def test_native_counts(self, root: Path) -> None:
        dataset = OSCDDomains(root)
        count = Counter(dataset.groups[i] for i in dataset.group)
        assert count['aguasclaras'] == 4 and count['beihai'] == 3 and count['pisa'] == 1


class TestArchives:
    @pytest.fixture
    def packed(self, small: Path, tmp_path: Path) -> Path:
        return zip_oscd(small, tmp_path / 'zips')

    def checksums(self, folder: Path) -> dict[str, str]:
        return {
            path.stem: hashlib.md5(path.read_bytes()).hexdigest()
            for path in folder.glob('*.zip')
        }

    def test_zips_are_unpacked(
        self, packed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(
            ValueError, match=r'Images\.zip has not the MD5 checksum c50d'
        ):
            few(packed)
        assert sorted(p.suffix for p in packed.iterdir()) == ['.zip'] * 3
        monkeypatch.setattr(oscd_files, 'MD5', self.checksums(packed))
        dataset = few(packed)
        np.testing.assert_array_equal(
            dataset[0]['image'], pixels('aguasclaras')[:, [3, 2, 1], :75, :75]
        )
        # The labels of the test split come when they are needed.
        assert not (packed / f'{FOLDER}Test Labels').exists()

    def test_checksum_false(self, packed: Path) -> None:
        assert len(few(packed, checksum=False)) == 4

    def test_download(
        self, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        urls = {path.name: path.as_uri() for path in packed.glob('*.zip')}
        monkeypatch.setattr(OSCD, 'urls', urls)
        target = tmp_path / 'new' / 'root'
        with pytest.raises(DatasetNotFoundError, match='download=True'):
            few(target)
        with pytest.raises(RuntimeError, match='has not the MD5 checksum'):
            few(target, download=True)
        assert not list(target.iterdir())
        monkeypatch.setattr(oscd_files, 'MD5', self.checksums(packed))
        assert len(few(target, download=True)) == 4
        # All of it: other splits are there for other processes.
        assert len([p for p in target.iterdir() if p.is_dir()]) == 3
        monkeypatch.setattr(OSCD, 'urls', {})
        assert len(few(target)) == 4

    def test_truncated_zip(self, packed: Path) -> None:
        path = packed / f'{IMAGES}.zip'
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(OSError, match=r'Images\.zip is incomplete or damaged'):
            few(packed, checksum=False)
        assert sorted(p.suffix for p in packed.iterdir()) == ['.zip'] * 3

    def test_names_of_torchgeo(self) -> None:
        assert {f'{name}.zip' for name in oscd_files.MD5} == set(OSCD.urls)


class TestErrors:
    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetNotFoundError, match='Dataset not found'):
            few(tmp_path)

    @pytest.mark.parametrize('split', ['train', 'test'])
    def test_images_without_labels(self, small: Path, split: str) -> None:
        name = f'{FOLDER}{split.capitalize()} Labels'
        shutil.rmtree(small / name)
        # TorchGeo's data set would be empty.
        with pytest.raises(FileNotFoundError, match=f'a part of OSCD.*{name}.zip'):
            few(small, split)

    def test_labels_without_images(self, small: Path) -> None:
        shutil.rmtree(small / IMAGES)
        with pytest.raises(FileNotFoundError, match=f'neither.*{IMAGES}.zip nor'):
            few(small)

    def test_other_folders_are_none(self, tmp_path: Path) -> None:
        (tmp_path / 'a' / 'my Onera notes').mkdir(parents=True)
        with pytest.raises(DatasetNotFoundError):
            few(tmp_path)

    @pytest.mark.parametrize(
        'file',
        [
            f'{IMAGES}/aguasclaras/imgs_2_rect/B03.tif',
            f'{IMAGES}/aguasclaras/dates.txt',
            f'{LABELS}/aguasclaras/cm',
        ],
    )
    def test_missing_files(self, small: Path, file: str) -> None:
        path = small / file
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        with pytest.raises(FileNotFoundError, match=f'there is no file .*{file}'):
            few(small)

    def test_missing_city(self, small: Path) -> None:
        message = r'abudhabi.imgs_1_rect.B04\.tif: the city abudhabi is incomplete'
        with pytest.raises(FileNotFoundError, match=message):
            OSCDDomains(small)

    def test_missing_band_is_not_another_one(self, small: Path) -> None:
        """TorchGeo counts files, so that a lacking one shifts the others."""
        with pytest.raises(FileNotFoundError, match=r'imgs_1_rect/B05\.tif'):
            few(small, bands=['B05'])

    @pytest.mark.parametrize(
        'file', ['imgs_1_rect/B03.tif', 'imgs_2_rect/B04.tif', 'cm.png']
    )
    def test_sizes_differ(self, small: Path, file: str) -> None:
        other = np.zeros((151, 159), np.uint16)
        if file == 'cm.png':
            path = small / LABELS / 'aguasclaras' / 'cm' / file
            Image.fromarray(other.astype(np.uint8)).save(path)
        else:
            write_tiff(small / IMAGES / 'aguasclaras' / file, other)
        message = (
            rf'{file} has 151 rows and 159 columns, but .*B04\.tif has 151 and 160'
        )
        with pytest.raises(ValueError, match=message):
            few(small)

    def test_several_bands(self, small: Path) -> None:
        path = small / IMAGES / 'aguasclaras' / 'imgs_1_rect' / 'B04.tif'
        write_tiff(path, np.zeros((3, 151, 160), np.uint16))
        with pytest.raises(ValueError, match=r'B04\.tif has 3 bands, expected one'):
            few(small)

    def test_small_city(self, small: Path) -> None:
        for path in (small / IMAGES / 'aguasclaras').glob('imgs_*_rect/*'):
            write_tiff(path, np.zeros((90, 74), np.uint16))
        mask = Image.fromarray(np.zeros((90, 74), np.uint8))
        mask.save(small / LABELS / 'aguasclaras' / 'cm' / 'cm.png')
        with pytest.raises(
            ValueError, match='90 rows and 74 columns: there is no room'
        ):
            few(small)

    @pytest.mark.parametrize('band', ['imgs_1_rect/B04', 'imgs_2_rect/B02'])
    def test_damaged_image(self, small: Path, band: str) -> None:
        path = small / IMAGES / 'aguasclaras' / f'{band}.tif'
        whole = path.read_bytes()
        path.write_bytes(b'nothing')
        with pytest.raises(OSError, match=rf'{band}\.tif is incomplete or damaged'):
            few(small)
        path.write_bytes(whole[: len(whole) // 2])
        dataset = few(small)
        with pytest.raises(OSError, match=rf'{band}\.tif is incomplete or damaged'):
            dataset[3]

    def test_damaged_mask(self, small: Path) -> None:
        path = small / LABELS / 'aguasclaras' / 'cm' / 'cm.png'
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        dataset = few(small)
        with pytest.raises(OSError, match=r'cm\.png is incomplete or damaged'):
            dataset[0]
        path.write_bytes(whole[:10])
        with pytest.raises(OSError, match=r'cm\.png is incomplete or damaged'):
            few(small)

    def test_no_mask(self, small: Path) -> None:
        """The TIFF under the name of the PNG: all would be change."""
        path = small / LABELS / 'aguasclaras' / 'cm' / 'cm.png'
        Image.fromarray(changes('aguasclaras').astype(np.uint8) + 1).save(path)
        with pytest.raises(ValueError, match='lowest value is 1, expected 0'):
            few(small)[0]
        path.unlink()
        other = path.with_name('aguasclaras-cm.tif')
        write_tiff(other, changes('aguasclaras').astype(np.uint8))
        with pytest.raises(ValueError, match=r'cm\.tif is no mask.*is 0, expected 1'):
            few(small)[0]

    @pytest.mark.parametrize(
        'text', ['', 'date_1: 20161130', 'date_1: 20161130\ndate_2: 30.8.2017', 'a\nb']
    )
    def test_dates(self, small: Path, text: str) -> None:
        (small / IMAGES / 'aguasclaras' / 'dates.txt').write_text(text)
        with pytest.raises(ValueError, match=r'dates\.txt is incomplete or damaged'):
            few(small)

    @pytest.mark.parametrize(
        'text',
        [
            '',
            '[]',
            '{"features": []}',
            '{"features": [{"geometry": null}]}',
            '{"type": "Polygon", "coordinates": [[]]}',
            '{"type": "Polygon", "coordinates": [[[1, 2], [3]]]}',
        ],
    )
    def test_damaged_box(self, small: Path, text: str) -> None:
        (small / IMAGES / 'aguasclaras' / 'aguasclaras.geojson').write_text(text)
        with pytest.raises(ValueError, match=r'\.geojson is incomplete or damaged'):
            few(small)

    def test_box_elsewhere(self, small: Path) -> None:
        path = small / IMAGES / 'aguasclaras' / 'aguasclaras.geojson'
        swapped = [[[-15.86, -48.05], [-15.81, -48.0]]]
        path.write_text(json.dumps({'type': 'Polygon', 'coordinates': swapped}))
        with pytest.raises(
            ValueError, match=r'a box around lon=-15\.835, lat=-48\.025'
        ):
            few(small)

    @pytest.mark.parametrize(
        ('kwargs', 'message'),
        [
            ({'split': 'dev'}, r"\['train', 'val', 'test'\], found 'dev'"),
            ({'tiling': 'random'}, r"\['native', 'paper', 'overlap'\], found 'random'"),
            ({'bands': 'B04'}, r"some of \['B01', .*found 'B04'"),
            ({'bands': ['B13']}, r"found \['B13'\]"),
            ({'bands': []}, r'found \[\]'),
            ({'bands': ['B04', 'B04']}, 'names a band twice'),
            (
                {'val_cities': ['dubai']},
                r"val_cities: \['dubai'\] are no .*'abudhabi', ",
            ),
            ({'val_cities': ['Paris']}, r"\['Paris'\] are no cities of the training"),
            ({'exclude_cities': ['oslo']}, r"exclude_cities: \['oslo'\] are no cities"),
            (
                {'exclude_cities': ['beirut']},
                r"\['beirut'\] stand in val_cities and in",
            ),
            ({'val_cities': ['pisa', 'pisa']}, 'val_cities names a city twice'),
            ({'val_cities': TRAIN}, 'leave no city to train on'),
        ],
    )
    def test_arguments(self, root: Path, kwargs: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            OSCDDomains(root, **kwargs)

    def test_no_validation(self, root: Path) -> None:
        val = OSCDDomains(root, 'val', val_cities=[])
        assert len(val) == len(val.lon) == len(val.lat) == 0
        assert val.group.dtype == val.domain.dtype == torch.int64
        assert list(val.domains) == list(val.groups[:14]) == TRAIN

    def test_a_name_is_no_list(self, root: Path) -> None:
        with pytest.raises(
            TypeError, match="val_cities must be a list of names, found 'p"
        ):
            OSCDDomains(root, val_cities='paris')


@pytest.mark.parametrize('bands', ['rgb', 'all', ['B8A'], ['B02', 'B08']])
def test_plot(root: Path, bands: Any) -> None:
    dataset = few(root, bands=bands)
    sample = dataset[0]
    figure = dataset.plot(sample | {'prediction': sample['mask'][0]}, suptitle='x')
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ['2015-08-15', '2017-06-30', 'Mask', 'Prediction']
    plt.close(figure)
    if bands == 'all':
        # Red, green and blue, wherever they stand.
        shown = dataset.plot(sample).axes[0].images[0].get_array()
        rgb = few(root, bands='rgb')
        np.testing.assert_array_equal(
            shown, rgb.plot(rgb[0]).axes[0].images[0].get_array()
        )
    plt.close('all')


def test_split_is_official_and_sorted() -> None:
    assert list(TRAIN_CITIES) == TRAIN == sorted(TRAIN)
    assert list(TEST_CITIES) == TEST == sorted(TEST)
    assert SIZES.keys() <= {*TRAIN, *TEST}


@pytest.mark.skipif(not DUBAI.is_dir(), reason='the list of places is not here')
def test_places_of_cities() -> None:
    known = json.loads((DUBAI / 'oscd_city_lonlat.json').read_text())
    cities = TRAIN_CITIES | TEST_CITIES
    assert cities == {name: (c['lon'], c['lat']) for name, c in known.items()}


@pytest.mark.skipif(not DUBAI.is_dir(), reason='the images of Dubai are not here')
class TestDubai:
    """One real pair, as previews of 8 bits, in the layout of OSCD."""

    @pytest.fixture
    def real(self, tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
        pictures = [
            np.asarray(Image.open(DUBAI / f'img{i}.png').convert('RGB')) for i in (1, 2)
        ]
        values = np.stack(pictures).transpose(0, 3, 1, 2)
        mask = np.asarray(Image.open(DUBAI / 'cm.png').convert('L')) > 0
        write_images(tmp_path / IMAGES, 'dubai', values, RGB)
        shutil.rmtree(tmp_path / IMAGES / 'dubai' / 'imgs_1')
        write_labels(tmp_path / f'{FOLDER}Test Labels', 'dubai', mask)
        return tmp_path, values, mask

    @pytest.fixture(autouse=True)
    def one_city(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cities = 'torchgeo_experts.datasets.oscd_cities.TEST_CITIES'
        monkeypatch.setattr(cities, {'dubai': TEST_CITIES['dubai']})

    def test_native(self, real: tuple[Path, np.ndarray, np.ndarray]) -> None:
        root, values, mask = real
        dataset = OSCDDomains(root, 'test')
        height, width = mask.shape
        assert (height, width) in ((774, 634), (634, 774)) and len(dataset) == 80
        share = []
        for number, sample in enumerate(dataset):
            row, column = (75 * i for i in divmod(number, width // 75))
            window = np.s_[..., row : row + 75, column : column + 75]
            np.testing.assert_array_equal(sample['image'], values[window])
            np.testing.assert_array_equal(sample['mask'], mask[None][window])
            assert (sample['lon'] - 55.22384).abs() < 0.04
            assert (sample['lat'] - 25.03708).abs() < 0.04
            share.append(float(sample['mask'].double().mean()))
        assert math.isclose(np.mean(share), 0.1, abs_tol=0.01)

    def test_paper(self, real: tuple[Path, np.ndarray, np.ndarray]) -> None:
        root, values, mask = real
        dataset = OSCDDomains(root, 'test', tiling='paper')
        image = resized(values.reshape(6, *mask.shape), 'bilinear').float()
        changed = resized(mask[None], 'nearest-exact').long()
        for number in (0, 27, 63):
            row, column = 75 * (number // 8), 75 * (number % 8)
            window = np.s_[..., row : row + 75, column : column + 75]
            sample = dataset[number]
            torch.testing.assert_close(sample['image'].flatten(0, 1), image[window])
            torch.testing.assert_close(sample['mask'], changed[window])
