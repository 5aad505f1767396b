# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Small files in the two forms in which FMoW lies on disk."""

import csv
import io
import json
import random
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

#: Where images of each code lie (lon, lat), and the region of the code in the mapping of
#: WILDS, '' where the code is not in it.
CODES = {
    'CHN': (104.0, 30.5, 'Asia'),
    'FRA': (2.5, 48.25, 'Europe'),
    'KEN': (37.0, -1.5, 'Africa'),
    'USA': (-95.0, 40.0, 'Americas'),
    'AUS': (149.0, -33.5, 'Oceania'),
    'IND': (77.0, 28.0, 'Asia'),
    'BRA': (-47.0, -15.5, 'Americas'),
    'NAM': (17.0, -22.0, 'Africa'),
    'KO-': (21.0, 42.5, ''),
    'CA-': (49.75, 40.5, ''),
    'ATA': (0.5, -75.0, ''),
}
#: Classes of these files, and their labels in WILDS.
LABELS = {
    'airport': 0,
    'dam': 12,
    'multi-unit_residential': 30,
    'oil_or_gas_facility': 33,
    'single-unit_residential': 47,
    'zoo': 61,
}
#: Times at both sides of where years begin, and some between.
TIMES = (
    '2002-03-04T05:06:07Z',
    '2010-07-01T10:00:00Z',
    '2012-12-31T23:59:59Z',
    '2013-01-01T00:00:00Z',
    '2014-02-28T12:30:00Z',
    '2015-12-31T23:59:59Z',
    '2016-01-01T00:00:00Z',
    '2017-08-09T10:11:12Z',
)
HEADER = [
    'split',
    'img_filename',
    'img_path',
    'spatial_reference',
    'epsg',
    'category',
    'visible',
    'img_width',
    'img_height',
    'country_code',
    'cloud_cover',
    'timestamp',
    'lat',
    'lon',
    'region',
]


@dataclass(frozen=True)
class Row:
    """An image."""

    split: str
    category: str
    code: str
    time: str
    #: How many thousandths of a degree it lies east and north of where its code lies.
    steps: int

    @property
    def lon(self) -> float:
        return CODES[self.code][0] + self.steps / 1000

    @property
    def lat(self) -> float:
        return CODES[self.code][1] + self.steps / 1000


#: Rows whose splits are told beside them.
ROWS = {
    'train': [
        Row('train', 'dam', 'FRA', TIMES[0], 1),
        Row('train', 'zoo', 'FRA', TIMES[1], 2),
        Row('train', 'zoo', 'CHN', TIMES[1], 3),
        Row('train', 'airport', 'KO-', TIMES[2], 4),
    ],
    'id_val': [
        Row('val', 'zoo', 'CHN', TIMES[2], 5),
        Row('val', 'dam', 'USA', TIMES[0], 6),
    ],
    'id_test': [
        Row('test', 'multi-unit_residential', 'FRA', TIMES[1], 7),
        Row('test', 'dam', 'IND', TIMES[1], 8),
    ],
    'val': [
        Row('val', 'dam', 'CA-', TIMES[3], 9),
        Row('val', 'zoo', 'CHN', TIMES[5], 10),
    ],
    'test': [
        Row('test', 'single-unit_residential', 'IND', TIMES[6], 11),
        Row('test', 'zoo', 'USA', TIMES[7], 12),
    ],
    'none': [
        Row('train', 'zoo', 'FRA', TIMES[3], 13),
        Row('val', 'zoo', 'FRA', TIMES[6], 14),
        Row('test', 'zoo', 'FRA', TIMES[4], 15),
        Row('seq', 'zoo', 'KEN', TIMES[1], 16),
    ],
}
# In files they are mixed: the first one of each, then the second one of each, ...
MIXED = [rows[i] for i in range(4) for rows in ROWS.values() if i < len(rows)]


def numbers(split: str) -> list[int]:
    """Number the rows of a split as they stand in the files."""
    return [i for i, row in enumerate(MIXED) if row in ROWS[split]]


def random_rows(count: int, seed: int = 0) -> list[Row]:
    """Draw rows of all kinds, with rows of the split seq among them.

    The first one is of seq, and of the only region that would else come later.
    """
    draw = random.Random(seed)
    rows = [Row('seq', 'zoo', 'AUS', TIMES[0], 0)]
    for step in range(1, count):
        split = draw.choices(['train', 'val', 'test', 'seq'], [5, 3, 3, 2])[0]
        code, time = draw.choice(list(CODES)), draw.choice(TIMES)
        rows.append(Row(split, draw.choice(list(LABELS)), code, time, step % 200))
    return rows


def pixels(number: int, size: int = 8) -> np.ndarray:
    """Make the image of a row of the form of WILDS, shape (size, size, 3)."""
    return np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)


def colour(number: int) -> tuple[int, int, int]:
    """Tell the colour of the image of a row of the original form."""
    return 40 + number % 200, 40 + number * 7 % 200, 40 + number * 31 % 200


def write_wilds(folder: Path, rows: list[Row], size: int = 8) -> None:
    """Write the form of WILDS."""
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    with (folder / 'rgb_metadata.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number, row in enumerate(rows):
            name = f'{row.category}_{number}_0_rgb.jpg'
            writer.writerow(
                [
                    *(row.split, name, f'{row.split}/{row.category}/{name}'),
                    *('GCS_WGS_1984', 4326, row.category, 100, 700, 600, row.code, 3),
                    # The column of regions is not to be trusted.
                    *(row.time, row.lat, row.lon, 'Nowhere'),
                ]
            )
            image = Image.fromarray(pixels(number, size))
            image.save(folder / 'images' / f'rgb_img_{number}.png')
    write_mapping(folder / 'country_code_mapping.csv')
    (folder / 'RELEASE_v1.1.txt').touch()


def write_mapping(path: Path) -> None:
    """Write the regions of countries."""
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['name', 'alpha-2', 'alpha-3', 'region', 'region-code'])
        for code, (_, _, region) in CODES.items():
            if region:
                writer.writerow([f'Land, of {code}', code[:2], code, region, '1'])


def told(row: Row, truth: bool) -> dict[str, Any]:
    """Tell of an image what its JSON file tells."""
    named = row.split in ('train', 'val') or truth
    category = row.category if named else 'none'
    entries: dict[str, Any] = {
        'gsd': 0.5,
        'utm': '31N',
        'epsg': '4326',
        'timestamp': row.time if named else '2001-01-01T00:00:00Z',
        'country_code': row.code if named else 'ZZZ',
        'cloud_cover': 3,
        'bounding_boxes': [
            {'ID': -1, 'category': category, 'box': [0, 0, 9, 9]},
            {'ID': 5, 'category': category, 'box': [1, 1, 7, 7]},
        ],
    }
    if truth:
        # The last corner is the first one, which the mean counts twice.
        w, e = row.lon - 0.004, row.lon + 0.006
        s, n = row.lat - 0.004, row.lat + 0.006
        corners = [(w, s), (e, s), (e, n), (w, n), (w, s)]
        entries['raw_location'] = (
            'POLYGON ((' + ', '.join(f'{x:.6f} {y:.6f}' for x, y in corners) + '))'
        )
    return entries


def original_files(rows: list[Row]) -> list[tuple[str, str]]:
    """Name the image of each row, and the name of its ground truth, without suffix.

    Two images are of one place.
    """
    names, counts = [], Counter[tuple[str, str]]()
    for row in rows:
        place, time = divmod(counts[row.split, row.category], 2)
        counts[row.split, row.category] += 1
        series = f'{row.category}_{place}'
        truth = f'{row.split}_gt/{row.category}/{series}/{series}_{time}'
        image = f'{row.split}/{row.category}/{series}/{series}_{time}'
        if row.split in ('test', 'seq'):
            number = f'{1000 * list(LABELS).index(row.category) + place:07d}'
            image = f'{row.split}/{number}/{number}_{time}'
        names.append((image, truth))
    return names


def write_original(
    folder: Path, rows: list[Row], truth: str | None = 'groundtruth', size: int = 8
) -> None:
    """Write the form of the authors, with the ground truth in a folder or without."""
    mapping: dict[str, dict[str, str]] = {'test': {}, 'seq': {}}
    for number, (row, (image, name)) in enumerate(
        zip(rows, original_files(rows), strict=True)
    ):
        for kind in ('rgb', 'msrgb'):
            path = folder / f'{image}_{kind}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.new('RGB', (size + 3, size), colour(number))
            picture.save(path, quality=95)
            path.with_suffix('.json').write_text(json.dumps(told(row, False)))
            if truth is not None:
                path = folder / truth / f'{name}_{kind}.json'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(told(row, True)))
        if row.split in mapping:
            key = name.rpartition('/')[0]
            mapping[row.split][key] = image.rpartition('/')[0]
    other = folder / 'val' / 'false_detection' / 'false_detection_0'
    other.mkdir(parents=True)
    (other / 'false_detection_0_0_rgb.json').write_text('{}')
    for split, pairs in mapping.items():
        if truth is not None:
            entries = [{'input': a, 'output': b} for a, b in pairs.items()]
            path = folder / truth / f'{split}_gt_mapping.json'
            path.write_text(json.dumps(entries))


def pack(folder: Path, archive: Path, top: str) -> None:
    """Pack a folder into a tar.gz whose members lie below *top*."""
    with tarfile.open(archive, 'w:gz') as file:
        for path in sorted(folder.rglob('*')):
            name = f'{top}{path.relative_to(folder).as_posix()}'
            if path.is_dir():
                continue
            data = path.read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
