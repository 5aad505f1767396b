# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Smoke runs of the map tasks on the few real files at hand.

They tell whether the tasks run on real images, masks and dates. They are no results: five
tiles with buildings, one city with change and series without labels are far too few for a
score that means something, and one that is trained for a few steps moves by several points
with the order of additions alone::

    python benchmarks/real_maps.py --data DATA
    python benchmarks/real_maps.py --data DATA --only buildings

*DATA* is a folder with ``geobench2_mini``, ``oscd_dubai`` and ``sn7_muds_128``.
"""

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor
from torch.utils.data import default_collate

from real_files import (
    IGNORED,
    MONTHS,
    MonthlySeries,
    Samples,
    read_buildings,
    read_change,
)
from torchgeo_experts import (
    CoDEXChangeTask,
    CoDEXSegmentationTask,
    DomainChangeTask,
    Domains,
    DomainSegmentationTask,
)
from torchgeo_experts.datamodules.base import PlacesDataModule
from torchgeo_experts.objectives import Step

#: Epochs of one model and of the experts, and of the selector.
EPOCHS, SELECTOR_EPOCHS = 3, 1
#: Learning rate of the selector. It sums up thousands of features, so that a step of the
#: rate of the experts, thirty times as much, moves the accuracies it predicts by more than 1.
SELECTOR_LR = 1e-4
#: Ways to decide with experts, by the prefix of their metrics.
WAYS = {'CoDEX': '', 'uniform': 'Uniform', 'oracle': 'Oracle'}
#: Scores by the name of their metric, and what the best constant answer gets, by the share
#: of foreground (below one half).
SCORES: dict[str, tuple[str, Callable[[float], float]]] = {
    'mIoU': ('AverageJaccardIndex', lambda share: (1 - share) / 2),
    'OA': ('OverallAccuracy', lambda share: 1 - share),
    'F1 of change': ('AverageF1Score', lambda share: 2 * share / (1 + share)),
}


class LeaveOneOut(PlacesDataModule):
    """Training on all places but one, test on that one.

    Of the training places, one sample in four is for validation.
    """

    def __init__(
        self,
        places: Domains,
        samples: Mapping[str, Tensor],
        held_out: int | None,
        batch_size: int = 4,
    ) -> None:
        """Initialize a new LeaveOneOut instance.

        Args:
            places: All places.
            samples: What :class:`Samples` takes, but for domain and group, and with the
                place of each sample, ``place``.
            held_out: Which place is tested on. None: train and validate on all samples.
            batch_size: Size of each mini-batch.
        """
        super().__init__(Samples, batch_size, mean=128.0, std=64.0)
        self.places, self.samples, self.held_out = places, samples, held_out

    def configure_domains(self) -> None:
        """Number the training places from 0 on, and put the other one behind them."""
        seen = [i for i in range(len(self.places)) if i != self.held_out]
        names = self.places.names
        self.domains = Domains(
            [names[i] for i in seen], self.places.lon[seen], self.places.lat[seen]
        )
        other = () if self.held_out is None else (names[self.held_out],)
        self.groups = (*self.domains.names, *other)
        self.classes = ('background', 'foreground')

    def make_dataset(self, split: str) -> Samples:
        """Make the data set of one split."""
        entries = {k: v for k, v in self.samples.items() if k != 'place'}
        place = self.samples['place']
        domain = self.domains.ids([self.places.names[i] for i in place.tolist()])
        entries['domain'] = domain
        entries['group'] = domain.where(domain >= 0, len(self.domains))
        return Samples({k: v[self._rows(split)] for k, v in entries.items()})

    def _rows(self, split: str) -> Tensor:
        place = self.samples['place']
        if self.held_out is None:
            return torch.ones_like(place, dtype=torch.bool)
        if split == 'test':
            return place == self.held_out
        # Of each place, however its samples are ordered among those of others.
        rank = torch.stack([place[:i].eq(p).sum() for i, p in enumerate(place)])
        return (place != self.held_out) & ((rank % 4 == 3) == (split == 'val'))


def fit(
    task: LightningModule, epochs: int, data: PlacesDataModule, **kwargs: Any
) -> Trainer:
    """Train with more arguments of the trainer, which is given back."""
    trainer = Trainer(
        accelerator='cpu',
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **kwargs,
    )
    trainer.fit(task, datamodule=data)
    return trainer


def fit_and_test(
    task: LightningModule, epochs: int, data: PlacesDataModule
) -> dict[str, float]:
    """Train on some places, test on another; give the metrics of the test."""
    # Where tables of a test go.
    with tempfile.TemporaryDirectory() as folder:
        trainer = fit(task, epochs, data, default_root_dir=folder)
        (metrics,) = trainer.test(task, datamodule=data, verbose=False)
    return dict(metrics)


def compare(
    kinds: tuple[type, type], common: dict[str, Any], data: PlacesDataModule
) -> dict[str, dict[str, float]]:
    """Train one model and CoDEX; give the metrics of each way to decide."""
    single, experts = kinds
    seed_everything(0, verbose=False)
    metrics = fit_and_test(single(**common), EPOCHS, data)
    result = {'ERM': {key: metrics[f'test_{key}'] for key, _ in SCORES.values()}}
    seed_everything(0, verbose=False)
    common = common | {'selector_lr': SELECTOR_LR, 'temperature': 0.1}
    task = experts(expert_epochs=EPOCHS, **common)
    metrics = fit_and_test(task, EPOCHS + SELECTOR_EPOCHS, data)
    for way, prefix in WAYS.items():
        result[way] = {k: metrics[f'test_{prefix}{k}'] for k, _ in SCORES.values()}
    return result


def hold_out_each(
    places: Domains,
    samples: Mapping[str, Tensor],
    scores: tuple[str, ...],
    kinds: tuple[type, type],
    common: dict[str, Any],
) -> None:
    """Hold out each place in turn, and print a table of each score.

    Args:
        places: All places.
        samples: What :class:`LeaveOneOut` takes.
        scores: Which of :data:`SCORES`.
        kinds: Task of one model and task with experts.
        common: Arguments of both.
    """
    tables = {name: pd.DataFrame(index=list(places)) for name in scores}
    for held_out, place in enumerate(places):
        start = time.perf_counter()
        found = compare(kinds, common, LeaveOneOut(places, samples, held_out))
        seconds = time.perf_counter() - start
        share = samples['mask'][samples['place'] == held_out].float().mean().item()
        for name, table in tables.items():
            key, constant = SCORES[name]
            table.loc[place, 'foreground'] = 100 * share
            table.loc[place, 'constant answer'] = 100 * constant(share)
            for way, metrics in found.items():
                table.loc[place, way] = 100 * metrics[key]
            table.loc[place, 'seconds'] = seconds
    for name, table in tables.items():
        print(f'{name} in %, SMOKE RUN:\n{table.round(2).to_string()}')


def run_buildings(data: Path) -> None:
    """Hold out each of the five tiles with buildings in turn: a smoke run."""
    print(
        'Buildings, SMOKE RUN: one image of 512 x 512 a place, a few epochs. The constant'
        ' answer is that there is no building.'
    )
    places, samples = read_buildings(data / 'geobench2_mini')
    kinds = (DomainSegmentationTask, CoDEXSegmentationTask)
    common: dict[str, Any] = {'model': 'unet', 'backbone': 'tu-test_resnet'}
    common |= {'num_classes': 2}
    # Without weights, all answer that there is no building.
    common |= {'loss': 'focal', 'class_weights': [1.0, 10.0], 'lr': 3e-3}
    hold_out_each(places, samples, ('mIoU', 'OA'), kinds, common)


def run_change(data: Path) -> None:
    """Hold out each strip of the one city in turn: a smoke run."""
    print(
        'Change, SMOKE RUN: one city has no other places, so that strips of the scene play'
        ' their role, and these are neighbours. The constant answer is change everywhere.'
    )
    places, samples = read_change(data / 'oscd_dubai')
    kinds = (DomainChangeTask, CoDEXChangeTask)
    common = {'model': 'multiutae', 'num_filters': 32, 'loss': 'focal', 'lr': 3e-3}
    hold_out_each(places, samples, ('F1 of change',), kinds, common)


class StageSteps(Callback):
    """Time a step of each stage, and check that pixels of missing months do not matter."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock."""
        self.start = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Print what the step took and cost; put other pixels in the missing months."""
        seconds = time.perf_counter() - self.start
        missing = ~batch['valid'][:, :, None, None, None]
        noise = 100 * torch.randn_like(batch['image'])
        other = batch | {'image': noise.where(missing, batch['image'])}
        # Not before the step: a selector that was never trained looks at nothing.
        change = (self.loss(pl_module, other) - self.loss(pl_module, batch)).item()
        print(
            f'{type(pl_module.objective).__name__}: loss {outputs["loss"].item():.4f},'
            f' {seconds:.1f} s a step of {len(missing)} series; other pixels in'
            f' {missing.sum()} missing months change the loss by {change:.1g}'
        )
        if change:
            raise SystemExit('pixels of missing months matter')

    @staticmethod
    @torch.no_grad()
    def loss(task: Any, batch: dict[str, Tensor]) -> Tensor:
        """Compute the loss of a step, with the same dropout each time."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            step = Step(task.model, batch, task.target(batch), task.criterion)
            return torch.stack(list(task.objective(step).terms.values())).sum()


def run_series(data: Path) -> None:
    """Read all series, and train one step of each stage on two: a smoke run."""
    print('Series, SMOKE RUN: no labels, the target stands in, and nothing is scored.')
    series = MonthlySeries(data / 'sn7_muds_128')
    start = time.perf_counter()
    samples = map(series.__getitem__, range(len(series)))
    missing = torch.stack([(~sample['valid']).sum() for sample in samples])
    seconds = time.perf_counter() - start
    print(
        f'{len(series)} series of {MONTHS} months read in {seconds:.1f} s'
        f' ({len(series) / seconds:.1f} a second); {missing.sum()} months are missing in'
        f' {(missing > 0).sum()} series, {series.table["udm_masked"].sum()} are flagged for'
        f' clouds; {series.outside} files of other months are left out'
    )
    two = default_collate([series[i] for i in missing.topk(2).indices.tolist()])
    seed_everything(0, verbose=False)
    task = CoDEXSegmentationTask(
        model='multiutae', num_classes=2, ignore_index=IGNORED, expert_epochs=1
    )
    module = LeaveOneOut(series.domains, two, None, batch_size=2)
    fit(task, 2, module, callbacks=[StageSteps()])
    print(f'{task.hparams["num_domains"]} experts')


#: Runs by their name.
RUNS = {'buildings': run_buildings, 'change': run_change, 'series': run_series}


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--only', choices=RUNS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    for name in [args.only] if args.only else RUNS:
        start = time.perf_counter()
        RUNS[name](args.data)
        print(f'{name}: {time.perf_counter() - start:.0f} s in all\n', flush=True)


if __name__ == '__main__':
    main()
