# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What few labelled images of new countries are worth: tuning a gate, or all of a model.

Goes on from the checkpoints of ``eurosat_moge.py``, first seed. Of the countries that a fold
held out, 150 images are for tuning, 100 more for validation (which chooses nothing), and all
others for the test::

    python benchmarks/eurosat_tuning.py --data DATA --runs results/eurosat_moge \
        --out results/eurosat_tuning.csv

The last arm trains a router to imitate the gates from images, on the training images of the
fold, and needs no label. Rows that are in the file already are not run again.
"""

import argparse
import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from eurosat_moge import WithoutMatrix
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger

from eurosat_countries import FOLDS, InMemory
from eurosat_report import interval
from rows import append_row, be_quiet, is_done
from torchgeo_experts import DomainClassificationTask, ImageTableDataModule, MoGE

#: Images of new countries for tuning and for validation, epochs, size of batches.
TUNING, VALIDATION, EPOCHS, BATCH = 150, 100, 20, 32
#: Losses of MoGE that no gate learns from.
RISK_ONLY = {'balance_weight': 0.0, 'cka_weight': 0.0, 'invariance_weight': 0.0}
#: Arm: what it starts from, what is changed (None: nothing is trained), learning rate.
ARMS: dict[str, tuple[str, dict[str, Any] | None, float]] = {
    'ERM': ('erm', None, 0.0),
    'ERM, all tuned': ('erm', {}, 1e-4),
    'MoGE': ('moge', None, 0.0),
    'MoGE, gate tuned': ('moge', {'tune': 'gate'}, 1e-3),
    'MoGE, all tuned': ('moge', {}, 1e-4),
    'MoGE, image router': ('moge', {'tune': 'router', 'unknown': 'image'}, 1e-3),
}


def write_splits(table: Path, out: Path) -> None:
    """Share the test images of each fold out, in columns named ``new-<fold>``."""
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    for fold in FOLDS:
        there = np.flatnonzero(frame[fold] == 'test')
        order = np.random.default_rng(0).permutation(there)
        role = pd.Series('unused', frame.index)
        role.iloc[order] = 'test'
        role.iloc[order[: TUNING + VALIDATION]] = 'val'
        role.iloc[order[:TUNING]] = 'train'
        frame[f'new-{fold}'] = role
    frame.to_csv(out, index=False)


def datamodule(
    args: argparse.Namespace, column: str, fold: str
) -> ImageTableDataModule:
    """Make a datamodule that trains on a column's images and tests new countries."""
    table = pd.read_csv(args.table, dtype=str, keep_default_na=False)
    # Whatever it trains on, it tests the same images.
    new = table[f'new-{fold}']
    table['split'] = table[column].mask(table[column] == 'test', 'unused')
    table.loc[new == 'test', 'split'] = 'test'
    path = args.table.with_name(f'{column}-{fold}.csv')
    table.to_csv(path, index=False)
    data = ImageTableDataModule(
        images=args.data / 'EuroSAT.zip',
        table=path,
        folder='2750',
        split_column='split',
        domain_column='country',
        batch_size=BATCH if column.startswith('new') else 64,
        mean=[87.8, 96.9, 103.9],
        std=[51.9, 34.9, 29.4],
    )
    data.dataset_class = InMemory
    return data


def trainer(epochs: int, folder: Path) -> Trainer:
    """Make a trainer that keeps nothing but reports."""
    return Trainer(
        accelerator='cpu',
        max_epochs=epochs,
        logger=CSVLogger(folder, name='', version=''),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def run(args: argparse.Namespace, fold: str, name: str) -> dict[str, float]:
    """Tune one arm, and test it country by country."""
    source, changed, lr = ARMS[name]
    file = args.runs / f'{fold}-0' / source / 'last.ckpt'
    kind: Any = DomainClassificationTask if source == 'erm' else WithoutMatrix
    folder = args.table.parent / f'{fold}-{name}'
    router = 'unknown' in (changed or {})
    data = datamodule(args, fold if router else f'new-{fold}', fold)
    seed_everything(0, verbose=False)
    task = kind.load_from_checkpoint(file, weights_only=True)
    if changed is not None:
        given = dict(task.hparams) | {'lr': lr, 'num_domains': None} | changed
        if source == 'moge':
            given |= {'checkpoint': str(file), 'objective': MoGE(**RISK_ONLY)}
        state = task.state_dict()
        task = kind(**given)
        task.load_state_dict(state, strict=False)
        trainer(1 if router else EPOCHS, folder / 'fit').fit(task, datamodule=data)
    if router:
        # Images of unknown place: all that the router is for.
        task.backbone.mode = 'imitated'
    trainer(1, folder).test(task, datamodule=data, verbose=False)
    table = pd.read_csv(folder / 'domains.csv', index_col='domain')
    return {country: table['OverallAccuracy'][country] for country in FOLDS[fold]}


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--runs', type=Path, required=True)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    be_quiet()
    warnings.filterwarnings('ignore')
    args.table = args.out.with_suffix('') / 'splits.csv'
    args.table.parent.mkdir(parents=True, exist_ok=True)
    write_splits(args.runs / 'folds.csv', args.table)
    for fold, name in itertools.product(FOLDS, ARMS):
        key = {'fold': fold, 'arm': name}
        if not is_done(args.out, key):
            for country, accuracy in run(args, fold, name).items():
                append_row(args.out, key | {'country': country, 'accuracy': accuracy})
    print(summarize(pd.read_csv(args.out)))


def summarize(rows: pd.DataFrame) -> str:
    """Render the mean over countries, and the difference to each model untouched."""
    table = 100 * rows.pivot_table(index='country', columns='arm', values='accuracy')
    lines = [
        '| arm | mean country | to the model untouched [95 %] |',
        '| --- | --: | --: |',
    ]
    for name in ARMS:
        base = 'ERM' if name.startswith('ERM') else 'MoGE'
        difference = (table[name] - table[base]).to_numpy()
        low, high = interval(difference)
        gain = f'{difference.mean():+.1f} [{low:+.1f}, {high:+.1f}]'
        lines.append(f'| {name} | {table[name].mean():.1f} | {gain} |')
    return '\n'.join(lines)


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
