# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

r"""Does routing by place help on countries never seen? EuroSAT by country, six folds.

The folds, the held-out cells and the batches of ``eurosat_countries.py``, and a small Vision
Transformer, from scratch. Arms of a fold and seed start from the same transformer and see
the same batches. Finished runs are kept, an unfinished one goes on from its last epoch::

    python benchmarks/eurosat_moge.py run --data DATA --out results/eurosat_moge \
        --geoclip location_encoder_weights.pth
    python benchmarks/eurosat_moge.py report --out results/eurosat_moge

Two processes with ``--part 0/2`` and ``--part 1/2`` share the work.
"""

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from eurosat_moge_report import ABLATION_FOLDS, report
from torchgeo.datasets.utils import Sample

from eurosat_countries import FOLDS, Run, add_run_arguments, keep_settings, write_table
from torchgeo_experts import (
    ConcatFusion,
    ConstantEncoder,
    DomainClassificationTask,
    FiLMFusion,
    FourierEncoder,
    GeoCLIPEncoder,
    HarmonicsEncoder,
    MoGE,
    MoGEClassificationTask,
    WrapEncoder,
)
from torchgeo_experts.models.location import LocationEncoder
from torchgeo_experts.models.moge.backbone import Mode

Arm = tuple[type, Callable[[argparse.Namespace], dict[str, Any]]]


class WithoutMatrix(MoGEClassificationTask):
    """MoGE whose test forces no image through each expert, which takes as long again."""

    def _logits(self, batch: Sample, mode: Mode) -> torch.Tensor:
        if mode == 'shared':
            return super()._logits(batch, mode)
        return torch.zeros(len(batch['image']), self.num_outputs)


def moge(
    encoder: Callable[[argparse.Namespace], LocationEncoder] | None = None,
    weights: dict[str, Any] | None = None,
    kind: type = WithoutMatrix,
    **given: Any,
) -> Arm:
    """Describe an arm of MoGE by what differs from its defaults."""

    def describe(args: argparse.Namespace) -> dict[str, Any]:
        return {
            'blocks': (3, 5),
            'location': None if encoder is None else encoder(args),
            'objective': MoGE(cka_tokens=512, **weights or {}),
        } | given

    return kind, describe


def fused(make: Callable[[argparse.Namespace], Any]) -> Arm:
    """Describe an arm with the place as an input."""
    return DomainClassificationTask, lambda args: {'location': make(args)}


def geoclip(args: argparse.Namespace, frozen: bool = True) -> GeoCLIPEncoder:
    """Make GeoCLIP's encoder, with its weights."""
    return GeoCLIPEncoder(str(args.geoclip), frozen)


#: Fixed shares of the shared expert: next to none.
NO_SHARED: dict[str, Any] = {'gamma': 1e-4, 'learn_gamma': False}

#: Arms of all folds and seeds.
MAIN: dict[str, Arm] = {
    'erm': (DomainClassificationTask, lambda args: {}),
    'moge': moge(kind=MoGEClassificationTask),
    'concat': fused(lambda args: ConcatFusion(WrapEncoder())),
}
#: Arms of all folds and the first seed.
OTHERS: dict[str, Arm] = {
    'film': fused(lambda args: FiLMFusion(WrapEncoder())),
    'same-place': moge(lambda args: ConstantEncoder(), num_experts=3),
}
#: Arms of some folds and the first seed only.
ABLATIONS: dict[str, Arm] = {
    'no-cka': moge(weights={'cka_weight': 0.0}, kind=MoGEClassificationTask),
    'no-invariance': moge(weights={'invariance_weight': 0.0}),
    'no-balance': moge(weights={'balance_weight': 0.0}),
    'geoclip': moge(geoclip),
    'experts-6-top-1': moge(top_k=1),
    'experts-6-top-6': moge(top_k=6),
    'no-shared': moge(kind=MoGEClassificationTask, **NO_SHARED),
    'no-shared-no-cka': moge(
        weights={'cka_weight': 0.0}, kind=MoGEClassificationTask, **NO_SHARED
    ),
    'fourier': moge(lambda args: FourierEncoder()),
    'harmonics': moge(lambda args: HarmonicsEncoder()),
    'experts-12-top-3': moge(num_experts=12),
    'shared-only': moge(shared_only=0.2),
    'concat-geoclip': fused(lambda args: ConcatFusion(geoclip(args))),
    'geoclip-tuned': moge(lambda args: geoclip(args, frozen=False)),
}
#: Tests of a trained arm with other arguments.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    'moge-fade-300': ('moge', {'fade_km': 300.0})
}


class MoGERun(Run):
    """Arms of a fold and a seed."""

    @property
    def common(self) -> dict[str, Any]:
        """Arguments of all tasks."""
        return {
            'model': 'test_vit',
            'model_args': {'img_size': 64, 'patch_size': self.args.patch},
            'num_classes': 10,
            'lr': self.args.lr,
            'weight_decay': 0.01,
        }

    def run_arm(self, name: str, arm: Arm) -> None:
        """Train and test one arm, and its variants."""
        kind, describe = arm
        given = describe(self.args)
        self.seed_all()
        last = self.fit(name, kind(**self.common, **given), self.args.epochs)
        self.test(name, kind, last)
        for variant, (source, changed) in VARIANTS.items():
            if source == name:
                self.test(variant, kind, last, **changed)


def run(args: argparse.Namespace) -> None:
    """Run this process' part: all arms of the first seed before the next seed."""
    torch.set_num_threads(args.threads)
    warnings.filterwarnings('ignore')
    table = args.out / 'folds.csv'
    if not table.exists():
        write_table(args.data / 'metadata.csv', table)
    keep_settings(args, ('patch', 'epochs', 'lr'))
    part, parts = map(int, args.part.split('/'))
    for seed, fold, name in jobs(args.seeds)[part::parts]:
        start = time.time()
        MoGERun(args, fold, seed).run_arm(name, (MAIN | OTHERS | ABLATIONS)[name])
        took = time.time() - start
        print(f'{fold} seed {seed} {name}: {took:.0f} s', flush=True)


def jobs(seeds: int) -> list[tuple[int, str, str]]:
    """List seed, fold and arm of all runs, what matters most first."""
    product = itertools.product
    ablations = [(0, fold, name) for name, fold in product(ABLATIONS, ABLATION_FOLDS)]
    return [
        *product((0,), FOLDS, MAIN),
        *product((0,), FOLDS, OTHERS),
        *ablations[: len(ablations) // 3],
        *product(range(1, seeds), FOLDS, MAIN),
        *ablations[len(ablations) // 3 :],
    ]


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    runner = commands.add_parser('run', help='train and test')
    runner.set_defaults(function=run)
    add_run_arguments(runner, epochs=3)
    runner.add_argument('--geoclip', type=Path, required=True)
    runner.add_argument('--patch', type=int, default=16)
    reporter = commands.add_parser('report', help='print the tables')
    reporter.set_defaults(function=report)
    reporter.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    args.function(args)


if __name__ == '__main__':
    main()
