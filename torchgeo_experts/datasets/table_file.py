# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""CSV and Parquet files as columns of text."""

import os
from dataclasses import astuple, dataclass

import pandas as pd


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table.

    Args:
        file: File of the image.
        label: Label, text or integer.
        split: Split, None if it is not needed.
        domain: Domain.
        lon: Longitude in degrees WGS 84, None if unknown.
        lat: Latitude in degrees WGS 84, None if unknown.
    """

    file: str = 'filename'
    label: str = 'label'
    split: str | None = 'split'
    domain: str = 'domain'
    lon: str | None = 'lon'
    lat: str | None = 'lat'


def read_columns(path: str, columns: Columns) -> pd.DataFrame:
    """Read the columns of a table.

    Args:
        path: Path of a Parquet (``.parquet``, ``.pq``) or CSV file.
        columns: Names of the columns.

    Returns:
        A column of text, '' where empty, for each field of *columns*. The index holds
        row numbers: as a spreadsheet counts them in a CSV file (the header is row 1),
        from 0 in a Parquet file.

    Raises:
        FileNotFoundError: If the table does not exist.
        ValueError: If it cannot be parsed or lacks a column.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no table at {path}')
    parquet = path.lower().endswith(('.parquet', '.pq'))
    table, found = _read_parquet(path, columns) if parquet else read_csv_text(path)
    roles = {role: getattr(columns, role) for role in Columns.__dataclass_fields__}
    # A table without places is fine, unless its columns were given other names.
    if (columns.lon, columns.lat) == ('lon', 'lat') and not {'lon', 'lat'} & set(found):
        roles |= {'lon': None, 'lat': None}
    frame = pd.DataFrame(index=table.index)
    for role, column in roles.items():
        if column is not None and column not in found:
            raise ValueError(
                f'{path}: no column {column!r} ({role}_column), found: {found}'
            )
        frame[role] = '' if column is None else _text(table[column])
    return frame


def read_csv_text(path: str) -> tuple[pd.DataFrame, list[str]]:
    """Read a CSV file as text.

    Args:
        path: Path of the file.

    Returns:
        All columns, '' where empty, indexed by rows as a spreadsheet counts them (the
        header is row 1), without empty rows; and the names of the columns.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be parsed.
    """
    try:
        # Without the filter for missing values: NA is also Namibia.
        table = pd.read_csv(
            path,
            dtype=str,
            na_filter=False,
            skip_blank_lines=False,
            skipinitialspace=True,
            index_col=False,
            encoding='utf-8-sig',
        )
    except ValueError as error:  # all that pandas raises for what is no table
        raise ValueError(f'{path} is no CSV table in UTF-8: {error}') from error
    table.index += 2
    return table[(table != '').any(axis=1)], list(table.columns)


def _read_parquet(path: str, columns: Columns) -> tuple[pd.DataFrame, list[str]]:
    """Read the wanted columns of a Parquet file; also list all."""
    from pyarrow import parquet

    found = parquet.read_schema(path).names
    wanted = [name for name in found if name in astuple(columns)]
    # Without the metadata, what pandas wrote as index is a column like any other.
    table = parquet.read_table(path, columns=wanted).to_pandas(ignore_metadata=True)
    return table, found


def _text(values: pd.Series) -> pd.Series:
    """Write values as text, '' for missing ones."""
    return values.astype(object).where(values.notna(), '').map(str)
