# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What a leakage report tells to people: text, a table and a map."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from ..place_map import Places, plot_places
from .report import SPLITS, LeakageReport, least_known
from .shares import NO_CLASS

#: Nearer than this, in kilometres, places may look alike because they are neighbours.
NEAR_KM = 50

#: Most pairs, and most names of domains in a sentence.
MOST_PAIRS, MOST_NAMES = 10, 8

#: What splits are called on the map.
ROLES = dict(zip(SPLITS, ('training', 'validation', 'test'), strict=True))


def report_text(report: LeakageReport) -> str:
    """Write a report for people to read.

    Args:
        report: The report.

    Returns:
        Several lines of text.
    """
    parts = [
        ('Splits', _split_table(report)),
        (_shares_title(report), _share_table(report)),
        ('The nearest pairs', _pair_table(report)),
        ('Look at', '\n'.join(f'- {line}' for line in warnings_of(report))),
    ]
    return '\n\n'.join(f'{title}\n{text}' for title, text in parts if text)


def warnings_of(report: LeakageReport) -> list[str]:
    """Tell what in the splits asks for a second look.

    Args:
        report: The report.

    Returns:
        Sentences.
    """
    found = []
    for splits, rows in report.shared.groupby('splits', sort=False):
        found.append(
            f'{_count(len(rows), "domain")} in several splits ({", ".join(splits)}):'
            f' {_listed(rows["domain"])}'
        )
    near = report.pairs[least_known(report.pairs) < NEAR_KM]
    for split, rows in near.groupby('split', sort=False):
        names = list(dict.fromkeys(rows['domain']))
        found.append(
            f'{_count(len(names), "domain")} of {split} nearer than {NEAR_KM} km to a'
            f' training domain: {_listed(names)}'
        )
    for split, rows in report.domains.groupby('split', sort=False):
        unknown, total = rows['unknown_place'].sum(), rows['samples'].sum()
        if unknown:
            found.append(
                f'{unknown} of {total} samples of {split} are of unknown place'
            )
    shares = report.shares.splits
    read = ' (of the samples read)' if report.shares.read else ''
    for split in shares.columns.drop('train', errors='ignore'):
        # In training: none at all. Shares of nothing are unknown, and not zero.
        new = (shares.get('train', np.nan) == 0) & (shares[split] > 0)
        names = shares.index[new].drop(NO_CLASS, errors='ignore').tolist()
        if names:
            kinds = 'class' if len(names) == 1 else 'classes'
            found.append(
                f'{len(names)} {kinds} of {split} not seen in train{read}:'
                f' {_listed(names)}'
            )
    return found


def write_report(report: LeakageReport, folder: Path) -> list[Path]:
    """Write a report as a table and a map.

    Args:
        report: The report.
        folder: Folder to write ``domains.csv`` and ``domains.png`` to; it is made.
            There is no map if no place is known.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.concat(
        [report.domains, report.shares.domains.add_prefix('share_')], axis=1
    )
    table.to_csv(folder / 'domains.csv', index=False, float_format='%.6g')
    if report.domains['lon'].isna().all():
        return [folder / 'domains.csv']
    roles = {}
    for split, rows in report.domains.groupby('split', sort=False):
        held = report.contents[str(split)]
        roles[ROLES[str(split)]] = Places(
            rows['domain'].tolist(),
            rows['lon'].to_numpy(),
            rows['lat'].to_numpy(),
            rows['samples'].to_numpy(),
            torch.stack([held.lon, held.lat], dim=1).numpy(),
        )
    figure = plot_places(roles)
    figure.savefig(folder / 'domains.png', dpi=150)
    plt.close(figure)
    return [folder / 'domains.csv', folder / 'domains.png']


def _split_table(report: LeakageReport) -> str:
    groups = report.domains.groupby('split', sort=False)
    table = groups.agg(
        domains=('domain', 'size'),
        samples=('samples', 'sum'),
        no_place=('unknown_place', 'sum'),
        centre_least=('km', 'min'),
        centre_median=('km', 'median'),
        sample_least=('sample_km', 'min'),
        sample_median=('sample_km', 'median'),
    )
    table.columns = pd.MultiIndex.from_tuples(
        [
            ('', 'domains'),
            ('', 'samples'),
            ('', 'without place'),
            ('km between centres', 'least'),
            ('km between centres', 'median'),
            ('km between samples', 'least'),
            ('km between samples', 'median'),
        ]
    )
    return table.rename_axis(None).to_string(na_rep='-', float_format=_km)


def _shares_title(report: LeakageReport) -> str:
    shares = report.shares
    what = 'pixels' if shares.pixels else 'samples'
    read = f' of up to {shares.read} samples a domain' if shares.read else ''
    return f'Shares of classes in percent of {what}{read}'


def _share_table(report: LeakageReport) -> str:
    table = 100 * report.shares.splits
    if table.isna().all(axis=None):
        return ''
    shown = table[(table > 0).any(axis=1)]
    text = shown.to_string(na_rep='-', float_format=lambda value: f'{value:.1f}')
    absent = len(table) - len(shown)
    return text + (f'\nand {absent} more that no split shows' if absent else '')


def _pair_table(report: LeakageReport) -> str:
    table = report.pairs[least_known(report.pairs).notna()].head(MOST_PAIRS).copy()
    if table.empty:
        return ''
    near = least_known(table) < NEAR_KM
    table[''] = np.where(near, f'nearer than {NEAR_KM} km: may leak', '')
    names = {
        'training_domain': 'training domain',
        'km': 'km between centres',
        'sample_km': 'km between samples',
    }
    return table.rename(columns=names).to_string(
        index=False, na_rep='-', float_format=_km, justify='left'
    )


def _km(value: float) -> str:
    return f'{value:.1f}' if value < 100 else f'{value:.0f}'


def _count(number: int, what: str) -> str:
    return f'{number} {what}' if number == 1 else f'{number} {what}s'


def _listed(names: Sequence[str]) -> str:
    names = list(names)
    more = len(names) - MOST_NAMES
    return ', '.join(names[:MOST_NAMES]) + (f', and {more} more' if more > 0 else '')
