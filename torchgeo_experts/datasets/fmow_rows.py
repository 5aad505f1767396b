# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Labelled images of FMoW as columns."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
from torchgeo.datasets.utils import Path

from .fmow_classes import CLASSES
from .fmow_countries import repaired
from .table import check_places, read_degrees, refuse_rows

#: Splits of the authors of FMoW that have labels, and the one that was kept back for the
#: challenge, which nobody uses.
OFFICIAL, KEPT_BACK = ('train', 'val', 'test'), 'seq'

#: Columns that are needed.
COLUMNS = ('split', 'category', 'country_code', 'timestamp', 'lat', 'lon')


@dataclass(frozen=True, eq=False)
class FMoWRows:
    """Labelled images, a column a property.

    The columns are arrays of N numbers, not objects: half a million rows cost little
    memory, and nothing to fork.

    Args:
        folder: Folder of the images.
        file: Files, relative to it, bytes.
        label: Labels.
        official: Splits of the authors of FMoW, indices into :data:`OFFICIAL`.
        time: When the images were taken, UTC, datetime64[s].
        country: Countries, indices into *countries*.
        region: Regions, indices into *regions*.
        lon: Longitudes in degrees, float32, NaN where unknown.
        lat: Latitudes in degrees, float32, NaN where unknown.
        countries: Codes of the countries, sorted.
        regions: Names of the regions, in the order of WILDS.
    """

    folder: str
    file: np.ndarray
    label: np.ndarray
    official: np.ndarray
    time: np.ndarray
    country: np.ndarray
    region: np.ndarray
    lon: np.ndarray
    lat: np.ndarray
    countries: tuple[str, ...]
    regions: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.label)

    @property
    def year(self) -> np.ndarray:
        """Years in which the images were taken, UTC, int64, shape (N,)."""
        return self.time.astype('datetime64[Y]').astype(np.int64) + 1970

    def take(self, index: np.ndarray) -> 'FMoWRows':
        """Take some rows.

        Args:
            index: Their numbers.

        Returns:
            These rows.
        """
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays = {k: v[index] for k, v in columns.items() if isinstance(v, np.ndarray)}
        return replace(self, **arrays)


class FMoWReader(ABC):
    """Reads one of the forms in which FMoW lies on disk."""

    @abstractmethod
    def read(self) -> FMoWRows:
        """Read what is known of the images, and no image.

        Returns:
            All labelled images.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is damaged.
        """

    @abstractmethod
    def check(self, rows: FMoWRows) -> None:
        """Refuse rows whose images are missing.

        Args:
            rows: The rows that are needed.

        Raises:
            FileNotFoundError: If images are missing.
        """


def read_table(path: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns of a CSV file as text.

    Args:
        path: Path of the file.
        columns: The columns.

    Returns:
        The columns, indexed by row as a spreadsheet counts them (the header is row 1).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be parsed, has no rows or lacks a column.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no file {path}: it is part of FMoW')
    try:
        found = list(pd.read_csv(path, nrows=0, encoding='utf-8-sig'))
        if missing := [name for name in columns if name not in found]:
            raise ValueError(f'{path}: no column {missing[0]!r}, found: {found}')
        # Without the filter for missing values: rows that are cut off must not pass.
        frame = pd.read_csv(
            path, usecols=columns, dtype=object, na_filter=False, encoding='utf-8-sig'
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError) as error:
        raise ValueError(
            f'{path} is no CSV table, or is damaged ({error}): unpack or download it'
            ' again'
        ) from error
    if frame.empty:
        raise ValueError(f'{path} has no rows: it is damaged')
    frame.index += 2
    return frame.fillna('')


def make_rows(
    path: str,
    folder: Path,
    frame: pd.DataFrame,
    region_of: Callable[[str], str],
    regions: Sequence[str] | None = None,
) -> FMoWRows:
    """Check a table, and make columns of it.

    Args:
        path: Path of the table, for messages.
        folder: Folder of the images.
        frame: Columns of text: ``file``, and those of :data:`COLUMNS`.
        region_of: Tells the region of a code of a country.
        regions: Names of the regions. Default: in the order in which they first appear in
            the table, rows that are kept back among them, which is how WILDS does it.

    Returns:
        All rows that are not kept back.

    Raises:
        ValueError: If a row is wrong; the message names it.
    """
    known = {*OFFICIAL, KEPT_BACK}
    refuse_rows(
        path,
        frame,
        ~frame['split'].isin(known),
        lambda row: f'split {row["split"]!r} is none of {sorted(known)}',
    )
    codes = frame['country_code'].unique().tolist()
    found = frame['country_code'].map({code: region_of(code) for code in codes})
    regions = tuple(found.unique()) if regions is None else tuple(regions)
    frame = frame.assign(region=found)[frame['split'] != KEPT_BACK]

    time = pd.to_datetime(
        frame['timestamp'], utc=True, format='ISO8601', errors='coerce'
    )
    lon, lat = (read_degrees(path, frame, name) for name in ('lon', 'lat'))
    _check_values(path, frame, time)
    check_places(path, frame.assign(lon=lon, lat=lat))
    texts = frame['country_code'].to_numpy(dtype=object)
    countries = pd.Categorical(repaired(texts, lon.to_numpy(), lat.to_numpy()))
    return FMoWRows(
        folder=os.fspath(folder),
        file=np.array([name.encode() for name in frame['file']], dtype=bytes),
        label=_indices(frame['category'], CLASSES),
        official=_indices(frame['split'], OFFICIAL),
        time=time.dt.tz_convert(None).to_numpy(dtype='datetime64[s]'),
        country=countries.codes.astype(np.int16),
        region=_indices(frame['region'], regions),
        lon=lon.to_numpy(dtype=np.float32),
        lat=lat.to_numpy(dtype=np.float32),
        countries=tuple(countries.categories),
        regions=regions,
    )


def _check_values(path: str, frame: pd.DataFrame, time: pd.Series) -> None:
    """Refuse unknown classes, countries and times."""
    refuse_rows(
        path,
        frame,
        ~frame['category'].isin(CLASSES),
        lambda row: f'category {row["category"]!r} is none of the 62 classes of FMoW',
    )
    refuse_rows(path, frame, frame['country_code'] == '', 'no country_code')
    refuse_rows(
        path,
        frame,
        time.isna(),
        lambda row: f'timestamp {row["timestamp"]!r} is no time in ISO 8601',
    )


def _indices(names: pd.Series, known: Sequence[str]) -> np.ndarray:
    """Number names by their order."""
    return names.map({name: i for i, name in enumerate(known)}).to_numpy(dtype=np.int16)
