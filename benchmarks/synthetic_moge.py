# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What routing by place is worth on SyntheticEarth, where looks depend on the place.

A small Vision Transformer, the same batches and steps for all methods. Places are many,
and test places lie between them: a gate can only know what lies near places it has seen.
Features of places are about as smooth as the climate (``FourierEncoder(sigma=0.25)``, whose
length is 5,700 km), which was chosen on validation places of another Earth, that of seed 10.
``regions`` is the normalized mutual information of the gate's first choice, all over the
sphere, and the climate in as many classes as there are experts::

    python benchmarks/synthetic_moge.py --out results/synthetic_moge.csv

Rows that are in the file already are not run again.
"""

import argparse
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import seed_everything
from sklearn.metrics import normalized_mutual_info_score

from rows import append_row, be_quiet, is_done, quiet_trainer
from torchgeo_experts import (
    ConcatFusion,
    DomainClassificationTask,
    FiLMFusion,
    FourierEncoder,
    MoGE,
    MoGEClassificationTask,
    SyntheticEarth,
    SyntheticEarthDataModule,
)
from torchgeo_experts.datasets.earth import Earth, fibonacci_sphere

#: Places of the splits, and images of each.
PLACES = {'num_train_domains': 256, 'num_val_domains': 32, 'num_test_domains': 64}
IMAGES = {'samples_per_domain': 16}
SEEDS, EPOCHS = (0, 1, 2), 20
COMMON = {
    'model': 'test_vit',
    'model_args': {'img_size': 32, 'patch_size': 8},
    'num_classes': 6,
    'lr': 1e-3,
}
EXPERTS = {'blocks': (3, 5), 'num_experts': 6, 'top_k': 3}


def encoder() -> FourierEncoder:
    """Make the location encoder of all methods that have one."""
    return FourierEncoder(sigma=0.25)


def moge(**weights: float) -> MoGEClassificationTask:
    """Make MoGE with given weights of its losses."""
    return MoGEClassificationTask(
        **COMMON,
        **EXPERTS,
        location=encoder(),
        objective=MoGE(cka_tokens=512, **weights),
    )


#: How to make each method.
METHODS: dict[str, Callable[[], Any]] = {
    'ERM': lambda: DomainClassificationTask(**COMMON),
    'ERM + location, concatenated': lambda: DomainClassificationTask(
        **COMMON, location=ConcatFusion(encoder())
    ),
    'ERM + location, FiLM': lambda: DomainClassificationTask(
        **COMMON, location=FiLMFusion(encoder())
    ),
    'MoGE': moge,
    'MoGE, balance only': lambda: moge(cka_weight=0.0, invariance_weight=0.0),
}


def run(method: str, seed: int) -> dict[str, float]:
    """Train and test one method."""
    seed_everything(seed, verbose=False)
    task = METHODS[method]()
    trainer = quiet_trainer(EPOCHS, f'results/synthetic_moge/{method}-{seed}')
    data = SyntheticEarthDataModule(**PLACES, **IMAGES, seed=seed)
    trainer.fit(task, datamodule=data)
    (metrics,) = trainer.test(task, datamodule=data, verbose=False)
    result = {
        'accuracy': metrics['test_OverallAccuracy'],
        'worst place': metrics['test_WorstDomainOverallAccuracy'],
        'shared expert': metrics.get('test_SharedExpertOverallAccuracy', math.nan),
        'regions': math.nan,
    }
    if isinstance(task, MoGEClassificationTask):
        result['regions'] = recovered_regions(task, seed)
    return {name: float(value) for name, value in result.items()}


@torch.no_grad()
def recovered_regions(task: MoGEClassificationTask, seed: int) -> float:
    """Compare the gate's first choices with the climate, all over the sphere."""
    x, y, z = fibonacci_sphere(4000).T
    lon, lat = torch.rad2deg(torch.atan2(y, x)), torch.rad2deg(z.asin())
    climate = Earth(seed).fields(lon, lat)[:, 0]
    count = EXPERTS['num_experts']
    assert isinstance(count, int)
    # Climate is spread evenly between -1 and 1.
    zones = ((climate + 1) / 2 * count).long().clamp(0, count - 1)
    task.eval()
    first = task.backbone.route(lon.float(), lat.float())[-1].top
    score = normalized_mutual_info_score(zones.numpy(), first.numpy())
    return float(score)


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    be_quiet()
    for seed, method in itertools.product(SEEDS, METHODS):
        key = {'method': method, 'seed': seed}
        if not is_done(args.out, key):
            append_row(args.out, key | run(method, seed))

    table = 100 * pd.read_csv(args.out).set_index(['method', 'seed'])
    print(table.groupby('method').agg(['mean', 'std']).round(1).to_string())
    best = 100 * SyntheticEarth('val', **PLACES, **IMAGES).best_accuracy
    print(f'best possible: {best:.1f}')


if __name__ == '__main__':
    main()
