# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datasets.muds_files import (
    PLACES,
    lon_lat,
    rgb,
    valid_months,
    whole,
    write_geojson,
    write_month,
    write_spacenet7,
    write_tif,
)
from torchgeo_experts.datasets.muds import MUDS
from torchgeo_experts.datasets.muds_footprints import draw_mask
from torchgeo_experts.datasets.muds_splits import draw_splits

#: First days of the months of 2018 and 2019, days since 2018-01-01.
DAYS = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]


@pytest.fixture(scope='module')
def spacenet7(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('spacenet7')
    write_spacenet7(root / 'SN7_buildings' / 'train' / 'train')
    # Without labels, so that it is none of the places.
    name = 'L15-0566E-1185N_2266_3451_13'
    bare = root / 'SN7_buildings' / 'test_public' / name / 'images'
    bare.mkdir(parents=True)
    return root


class TestSpaceNet7:
    def test_places(self, spacenet7: Path) -> None:
        datasets = [MUDS(spacenet7, split) for split in ('train', 'val', 'test')]
        names = [set(dataset.places) for dataset in datasets]
        assert [len(n) for n in names] == [4, 1, 1]
        assert names[0] | names[1] | names[2] == set(PLACES)
        train, _, test = datasets
        assert train.classes == ('no building', 'building')
        assert tuple(train.domains) == train.places == train.groups[:4]
        assert set(train.groups) == set(PLACES) and train.groups == test.groups
        assert train.domain.tolist() == train.group.tolist() == sorted([*range(4)] * 64)
        assert test.domain.tolist() == [-1] * 64
        assert test.group.unique().tolist() == [test.groups.index(test.places[0])]

    def test_sample(self, spacenet7: Path) -> None:
        dataset = MUDS(spacenet7, 'test')
        number = PLACES.index(dataset.places[0])
        sample = dataset[0]
        assert sample['valid'].tolist() == valid_months(0, 1)
        assert sample['dates'].tolist() == DAYS + [day + 365 for day in DAYS]
        assert sample['image'].shape == (24, 3, 128, 128)
        images, masks = whole(dataset, 0, [0, 1])
        for step in range(2):
            image = torch.from_numpy(rgb(10 * number + step))
            assert torch.equal(images[step], image.float())
            mask = torch.zeros(1024, 1024, dtype=torch.int64)
            mask[8:40, 8 + 8 * step : 64] = 1
            assert torch.equal(masks[step], mask)
        assert not sample['image'][2:].any()
        assert (sample['mask'][2:] == 255).all()

    def test_coordinates(self, spacenet7: Path) -> None:
        dataset = MUDS(spacenet7, 'train')
        for place, name in enumerate(dataset.places):
            for row, column in ((0, 0), (2, 5), (7, 7)):
                lon, lat = lon_lat(name, 128 * row + 64, 128 * column + 64)
                sample = dataset[64 * place + 8 * row + column]
                found = (sample['lon'].item(), sample['lat'].item())
                assert found == pytest.approx((lon, lat), abs=2e-5)
        for name, lon, lat in zip(
            dataset.domains, dataset.domains.lon, dataset.domains.lat, strict=True
        ):
            assert (lon, lat) == pytest.approx(lon_lat(name, 512, 512), abs=1e-9)

    def test_defects(self, tmp_path: Path) -> None:
        """A place with a short image, unusable areas and months of other years."""
        write_spacenet7(tmp_path, PLACES[2:], months=['2018_05'])
        place, folder = PLACES[0], tmp_path
        image = rgb(1)
        write_month(folder, place, '2017_12', image)
        write_month(folder, place, '2020_01', image)
        # Footprints that end between centres of pixels; overlapping; partly outside.
        footprints = [(10.4, 20.4, 30.4, 40.4), (25.6, 35.6, 50.6, 60.6)]
        footprints += [(1000, -30, 1030, 5), (60, 60, 60.3, 60.3)]
        write_month(folder, place, '2018_03', image, footprints, None)
        # 1023 rows, the first of which is the second one of the tile.
        box = (100, 100, 120, 130)
        write_month(folder, place, '2018_04', rgb(2, 1023), [box], first_row=1)
        write_month(folder, place, '2019_12', image, [box], [(110, 90, 130, 115)])
        name = f'global_monthly_2019_12_mosaic_{place}_UDM.tif'
        flags = np.zeros((1, 1024, 1024), np.uint8)
        flags[:, 900:, 1000:] = 255
        write_tif(folder / place / 'UDM_masks' / name, place, flags)
        alpha = np.full((1, 1024, 1024), 255, np.uint8)
        alpha[:, :16, 512:] = 0
        write_month(folder, place, '2018_07', np.concatenate([image, alpha]))

        splits = draw_splits((*PLACES[2:], place), 0)
        split = next(s for s, names in splits.items() if place in names)
        dataset = MUDS(tmp_path, split)
        number = dataset.places.index(place)
        assert dataset[64 * number]['valid'].tolist() == valid_months(2, 3, 6, 23)

        expected = torch.zeros(24, 1024, 1024, dtype=torch.int64)
        expected[2, 10:30, 20:40] = 1
        expected[2, 26:51, 36:61] = 1
        expected[2, 1000:, :5] = 1
        expected[3, 99:119, 100:130] = 1
        expected[3, 1023] = 255
        expected[6, :16, 512:] = 255
        expected[23, 100:120, 100:130] = 1
        expected[23, 110:130, 90:115] = 255
        expected[23, 900:, 1000:] = 255
        images, masks = whole(dataset, number, [2, 3, 6, 23])
        assert torch.equal(masks, expected[[2, 3, 6, 23]])
        short = images[1]
        assert torch.equal(short[:, :1023], torch.from_numpy(rgb(2, 1023)).float())
        assert not short[:, 1023].any()
        # No trace of 2017 and 2020.
        others = [m for m in range(24) if m not in (2, 3, 6, 23)]
        sample = dataset[64 * number]
        assert not sample['image'][others].any()
        assert (sample['mask'][others] == 255).all()

    def test_images_masked(self, tmp_path: Path) -> None:
        write_spacenet7(tmp_path, PLACES[2:], months=['2018_05'])
        masked = np.concatenate([rgb(7), np.full((1, 1024, 1024), 255, np.uint8)])
        masked[:, :32, :32] = 0
        for place in PLACES[2:]:
            write_month(
                *(tmp_path, place, '2018_05', masked, [(8, 8, 40, 64)]),
                images='images_masked',
            )
        cache = tmp_path / 'cache'
        plain = MUDS(tmp_path, 'test', cache=cache)[0]
        blank = MUDS(tmp_path, 'test', 'images_masked', cache=cache)[0]
        assert (plain['mask'][4, :8, :8] == 0).all()
        assert (blank['mask'][4, :32, :32] == 255).all()
        assert not blank['image'][4, :, :32, :32].any()
        assert blank['mask'][4, 32:40, 8:64].eq(1).all()
        with pytest.raises(ValueError, match=r"images must be .*found 'labels'"):
            MUDS(tmp_path, images='labels')  # type: ignore[arg-type]
        shutil.rmtree(tmp_path / PLACES[3] / 'images_masked')
        with pytest.raises(ValueError, match=f'{PLACES[3]}/images_masked holds no'):
            MUDS(tmp_path, images='images_masked')

    @pytest.mark.parametrize(
        ('ending', 'content', 'message'),
        [
            ('images/*2018_01*.tif', b'', 'cannot read .*2018_01.*tif'),
            ('images/*2018_01*.tif', None, 'cannot read .*2018_01.*tif'),
            ('labels/*2018_01*_Buildings.geojson', b'', 'cannot read .*01.*Buildings'),
            ('labels/*2018_01*_Buildings.geojson', None, 'cannot read .*01.*Buildings'),
            ('labels/*2018_02*_UDM.geojson', b'{"type": "Fea', 'cannot read .*02.*UDM'),
        ],
    )
    def test_damaged(
        self, tmp_path: Path, ending: str, content: bytes | None, message: str
    ) -> None:
        """Empty files, and such that end in the middle (None)."""
        write_spacenet7(tmp_path, PLACES[3:])
        dataset = MUDS(tmp_path, 'test', cache=tmp_path / 'cache')
        (path,) = (tmp_path / dataset.places[0]).glob(ending)
        if content is None:
            content = path.read_bytes()[: path.stat().st_size // 2]
        path.write_bytes(content)
        with pytest.raises(OSError, match=message):
            dataset[0]
        assert not list((tmp_path / 'cache').glob('*'))

    def test_missing(self, tmp_path: Path) -> None:
        write_spacenet7(tmp_path, PLACES[3:], ['2018_01'])
        folder = tmp_path / PLACES[4]
        (footprints,) = folder.glob('labels/*_Buildings.geojson')
        text = footprints.read_bytes()
        footprints.unlink()
        with pytest.raises(ValueError, match=f'{footprints} is missing'):
            MUDS(tmp_path)
        footprints.write_bytes(text)
        (image,) = folder.glob('images/*')
        image.rename(image.with_name(image.name.replace('2018', '2017')))
        with pytest.raises(ValueError, match='holds no images of 2018 and 2019'):
            MUDS(tmp_path)

    def test_twice(self, tmp_path: Path) -> None:
        for folder in ('a', 'b'):
            (tmp_path / folder / PLACES[0]).mkdir(parents=True)
        with pytest.raises(ValueError, match=f'{PLACES[0]} is there twice'):
            MUDS(tmp_path)

    def test_wrong_images(self, tmp_path: Path) -> None:
        path, labels = tmp_path / 'image.tif', tmp_path / 'buildings.geojson'
        write_geojson(labels, [])
        write_tif(path, PLACES[0], rgb(0, 1022))
        with pytest.raises(ValueError, match=r'image\.tif has 1022 rows'):
            draw_mask(path, labels)
        write_tif(path, PLACES[0], rgb(0)[:, :, :1023])
        with pytest.raises(ValueError, match='1024 rows and 1023 columns'):
            draw_mask(path, labels)

    def test_footprints_of_elsewhere(self, tmp_path: Path) -> None:
        """Pixels taken for degrees make an empty mask, in TorchGeo."""
        path, labels = tmp_path / 'image.tif', tmp_path / 'buildings.geojson'
        write_tif(path, PLACES[0], rgb(0))

        def square(x: float, y: float) -> dict[str, Any]:
            ring = [[x, y], [x + 9, y], [x + 9, y + 9], [x, y + 9], [x, y]]
            geometry = {'type': 'Polygon', 'coordinates': [ring]}
            return {'type': 'Feature', 'properties': {}, 'geometry': geometry}

        for corners in ([(3, 4)], [(500, 700)], [(80, 20), (500, 700)]):
            write_geojson(labels, [square(*corner) for corner in corners])
            with pytest.raises(
                ValueError, match=r'buildings\.geojson.*labels_match_pix'
            ):
                draw_mask(path, labels)

    def test_odd_geometries(self, tmp_path: Path) -> None:
        path, labels = tmp_path / 'image.tif', tmp_path / 'buildings.geojson'
        write_tif(path, PLACES[0], rgb(0))

        def ring(top: float, left: float, side: float) -> list[Any]:
            steps = ((0, 0), (0, side), (side, side), (side, 0), (0, 0))
            return [lon_lat(PLACES[0], top + r, left + c) for r, c in steps]

        def feature(kind: str, **content: Any) -> dict[str, Any]:
            geometry = {'type': kind, **content} if kind else None
            return {'type': 'Feature', 'properties': {}, 'geometry': geometry}

        court = [ring(100, 100, 40), ring(110, 110, 10)]
        two = [[ring(200, 200, 10)], [ring(205, 205, 10)]]
        inner = {'type': 'MultiPolygon', 'coordinates': [[ring(300, 300, 5)]]}
        point = {'type': 'Point', 'coordinates': lon_lat(PLACES[0], 500.5, 500.5)}
        features = [
            feature('Polygon', coordinates=court),
            feature('MultiPolygon', coordinates=two),
            feature('GeometryCollection', geometries=[inner, point]),
            feature('LineString', coordinates=ring(600, 600, 9)),
            feature('Polygon', coordinates=[]),
            feature(''),
        ]
        write_geojson(labels, features)
        expected = np.zeros((1024, 1024), np.uint8)
        expected[100:140, 100:140] = 1
        expected[110:120, 110:120] = 0
        expected[200:210, 200:210] = expected[205:215, 205:215] = 1
        expected[300:305, 300:305] = 1
        np.testing.assert_array_equal(draw_mask(path, labels), expected)
