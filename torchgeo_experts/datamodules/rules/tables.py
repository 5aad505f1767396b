# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains and places that a table tells for each file."""

import os
import posixpath
from collections import defaultdict
from collections.abc import Iterator

import pandas as pd
import torch
from torchgeo.datasets.utils import Path

from ...datasets.table import read_degrees
from ...datasets.table_file import Columns, read_columns
from .base import LonLat, Places, SampleRule, Samples
from .values import sample_files


class TableDomains(SampleRule):
    """Domains, and places if there are columns for them, from a table of files.

    A row belongs to a sample if the sample's path ends with its file, with or without the
    suffix; else if just one row has the same file name.
    """

    def __init__(
        self,
        table: Path,
        file_column: str = 'filename',
        domain_column: str = 'domain',
        lon_column: str | None = 'lon',
        lat_column: str | None = 'lat',
        files: str | None = None,
    ) -> None:
        """Initialize a new TableDomains instance.

        Args:
            table: CSV or Parquet table with a row for each file; others do no harm.
            file_column: Column of files.
            domain_column: Column of domains.
            lon_column: Column of longitudes in degrees WGS 84, None if there is none.
            lat_column: Column of latitudes in degrees WGS 84, None if there is none.
            files: Attribute of the data set that lists its files. Default: what TorchGeo's
                data sets use.
        """
        columns = Columns(
            file_column, file_column, None, domain_column, lon_column, lat_column
        )
        self._table = _FileTable(table, columns, files)

    def names(self, samples: Samples) -> list[str | None]:
        """Look up the domains of samples.

        Args:
            samples: N samples of one data set.

        Returns:
            Name of each sample's domain.

        Raises:
            FileNotFoundError: If the table does not exist.
            ValueError: If it lacks a column, a file or a domain.
        """
        rows = self._table.select(samples)
        if (rows['domain'] == '').any():
            row = rows[rows['domain'] == ''].iloc[0]
            raise ValueError(
                f'{self._table.path}, row {row.name}, file {row["file"]!r}: no domain'
            )
        return rows['domain'].tolist()

    @property
    def places(self) -> Places:
        """What tells the places of samples: the same table."""
        return _RowPlaces(self._table)


class _RowPlaces(Places):
    """Places from the rows of a table."""

    def __init__(self, table: '_FileTable') -> None:
        self._table = table

    def locate(self, samples: Samples) -> LonLat:
        """Look up the places of samples.

        Args:
            samples: N samples of one data set.

        Returns:
            Longitudes and latitudes in degrees WGS 84, NaN where unknown.

        Raises:
            FileNotFoundError: If the table does not exist.
            ValueError: If it lacks a column or a file, or a coordinate is no number.
        """
        rows = self._table.select(samples)
        lon, lat = (
            torch.tensor(rows[axis].tolist(), dtype=torch.float64)
            for axis in ('lon', 'lat')
        )
        return lon, lat


class TablePlaces(_RowPlaces):
    """Places from a table of files.

    A row belongs to a sample if the sample's path ends with its file, with or without the
    suffix; else if just one row has the same file name.
    """

    def __init__(
        self,
        table: Path,
        file_column: str = 'filename',
        lon_column: str = 'lon',
        lat_column: str = 'lat',
        files: str | None = None,
    ) -> None:
        """Initialize a new TablePlaces instance.

        Args:
            table: CSV or Parquet table with a row for each file; others do no harm.
            file_column: Column of files.
            lon_column: Column of longitudes in degrees WGS 84.
            lat_column: Column of latitudes in degrees WGS 84.
            files: Attribute of the data set that lists its files. Default: what TorchGeo's
                data sets use.
        """
        columns = Columns(
            file_column, file_column, None, file_column, lon_column, lat_column
        )
        super().__init__(_FileTable(table, columns, files))


class _FileTable:
    """A table that is read once, and whose rows are found by file."""

    def __init__(self, path: Path, columns: Columns, files: str | None) -> None:
        self.path, self.columns, self.files = os.fspath(path), columns, files
        self._rows: pd.DataFrame | None = None
        self._by_path: dict[str, set[int]] = defaultdict(set)
        self._by_name: dict[str, set[int]] = defaultdict(set)

    def select(self, samples: Samples) -> pd.DataFrame:
        """Select the row of each sample."""
        rows = self._read()
        files = sample_files(samples, self.files)
        found = [self._find(file) for file in files]
        missing = [file for file, hits in zip(files, found, strict=True) if not hits]
        if missing:
            raise ValueError(
                f'{self.path}: no row for {len(missing)} of {len(files)} samples of'
                f' {type(samples.dataset).__name__}, the first is {missing[0]!r}; the first'
                f' file of the table is {rows["file"].iloc[0]!r}'
            )
        for file, hits in zip(files, found, strict=True):
            if len(hits) > 1:
                numbers = [rows.index[i] for i in sorted(hits)]
                raise ValueError(
                    f'{self.path}: rows {numbers} may all be meant for {file!r}: write more'
                    ' of the path into the table, or delete what is there twice'
                )
        return rows.iloc[[next(iter(hits)) for hits in found]]

    def _read(self) -> pd.DataFrame:
        if self._rows is None:
            rows = read_columns(self.path, self.columns)
            if rows.empty:
                raise ValueError(f'{self.path}: the table has no rows')
            for axis in ('lon', 'lat'):
                rows[axis] = read_degrees(self.path, rows, axis)
            for number, file in enumerate(rows['file']):
                for form in _forms(file):
                    self._by_path[form].add(number)
                    self._by_name[posixpath.basename(form)].add(number)
            self._rows = rows
        return self._rows

    def _find(self, file: str) -> set[int]:
        """Find the rows that may be a file's: more than one if it is not clear."""
        for form in _forms(file):
            parts = form.split('/')
            for start in range(len(parts)):
                hits = self._by_path.get('/'.join(parts[start:]))
                if hits:
                    return hits
        for form in _forms(file):
            hits = self._by_name.get(posixpath.basename(form))
            if hits:
                return hits
        return set()


def _forms(file: str) -> Iterator[str]:
    """Write a path with its suffix and without it."""
    path = posixpath.normpath(file.strip().replace('\\', '/'))
    yield path
    stem = posixpath.splitext(path)[0]
    if stem != path:
        yield stem
