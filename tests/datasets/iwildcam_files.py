# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Small files in the form of iWildCam-WILDS 2.0."""

import csv
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEADER = [
    '',  # WILDS wrote the index of a table, which has no name
    'split',
    'location_remapped',
    'location',
    'sequence_remapped',
    'seq_id',
    'y',
    'category_id',
    'datetime',
    'filename',
    'image_id',
]
#: Cameras of each split.
CAMERAS = {
    'train': (0, 1, 2, 3, 4),
    'val': (5, 6),
    'test': (7, 8, 9),
    'id_val': (2, 0),
    'id_test': (4, 3, 1),
}
#: Longitude and latitude of each camera, None where it is withheld. Camera 5 lies across
#: the dateline from nobody, camera 9 far from everybody.
PLACES: dict[int, tuple[float, float] | None] = {
    0: (101.25, 2.5),
    1: (-62.125, -15.75),
    2: (103.5, 1.25),
    3: None,
    4: (-60.0625, -13.5),
    5: (99.75, 3.0),
    6: None,
    7: (-61.5, -16.25),
    8: None,
    9: (10.5, 64.0),
}


def location_of(camera: int) -> int:
    """Tell the location of a camera: other numbers from the same range."""
    return (camera + 3) % len(PLACES)


def colour_of(number: int) -> tuple[int, int, int]:
    """Tell the colour of an image, no two of which are alike."""
    return (40 + 37 * number % 180, 50 + 91 * number % 170, 60 + 53 * number % 160)


def make_rows(num_classes: int, per_camera: int) -> list[dict[str, Any]]:
    """List images of all splits, in a mixed order."""
    spots = [
        (split, camera)
        for _ in range(per_camera)
        for split, cameras in CAMERAS.items()
        for camera in cameras
    ]
    # 7 and the number of images have no common factor.
    order = [7 * i % len(spots) for i in range(len(spots))]
    assert len(set(order)) == len(spots)
    rows = []
    for number, (split, camera) in enumerate(spots[i] for i in order):
        image_id = f'{number:08x}-21bc-11ea-a13a-137349068a90'
        y = number * 5 % num_classes
        rows.append(
            {
                '': number,
                'split': split,
                'location_remapped': camera,
                'location': location_of(camera),
                'sequence_remapped': number // 2,
                'seq_id': f'{number // 2:08x}-0000-11ea-a13a-137349068a90',
                'y': y,
                'category_id': 100 + 3 * y,
                'datetime': f'2013-0{1 + number % 9}-05 0{number % 10}:44:19.000',
                'filename': f'{image_id}.jpg',
                'image_id': image_id,
            }
        )
    return rows


def write_rows(
    path: Path, rows: Sequence[dict[str, Any]], header: Sequence[str] = HEADER
) -> None:
    """Write metadata.csv."""
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, header, extrasaction='ignore')
        writer.writeheader()
        writer.writerows(rows)


def write_categories(path: Path, num_classes: int) -> None:
    """Write categories.csv, with categories that are not used among the others."""
    lines = ['y,category_id,name', '0,100,empty', '99999,1,start']
    # Neither in the order of labels, nor without commas.
    for y in range(num_classes - 1, 0, -1):
        lines.append(f'{y},{100 + 3 * y},"genus {y}, species {y}"')
    path.write_text('\n'.join([*lines, '99999,2,unidentifiable']) + '\n')


def write_places(path: Path) -> None:
    """Write gps_locations.json. Cameras of one country are not in it."""
    entries = {
        str(location_of(camera)): {'latitude': place[1], 'longitude': place[0]}
        for camera, place in PLACES.items()
        if place is not None
    }
    # The file knows more cameras: those of the test set of the competition.
    path.write_text(json.dumps({'550': {'latitude': 1.0, 'longitude': 2.0}} | entries))


def write_image(path: Path, number: int) -> None:
    """Write an image: a colour, with a darker corner. Sizes are mixed."""
    size = [(60, 45), (64, 36), (45, 60)][number % 3]
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:] = colour_of(number)
    pixels[:16, :16] //= 2
    Image.fromarray(pixels).save(path, 'jpeg', quality=95)


def write_iwildcam(
    root: Path, num_classes: int = 6, per_camera: int = 1, gps: bool = True
) -> list[dict[str, Any]]:
    """Write a data set, and tell the rows of its table."""
    home = root / 'iwildcam_v2.0'
    (home / 'train').mkdir(parents=True)
    rows = make_rows(num_classes, per_camera)
    write_rows(home / 'metadata.csv', rows)
    write_categories(home / 'categories.csv', num_classes)
    (home / 'RELEASE_v2.0.txt').touch()
    if gps:
        write_places(home / 'gps_locations.json')
    for row in rows:
        write_image(home / 'train' / row['filename'], row[''])
    return rows


def pack(folder: Path, path: Path, top: str) -> None:
    """Pack a folder as a tar.gz whose members lie under *top*."""
    with tarfile.open(path, 'w:gz') as archive:
        archive.add(folder, top or '.')
