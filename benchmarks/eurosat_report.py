# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The table and the figure of ``eurosat_countries.py``, from the files of its runs."""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

#: Rows of a table: name, arm, way to decide.
Rows = list[tuple[str, str, str]]

#: Every arm, and every way that tells something.
ROWS: Rows = [
    ('ERM', 'erm', ''),
    ('experts, no consistency, uniform', 'experts', 'Uniform'),
    ('experts, no consistency, selector', 'experts', ''),
    ('experts, no consistency, best-weighted', 'experts', 'BestWeighted'),
    ('CoDEX, uniform', 'codex', 'Uniform'),
    ('CoDEX, selector', 'codex', ''),
    ('CoDEX, selector, temperature 0.1', 'codex-cold', ''),
    ('CoDEX, best-weighted', 'codex', 'BestWeighted'),
    ('CoDEX, best-weighted, temperature 0.1', 'codex-cold', 'BestWeighted'),
    ('CoDEX handcrafted, uniform', 'codex-handcrafted', 'Uniform'),
    ('CoDEX handcrafted, selector', 'codex-handcrafted', ''),
    ('CoDEX handcrafted, best-weighted', 'codex-handcrafted', 'BestWeighted'),
    ('CoDEX D3G, uniform', 'codex-d3g', 'Uniform'),
    ('CoDEX D3G, selector', 'codex-d3g', ''),
    ('CoDEX D3G, best-weighted', 'codex-d3g', 'BestWeighted'),
    ('oracle of the experts, no consistency', 'experts', 'Oracle'),
    ('oracle of the experts, CoDEX', 'codex', 'Oracle'),
    ('oracle of the experts, CoDEX handcrafted', 'codex-handcrafted', 'Oracle'),
    ('oracle of the experts, CoDEX D3G', 'codex-d3g', 'Oracle'),
    ('ERM, top 2', 'erm', 'Top2'),
    ('ERM, top 3', 'erm', 'Top3'),
]
#: Resamples of the countries for an interval.
RESAMPLES = 10_000


def read_countries(out: Path) -> pd.DataFrame:
    """Read the accuracy of each unseen country: one row an arm, seed, country."""
    frames = []
    for path in sorted(out.glob('*/*/test/domains.csv')):
        fold, seed = path.parts[-4].rsplit('-', 1)
        frame = pd.read_csv(path)
        frames.append(frame.assign(fold=fold, seed=int(seed), arm=path.parts[-3]))
    return pd.concat(frames, ignore_index=True)


def read_folds(out: Path) -> pd.DataFrame:
    """Read the metrics of each test: one row an arm, seed, fold and split."""
    rows = []
    for path in sorted(out.glob('*/*/*/metrics.json')):
        fold, seed = path.parts[-4].rsplit('-', 1)
        keys = {'fold': fold, 'seed': int(seed), 'arm': path.parts[-3]}
        split = {'split': path.parts[-2]}
        rows.append(keys | split | json.loads(path.read_text()))
    return pd.DataFrame(rows)


def complete(countries: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """Keep the folds and seeds that all arms of some rows have run."""
    arms = {arm for _, arm, _ in rows}
    mine = countries[countries['arm'].isin(arms)]
    run = mine.groupby(['fold', 'seed'])['arm'].transform('nunique')
    return mine[run == len(arms)]


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Bootstrap the mean over countries: resample countries, not images."""
    generator = np.random.default_rng(0)
    shape = (RESAMPLES, len(differences))
    means = differences[generator.integers(0, len(differences), shape)].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def summarize(
    countries: pd.DataFrame, folds: pd.DataFrame, rows: Rows, base: str = 'erm'
) -> pd.DataFrame:
    """Make a table: one row an arm and way to decide, in percent.

    Args:
        countries: Accuracies of unseen countries, of complete folds and seeds.
        folds: Metrics of all tests.
        rows: Rows of the table.
        base: Arm that all are compared with, country by country.

    Returns:
        The table.
    """
    erm = countries[countries['arm'] == base].set_index(['domain', 'seed'])
    found = []
    for name, arm, rule in rows:
        mine = countries[countries['arm'] == arm].set_index(['domain', 'seed'])
        accuracy = 100 * mine[f'{rule}OverallAccuracy']
        gain = accuracy - 100 * erm['OverallAccuracy'].loc[accuracy.index]
        by_country = gain.groupby('domain').mean()
        low, high = interval(by_country.to_numpy())
        runs = folds[folds['arm'] == arm].merge(
            mine.reset_index()[['fold', 'seed']].drop_duplicates()
        )
        seen = runs[runs['split'] == 'id_test']
        score = f'test_{rule}OverallAccuracy'
        found.append(
            {
                'arm': name,
                'overall': np.average(accuracy, weights=mine['samples']),
                # Over the classes that a country has, in each country.
                'balanced': 100
                * mine.groupby('domain')[f'{rule}AverageAccuracy'].mean().mean(),
                'mean country': accuracy.groupby('domain').mean().mean(),
                'worst country': accuracy.groupby('domain').mean().min(),
                'in distribution': 100 * seen[score].mean() if len(seen) else np.nan,
                'to ERM': by_country.mean(),
                'low': low,
                'high': high,
                'seeds': ' '.join(f'{v:+.1f}' for v in gain.groupby('seed').mean()),
            }
        )
    return pd.DataFrame(found)


def seed_noise(countries: pd.DataFrame) -> tuple[float, float]:
    """Compare ERM with itself: how far do two seeds differ, in points?

    Returns:
        Standard deviation over countries of the difference of the first two seeds, and
        the standard error that this gives their mean.
    """
    erm = countries[countries['arm'] == 'erm']
    seeds = erm.pivot_table(index='domain', columns='seed', values='OverallAccuracy')
    difference = 100 * (seeds[1] - seeds[0]).dropna()
    return difference.std(), difference.std() / len(difference) ** 0.5


def largest_weight(out: Path, arm: str) -> float:
    """Tell how much more than its uniform share the most weighted expert gets.

    Returns:
        Median over unseen countries of their largest mean weight times the number of
        experts.
    """
    shares: list[float] = []
    for path in out.glob(f'*/{arm}/test/mixture_weights.csv'):
        weights = pd.read_csv(path, index_col='domain').to_numpy()
        shares += (weights.max(axis=1) * weights.shape[1]).tolist()
    return float(np.median(shares))


def to_markdown(table: pd.DataFrame) -> str:
    """Render the table."""
    columns = [
        'overall',
        'balanced',
        'mean country',
        'worst country',
        'in distribution',
    ]
    header = ['arm', *columns, 'to ERM, mean country [95 %]', 'each seed']
    lines = [header, ['---', *['--:'] * (len(header) - 1)]]
    for row in table.to_dict('records'):
        difference = f'{row["to ERM"]:+.1f} [{row["low"]:+.1f}, {row["high"]:+.1f}]'
        values = [f'{row[column]:.1f}' for column in columns]
        lines.append([row['arm'], *values, difference, row['seeds']])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def draw(table: pd.DataFrame) -> Figure:
    """Draw the paired differences to ERM with their intervals."""
    shown = table[~table['arm'].str.contains('ERM|oracle')][::-1]
    figure, axes = plt.subplots(figsize=(6.5, 3.2), layout='constrained')
    errors = [shown['to ERM'] - shown['low'], shown['high'] - shown['to ERM']]
    axes.errorbar(shown['to ERM'], shown['arm'], xerr=errors, fmt='o', capsize=3)
    axes.axvline(0, color='gray', lw=0.8)
    axes.set_xlabel('points above ERM, mean of unseen countries')
    axes.grid(axis='x', alpha=0.3)
    return figure


def report(args: argparse.Namespace) -> None:
    """Print the table and save it with its figure."""
    countries = complete(read_countries(args.out), ROWS)
    table = summarize(countries, read_folds(args.out), ROWS)
    done = countries[['fold', 'seed']].drop_duplicates()
    print(f'{len(done)} complete folds and seeds\n\n{to_markdown(table)}')
    noise, mean = seed_noise(countries)
    print(f'\nERM between seeds: {noise:.1f} in a country, {mean:.1f} in the mean')
    for arm in ('codex', 'codex-cold'):
        share = largest_weight(args.out, arm)
        print(f'{arm}: the largest weight is {share:.1f} times the uniform one')
    table.to_csv(args.out / 'table.csv', index=False)
    draw(table).savefig(args.out / 'eurosat_countries.png', dpi=150)
