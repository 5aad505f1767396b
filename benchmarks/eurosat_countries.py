# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Does CoDEX help on countries never seen? EuroSAT by country, six folds.

Each fold holds out a group of countries from backbone and heads. Cells of half a degree of
the training countries are held out too: some for validation, some for a test in
distribution. All arms of a fold and seed start from the same backbone and see the same
batches. Finished runs are kept, an unfinished one goes on from its last epoch::

    python benchmarks/eurosat_countries.py run --data DATA --out results/eurosat
    python benchmarks/eurosat_countries.py report --out results/eurosat

*DATA* is a folder with ``EuroSAT.zip`` and ``metadata.csv`` (filename, label, country, lon,
lat). Two processes with ``--part 0/2`` and ``--part 1/2`` share the work.
"""

import argparse
import itertools
import json
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from kornia.augmentation import RandomHorizontalFlip, RandomVerticalFlip
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from eurosat_report import report
from torchgeo_experts import (
    CoDEXClassificationTask,
    D3GAffinity,
    DomainClassificationTask,
    HandcraftedAffinity,
    ImageTable,
    ImageTableDataModule,
)
from torchgeo_experts.models.affinity import Affinity

#: Countries with at least 250 images, by geographic group: each group is a fold.
FOLDS = {
    'north': ['Denmark', 'Finland', 'Sweden'],
    'isles': ['Ireland', 'United Kingdom'],
    'west': ['Belgium', 'France', 'Netherlands'],
    'south': ['Italy', 'Spain'],
    'centre': ['Austria', 'Czechia', 'Germany', 'Poland', 'Slovakia'],
    'southeast': ['Bulgaria', 'Cyprus', 'Greece', 'Hungary', 'Romania'],
}
#: Size of a cell in degrees, and shares of cells: validation, test in distribution.
CELL, SHARES = 0.5, (0.1, 0.1)

#: Arguments of the first stage of each arm with experts.
EXPERT_ARMS: dict[str, dict[str, Any]] = {
    'experts': {'consistency_weight': 0.0},
    'codex': {},
    'codex-handcrafted': {'affinity': HandcraftedAffinity},
    'codex-d3g': {'affinity': D3GAffinity},
}
#: Arguments of the second stage, from the first stage of an arm.
SELECTOR_ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{arm: (arm, {}) for arm in EXPERT_ARMS},
    'codex-cold': ('codex', {'temperature': 0.1}),
}


def write_table(source: Path, target: Path) -> None:
    """Write a table with one split column a fold."""
    frame = pd.read_csv(source, dtype=str, keep_default_na=False)
    frame = frame[frame['country'].isin(itertools.chain(*FOLDS.values()))]
    lon, lat = frame['lon'].astype(float), frame['lat'].astype(float)
    cell = (lon // CELL).astype(int).astype(str) + '/' + (lat // CELL).astype(str)
    # The draw must not depend on which fold it is: a cell has one role.
    cells = pd.Series(sorted(cell.unique()))
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))
    rank = dict(zip(cells, (order / len(cells)).tolist(), strict=True))
    share = cell.map(rank)
    role = pd.Series('train', frame.index)
    role[share < sum(SHARES)] = 'id_test'
    role[share < SHARES[0]] = 'val'
    for fold, countries in FOLDS.items():
        frame[fold] = role.mask(frame['country'].isin(countries), 'test')
    target.parent.mkdir(parents=True, exist_ok=True)
    # Another process of the same run may be looking for it.
    unfinished = target.with_suffix(f'.{os.getpid()}')
    frame.to_csv(unfinished, index=False)
    os.replace(unfinished, target)


class InMemory(ImageTable):
    """Images that are decoded once in a process."""

    decoded: ClassVar[dict[str, Tensor]] = {}

    def _load_image(self, index: int) -> Tensor:
        file = self.files[index]
        if file not in self.decoded:
            self.decoded[file] = super()._load_image(index).byte()
        return self.decoded[file].float()


def datamodule(
    args: argparse.Namespace, fold: str, test_split: str
) -> ImageTableDataModule:
    """Make the datamodule of a fold."""
    data = ImageTableDataModule(
        images=args.data / 'EuroSAT.zip',
        table=args.out / 'folds.csv',
        folder='2750',
        split_column=fold,
        domain_column='country',
        test_split=test_split,
        batch_size=64,
        mean=[87.8, 96.9, 103.9],
        std=[51.9, 34.9, 29.4],
        augmentations=[RandomHorizontalFlip(), RandomVerticalFlip()],
    )
    data.dataset_class = InMemory
    return data


class Run:
    """One arm of a fold and a seed."""

    def __init__(self, args: argparse.Namespace, fold: str, seed: int) -> None:
        """Initialize a new Run instance."""
        self.args, self.fold, self.seed = args, fold, seed
        self.folder = args.out / f'{fold}-{seed}'

    @property
    def common(self) -> dict[str, Any]:
        """Arguments of all tasks."""
        return {
            'model': self.args.model,
            'num_classes': 10,
            'loss': 'focal',
            'lr': self.args.lr,
        }

    def fit(self, name: str, task: Any, epochs: int) -> Path:
        """Train, unless it was done before, and return the last checkpoint."""
        folder = self.folder / name
        done, last = folder / 'fit.json', folder / 'last.ckpt'
        if not done.exists():
            task.to(memory_format=torch.channels_last)
            start = time.time()
            self.trainer(folder, epochs).fit(
                task,
                datamodule=datamodule(self.args, self.fold, 'test'),
                ckpt_path=last if last.exists() else None,
            )
            done.write_text(json.dumps({'seconds': time.time() - start}))
        return last

    def test(self, name: str, kind: Any, checkpoint: Path, **changed: Any) -> None:
        """Test on unseen countries and on held-out cells of training countries."""
        for split in ('test', 'id_test'):
            folder = self.folder / name / split
            if (folder / 'metrics.json').exists():
                continue
            task = kind.load_from_checkpoint(checkpoint, weights_only=True, **changed)
            task.to(memory_format=torch.channels_last)
            data = datamodule(self.args, self.fold, split)
            (result,) = self.trainer(folder, 1).test(
                task, datamodule=data, verbose=False
            )
            (folder / 'metrics.json').write_text(json.dumps(result))

    def trainer(self, folder: Path, epochs: int) -> Trainer:
        """Make a trainer that logs into a folder."""
        return Trainer(
            accelerator='cpu',
            max_epochs=epochs,
            logger=CSVLogger(folder, name='', version=''),
            callbacks=[ModelCheckpoint(folder, 'last', enable_version_counter=False)],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )

    def seed_all(self) -> None:
        """Start every arm from the same state."""
        seed_everything(self.seed, verbose=False)

    def run(self) -> Iterator[str]:
        """Run all arms; yield the name of each that is done."""
        epochs = self.args.epochs
        self.seed_all()
        erm = DomainClassificationTask(**self.common)
        self.test('erm', DomainClassificationTask, self.fit('erm', erm, epochs))
        yield 'erm'
        stage1 = {}
        for arm, extra in EXPERT_ARMS.items():
            self.seed_all()
            given = {k: v() if v_is_affinity(v) else v for k, v in extra.items()}
            task = CoDEXClassificationTask(expert_epochs=epochs, **self.common, **given)
            stage1[arm] = self.fit(f'{arm}-stage1', task, epochs)
            yield f'{arm}-stage1'
        for arm, (source, extra) in SELECTOR_ARMS.items():
            self.seed_all()
            given = EXPERT_ARMS[source] | extra
            given = {k: v() if v_is_affinity(v) else v for k, v in given.items()}
            task = CoDEXClassificationTask(
                expert_epochs=0,
                checkpoint=str(stage1[source]),
                selector_lr=self.args.selector_lr,
                **self.common,
                **given,
            )
            last = self.fit(arm, task, self.args.selector_epochs)
            self.test(arm, CoDEXClassificationTask, last)
            yield arm


def v_is_affinity(value: object) -> bool:
    """Tell whether an argument is an affinity to be made."""
    return isinstance(value, type) and issubclass(value, Affinity)


def keep_settings(args: argparse.Namespace, names: Iterable[str]) -> None:
    """Refuse to mix runs of different settings in one folder."""
    settings = {name: getattr(args, name) for name in names}
    path = args.out / 'settings.json'
    if path.exists() and (found := json.loads(path.read_text())) != settings:
        raise SystemExit(f'{args.out} has runs with {found}, not {settings}')
    path.write_text(json.dumps(settings))


def run(args: argparse.Namespace) -> None:
    """Run this process' part of all folds and seeds."""
    torch.set_num_threads(args.threads)
    warnings.filterwarnings('ignore')
    table = args.out / 'folds.csv'
    if not table.exists():
        write_table(args.data / 'metadata.csv', table)
    keep_settings(args, ('model', 'epochs', 'selector_epochs', 'lr', 'selector_lr'))
    part, parts = map(int, args.part.split('/'))
    jobs = list(itertools.product(range(args.seeds), FOLDS))[part::parts]
    for number, (seed, fold) in enumerate(jobs):
        start = time.time()
        for arm in Run(args, fold, seed).run():
            print(
                f'[{number + 1}/{len(jobs)}] {fold} seed {seed} {arm}:'
                f' {time.time() - start:.0f} s',
                flush=True,
            )


def add_run_arguments(runner: argparse.ArgumentParser, epochs: int) -> None:
    """Add the arguments of any runs on these folds."""
    runner.add_argument('--data', type=Path, required=True)
    runner.add_argument('--out', type=Path, required=True)
    runner.add_argument('--epochs', type=int, default=epochs)
    runner.add_argument('--lr', type=float, default=1e-3)
    runner.add_argument('--seeds', type=int, default=2)
    runner.add_argument('--threads', type=int, default=1)
    runner.add_argument('--part', default='0/1')


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    runner = commands.add_parser('run', help='train and test')
    runner.set_defaults(function=run)
    add_run_arguments(runner, epochs=4)
    runner.add_argument('--model', default='test_byobnet')
    runner.add_argument('--selector-epochs', type=int, default=2)
    runner.add_argument('--selector-lr', type=float, default=1e-3)
    reporter = commands.add_parser('report', help='print the table, draw the figure')
    reporter.set_defaults(function=report)
    reporter.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    args.function(args)


if __name__ == '__main__':
    main()
