# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import csv
import io
import math
import pickle
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from torchgeo_experts.datasets.image_table import ImageTable

EUROSAT = Path(__file__).parents[3] / 'shared' / 'data' / 'eurosat_geo'
HEADER = ['filename', 'label', 'split', 'domain', 'lon', 'lat']
ROWS = [
    ['a/0.png', 'water', 'train', 'Spain', '-3.5', '40.25'],
    ['a/1.png', 'forest', 'train', 'France', '2.5', '48'],
    ['a/2.png', 'forest', 'test', 'Peru', '-76.1234567', '-10'],
    ['b/3.png', 'urban', 'val', 'Chile', '', ''],
    ['b/4.png', 'water', 'train', 'Spain', '-4.5', '40.25'],
    ['b/5.png', 'water', 'test', 'Spain', '-3.5', '39'],
]


def pixels(index: int) -> np.ndarray:
    rng = np.random.default_rng(index)
    return rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)


def write_table(path: Path, rows: list[list[str]], header: list[str] = HEADER) -> Path:
    with open(path, 'w', newline='') as file:
        csv.writer(file).writerows([header, *rows])
    return path


def pack(folder: Path, archive: Path, compression: int, top: str = '') -> Path:
    with zipfile.ZipFile(archive, 'w', compression) as file:
        for path in sorted(folder.rglob('*.*')):
            file.write(path, top + path.relative_to(folder).as_posix())
    return archive


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('image_table')
    for index, row in enumerate(ROWS):
        path = root / 'images' / row[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(index)).save(path)
    write_table(root / 'table.csv', ROWS)
    pack(root / 'images', root / 'stored.zip', zipfile.ZIP_STORED)
    pack(root / 'images', root / 'deflated.zip', zipfile.ZIP_DEFLATED)
    pack(root / 'images', root / 'nested.zip', zipfile.ZIP_STORED, 'top/in/')
    return root


def values(tensor: Tensor) -> list[Any]:
    """As a list in which NaN equals NaN."""
    return [None if math.isnan(v) else v for v in tensor.tolist()]


class TestSamples:
    @pytest.mark.parametrize('images', ['images', 'stored.zip', 'deflated.zip'])
    def test_images(self, root: Path, images: str) -> None:
        dataset = ImageTable(root / images, root / 'table.csv')
        assert len(dataset) == len(ROWS)
        for index in range(len(ROWS)):
            image = dataset[index]['image']
            assert image.dtype == torch.float32
            np.testing.assert_array_equal(image, pixels(index).transpose(2, 0, 1))

    def test_values(self, root: Path) -> None:
        dataset = ImageTable(root / 'images', root / 'table.csv')
        with open(root / 'table.csv', newline='') as file:
            rows = list(csv.DictReader(file))
        assert dataset.classes == ('forest', 'urban', 'water')
        assert tuple(dataset.domains) == ('Chile', 'France', 'Peru', 'Spain')
        assert dataset.groups == dataset.domains.names
        for row, sample in zip(rows, dataset, strict=True):
            assert all(isinstance(value, Tensor) for value in sample.values())
            for key in ('label', 'domain', 'group'):
                assert sample[key].dtype == torch.int64 and sample[key].shape == ()
            assert dataset.classes[sample['label']] == row['label']
            assert dataset.domains.names[sample['domain']] == row['domain']
            for key in ('lon', 'lat'):
                assert sample[key].dtype == torch.float32 and sample[key].shape == ()
                expected = float(row[key]) if row[key] else math.nan
                np.testing.assert_allclose(sample[key], expected, rtol=1e-6)

    def test_split(self, root: Path) -> None:
        dataset = ImageTable(root / 'images', root / 'table.csv', split='test')
        assert dataset.files == ['a/2.png', 'b/5.png']
        assert dataset.classes == ('forest', 'urban', 'water')
        # Training domains are those of the training split: Peru is none.
        assert tuple(dataset.domains) == ('France', 'Spain')
        assert dataset.groups == ('France', 'Spain', 'Chile', 'Peru')
        assert dataset.domain.tolist() == [-1, 1]
        assert dataset.group.tolist() == [3, 1]
        np.testing.assert_allclose(dataset.domains.lon, [2.5, -4], atol=1e-6)
        np.testing.assert_array_equal(dataset[0]['image'][0], pixels(2)[..., 0])

    def test_train_split(self, root: Path) -> None:
        dataset = ImageTable(
            root / 'images', root / 'table.csv', split='val', train_split='test'
        )
        assert tuple(dataset.domains) == ('Peru', 'Spain')

    def test_folder(self, root: Path) -> None:
        table = root / 'table.csv'
        dataset = ImageTable(root / 'nested.zip', table, folder='top/in/')
        np.testing.assert_array_equal(dataset[3]['image'][0], pixels(3)[..., 0])
        dataset = ImageTable(root, table, folder='images')
        np.testing.assert_array_equal(dataset[3]['image'][0], pixels(3)[..., 0])

    def test_index_error_and_negative_index(self, root: Path) -> None:
        dataset = ImageTable(root / 'images', root / 'table.csv')
        np.testing.assert_array_equal(dataset[-1]['image'][0], pixels(5)[..., 0])
        with pytest.raises(IndexError):
            dataset[6]

    def test_samples_do_not_alias(self, root: Path) -> None:
        dataset = ImageTable(root / 'images', root / 'table.csv')
        dataset[0]['label'].fill_(7)
        assert dataset[0]['label'] == 2

    def test_transforms(self, root: Path) -> None:
        dataset = ImageTable(
            root / 'images',
            root / 'table.csv',
            transforms=lambda sample: {'image': sample['image'] + 1},
        )
        assert dataset[0].keys() == {'image'}

    def test_size(self, root: Path) -> None:
        dataset = ImageTable(root / 'images', root / 'table.csv', size=3)
        image = dataset[0]['image']
        expected = Image.fromarray(pixels(0)).resize((3, 3), Image.Resampling.BILINEAR)
        assert image.shape == (3, 3, 3)
        # Pillow filters with antialiasing too, and rounds to 8 bits.
        np.testing.assert_allclose(
            image, np.asarray(expected).transpose(2, 0, 1), atol=1.01
        )

    @pytest.mark.parametrize('zipped', [False, True])
    def test_geotiff(self, tmp_path: Path, zipped: bool) -> None:
        array = np.random.default_rng(0).integers(0, 9999, (5, 4, 6), dtype=np.uint16)
        images = tmp_path / 'images'
        images.mkdir()
        with rasterio.open(
            images / 'x.tif',
            'w',
            driver='GTiff',
            count=5,
            height=4,
            width=6,
            dtype='uint16',
            crs='EPSG:4326',
            transform=rasterio.Affine(0.1, 0, 2, 0, -0.1, 48),
        ) as raster:
            raster.write(array)
        if zipped:
            images = pack(images, tmp_path / 'x.zip', zipfile.ZIP_DEFLATED)
        table = write_table(tmp_path / 't.csv', [['x.tif', 'a', 'train', 'd', '', '']])
        np.testing.assert_array_equal(ImageTable(images, table)[0]['image'], array)
        some = ImageTable(images, table, bands=[4, 3, 2])
        np.testing.assert_array_equal(some[0]['image'], array[[3, 2, 1]])


class TestTables:
    def test_parquet_as_csv(self, root: Path, tmp_path: Path) -> None:
        frame = pd.read_csv(root / 'table.csv')
        frame.to_parquet(tmp_path / 'plain.parquet')
        frame.set_index('filename').to_parquet(tmp_path / 'indexed.parquet')
        expected = ImageTable(root / 'images', root / 'table.csv', split='test')
        for name in ('plain.parquet', 'indexed.parquet'):
            found = ImageTable(root / 'images', tmp_path / name, split='test')
            assert found.files == expected.files
            assert found.classes == expected.classes
            assert found.groups == expected.groups
            for key in ('label', 'domain', 'group', 'lon', 'lat'):
                assert values(getattr(found, key)) == values(getattr(expected, key))

    def test_column_names(self, root: Path, tmp_path: Path) -> None:
        header = ['lat', 'more', 'path', 'y', 'fold', 'country', 'east', 'north']
        rows = [['x', 'x', *row] for row in ROWS]
        table = write_table(tmp_path / 't.csv', rows, header)
        dataset = ImageTable(
            root / 'images',
            table,
            'test',
            file_column='path',
            label_column='y',
            split_column='fold',
            domain_column='country',
            lon_column='east',
            lat_column='north',
        )
        expected = ImageTable(root / 'images', root / 'table.csv', 'test')
        assert dataset.files == expected.files
        for key in ('label', 'domain', 'group', 'lon', 'lat'):
            assert values(getattr(dataset, key)) == values(getattr(expected, key))

    def test_no_places(self, root: Path, tmp_path: Path) -> None:
        table = write_table(tmp_path / 't.csv', [r[:4] for r in ROWS], HEADER[:4])
        for columns in ({}, {'lon_column': None, 'lat_column': None}):
            dataset = ImageTable(root / 'images', table, **columns)
            assert dataset.lon.isnan().all() and dataset.lat.isnan().all()
            assert not dataset.domains.located
        with pytest.raises(ValueError, match=r"'longitude' \(lon_column\)"):
            ImageTable(root / 'images', table, lon_column='longitude')

    def test_one_coordinate_is_not_optional(self, root: Path, tmp_path: Path) -> None:
        table = write_table(tmp_path / 't.csv', [r[:5] for r in ROWS], HEADER[:5])
        with pytest.raises(ValueError, match=r"no column 'lat' \(lat_column\)"):
            ImageTable(root / 'images', table)

    def test_integer_labels_are_sorted_as_numbers(
        self, root: Path, tmp_path: Path
    ) -> None:
        frame = pd.DataFrame(ROWS, columns=HEADER).drop(columns=['lon', 'lat'])
        frame['label'] = [10, 9, 0, 2, 10, 1]
        frame.to_csv(tmp_path / 't.csv')
        frame.to_parquet(tmp_path / 't.parquet')
        for name in ('t.csv', 't.parquet'):
            dataset = ImageTable(root / 'images', tmp_path / name)
            assert dataset.classes == ('0', '1', '2', '9', '10')
            assert dataset.label.tolist() == [4, 3, 0, 2, 4, 1]

    def test_classes(self, root: Path) -> None:
        dataset = ImageTable(
            root / 'images',
            root / 'table.csv',
            classes=['water', 'snow', 'forest', 'urban'],
        )
        assert dataset.classes == ('water', 'snow', 'forest', 'urban')
        assert dataset.label.tolist() == [0, 2, 2, 3, 0, 0]

    def test_names_that_look_missing(self, root: Path, tmp_path: Path) -> None:
        rows = [['a/0.png', 'None', 'train', 'NA', 'NA', 'nan']]
        dataset = ImageTable(root / 'images', write_table(tmp_path / 't.csv', rows))
        assert tuple(dataset.domains) == ('NA',)
        assert dataset.classes == ('None',)
        assert dataset.lon.isnan().all()

    def test_spreadsheet_export(self, root: Path, tmp_path: Path) -> None:
        # A byte order mark, spaces after commas, empty lines, backslashes.
        text = (
            '\ufefffilename, label, domain\r\na\\0.png, x, "d, e"\r\n\r\n'
            './a/1.png, y, d\r\n,,\r\na/b/../2.png, y, \r\n'
        )
        (tmp_path / 't.csv').write_bytes(text.encode())
        with pytest.raises(ValueError, match=r"row 6, file 'a/b/../2.png': no domain$"):
            ImageTable(root / 'images', tmp_path / 't.csv')
        (tmp_path / 't.csv').write_bytes(
            (text + 'z').replace(', \r\nz', ', d').encode()
        )
        dataset = ImageTable(root / 'images', tmp_path / 't.csv')
        assert dataset.files == ['a/0.png', 'a/1.png', 'a/2.png']
        assert tuple(dataset.domains) == ('d', 'd, e')
        assert dataset.row_numbers == [2, 4, 6]


# What is written over one cell, and what the message must say about it.
BAD_CELLS = {
    'no file': (3, 'filename', '', "row 5, file '': no file"),
    'no label': (3, 'label', '', "row 5, file 'b/3.png': no label"),
    'no domain': (3, 'domain', '', "row 5, file 'b/3.png': no domain"),
    'missing': (3, 'filename', 'b/9.png', "row 5, file 'b/9.png': not in .*images as"),
    'folder': (3, 'filename', 'b', "row 5, file 'b': not in .*images as 'b'$"),
    'up': (3, 'filename', '../x.png', "row 5, file '../x.png': the path leaves"),
    'up again': (3, 'filename', 'a/../../x.png', "row 5, .*x.png': the path leaves"),
    'up windows': (3, 'filename', '..\\x.png', 'row 5, .*x.png.: the path leaves'),
    'absolute': (3, 'filename', '/b/3.png', "row 5, file '/b/3.png': the path leaves"),
    'drive': (3, 'filename', 'C:\\3.png', 'row 5, .*3.png.: the path leaves'),
    'twice': (3, 'filename', 'a/1.png', "row 5, file 'a/1.png': already .* in row 3"),
    'twice spelled': (3, 'filename', './a//1.png', 'row 5, .*: already .* in row 3'),
    'lon far': (0, 'lon', '180.5', "row 2, file 'a/0.png': lon=180.5, lat=40.25"),
    'lat far': (0, 'lat', '-100', 'row 2, .*a/0.png.*lat=-100.*swapped'),
    'lon infinite': (0, 'lon', 'inf', 'row 2, .*a/0.png.*lon=inf'),
    'half known': (0, 'lon', '', "row 2, file 'a/0.png': lon=nan, lat=40.25"),
    'lon text': (0, 'lon', '3,5', "row 2, file 'a/0.png': lon '3,5' is no number"),
    'label': (4, 'label', 'Water', "row 6, file 'b/4.png': unknown label 'Water'"),
}


class TestErrors:
    @pytest.mark.parametrize('case', BAD_CELLS)
    def test_bad_cell(self, root: Path, tmp_path: Path, case: str) -> None:
        index, column, text, message = BAD_CELLS[case]
        rows = [list(row) for row in ROWS]
        rows[index][HEADER.index(column)] = text
        table = write_table(tmp_path / 'bad.csv', rows)
        with pytest.raises(ValueError, match=message) as caught:
            ImageTable(root / 'images', table, classes=['water', 'forest', 'urban'])
        assert str(table) in str(caught.value)
        assert 'more rows' not in str(caught.value)

    def test_first_row_and_number_of_others(self, root: Path, tmp_path: Path) -> None:
        rows = [[*row[:4], '200', '10'] for row in ROWS]
        rows[0][4:] = ['1', '1']
        table = write_table(tmp_path / 'bad.csv', rows)
        with pytest.raises(ValueError, match=r"row 3, file 'a/1.png'.*\(and 4 more"):
            ImageTable(root / 'images', table)

    def test_parquet_rows_count_from_0(self, root: Path, tmp_path: Path) -> None:
        frame = pd.DataFrame(ROWS, columns=HEADER).drop(columns=['lon', 'lat'])
        frame['label'] = [1, 2, 3, None, 5, 6]
        frame.iloc[1:].to_parquet(tmp_path / 'bad.parquet')
        with pytest.raises(ValueError, match=r"row 2, file 'b/3.png': no label"):
            ImageTable(root / 'images', tmp_path / 'bad.parquet')

    @pytest.mark.parametrize('images', ['nested.zip', '.'])
    def test_hint_at_folder(self, root: Path, images: str) -> None:
        folder = {'nested.zip': 'top/in', '.': 'images'}[images]
        with pytest.raises(ValueError, match='row 2') as caught:
            ImageTable(root / images, root / 'table.csv')
        assert f"set folder: '{folder}'" in str(caught.value)
        assert 'and 5 more rows' in str(caught.value)
        with pytest.raises(ValueError, match="set folder: ''"):
            ImageTable(root / 'images', root / 'table.csv', folder='images')

    def test_missing_in_zip(self, root: Path, tmp_path: Path) -> None:
        table = write_table(tmp_path / 't.csv', [['none.png', 'a', 'b', 'c', '', '']])
        message = "row 2, file 'none.png': not in .*stored.zip as 'none.png'$"
        with pytest.raises(ValueError, match=message):
            ImageTable(root / 'stored.zip', table)

    def test_no_table(self, root: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r'none\.csv'):
            ImageTable(root / 'images', root / 'none.csv')

    def test_no_images(self, root: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r'none\.zip'):
            ImageTable(root / 'none.zip', root / 'table.csv')

    def test_empty_tables(self, root: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match='no rows'):
            ImageTable(root / 'images', write_table(tmp_path / 'header.csv', []))
        (tmp_path / 'empty.csv').touch()
        with pytest.raises(ValueError, match=r'empty\.csv is no CSV table'):
            ImageTable(root / 'images', tmp_path / 'empty.csv')

    def test_ragged_table(self, root: Path, tmp_path: Path) -> None:
        table = write_table(tmp_path / 't.csv', [ROWS[0], [*ROWS[1], 'more']])
        with pytest.raises(ValueError, match=r't\.csv is no CSV table.* line 3'):
            ImageTable(root / 'images', table)

    def test_missing_column(self, root: Path) -> None:
        message = r"no column 'country' \(domain_column\), found: \['filename', 'label'"
        with pytest.raises(ValueError, match=message):
            ImageTable(root / 'images', root / 'table.csv', domain_column='country')

    @pytest.mark.parametrize('split', ['dev', ''])
    def test_unknown_split(self, root: Path, split: str) -> None:
        message = rf"split '{split}', found: \['test', 'train', 'val'\]"
        with pytest.raises(ValueError, match=message):
            ImageTable(root / 'images', root / 'table.csv', split=split)

    def test_unknown_train_split(self, root: Path) -> None:
        with pytest.raises(ValueError, match="split 'training', found"):
            ImageTable(
                root / 'images', root / 'table.csv', 'test', train_split='training'
            )

    def test_classes_repeat(self, root: Path) -> None:
        with pytest.raises(ValueError, match='class names must be unique'):
            ImageTable(root / 'images', root / 'table.csv', classes=['water', 'water'])

    def test_unreadable_image(self, root: Path, tmp_path: Path) -> None:
        shutil.copytree(root / 'images', tmp_path / 'images')
        broken = tmp_path / 'images' / 'a' / '2.png'
        broken.write_bytes(broken.read_bytes()[:120])
        pack(tmp_path / 'images', tmp_path / 'images.zip', zipfile.ZIP_DEFLATED)
        for name in ('images', 'images.zip'):
            dataset = ImageTable(tmp_path / name, root / 'table.csv', split='test')
            message = rf"table\.csv, row 4: cannot read 'a/2.png' in .*{name}: "
            with pytest.raises(OSError, match=message):
                dataset[0]
            dataset[1]

    def test_damaged_zip(self, root: Path, tmp_path: Path) -> None:
        data = bytearray((root / 'stored.zip').read_bytes())
        png = (root / 'images' / 'a' / '1.png').read_bytes()
        data[data.index(png) + 60] ^= 255
        (tmp_path / 'bad.zip').write_bytes(data)
        dataset = ImageTable(tmp_path / 'bad.zip', root / 'table.csv')
        with pytest.raises(OSError, match=r"row 3: cannot read 'a/1.png' in .*CRC"):
            dataset[1]
        dataset[2]

    def test_band(self, root: Path) -> None:
        dataset = ImageTable(root / 'images', root / 'table.csv', bands=[4])
        with pytest.raises(OSError, match=r'row 2: .*0\.png.* no band 4'):
            dataset[0]


class TestWorkers:
    @pytest.mark.parametrize('images', ['images', 'deflated.zip'])
    def test_pickle(self, root: Path, images: str) -> None:
        dataset = ImageTable(root / images, root / 'table.csv', split='test')
        dataset[0]
        again = pickle.loads(pickle.dumps(dataset))
        torch.testing.assert_close(again[1], dataset[1], rtol=0, atol=0)

    @pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
    @pytest.mark.parametrize(
        ('images', 'context', 'workers'),
        [
            ('stored.zip', 'fork', 2),
            ('deflated.zip', 'fork', 2),
            # Each spawned worker imports torchgeo: one of each is enough.
            pytest.param('deflated.zip', 'spawn', 1, marks=pytest.mark.slow),
        ],
    )
    def test_zip(self, root: Path, images: str, context: str, workers: int) -> None:
        dataset = ImageTable(root / images, root / 'table.csv')
        dataset[0]  # the parent has the zip open
        many = torch.utils.data.ConcatDataset([dataset] * 40)
        loader = DataLoader(
            many, batch_size=12, num_workers=workers, multiprocessing_context=context
        )
        seen = torch.cat([batch['image'] for batch in loader])
        expected = torch.stack(
            [torch.from_numpy(pixels(i).transpose(2, 0, 1)).float() for i in range(6)]
        )
        torch.testing.assert_close(seen, expected.repeat(40, 1, 1, 1), rtol=0, atol=0)


class TestPlot:
    def test_titles(self, root: Path) -> None:
        dataset = ImageTable(root / 'images', root / 'table.csv', split='test')
        sample = dataset[0]
        fig = dataset.plot(sample, suptitle='Suptitle')
        (ax,) = fig.axes
        assert ax.get_title() == 'Label: forest\nDomain: Peru'
        assert fig.get_suptitle() == 'Suptitle'
        np.testing.assert_allclose(ax.images[0].get_array(), pixels(2) / 255, atol=1e-6)
        sample['prediction'] = torch.tensor(2)
        (ax,) = dataset.plot(sample).axes
        assert ax.get_title() == 'Label: forest\nPrediction: water\nDomain: Peru'
        (ax,) = dataset.plot(sample, show_titles=False).axes
        assert ax.get_title() == ''
        plt.close('all')

    @pytest.mark.parametrize('channels', [1, 2, 3, 12])
    def test_values_are_stretched(self, root: Path, channels: int) -> None:
        dataset = ImageTable(root / 'images', root / 'table.csv')
        sample = dataset[0] | {'image': torch.rand(channels, 16, 16) * 4000 - 100}
        (ax,) = dataset.plot(sample).axes
        shown = ax.images[0].get_array()
        assert shown.shape == (16, 16, 3)
        assert shown.min() == 0 and shown.max() == 1
        assert (shown == 0).mean() == pytest.approx(0.02, abs=0.005)
        assert (shown == 1).mean() == pytest.approx(0.02, abs=0.005)
        plt.close('all')

    def test_constant_and_unknown_values(self, root: Path) -> None:
        dataset = ImageTable(root / 'images', root / 'table.csv')
        image = torch.zeros(3, 4, 4)
        image[0, 0, 0] = torch.nan
        (ax,) = dataset.plot(dataset[0] | {'image': image}).axes
        assert (ax.images[0].get_array() == 0).all()
        plt.close('all')


@pytest.fixture(scope='module')
def eurosat() -> ImageTable:
    return ImageTable(
        EUROSAT / 'EuroSAT.zip',
        EUROSAT / 'metadata.csv',
        split='test',
        folder='2750',
        split_column='split_country',
        domain_column='country',
    )


@pytest.fixture(scope='module')
def rows() -> list[dict[str, str]]:
    with open(EUROSAT / 'metadata.csv', newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(not EUROSAT.is_dir(), reason='EuroSAT is not here')
class TestEuroSAT:
    def test_counts(self, rows: list[dict[str, str]]) -> None:
        everything = ImageTable(
            EUROSAT / 'EuroSAT.zip',
            EUROSAT / 'metadata.csv',
            folder='2750',
            domain_column='country',
        )
        assert len(everything) == len(rows) == 27000
        names = [everything.classes[i] for i in everything.label.tolist()]
        assert Counter(names) == Counter(row['label'] for row in rows)
        assert names.count('Pasture') == 2000 and names.count('Highway') == 2500
        names = [everything.groups[i] for i in everything.group.tolist()]
        assert Counter(names) == Counter(row['country'] for row in rows)
        assert len(everything.domains) == 34

    def test_split(self, eurosat: ImageTable, rows: list[dict[str, str]]) -> None:
        train = {r['country'] for r in rows if r['split_country'] == 'train'}
        assert tuple(eurosat.domains) == tuple(sorted(train))
        test = [row for row in rows if row['split_country'] == 'test']
        assert [f.removeprefix('2750/') for f in eurosat.files] == [
            row['filename'] for row in test
        ]
        assert (eurosat.domain == -1).all()
        np.testing.assert_allclose(eurosat.lon, [float(r['lon']) for r in test])

    def test_images(self, eurosat: ImageTable) -> None:
        rng = np.random.default_rng(0)
        with zipfile.ZipFile(EUROSAT / 'EuroSAT.zip') as archive:
            for index in rng.integers(0, len(eurosat), 12).tolist():
                picture = Image.open(io.BytesIO(archive.read(eurosat.files[index])))
                image = eurosat[index]['image']
                assert image.shape == (3, 64, 64)
                np.testing.assert_array_equal(
                    image, np.asarray(picture).transpose(2, 0, 1)
                )
                label = eurosat.classes[eurosat[index]['label']]
                assert re.match(f'2750/{label}/', eurosat.files[index])
