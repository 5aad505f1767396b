# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What a data set tells about its samples in attributes, tables and keys."""

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from .base import Samples

#: Attributes in which data sets list the files of their samples.
FILE_ATTRIBUTES = (
    'files',
    'samples',
    'imgs',
    'images',
    'image_files',
    'image_paths',
    'filenames',
    'paths',
    'ids',
    'scenes',
)
#: How the keys begin under which a sample's entry holds the file of its image.
FILE_KEYS = ('image', 'img', 'file', 'path')


def read_values(samples: Samples, name: str) -> list[Any]:
    """Read one value of each sample.

    It is looked for among the attributes of the data set, then among the columns of its
    tables (and the keys of its lists of dictionaries), then among the keys of its
    samples. The last one reads all samples, images too.

    Args:
        samples: N samples of one data set.
        name: Name of the attribute, column or key.

    Returns:
        The N values.

    Raises:
        ValueError: If there is nothing of that name.
    """
    values = find_values(samples.dataset, name)
    if values is not None:
        return [values[row] for row in samples.rows]
    if not len(samples.rows):
        return []
    kind = type(samples.dataset).__name__
    keys = sorted(samples.dataset[samples.rows[0]])
    if name not in keys:
        raise ValueError(
            f'{kind} has no {name!r}: neither an attribute or column with one value a'
            f' sample (found: {_describe(samples.dataset)}), nor a key of its samples'
            f' (found: {keys})'
        )
    warnings.warn(
        f'{kind} tells {name!r} only in its samples: all {len(samples.rows)} of them are'
        ' read once, which may take long. A table is faster'
    )
    return [samples.dataset[row][name] for row in samples.rows]


def find_values(dataset: Any, name: str) -> Sequence[Any] | None:
    """Find the values of all samples without reading any.

    Args:
        dataset: Data set of N samples.
        name: Name of an attribute, or of a column of a table that an attribute holds.

    Returns:
        N values, or None if there are none of that name.
    """
    values = _one_each(getattr(dataset, name, None), len(dataset))
    if values is not None:
        return values
    for owner in vars(dataset).values():
        if isinstance(owner, pd.DataFrame) and name in owner.columns:
            values = _one_each(owner[name], len(dataset))
        elif _is_records(owner) and name in owner[0]:
            values = _one_each([record[name] for record in owner], len(dataset))
        if values is not None:
            return values
    return None


def sample_files(samples: Samples, attribute: str | None = None) -> list[str]:
    """List the file of each sample, as the data set writes it.

    Args:
        samples: N samples of one data set.
        attribute: Attribute of the data set that lists them. Default: the first one of
            ``FILE_ATTRIBUTES`` that has one value a sample.

    Returns:
        The N files: paths, names or identifiers.

    Raises:
        ValueError: If the data set does not list them.
    """
    for name in FILE_ATTRIBUTES if attribute is None else (attribute,):
        values = find_values(samples.dataset, name)
        if values is not None:
            return [_file(values[row]) for row in samples.rows]
    looked = f'no {attribute!r}' if attribute else f'none of {FILE_ATTRIBUTES}'
    raise ValueError(
        f'{type(samples.dataset).__name__} does not tell the files of its samples: it has'
        f' {looked} with one value a sample (found: {_describe(samples.dataset)}): name'
        ' the attribute in files'
    )


def as_text(value: Any) -> str | None:
    """Write a value as the name of a domain, None if it is missing."""
    value = value.item() if isinstance(value, Tensor | np.generic) else value
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return None if missing or value == '' else str(value)


def _one_each(values: Any, count: int) -> Sequence[Any] | None:
    """Take values as a list if there is one for each sample."""
    if isinstance(values, pd.DataFrame):
        # Data sets with such a table of files have them in its first column.
        values = values.iloc[:, 0]
    if isinstance(values, pd.Series | np.ndarray | Tensor):
        values = values.tolist()
    listed = isinstance(values, list | tuple) and len(values) == count
    return values if listed else None


def _is_records(values: Any) -> bool:
    return (
        isinstance(values, list | tuple)
        and bool(values)
        and isinstance(values[0], dict)
    )


def _file(value: Any) -> str:
    """Find the file of an image in what a data set keeps of a sample."""
    if isinstance(value, Mapping):
        keys = [k for start in FILE_KEYS for k in value if str(k).startswith(start)]
        value = value[keys[0]] if keys else next(iter(value.values()))
    if isinstance(value, list | tuple):
        # (file, label), or one file a band.
        return _file(value[0])
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value).strip()


def _describe(dataset: Any) -> list[str]:
    """List what a data set knows of each sample, for messages."""
    found = []
    for name, value in vars(dataset).items():
        if isinstance(value, str) or not hasattr(value, '__len__'):
            continue
        if len(value) != len(dataset):
            continue
        if isinstance(value, pd.DataFrame):
            found += [f'{column} (of {name})' for column in value.columns]
        elif _is_records(value):
            found += [f'{key} (of {name})' for key in value[0]]
        else:
            found.append(name)
    return found
