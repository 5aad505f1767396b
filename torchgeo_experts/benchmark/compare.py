# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Scores of methods, and paired differences to a baseline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Resamples for an interval.
RESAMPLES = 10_000

#: What an evaluation calls samples of no known place: in each fold those of others.
UNSEEN = 'unseen'

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        label: Its name.
        method: Label of the method whose runs these are.
        rule: What stands before its metrics, '' for the model's own decision.
    """

    label: str
    method: str
    rule: str = ''

    def name(self, metric: str) -> str:
        """Name a metric as tests log it.

        Args:
            metric: Its name.

        Returns:
            The name. The average of a decision is over the classes that are present, as
            that of 'Present' metrics is, which decisions do not have.
        """
        return self.rule + (
            metric.replace('Present', 'Average') if self.rule else metric
        )


@dataclass(frozen=True)
class Difference:
    """A paired difference.

    Args:
        mean: Over domains and seeds.
        low: Lower end of the 95 % interval.
        high: Upper end.
        runs: Folds and seeds that both have run.
        domains: Domains that were compared.
        seeds: Seeds that were compared.
    """

    mean: float
    low: float
    high: float
    runs: int
    domains: int
    seeds: int


def whole_scores(frame: pd.DataFrame, row: Row, metric: str) -> pd.DataFrame:
    """Take the scores of whole splits.

    Args:
        frame: Tidy table of one split.
        row: What to look at.
        metric: Name of the metric.

    Returns:
        Columns ``fold``, ``seed`` and ``value``.
    """
    mine = frame['metric'].eq(row.name(metric)) & frame['method'].eq(row.method)
    found = frame[mine & frame['domain'].eq('')].dropna(subset='value')
    return found[['fold', 'seed', 'value']]


def domain_scores(frame: pd.DataFrame, row: Row, metric: str) -> pd.DataFrame:
    """Take the scores of domains that compete with others.

    Args:
        frame: Tidy table of one split.
        row: What to look at.
        metric: Name of the metric. One that domains do not have, such as the loss, is
            taken of whole splits, and folds play the role of domains.

    Returns:
        Columns ``fold``, ``seed``, ``domain`` and ``value``.
    """
    mine = frame['metric'].eq(row.name(metric)) & frame['method'].eq(row.method)
    found = frame[mine & frame['domain'].ne('')].dropna(subset='value')
    if found.empty:
        whole = whole_scores(frame, row, metric)
        return whole.assign(domain=whole['fold'])
    found = found[found['ranked']]
    unseen = UNSEEN + ' of ' + found['fold']
    domain = found['domain'].mask(found['domain'].eq(UNSEEN), unseen)
    return found[['fold', 'seed', 'value']].assign(domain=domain)


def seed_means(frame: pd.DataFrame, row: Row, metric: str) -> dict[str, Array]:
    """Score a row with each seed.

    Args:
        frame: Tidy table of one split.
        row: The row.
        metric: Name of the metric.

    Returns:
        Arrays with a value a seed. 'overall': mean over folds of the score of the whole
        split. 'mean': mean over domains, of which one that is in several folds counts
        once. 'worst': of the worst domain of any fold, as the tests have logged it.
        Domains that do not compete count in the first only.
    """
    domains = domain_scores(frame, row, metric)
    by_seed = domains.groupby(['seed', 'domain'])['value'].mean().groupby('seed')
    worst = whole_scores(frame, row, f'WorstDomain{metric}')
    least = (domains if worst.empty else worst).groupby('seed')['value']
    overall = whole_scores(frame, row, metric).groupby('seed')['value'].mean()
    return {
        'overall': overall.to_numpy(dtype=float),
        'mean': by_seed.mean().to_numpy(dtype=float),
        'worst': (least.max() if is_loss(metric) else least.min()).to_numpy(
            dtype=float
        ),
    }


def compare(
    frame: pd.DataFrame, row: Row, base: Row, metric: str, resamples: int = RESAMPLES
) -> Difference | None:
    """Compare a row with a baseline, domain by domain and seed by seed.

    Only folds and seeds that both have run count. The difference in a domain with a seed
    is the mean over the folds in which it is tested.

    Args:
        frame: Tidy table of one split.
        row: The row.
        base: The baseline.
        metric: Name of the metric.
        resamples: Number of resamples for the interval.

    Returns:
        The difference, None if they have no run in common.
    """
    mine, other = (domain_scores(frame, each, metric) for each in (row, base))
    both = mine.merge(other, on=['fold', 'seed', 'domain'], suffixes=('', '_base'))
    if both.empty:
        return None
    both['difference'] = both['value'] - both['value_base']
    table = both.pivot_table(index='domain', columns='seed', values='difference')
    found = table.to_numpy(dtype=float)
    low, high = interval(found, resamples)
    runs = len(both[['fold', 'seed']].drop_duplicates())
    return Difference(float(np.nanmean(found)), low, high, runs, *found.shape)


def interval(differences: Array, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Find the 95 % interval of a mean over domains and seeds.

    As many domains as there are are drawn with replacement, and, independently of them,
    as many seeds. The mean is that of all differences where a drawn domain and a drawn
    seed meet, each as often as both were drawn (the pigeonhole bootstrap of Owen, 2007);
    pairs that were not run are left out of it. The ends are the percentiles 2.5 and 97.5
    over 10,000 such draws, from the seed 0. So the interval speaks of other domains and
    of other seeds than these. With one seed, or one domain, it knows nothing of how far
    these matter; with two or three seeds it knows little. Folds whose training shares
    most domains are not independent, which no resampling of this kind accounts for.

    Args:
        differences: Differences, shape (domains, seeds), NaN where there is none.
        resamples: Number of draws.

    Returns:
        Lower and upper end.
    """
    generator = np.random.default_rng(0)
    there = np.isfinite(differences)
    values = np.where(there, differences, 0.0)
    drawn = [
        generator.multinomial(n, np.full(n, 1 / n), resamples).astype(float)
        for n in differences.shape
    ]
    domains, seeds = drawn
    sums = ((domains @ values) * seeds).sum(axis=1)
    counts = ((domains @ there.astype(float)) * seeds).sum(axis=1)
    # A draw may meet only what was not run.
    means = sums[counts > 0] / counts[counts > 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def is_loss(metric: str) -> bool:
    """Tell whether less of a metric is better.

    Args:
        metric: Its name.

    Returns:
        Whether it is a loss.
    """
    return metric.lower().endswith('loss')


def find_rows(frame: pd.DataFrame, rows: Sequence[Row], metric: str) -> list[Row]:
    """Keep rows of which something is known, and add methods that have none.

    Args:
        frame: Tidy table.
        rows: Rows that a suite asks for.
        metric: Name of the metric.

    Returns:
        The rows.
    """
    known = {row.method for row in rows}
    others = [Row(name, name) for name in frame['method'].unique() if name not in known]
    return [
        row
        for row in [*rows, *others]
        if not whole_scores(frame, row, metric).empty
        or not domain_scores(frame, row, metric).empty
    ]
