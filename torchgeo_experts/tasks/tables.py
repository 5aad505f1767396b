# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Tables of results, as CSV files."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ..metrics import Scores


def write_domains(
    path: Path,
    groups: Sequence[str],
    training: Sequence[str],
    ranked: Sequence[bool],
    tables: Mapping[str, Scores],
) -> None:
    """Write the scores of each domain, one row a domain with samples.

    Args:
        path: File to write.
        groups: Names of the domains.
        training: Names of the training domains.
        ranked: Whether each domain competes for the worst one.
        tables: Scores of each way to decide; the name '' is the model's own.
    """
    samples = tables[''].samples.tolist()
    columns = {
        f'{rule}{name}': [round(v, 6) for v in values.tolist()]
        for rule, table in tables.items()
        for name, values in table.groups.items()
    }
    rows = [
        [name, int(name in training), int(ranked[i]), samples[i]]
        + [values[i] for values in columns.values()]
        for i, name in enumerate(groups)
        if samples[i]
    ]
    write_rows(path, ['domain', 'training', 'ranked', 'samples', *columns], rows)


def write_weights(
    path: Path, groups: Sequence[str], training: Sequence[str], weights: Tensor
) -> None:
    """Write the mean mixture weights of each domain, one row a domain with samples.

    Args:
        path: File to write.
        groups: Names of the domains.
        training: Names of the experts.
        weights: Mean weights, shape (G, D), NaN for domains with no sample.
    """
    rows = [
        [name, *weights[i].tolist()]
        for i, name in enumerate(groups)
        if not weights[i].isnan().any()
    ]
    write_rows(path, ['domain', *training], rows)


def write_rows(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Write a CSV file.

    Args:
        path: File to write; its folder is made.
        header: Names of the columns.
        rows: Rows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
