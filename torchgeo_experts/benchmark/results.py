# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""One tidy table of what all finished runs of a folder gave."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from .execute import PACKAGES
from .files import read_json, replace

#: Columns of the table; one row is one value.
COLUMNS = [
    'method',
    'seed',
    'fold',
    'split',
    'domain',
    'ranked',
    'metric',
    'value',
    'seconds',
    'memory_mb',
    'selection',
    'config_hash',
    *(name.replace('-', '_') for name in PACKAGES),
]


def write_results(out: Path) -> pd.DataFrame:
    """Make the table anew from the files of the runs, and write it.

    Args:
        out: Folder of a benchmark. It gets ``results.csv``, and ``results.parquet`` if
            pyarrow is installed.

    Returns:
        The table, with '' as the domain of a whole split, and whether each domain
        competes with others. Seconds and memory are those of the training.
    """
    files = sorted(out.glob('runs/*/*/*/result.json'))
    rows = [row for file in files for row in read_rows(file)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    replace(out / 'results.csv', lambda path: frame.to_csv(path, index=False))
    if find_spec('pyarrow'):
        replace(out / 'results.parquet', lambda p: frame.to_parquet(p, index=False))
    return frame


def read_results(out: Path) -> pd.DataFrame:
    """Read the table of a folder.

    Args:
        out: Folder with runs, or with no more than ``results.csv``.

    Returns:
        The table.

    Raises:
        ValueError: If nothing is there.
    """
    if any(out.glob('runs/*/*/*/result.json')):
        return write_results(out)
    table = out / 'results.csv'
    if not table.exists():
        raise ValueError(f'{out} has no finished runs')
    # No name is a missing value: there may be a domain called NA.
    names = dict.fromkeys(['method', 'fold', 'split', 'domain', 'metric'], str)
    try:
        frame = pd.read_csv(
            table, dtype=names, keep_default_na=False, na_values={'value': ''}
        )
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    lacking = [name for name in COLUMNS if name not in frame and name != 'ranked']
    if lacking:
        raise ValueError(
            f'{table} is no table of a benchmark: it has no column {", ".join(lacking)}'
        )
    if frame.empty:
        raise ValueError(f'{out} has no finished runs: benchmark tells why they failed')
    # A table that does not tell is of an earlier version.
    return frame if 'ranked' in frame else frame.assign(ranked=True)


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Read the rows of one run."""
    try:
        return list(rows_of(read_json(file)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{file} is not what a run has written: {error!r}') from error


def rows_of(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Make the rows of one run.

    Args:
        result: What its result file holds.

    Yields:
        Each row.
    """
    same = {key: result[key] for key in ('method', 'seed', 'fold', 'selection')}
    same |= {'config_hash': result['hash'], **result['fit']}
    same |= {name.replace('-', '_'): v for name, v in result['versions'].items()}
    for split, test in result['tests'].items():
        for domain, scores in {'': test['metrics'], **test['domains']}.items():
            ranked = domain not in test.get('unranked', ())
            place = {'split': split, 'domain': domain, 'ranked': ranked}
            for metric, value in scores.items():
                yield {**same, **place, 'metric': metric, 'value': value}
