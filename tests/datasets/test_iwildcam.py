# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import csv
import json
import math
import pickle
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datasets import DatasetNotFoundError

from datasets.iwildcam_files import (
    HEADER,
    PLACES,
    colour_of,
    location_of,
    pack,
    write_categories,
    write_iwildcam,
    write_places,
    write_rows,
)
from torchgeo_experts.datamodules.rules import ClusterDomains, GridDomains
from torchgeo_experts.datasets.archives import Archive
from torchgeo_experts.datasets.image_store import FolderStore
from torchgeo_experts.datasets.iwildcam import IWildCam

BORNEO = Path(__file__).parents[3] / 'shared' / 'data' / 'camtrap_borneo'
SPLITS = ['train', 'val', 'test', 'id_val', 'id_test']
GROUPS = tuple(f'camera {number}' for number in range(10))

type Rows = list[dict[str, Any]]


@pytest.fixture(scope='module')
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows]:
    root = tmp_path_factory.mktemp('iwildcam')
    return root, write_iwildcam(root)


@pytest.fixture
def own(tmp_path: Path, shared: tuple[Path, Rows]) -> tuple[Path, Rows]:
    """A copy that a test may damage."""
    shutil.copytree(shared[0], tmp_path / 'own')
    return tmp_path / 'own', [dict(row) for row in shared[1]]


def home(root: Path) -> Path:
    return root / 'iwildcam_v2.0'


def same(found: Tensor, expected: list[float]) -> None:
    np.testing.assert_array_equal(found.numpy(), np.array(expected, np.float32))


class TestSamples:
    @pytest.mark.parametrize('split', SPLITS)
    def test_samples(self, shared: tuple[Path, Rows], split: str) -> None:
        root, rows = shared
        rows = [row for row in rows if row['split'] == split]
        dataset = IWildCam(root, split, size=24)
        assert len(dataset) == len(rows) > 1
        for row, sample in zip(rows, dataset, strict=True):
            camera = row['location_remapped']
            assert set(sample) == {'image', 'label', 'domain', 'group', 'lon', 'lat'}
            for key in ('label', 'domain', 'group'):
                assert sample[key].dtype == torch.int64 and sample[key].shape == ()
            assert sample['label'] == row['y']
            assert sample['domain'] == (camera if camera < 5 else -1)
            assert dataset.groups[sample['group']] == f'camera {camera}'
            place = PLACES[camera] or (math.nan, math.nan)
            for key, value in zip(('lon', 'lat'), place, strict=True):
                assert sample[key].dtype == torch.float32 and sample[key].shape == ()
                np.testing.assert_equal(sample[key].item(), value)
            with Image.open(home(root) / 'train' / row['filename']) as picture:
                resized = picture.resize((24, 24), Image.Resampling.BILINEAR)
            assert sample['image'].dtype == torch.float32
            expected = np.asarray(resized).transpose(2, 0, 1)
            np.testing.assert_array_equal(sample['image'], expected)
            # JPEG changes a plain colour by a few levels.
            colour = sample['image'][:, -6:].mean((1, 2))
            np.testing.assert_allclose(colour, colour_of(row['']), atol=3)

    def test_attributes(self, shared: tuple[Path, Rows]) -> None:
        root, rows = shared
        dataset = IWildCam(root, 'test')
        rows = [row for row in rows if row['split'] == 'test']
        assert dataset.label.tolist() == [row['y'] for row in rows]
        assert dataset.camera.tolist() == [row['location_remapped'] for row in rows]
        assert dataset.group.tolist() == dataset.camera.tolist()
        assert dataset.domain.tolist() == [-1] * len(rows)
        times = [row['datetime'][:-4].replace(' ', 'T') for row in rows]
        assert dataset.datetimes.astype(str).tolist() == times
        assert dataset.classes == (
            'empty',
            *(f'genus {y}, species {y}' for y in range(1, 6)),
        )
        assert tuple(dataset.domains) == GROUPS[:5]
        assert dataset.groups == GROUPS
        places = [PLACES[camera] or (math.nan, math.nan) for camera in range(5)]
        np.testing.assert_allclose(dataset.domains.lon, [p[0] for p in places])
        np.testing.assert_allclose(dataset.domains.lat, [p[1] for p in places])

    def test_default_size_is_that_of_wilds(self, shared: tuple[Path, Rows]) -> None:
        assert IWildCam(shared[0])[0]['image'].shape == (3, 448, 448)

    def test_names_of_many_cameras_are_in_order(self, own: tuple[Path, Rows]) -> None:
        root, rows = own
        for row in rows:
            row['location_remapped'] *= 12
        write_rows(home(root) / 'metadata.csv', rows)
        domains = tuple(IWildCam(root).domains)
        assert domains == tuple(f'camera {n:03}' for n in (0, 12, 24, 36, 48))

    def test_index_transforms_and_aliases(self, shared: tuple[Path, Rows]) -> None:
        dataset = IWildCam(shared[0], size=8)
        assert dataset[-1]['image'].equal(dataset[len(dataset) - 1]['image'])
        with pytest.raises(IndexError):
            dataset[len(dataset)]
        label = dataset[0]['label'].clone()
        dataset[0]['label'].fill_(77)
        assert dataset[0]['label'] == label
        dataset = IWildCam(shared[0], size=8, transforms=lambda sample: {'x': sample})
        assert dataset[0].keys() == {'x'}

    @pytest.mark.parametrize('split', SPLITS)
    def test_with_split(self, shared: tuple[Path, Rows], split: str) -> None:
        expected = IWildCam(shared[0], split, size=8)
        first = IWildCam(shared[0], 'test', size=8)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('pandas.read_csv', None)
            dataset = first.with_split(split)
        assert (first.split, dataset.split) == ('test', split)
        assert first.camera.unique().tolist() == [7, 8, 9]
        for one, other in zip(dataset, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
        with pytest.raises(ValueError, match=r"split must be one of .*found 'ood'"):
            first.with_split('ood')

    def test_workers_and_pickles(self, shared: tuple[Path, Rows]) -> None:
        dataset = IWildCam(shared[0], size=8)
        expected = [sample['image'] for sample in dataset]
        copy = pickle.loads(pickle.dumps(dataset))
        for number, image in enumerate(expected):
            assert copy[number]['image'].equal(image)
        loader = DataLoader(dataset, num_workers=2, multiprocessing_context='fork')
        for image, batch in zip(expected, loader, strict=True):
            assert batch['image'][0].equal(image)

    def test_plot(self, shared: tuple[Path, Rows]) -> None:
        dataset = IWildCam(shared[0], 'val')
        seen = int((dataset.camera == 5).nonzero()[0])
        hidden = int((dataset.camera == 6).nonzero()[0])
        label = dataset.classes[dataset.label[seen]]
        sample = dataset[seen] | {'prediction': torch.tensor(0)}
        figure = dataset.plot(sample, suptitle='Above')
        assert figure.axes[0].get_title() == (
            f'Label: {label}\nPrediction: empty\ncamera 5, lon 99.75, lat 3.00'
        )
        assert figure.get_suptitle() == 'Above'
        shown = np.asarray(figure.axes[0].images[0].get_array())
        image = sample['image'].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(shown, image / 255, atol=1e-6)
        assert dataset.plot(dataset[hidden]).axes[0].get_title().endswith('\ncamera 6')
        assert dataset.plot(sample, show_titles=False).axes[0].get_title() == ''
        plt.close('all')


class Recorder:
    """Puts places into halves of the Earth, those in the far north into none."""

    def __init__(self) -> None:
        self.fitted: list[tuple[float, float]] = []

    def fit(self, lon: Tensor, lat: Tensor) -> None:
        self.fitted = list(zip(lon.tolist(), lat.tolist(), strict=True))

    def names(self, lon: Tensor, lat: Tensor) -> list[str | None]:
        return [
            None if y > 60 else 'east' if x > 0 else 'west'
            for x, y in zip(lon.tolist(), lat.tolist(), strict=True)
        ]


class TestDomainsByPlace:
    def test_clusters(self, shared: tuple[Path, Rows]) -> None:
        root, _ = shared
        domain = {0: 1, 1: 0, 2: 1, 3: 2, 4: 0, 5: 1, 6: 2, 7: 0, 8: 2, 9: 1}
        for split in SPLITS:
            dataset = IWildCam(root, split, domains=ClusterDomains(2), size=8)
            assert tuple(dataset.domains) == ('cluster 1', 'cluster 2', 'unknown')
            assert dataset.groups == dataset.domains.names
            # From west to east; the cameras of one country make up the third one.
            expected = [domain[camera] for camera in dataset.camera.tolist()]
            assert dataset.domain.tolist() == dataset.group.tolist() == expected
            assert [s['domain'].item() for s in dataset] == expected
        lon, lat = dataset.domains.lon, dataset.domains.lat
        np.testing.assert_allclose(
            lon[:2], [(-62.125 - 60.0625) / 2, 102.375], atol=0.1
        )
        np.testing.assert_allclose(lat[:2], [(-15.75 - 13.5) / 2, 1.875], atol=0.1)
        assert lon[2].isnan() and lat[2].isnan()

    def test_clusters_with_a_limit(self, shared: tuple[Path, Rows]) -> None:
        rule = ClusterDomains(2, max_km=1000)
        dataset = IWildCam(shared[0], 'test', domains=rule)
        assert dataset.groups == ('cluster 1', 'cluster 2', 'unknown', 'elsewhere')
        found = dict(zip(dataset.camera.tolist(), dataset.group.tolist(), strict=True))
        assert found == {7: 0, 8: 2, 9: 3}
        assert dataset.domain[dataset.camera == 9].tolist() == [-1]

    def test_a_rule_learns_from_training_cameras(self, own: tuple[Path, Rows]) -> None:
        root, rows = own
        # Most images are of camera 0, which counts as much as the others.
        rows += [row for row in rows if row['location_remapped'] == 0] * 9
        write_rows(home(root) / 'metadata.csv', rows)
        rule = Recorder()
        dataset = IWildCam(root, 'id_val', domains=rule)
        places = [PLACES[camera] for camera in (0, 1, 2, 4)]
        assert rule.fitted == places
        assert tuple(dataset.domains) == ('east', 'unknown', 'west')
        assert dataset.domains.lon[0].item() == pytest.approx(102.375, abs=0.01)

    def test_cells(self, shared: tuple[Path, Rows]) -> None:
        dataset = IWildCam(shared[0], 'test', domains=GridDomains(10.0))
        # No training camera is in the cells of cameras 7 and 9.
        assert tuple(dataset.domains) == ('N00E100', 'S20W070', 'unknown')
        assert dataset.groups == (*dataset.domains, 'N00E090', 'N60E010')
        domain = dict(
            zip(dataset.camera.tolist(), dataset.domain.tolist(), strict=True)
        )
        assert domain == {7: 1, 8: 2, 9: -1}

    def test_training_cameras_in_no_domain(self, own: tuple[Path, Rows]) -> None:
        root, _ = own
        path = home(root) / 'gps_locations.json'
        entries = json.loads(path.read_text())
        entries[str(location_of(2))]['latitude'] = 70.0
        path.write_text(json.dumps(entries))
        message = '^1 of 5 training images are of cameras in no domain'
        with pytest.warns(UserWarning, match=message) as caught:
            dataset = IWildCam(root, domains=Recorder())
        assert Path(caught[0].filename) == Path(__file__)
        assert sorted(dataset.camera.tolist()) == [0, 1, 3, 4]
        assert (dataset.domain >= 0).all()
        dataset = IWildCam(root, 'id_val', domains=Recorder())
        assert dataset.groups == ('east', 'unknown', 'west', 'elsewhere')
        domain = dict(
            zip(dataset.camera.tolist(), dataset.domain.tolist(), strict=True)
        )
        assert domain == {0: 0, 2: -1}

    @pytest.mark.filterwarnings('ignore:no gps_locations.json')
    def test_no_places(self, own: tuple[Path, Rows]) -> None:
        (home(own[0]) / 'gps_locations.json').unlink()
        with pytest.raises(ValueError, match=r'^ClusterDomains goes by place, but no'):
            IWildCam(own[0], domains=ClusterDomains(2))

    def test_all_in_no_domain(self, own: tuple[Path, Rows]) -> None:
        class Nowhere(Recorder):
            def names(self, lon: Tensor, lat: Tensor) -> list[str | None]:
                return [None] * len(lon)

        root, rows = own
        rows = [row for row in rows if row['location_remapped'] != 3]
        write_rows(home(root) / 'metadata.csv', rows)
        with pytest.raises(ValueError, match='Nowhere puts none of the 4 training'):
            IWildCam(root, domains=Nowhere())


class TestImages:
    def replace(self, own: tuple[Path, Rows], data: bytes) -> tuple[IWildCam, str]:
        """Put other content into the first training image."""
        root, rows = own
        name = next(row['filename'] for row in rows if row['split'] == 'train')
        (home(root) / 'train' / name).write_bytes(data)
        return IWildCam(root, size=32), name

    @pytest.mark.parametrize('mode', ['L', 'CMYK'])
    def test_other_modes_become_rgb(
        self, own: tuple[Path, Rows], tmp_path: Path, mode: str
    ) -> None:
        colours = {'L': 90, 'CMYK': (0, 100, 200, 20)}
        Image.new(mode, (50, 40), colours[mode]).save(tmp_path / 'x.jpg', quality=100)
        dataset, _ = self.replace(own, (tmp_path / 'x.jpg').read_bytes())
        image = dataset[0]['image']
        assert image.shape == (3, 32, 32)
        rgb = {'L': (90, 90, 90), 'CMYK': (235, 143, 51)}[mode]
        np.testing.assert_allclose(image.mean((1, 2)), rgb, atol=3)

    def test_cut_off(self, own: tuple[Path, Rows], tmp_path: Path) -> None:
        """What is left is decoded, the rest grey; a warning names the file, once."""
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (32, 32, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(tmp_path / 'x.jpg', quality=95)
        data = (tmp_path / 'x.jpg').read_bytes()
        dataset, name = self.replace(own, data)
        whole = dataset[0]['image']
        dataset, _ = self.replace(own, data[: len(data) // 2])
        with pytest.warns(UserWarning, match=f'{name} is cut off .*is grey'):
            image = dataset[0]['image']
        np.testing.assert_array_equal(image[:, :12], whole[:, :12])
        assert (image[:, 20:] == 128).all()
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert dataset[0]['image'].equal(image)

    def test_end_marker_lost(self, own: tuple[Path, Rows]) -> None:
        root, rows = own
        name = next(row['filename'] for row in rows if row['split'] == 'train')
        whole = IWildCam(root, size=32)[0]['image']
        data = (home(root) / 'train' / name).read_bytes()
        dataset, _ = self.replace(own, data[:-2])
        with pytest.warns(UserWarning, match='is cut off'):
            assert dataset[0]['image'].equal(whole)

    @pytest.mark.parametrize('data', [b'', b'\xff\xd8\xff', b'no image at all'])
    def test_not_decodable(self, own: tuple[Path, Rows], data: bytes) -> None:
        dataset, name = self.replace(own, data)
        row = 2 + next(i for i, r in enumerate(own[1]) if r['filename'] == name)
        message = f"metadata.csv, row {row}: cannot read '{name}' in .*train: "
        with pytest.raises(OSError, match=message):
            dataset[0]

    def test_cut_off_within_the_header(self, own: tuple[Path, Rows]) -> None:
        root, rows = own
        name = next(row['filename'] for row in rows if row['split'] == 'train')
        data = (home(root) / 'train' / name).read_bytes()
        dataset, _ = self.replace(own, data[:200])
        with pytest.raises(OSError, match=f"cannot read '{name}'"):
            dataset[0]

    def test_more_than_8_bits(self, own: tuple[Path, Rows], tmp_path: Path) -> None:
        Image.fromarray(np.full((9, 9), 999, np.uint16)).save(tmp_path / 'x.png')
        dataset, _ = self.replace(own, (tmp_path / 'x.png').read_bytes())
        with pytest.raises(OSError, match='mode I;16 do not fit 8 bits'):
            dataset[0]


#: What is wrong with the third row, and the message.
WRONG_ROWS: list[tuple[dict[str, Any], str]] = [
    ({'split': 'dev'}, "unknown split 'dev', expected one of"),
    ({'split': ''}, "unknown split ''"),
    ({'y': 6}, 'label y=6 is none of the 6 classes'),
    ({'y': 99999}, 'label y=99999 is none of the 6 classes'),
    ({'y': ''}, "y '' is no integer"),
    ({'y': -1}, "y '-1' is no integer"),
    ({'location': 'Peru'}, "location 'Peru' is no integer"),
    ({'location_remapped': 1.5}, "location_remapped '1.5' is no integer"),
    ({'filename': '../x.jpg'}, 'leaves the folder'),
    ({'filename': 'a/../../x.jpg'}, 'leaves the folder'),
    ({'filename': '/x.jpg'}, 'leaves the folder'),
    ({'filename': 'C:\\x.jpg'}, 'leaves the folder'),
    ({'filename': ''}, 'leaves the folder'),
]


class TestTableErrors:
    @pytest.mark.parametrize(('values', 'message'), WRONG_ROWS)
    def test_rows(
        self, own: tuple[Path, Rows], values: dict[str, Any], message: str
    ) -> None:
        root, rows = own
        rows[2].update(values)
        write_rows(home(root) / 'metadata.csv', rows)
        with pytest.raises(
            ValueError, match=f'metadata.csv, row 4, file.*: .*{message}'
        ):
            IWildCam(root)

    def test_first_wrong_row_and_number(self, own: tuple[Path, Rows]) -> None:
        root, rows = own
        for row in rows[3:6]:
            row['y'] = 'frog'
        write_rows(home(root) / 'metadata.csv', rows)
        with pytest.raises(ValueError, match=r'row 5, file.* \(and 2 more rows'):
            IWildCam(root)

    @pytest.mark.parametrize(('split', 'other'), [('val', 'train'), ('test', 'val')])
    def test_splits_share_a_camera(
        self, own: tuple[Path, Rows], split: str, other: str
    ) -> None:
        root, rows = own
        first = next(row for row in rows if row['split'] == split)
        camera = next(row for row in rows if row['split'] == other)
        for key in ('location_remapped', 'location'):
            first[key] = camera[key]
        write_rows(home(root) / 'metadata.csv', rows)
        message = f"row {rows.index(first) + 2}, .* '{split}' and also in '{other}'"
        with pytest.raises(ValueError, match=message):
            IWildCam(root)

    def test_camera_of_two_locations(self, own: tuple[Path, Rows]) -> None:
        root, rows = own
        of_camera = [row for row in rows if row['location_remapped'] == 0]
        of_camera[1]['location'] = 77
        write_rows(home(root) / 'metadata.csv', rows)
        row = rows.index(of_camera[1]) + 2
        message = f'row {row}, .*location_remapped=0 has the location 77'
        with pytest.raises(ValueError, match=message):
            IWildCam(root)

    @pytest.mark.parametrize(
        'column', ['split', 'location_remapped', 'location', 'y', 'filename']
    )
    def test_missing_column(self, own: tuple[Path, Rows], column: str) -> None:
        root, rows = own
        header = [name for name in HEADER if name != column]
        write_rows(home(root) / 'metadata.csv', rows, header)
        with pytest.raises(
            ValueError, match=f"metadata.csv: no column '{column}', found"
        ):
            IWildCam(root)

    def test_dates_are_optional(self, own: tuple[Path, Rows]) -> None:
        root, rows = own
        header = [name for name in HEADER if name != 'datetime']
        write_rows(home(root) / 'metadata.csv', rows, header)
        assert np.isnat(IWildCam(root).datetimes).all()

    def test_blank_lines_keep_the_row_numbers(self, own: tuple[Path, Rows]) -> None:
        root, _ = own
        path = home(root) / 'metadata.csv'
        lines = path.read_text().splitlines()
        path.write_text('\n'.join([*lines[:3], '', *lines[3:]]) + '\n\n')
        numbers = {
            int(n) for s in SPLITS for n in IWildCam(root, s, size=8).row_numbers
        }
        assert numbers == set(range(2, len(lines) + 2)) - {4}

    @pytest.mark.parametrize('content', [b'', b'\xff\xfe\x00', b'a,b\n1,2,3\n"x'])
    @pytest.mark.parametrize('name', ['metadata.csv', 'categories.csv'])
    def test_no_table(self, own: tuple[Path, Rows], content: bytes, name: str) -> None:
        (home(own[0]) / name).write_bytes(content)
        with pytest.raises(ValueError, match=f'{name} is no CSV|{name}: no column'):
            IWildCam(own[0])

    def test_no_rows(self, own: tuple[Path, Rows]) -> None:
        write_rows(home(own[0]) / 'metadata.csv', [])
        with pytest.raises(ValueError, match=r'metadata\.csv: the table has no rows'):
            IWildCam(own[0])

    def test_split_without_rows(self, own: tuple[Path, Rows]) -> None:
        root, rows = own
        rows = [row for row in rows if row['split'] != 'id_val']
        write_rows(home(root) / 'metadata.csv', rows)
        with pytest.raises(ValueError, match="no row has the split 'id_val'"):
            IWildCam(root, 'id_val')
        rows = [row for row in rows if row['split'] != 'train']
        write_rows(home(root) / 'metadata.csv', rows)
        with pytest.raises(ValueError, match="no row has the split 'train'"):
            IWildCam(root, 'test')

    def test_unknown_split(self, shared: tuple[Path, Rows]) -> None:
        with pytest.raises(ValueError, match=r"one of \['train', .*found 'ood'"):
            IWildCam(shared[0], 'ood')

    @pytest.mark.parametrize(
        ('old', 'new', 'message'),
        [
            ('name', 'species', "no column 'name'"),
            ('\n3,', '\n4,', 'found 6 labels, and 3 is missing'),
            ('\n0,', '\n6,', 'found 6 labels, and 0 is missing'),
            ('\n5,', '\nfive,', "row 4: y 'five' is no integer"),
        ],
    )
    def test_categories(
        self, own: tuple[Path, Rows], old: str, new: str, message: str
    ) -> None:
        path = home(own[0]) / 'categories.csv'
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(ValueError, match=f'categories.csv.*{message}'):
            IWildCam(own[0])

    def test_missing_images(
        self, own: tuple[Path, Rows], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root, rows = own
        for row in (rows[5], rows[9], rows[3]):
            (home(root) / 'train' / row['filename']).unlink()
        listed = []
        files = FolderStore._files

        def count(store: FolderStore, folder: str) -> set[str]:
            listed.append(folder)
            return files(store, folder)

        monkeypatch.setattr(FolderStore, '_files', count)
        # Of whatever split: it would be found out after days of training.
        message = (
            f"row 5: no file '{rows[3]['filename']}' in .*train; 3 of 15 images are"
        )
        with pytest.raises(FileNotFoundError, match=message):
            IWildCam(root, 'id_val')
        assert listed == ['']


class TestPlaces:
    def test_files(self, own: tuple[Path, Rows], tmp_path: Path) -> None:
        """What is given goes first, then what lies nearest to the table."""
        root, _ = own
        paths = [
            tmp_path / 'other.json',
            home(root) / 'gps_locations.json',
            root / 'gps_locations.json',
        ]
        for lon, path in enumerate(paths):
            entries = {str(n): {'latitude': 5.0, 'longitude': lon} for n in range(10)}
            path.write_text(json.dumps(entries))
        for lon, path in enumerate(paths):
            dataset = IWildCam(root, gps=path if lon == 0 else None)
            assert dataset.gps == str(path)
            same(dataset.lon, [lon] * len(dataset))
            path.unlink()

    def test_no_file(self, own: tuple[Path, Rows]) -> None:
        root, _ = own
        (home(root) / 'gps_locations.json').unlink()
        message = 'no gps_locations.json in .*MoGE, D3G.*clusters, grid or polygons'
        with pytest.warns(UserWarning, match=message) as caught:
            dataset = IWildCam(root, size=8)
        assert Path(caught[0].filename) == Path(__file__)
        assert dataset.lon.isnan().all() and dataset.lat.isnan().all()
        assert dataset[0]['lon'].isnan() and dataset[0]['lat'].isnan()
        assert not dataset.domains.located
        with pytest.raises(FileNotFoundError, match=r'elsewhere\.json'):
            IWildCam(root, gps=root / 'elsewhere.json')

    @pytest.mark.parametrize(
        ('entry', 'message'),
        [
            ({'latitude': 5.0}, 'lat=5 is no place'),
            ({'latitude': 5.0, 'longitude': None}, 'lat=5 is no place'),
            ({'latitude': 100.0, 'longitude': 5.0}, r'swapped\?'),
            ({'latitude': 5.0, 'longitude': 181}, 'lon=181, lat=5 is no place'),
            ({'latitude': '5.0', 'longitude': '6.0'}, 'expected numbers'),
            ({'latitude': True, 'longitude': False}, 'expected numbers'),
            ([5.0, 6.0], 'expected numbers under latitude and longitude'),
            ('Peru', 'expected numbers under latitude and longitude'),
        ],
    )
    def test_entries(self, own: tuple[Path, Rows], entry: Any, message: str) -> None:
        root, _ = own
        path = home(root) / 'gps_locations.json'
        key = str(location_of(7))
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: entry}))
        with pytest.raises(ValueError, match=f'json, location {key}: .*{message}'):
            IWildCam(root)

    @pytest.mark.parametrize('entry', [None, {'latitude': None, 'longitude': None}, {}])
    def test_entries_that_tell_nothing(
        self, own: tuple[Path, Rows], entry: Any
    ) -> None:
        root, _ = own
        path = home(root) / 'gps_locations.json'
        entries = json.loads(path.read_text()) | {str(location_of(7)): entry}
        path.write_text(json.dumps(entries))
        dataset = IWildCam(root, 'test')
        assert dataset.lon[dataset.camera == 7].isnan().all()

    @pytest.mark.parametrize(
        ('content', 'message'),
        [
            ('latitude,longitude\n', 'is no JSON file'),
            ('', 'is no JSON file'),
            ('[{"location": 3, "latitude": 1, "longitude": 2}]', 'found a list'),
            ('{"cam_3": {"latitude": 1, "longitude": 2}}', 'keys are cam_3'),
            ('{"3.0": {"latitude": 1, "longitude": 2}}', 'keys are 3.0'),
            ('{}', 'found a dict without keys'),
        ],
    )
    def test_other_forms(
        self, own: tuple[Path, Rows], content: str, message: str
    ) -> None:
        path = home(own[0]) / 'gps_locations.json'
        path.write_text(content)
        with pytest.raises(ValueError, match=rf'gps_locations\.json.*{message}'):
            IWildCam(own[0])


class TestFolders:
    def test_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetNotFoundError, match='use `download=True`'):
            IWildCam(tmp_path)

    @pytest.mark.parametrize('part', ['metadata.csv', 'categories.csv', 'train'])
    def test_half_unpacked(self, own: tuple[Path, Rows], part: str) -> None:
        root, _ = own
        (home(root) / part).rename(root / 'away')
        with pytest.raises(
            FileNotFoundError, match=f'but no {part}: it was only partly'
        ):
            IWildCam(root)

    @pytest.mark.parametrize('top', ['', 'iwildcam_v2.0', '0x6313da2b'])
    def test_download(
        self,
        shared: tuple[Path, Rows],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        top: str,
    ) -> None:
        """With or without a folder in the archive; the second time nothing is loaded."""
        served, root = tmp_path / 'served.tar.gz', tmp_path / 'new'
        pack(home(shared[0]), served, top)
        archive = Archive('archive.tar.gz', served.as_uri())
        monkeypatch.setattr(IWildCam, 'archive', archive)
        dataset = IWildCam(root, download=True, size=8)
        served.unlink()
        assert (home(root) / 'archive.tar.gz').exists()
        expected = IWildCam(shared[0], size=8)
        for again in (dataset, IWildCam(root, download=True, size=8), IWildCam(root)):
            assert again.label.equal(expected.label)
            same(again.lon, expected.lon.tolist())
        for found, wanted in zip(dataset, expected, strict=True):
            assert found['image'].equal(wanted['image'])
        # What is lost is replaced from the archive.
        (next(home(root).rglob('metadata.csv'))).unlink()
        assert len(IWildCam(root)) == len(expected)

    def test_damaged_archive(self, shared: tuple[Path, Rows], tmp_path: Path) -> None:
        path = home(tmp_path) / 'archive.tar.gz'
        path.parent.mkdir()
        pack(home(shared[0]), path, '')
        path.write_bytes(path.read_bytes()[:-2000])
        with pytest.raises(OSError, match=r'archive\.tar\.gz is incomplete or damaged'):
            IWildCam(tmp_path)
        assert [entry.name for entry in home(tmp_path).iterdir()] == ['archive.tar.gz']

    def test_address(self) -> None:
        assert IWildCam.archive.url == (
            'https://worksheets.codalab.org/rest/bundles/'
            '0x6313da2b204647e79a14b468131fcd64/contents/blob/'
        )
        assert IWildCam.archive.md5 is None


@pytest.mark.skipif(not BORNEO.is_dir(), reason='camera traps of Borneo are not here')
@pytest.mark.parametrize('domains', [None, ClusterDomains(2)])
def test_real_camera_traps(tmp_path: Path, domains: ClusterDomains | None) -> None:
    """Three stations in Sabah, two to train on, in the form of WILDS."""
    with (BORNEO / 'metadata.csv').open() as file:
        table = list(csv.DictReader(file))
    folder = home(tmp_path)
    (folder / 'train').mkdir(parents=True)
    species = sorted({row['species'] for row in table})
    stations = sorted({row['station'] for row in table})
    locations = {station: 40 - 3 * i for i, station in enumerate(stations)}
    rows, places = [], {}
    for number, row in enumerate(table):
        name = f'{number:03}.jpg'
        shutil.copy(BORNEO / row['filename'], folder / 'train' / name)
        camera = stations.index(row['station'])
        location = locations[row['station']]
        lonlat = {'longitude': float(row['lon']), 'latitude': float(row['lat'])}
        places[str(location)] = lonlat
        day, _, time = row['datetime'].partition(' ')
        rows.append(
            {
                'split': 'train' if camera < 2 else 'test',
                'location_remapped': camera,
                'location': location,
                'y': species.index(row['species']),
                'datetime': f'{day.replace(":", "-")} {time}.000',
                'filename': name,
            }
        )
    write_rows(folder / 'metadata.csv', rows)
    lines = [f'{y},{y + 7},{name}' for y, name in enumerate(species)]
    text = '\n'.join(['y,category_id,name', *lines, '99999,1,Homo sapiens'])
    (folder / 'categories.csv').write_text(text)
    (folder / 'gps_locations.json').write_text(json.dumps(places))

    seen = 0
    for split in ('train', 'test'):
        dataset = IWildCam(tmp_path, split, domains=domains, size=75)
        assert dataset.classes == tuple(species)
        chosen = [i for i, row in enumerate(rows) if row['split'] == split]
        for index, sample in zip(chosen, dataset, strict=True):
            row = table[index]
            assert dataset.classes[sample['label']] == row['species']
            assert sample['lon'] == np.float32(row['lon'])
            assert sample['lat'] == np.float32(row['lat'])
            with Image.open(BORNEO / row['filename']) as picture:
                pixels = np.asarray(picture.resize((75, 75), Image.Resampling.BILINEAR))
            np.testing.assert_array_equal(sample['image'], pixels.transpose(2, 0, 1))
            taken = row['datetime'].replace(':', '-', 2).replace(' ', 'T')
            assert (
                str(
                    dataset.datetimes[
                        dataset.files.tolist().index(rows[index]['filename'].encode())
                    ]
                )
                == taken
            )
            seen += 1
        if domains is None:
            assert tuple(dataset.domains) == ('camera 0', 'camera 1')
            cameras = [rows[i]['location_remapped'] for i in chosen]
            assert dataset.group.tolist() == cameras
            assert dataset.domain.tolist() == [c if c < 2 else -1 for c in cameras]
    assert seen == len(table) == 68


def test_helpers_write_what_the_tests_rely_on(tmp_path: Path) -> None:
    """Joined on the wrong column, places would be those of other cameras."""
    write_places(tmp_path / 'x.json')
    write_categories(tmp_path / 'x.csv', 3)
    entries = json.loads((tmp_path / 'x.json').read_text())
    for camera, place in PLACES.items():
        assert location_of(camera) != camera
        entry = entries.get(str(camera))
        if entry is not None:
            assert (entry['longitude'], entry['latitude']) != place
    assert re.search(r'^99999,', (tmp_path / 'x.csv').read_text(), re.MULTILINE)
