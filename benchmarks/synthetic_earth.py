# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What experts are worth on SyntheticEarth, by the amount of shift.

Beside the selector stands a rule that knows what no model is told: the climate, by which it
takes the expert of the training place that is most alike. So the table tells experts that
are not worth having from experts that are not found::

    python benchmarks/synthetic_earth.py --out results/synthetic_earth.csv

Rows that are in the file already are not run again.
"""

import argparse
import itertools
from pathlib import Path

import pandas as pd
import torch
from lightning.pytorch import seed_everything

from rows import append_row, be_quiet, is_done, quiet_trainer
from torchgeo_experts import (
    CoDEXClassificationTask,
    DomainClassificationTask,
    SyntheticEarth,
    SyntheticEarthDataModule,
)

#: Amounts of shift, and seeds of Earth, network and batches.
SHIFTS, SEEDS = (1.0, 0.5, 0.0), (0, 1, 2)
#: Epochs of one model and of the experts, and of the selector.
EPOCHS, SELECTOR_EPOCHS = 12, 4
#: Columns of the result: ways to decide, by the prefix of their metrics.
WAYS = {'CoDEX': '', 'uniform': 'Uniform', 'oracle': 'Oracle'}


def run(shift: float, seed: int) -> dict[str, float]:
    """Train and test one model and CoDEX, with the same batches."""
    result: dict[str, float] = {}
    common = {'model': 'test_resnet', 'num_classes': 6, 'loss': 'focal', 'lr': 1e-3}
    seed_everything(seed, verbose=False)
    erm = DomainClassificationTask(**common)
    metrics = fit_and_test(erm, EPOCHS, shift, seed)
    result['ERM'] = metrics['test_OverallAccuracy']
    result['ERM top 2'] = metrics['test_Top2OverallAccuracy']
    seed_everything(seed, verbose=False)
    codex = CoDEXClassificationTask(expert_epochs=EPOCHS, temperature=0.1, **common)
    metrics = fit_and_test(codex, EPOCHS + SELECTOR_EPOCHS, shift, seed)
    for name, prefix in WAYS.items():
        result[name] = metrics[f'test_{prefix}OverallAccuracy']
    result['climate known'] = accuracy_by_climate(codex, shift, seed)
    return result


@torch.no_grad()
def accuracy_by_climate(
    task: CoDEXClassificationTask, shift: float, seed: int
) -> float:
    """Test the experts of the training places with the most similar climate."""
    data = SyntheticEarthDataModule(shift=shift, seed=seed)
    train, test = (SyntheticEarth(s, shift=shift, seed=seed) for s in ('train', 'test'))
    climate = torch.stack(
        [train.fields[train.domain == d, 0].mean() for d in range(len(train.domains))]
    )
    expert = (test.fields[:, 0, None] - climate).abs().argmin(dim=1)
    task.eval()
    images = data.aug({'image': test.images.float()})['image']
    features = task.model.backbone(images).head
    decision = task.model.experts(features, expert).argmax(dim=1)
    return (decision == test.label).float().mean().item()


def fit_and_test(
    task: DomainClassificationTask | CoDEXClassificationTask,
    epochs: int,
    shift: float,
    seed: int,
) -> dict[str, float]:
    """Train on some places, test on others."""
    trainer = quiet_trainer(epochs, 'results/synthetic_earth')
    data = SyntheticEarthDataModule(shift=shift, seed=seed)
    trainer.fit(task, datamodule=data)
    (metrics,) = trainer.test(task, datamodule=data, verbose=False)
    return dict(metrics)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    be_quiet()
    for shift, seed in itertools.product(SHIFTS, SEEDS):
        key = {'shift': shift, 'seed': seed}
        if not is_done(args.out, key):
            append_row(args.out, key | run(shift, seed))

    table = 100 * pd.read_csv(args.out).set_index(['shift', 'seed'])
    table['CoDEX - ERM'] = table['CoDEX'] - table['ERM']
    best = 100 * SyntheticEarth('val').best_accuracy
    print(table.round(1).to_string())
    print(table.groupby('shift').agg(['mean', 'std']).round(1).to_string())
    print(f'best possible: {best:.1f}')


if __name__ == '__main__':
    main()
