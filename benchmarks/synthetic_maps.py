# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What experts are worth on SyntheticEarth for maps: segmentation, series and change.

One model and CoDEX, as the shipped configurations have them, in places never seen, with
and without shift::

    python benchmarks/synthetic_maps.py run --out results/synthetic_maps.csv
    python benchmarks/synthetic_maps.py report --out results/synthetic_maps.csv

Rows that are in the file already are not run again. ``--task``, ``--shift`` and ``--seed``
share the work out to several processes, each with a file of its own; ``report`` takes several files.
"""

import argparse
import itertools
import logging
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from lightning.pytorch import Trainer, seed_everything

import torchgeo_experts
from rows import append_row
from torchgeo_experts.shipped import config_path

TASKS = ('segmentation', 'series', 'change')
#: Amounts of shift, and seeds of Earth, network and batches.
SHIFTS, SEEDS = (1.0, 0.0), (0, 1, 2)
#: Score of each task.
SCORES = {
    'segmentation': 'OverallAccuracy',
    'series': 'OverallAccuracy',
    'change': 'AverageF1Score',
}
#: Columns of the result: ways to decide, by the prefix of their metrics.
WAYS = {
    'CoDEX': '',
    'uniform': 'Uniform',
    'best-weighted': 'BestWeighted',
    'oracle': 'Oracle',
}


def make(part: dict[str, Any], **changes: Any) -> Any:
    """Make a task or datamodule from a part of a configuration."""
    kind = getattr(torchgeo_experts, part['class_path'].rpartition('.')[2])
    return kind(**part['init_args'] | changes)


def fit_and_test(method: str, task: str, shift: float, seed: int) -> dict[str, float]:
    """Train on some places and test on others, by the shipped configuration.

    Returns:
        Mean over test places of the score, for each way to decide, by its prefix, and
        the seconds that it took.
    """
    start = time.perf_counter()
    text = config_path(f'{method}/synthetic_earth_{task}').read_text()
    config = yaml.safe_load(text)
    seed_everything(seed, verbose=False)
    trainer = Trainer(
        accelerator='cpu',
        max_epochs=config['trainer']['max_epochs'],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir='results/synthetic_maps',
    )
    model = make(config['model'])
    data = make(config['data'], shift=shift, seed=seed)
    trainer.fit(model, datamodule=data)
    (metrics,) = trainer.test(model, datamodule=data, verbose=False)
    found = {
        prefix: metrics[name]
        for prefix in WAYS.values()
        if (name := f'test_{prefix}MeanDomain{SCORES[task]}') in metrics
    }
    return found | {'seconds': time.perf_counter() - start}


def run(task: str, shift: float, seed: int) -> dict[str, float]:
    """Train and test one model and CoDEX, with the same batches."""
    erm = fit_and_test('erm', task, shift, seed)
    codex = fit_and_test('codex', task, shift, seed)
    result = {'ERM': erm['']}
    result |= {way: codex[prefix] for way, prefix in WAYS.items()}
    config = yaml.safe_load(config_path(f'erm/synthetic_earth_{task}').read_text())
    data = make(config['data'], shift=shift, seed=seed)
    data.setup('test')
    result['rule'] = data.test_dataset.rule_score()
    return result | {'seconds ERM': erm['seconds'], 'seconds CoDEX': codex['seconds']}


def run_missing(
    path: Path, tasks: Sequence[str], shifts: Sequence[float], seeds: Sequence[int]
) -> None:
    """Run what is not in the file yet."""
    keys = ['task', 'shift', 'seed']
    done = set()
    if path.exists():
        done = set(pd.read_csv(path)[keys].itertuples(index=False, name=None))
    for shift, task, seed in itertools.product(shifts, tasks, seeds):
        if (task, shift, seed) not in done:
            cell = {'task': task, 'shift': shift, 'seed': seed}
            append_row(path, cell | run(task, shift, seed))


def report(paths: Sequence[Path]) -> str:
    """Write the table for docs/results.md."""
    rows = pd.concat([pd.read_csv(path) for path in paths])
    rows['CoDEX - ERM'] = rows['CoDEX'] - rows['ERM']
    columns = ['ERM', *WAYS, 'rule', 'CoDEX - ERM']
    lines = [
        f'| task | shift | {" | ".join(columns)} | each seed |',
        f'| --- | --: |{" --: |" * len(columns)} --- |',
    ]
    for (task, shift), cells in rows.groupby(['task', 'shift'], sort=False):
        cells = cells.sort_values('seed')
        mean, std = 100 * cells[columns].mean(), 100 * cells[columns].std()
        # One seed has no spread.
        values = [
            f'{mean[c]:.1f}' + (f' ± {std[c]:.1f}' if len(cells) > 1 else '')
            for c in columns
        ]
        each = ' '.join(f'{100 * value:+.1f}' for value in cells['CoDEX - ERM'])
        lines.append(f'| {task} | {shift:g} | {" | ".join(values)} | {each} |')
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('command', choices=['run', 'report'])
    parser.add_argument('--out', type=Path, required=True, nargs='+')
    parser.add_argument('--task', choices=TASKS, nargs='+', default=TASKS)
    parser.add_argument('--shift', type=float, nargs='+', default=SHIFTS)
    parser.add_argument('--seed', type=int, nargs='+', default=SEEDS)
    args = parser.parse_args(argv)
    if args.command == 'report':
        print(report(args.out))
        return
    if len(args.out) > 1:
        parser.error('run writes one file: give --out once')
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    run_missing(args.out[0], args.task, args.shift, args.seed)


if __name__ == '__main__':
    main()
