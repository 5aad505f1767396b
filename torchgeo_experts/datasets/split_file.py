# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Splits of places that come with a data set, as ``split.json``."""

import json
from collections.abc import Mapping

from torchgeo.datasets.utils import Path

#: Names of the splits.
SPLIT_NAMES = ('train', 'val', 'test')


def read_split_file(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the splits that come with the processed form of CoDEX.

    Args:
        path: Path of ``split.json``: lists of places under 'train', 'val' and 'test'.

    Returns:
        Places of each split, sorted.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the file is damaged, or holds something else.
    """
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
    except ValueError as error:
        raise ValueError(f'{path} is incomplete or damaged ({error})') from error
    splits = {}
    for split in SPLIT_NAMES:
        names = content.get(split) if isinstance(content, Mapping) else None
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ValueError(
                f'{path}: no list of places of the {split} split, expected'
                ' {"train": ["...", ...], "val": [...], "test": [...]}'
            )
        splits[split] = tuple(sorted(names))
    return splits
