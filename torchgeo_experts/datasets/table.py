# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Tables of labelled images: read, and checked row by row."""

import ntpath
import os
import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from torchgeo.datasets.utils import Path

from ..domains import Domains
from .image_store import ImageStore
from .table_file import Columns, read_columns

#: Ways of writing in a text table that a coordinate is unknown.
UNKNOWN = ('', 'nan', 'na', 'n/a', 'none', 'null')


@dataclass(frozen=True, eq=False)
class CheckedTable:
    """Rows that passed all checks, and what follows from all of them together.

    Args:
        path: Path of the table.
        frame: One row an image, indexed by the row numbers of :func:`check_table`:
            ``file`` (as written), ``name`` (in the store), ``label`` and ``split``
            (text), ``domain``, ``lon`` and ``lat`` (degrees, NaN where unknown).
        classes: Class names, in the order of the labels.
        domains: Training domains.
    """

    path: str
    frame: pd.DataFrame
    classes: tuple[str, ...]
    domains: Domains

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of all domains, the training domains first."""
        others = set(self.frame['domain']) - set(self.domains)
        return self.domains.names + tuple(sorted(others))

    def select(self, split: str | None) -> pd.DataFrame:
        """Select the rows of a split.

        Args:
            split: Value of the split column. None: all rows.

        Returns:
            The rows.

        Raises:
            ValueError: If no row has the split.
        """
        if split is None:
            return self.frame
        rows = self.frame[self.frame['split'] == split]
        if rows.empty:
            found = sorted(set(self.frame['split']) - {''})
            raise ValueError(f'{self.path}: no row has split {split!r}, found: {found}')
        return rows

    def trained_on(self, split: str | None) -> 'CheckedTable':
        """Take the domains of a split as training domains.

        Args:
            split: Value of the split column. None: all rows.

        Returns:
            The table with these training domains.
        """
        rows = self.select(split)
        domains = Domains.from_samples(
            rows['domain'].tolist(), rows['lon'].tolist(), rows['lat'].tolist()
        )
        return replace(self, domains=domains)

    def with_splits(self, splits: pd.Series) -> 'CheckedTable':
        """Give the rows other splits.

        Args:
            splits: Split of each row, '' for none.

        Returns:
            The table with these splits.
        """
        return replace(self, frame=self.frame.assign(split=splits))


def check_table(
    path: Path,
    store: ImageStore,
    columns: Columns | None = None,
    folder: str = '',
    classes: Sequence[str] | None = None,
) -> CheckedTable:
    """Read a table of labelled images and check every row.

    Messages name the row of the first image at fault: as a spreadsheet counts them in
    a CSV file (the header is row 1), from 0 in a Parquet file.

    Args:
        path: Path of a Parquet (``.parquet``, ``.pq``) or CSV file.
        store: Where the images are.
        columns: Names of the columns. Default: those of :class:`Columns`.
        folder: Folder of the store in which the files of the table lie.
        classes: Class names, in the order of the labels. Default: all labels of the
            table, sorted.

    Returns:
        The checked table; all its domains are training domains.

    Raises:
        FileNotFoundError: If the table does not exist.
        ValueError: If a column or a value is missing, a file is missing, listed twice
            or outside the folder, a label is unknown, or coordinates are no degrees.
    """
    path = os.fspath(path)
    frame = read_columns(path, columns or Columns())
    if frame.empty:
        raise ValueError(f'{path}: the table has no rows')
    for column in ('file', 'label', 'domain'):
        refuse_rows(path, frame, frame[column] == '', f'no {column}')
    frame['name'] = [_name_in_store(file, folder) for file in frame['file']]
    _check_files(path, frame)
    frame['lon'], frame['lat'] = (read_degrees(path, frame, c) for c in ('lon', 'lat'))
    check_places(path, frame)
    classes = _check_labels(path, frame, classes)
    _check_store(path, frame, store)
    return CheckedTable(path, frame, tuple(classes), Domains(())).trained_on(None)


def refuse_rows(
    path: str,
    frame: pd.DataFrame,
    wrong: 'pd.Series[bool]',
    reason: str | Callable[[Any], str],
) -> None:
    """Raise an error that names the first wrong row, if there is one.

    Args:
        path: Path of the table.
        frame: Its rows, by their numbers; files are in the column ``file`` or
            ``filename``, if there is one.
        wrong: Which rows are wrong.
        reason: What is wrong, or a function of the row that tells it.

    Raises:
        ValueError: If a row is wrong.
    """
    if not wrong.any():
        return
    row = frame[wrong].iloc[0]
    reason = reason if isinstance(reason, str) else reason(row)
    more = int(wrong.sum()) - 1
    name = row.get('file', row.get('filename'))
    raise ValueError(
        f'{path}, row {frame.index[wrong][0]}'
        + ('' if name is None else f', file {name!r}')
        + f': {reason}'
        + (f' (and {more} more rows with this problem)' if more else '')
    )


def _name_in_store(file: str, folder: str) -> str | None:
    """Join folder and file; None if that leaves the folder."""
    file = posixpath.normpath(file.replace('\\', '/'))
    if file.split('/')[0] in ('', '..') or ntpath.splitdrive(file)[0]:
        return None
    return posixpath.normpath(posixpath.join(folder, file))


def _check_files(path: str, frame: pd.DataFrame) -> None:
    """Refuse files outside the folder and files listed twice."""
    refuse_rows(
        path, frame, frame['name'].isna(), 'the path leaves the folder of the images'
    )
    name = frame['name']
    refuse_rows(
        path,
        frame,
        name.duplicated(),
        lambda row: f'already listed in row {name.index[name == row["name"]][0]}',
    )


def read_degrees(path: str, frame: pd.DataFrame, column: str) -> pd.Series:
    """Read a coordinate, NaN where it is unknown.

    Args:
        path: Path of the table, for messages.
        frame: Table of text, with a column ``file``.
        column: Column of the coordinate.

    Returns:
        Degrees, float64.

    Raises:
        ValueError: If one is no number.
    """
    text = frame[column].str.strip()
    unknown = text.str.lower().isin(UNKNOWN)
    degrees = pd.to_numeric(text.mask(unknown, 'nan'), errors='coerce').astype(float)
    refuse_rows(
        path,
        frame,
        degrees.isna() & ~unknown,
        lambda row: f'{column} {row[column]!r} is no number',
    )
    return degrees


def check_places(path: str, frame: pd.DataFrame) -> None:
    """Refuse coordinates that are no degrees, or half known.

    Args:
        path: Path of the table.
        frame: Its rows, with ``lon`` and ``lat`` in degrees, NaN where unknown.

    Raises:
        ValueError: If one is wrong; the message names its row.
    """
    lon, lat = frame['lon'], frame['lat']
    refuse_rows(
        path,
        frame,
        (lon.abs() > 180) | (lat.abs() > 90) | (lon.isna() != lat.isna()),
        lambda row: (
            f'lon={row["lon"]:g}, lat={row["lat"]:g} is no place in degrees WGS 84:'
            ' expected lon in [-180, 180] and lat in [-90, 90], or neither where the'
            ' place is unknown'
            + (' (are lon and lat swapped?)' if abs(row['lat']) > 90 else '')
        ),
    )


def _check_labels(
    path: str, frame: pd.DataFrame, classes: Sequence[str] | None
) -> Sequence[str]:
    """Refuse labels that are no class; list the classes if they are not given."""
    found = set(frame['label'])
    if classes is None:
        try:
            # 10 comes after 9.
            return sorted(found, key=lambda label: (int(label), label))
        except ValueError:
            return sorted(found)
    classes = [str(name) for name in classes]
    if len(set(classes)) < len(classes):
        raise ValueError(f'class names must be unique, found: {classes}')
    refuse_rows(
        path,
        frame,
        ~frame['label'].isin(classes),
        lambda row: f'unknown label {row["label"]!r}, classes: {classes}',
    )
    return classes


def _check_store(path: str, frame: pd.DataFrame, store: ImageStore) -> None:
    """Refuse files that the store does not hold."""
    missing = ~pd.Series(store.holds(frame['name'].tolist()), frame.index)

    def reason(row: Any) -> str:
        """Tell what was sought, and the folder that would have it."""
        name = posixpath.normpath(row['file'].replace('\\', '/'))
        folder = store.folder_of(name)
        hint = '' if folder is None else f": set folder: '{folder}'"
        return f'not in {store.path} as {row["name"]!r}{hint}'

    refuse_rows(path, frame, missing, reason)
