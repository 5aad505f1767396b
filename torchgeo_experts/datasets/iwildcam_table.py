# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Tables of iWildCam: images and classes, read and checked."""

import ntpath
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from .image_store import FolderStore
from .table import refuse_rows
from .table_file import read_csv_text

type Integers = npt.NDArray[np.int64]

#: The official splits. The cameras of 'val' and 'test' are no training cameras
#: (out-of-distribution), those of 'id_val' and 'id_test' are (in-distribution).
SPLITS = ('train', 'val', 'test', 'id_val', 'id_test')

#: What stands for the label of categories that have no images.
UNUSED = 99999

#: Columns of metadata.csv in use. It has others.
COLUMNS = ('split', 'location_remapped', 'location', 'y', 'filename')


@dataclass(frozen=True, eq=False)
class IWildCamTable:
    """All images, as columns with one value an image.

    Args:
        path: Path of metadata.csv.
        row: Row of each image, as a spreadsheet counts them (the header is row 1).
        split: Split of each image, index into :data:`SPLITS`.
        label: Label of each image.
        camera: Camera of each image (column ``location_remapped``).
        location: Identifier of the camera in other tables (column ``location``).
        file: File of each image, in UTF-8: text would take four times as much.
        datetime: When each image was taken, NaT where that is not told.
    """

    path: str
    row: Integers
    split: Integers
    label: Integers
    camera: Integers
    location: Integers
    file: npt.NDArray[np.bytes_]
    datetime: npt.NDArray[np.datetime64]


def read_classes(path: str) -> tuple[str, ...]:
    """Read the names of classes.

    Args:
        path: Path of categories.csv.

    Returns:
        Names, in the order of the labels. Categories without images (y = 99999) are
        left out.

    Raises:
        ValueError: If the file is no table, lacks a column, or labels are not 0, 1, 2
            and so on, each of them once.
    """
    frame = _read_csv(path, ('y', 'name'))
    frame['y'] = _integers(path, frame, 'y')
    frame = frame[frame['y'] != UNUSED].sort_values('y')
    labels = frame['y'].tolist()
    if not labels or labels != list(range(len(labels))):
        wrong = next((i for i, y in enumerate(labels) if i != y), 0)
        raise ValueError(
            f'{path}: expected the labels 0, 1, 2 and so on in column y, each of them'
            f' once (and {UNUSED} for categories without images); found {len(labels)}'
            f' labels, and {wrong} is missing or there twice'
        )
    return tuple(frame['name'])


def read_images(path: str, classes: Sequence[str], store: FolderStore) -> IWildCamTable:
    """Read the table of images and check every row.

    Args:
        path: Path of metadata.csv.
        classes: Names of classes.
        store: Folder of images. It is listed once, no image is read.

    Returns:
        The table.

    Raises:
        ValueError: If the file is no table, lacks a column, or a row is wrong: an unknown
            split or label, a file outside the folder, numbers that are none, a camera
            in splits or locations that exclude each other. The message names the row.
        FileNotFoundError: If the folder lacks images.
    """
    frame = _read_csv(path, COLUMNS, ('datetime',))
    if frame.empty:
        raise ValueError(f'{path}: the table has no rows')
    refuse_rows(
        path,
        frame,
        ~frame['split'].isin(SPLITS),
        lambda row: f'unknown split {row["split"]!r}, expected one of {list(SPLITS)}',
    )
    for column in ('location_remapped', 'location', 'y'):
        frame[column] = _integers(path, frame, column)
    refuse_rows(
        path,
        frame,
        frame['y'] >= len(classes),
        lambda row: f'label y={row["y"]} is none of the {len(classes)} classes',
    )
    _check_cameras(path, frame)
    _check_files(path, frame, store)
    text = np.asarray(frame['filename'], dtype=np.str_)
    return IWildCamTable(
        path=path,
        row=frame.index.to_numpy(np.int64),
        split=frame['split'].map({s: i for i, s in enumerate(SPLITS)}).to_numpy(),
        label=frame['y'].to_numpy(),
        camera=frame['location_remapped'].to_numpy(),
        location=frame['location'].to_numpy(),
        file=np.strings.encode(text, 'utf-8'),
        datetime=_datetimes(frame),
    )


def _read_csv(
    path: str, columns: Sequence[str], more: Sequence[str] = ()
) -> pd.DataFrame:
    """Read columns as text, indexed by the rows of a spreadsheet."""
    frame, found = read_csv_text(path)
    if lacking := [name for name in columns if name not in found]:
        raise ValueError(f'{path}: no column {lacking[0]!r}, found: {found}')
    return frame[[name for name in found if name in (*columns, *more)]].copy()


def _integers(path: str, frame: pd.DataFrame, column: str) -> Integers:
    """Turn a column into integers from 0 on."""
    numbers = pd.to_numeric(frame[column], errors='coerce').to_numpy(np.float64)
    wrong = ~((numbers >= 0) & (numbers % 1 == 0))
    refuse_rows(
        path,
        frame,
        pd.Series(wrong, frame.index),
        lambda row: f'{column} {row[column]!r} is no integer from 0 on',
    )
    return numbers.astype(np.int64)


def _check_cameras(path: str, frame: pd.DataFrame) -> None:
    """Refuse cameras of two locations, and of two splits that exclude each other."""
    camera, location = frame['location_remapped'], frame['location']
    refuse_rows(
        path,
        frame,
        location != location.groupby(camera).transform('first'),
        lambda row: (
            f'camera location_remapped={row["location_remapped"]} has the location'
            f' {row["location"]} and, in an earlier row, another one'
        ),
    )
    for split, other in (('val', 'train'), ('test', 'train'), ('test', 'val')):
        elsewhere = camera.isin(camera[frame['split'] == other])
        refuse_rows(
            path,
            frame,
            (frame['split'] == split) & elsewhere,
            f'its camera (location_remapped) is in the split {split!r} and also in'
            f' {other!r}: these share no cameras',
        )


def _check_files(path: str, frame: pd.DataFrame, store: FolderStore) -> None:
    """Refuse files outside the folder of images, and missing ones."""
    files = frame['filename']
    refuse_rows(
        path,
        frame,
        files.map(_leaves).astype(bool),
        'the filename is empty or leaves the folder of images',
    )
    missing = ~np.array(store.holds(files.tolist()))
    if missing.any():
        row = int(missing.argmax())
        raise FileNotFoundError(
            f'{path}, row {frame.index[row]}: no file {files.iloc[row]!r} in'
            f' {store.path}; {missing.sum()} of {len(files)} images are missing. The'
            ' folder was only partly unpacked or copied: unpack the archive again'
        )


def _leaves(file: str) -> bool:
    """Tell whether a file lies outside its folder."""
    first = posixpath.normpath(file.replace('\\', '/')).split('/')[0]
    return first in ('', '.', '..') or bool(ntpath.splitdrive(file)[0])


def _datetimes(frame: pd.DataFrame) -> npt.NDArray[np.datetime64]:
    if 'datetime' not in frame:
        return np.full(len(frame), 'NaT', 'datetime64[s]')
    times = pd.to_datetime(
        frame['datetime'], format='%Y-%m-%d %H:%M:%S.%f', errors='coerce'
    )
    return times.to_numpy().astype('datetime64[s]')
