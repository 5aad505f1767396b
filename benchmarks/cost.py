# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What experts cost: time and memory, as ratios to one head on the same backbone.

Training steps of both stages of CoDEX are compared with those of empirical risk
minimization, and predictions with those of one head; ``multiutae`` compares MultiUTAE
with its published form::

    python benchmarks/cost.py run --backbone multiutae --out results/cost.csv
    python benchmarks/cost.py run --backbone unet --out results/cost.csv
    python benchmarks/cost.py multiutae --out results/cost.csv
    python benchmarks/cost.py report --out results/cost.csv

Rows that are in the file already are not run again. In each repetition, all that has one
number of domains runs in turn, the baseline first, and ratios are taken within it. Time is
that of the process, with one thread, or of the GPU. Memory is the peak of live tensors in
one step, with parameters, gradients and the optimizer's state; what an operation needs
inside counts on a GPU only, where the allocator tells the peak. In stage 2 the optimizer
has the selector alone: moments of stage 1, if they are kept, come on top.
"""

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from cost_uncontracted import FORMS, Job, Work, check_forms, form_work, measure
from torchgeo_experts.losses import make_criterion
from torchgeo_experts.models import (
    Affinity,
    Backbone,
    ConvExperts,
    ConvSelector,
    ExpertNet,
    FactorizedAffinity,
    LearnedAffinity,
    MultiUTAEBackbone,
    SingleNet,
    SMPBackbone,
)
from torchgeo_experts.objectives import (
    ERM,
    ExpertTraining,
    Objective,
    SelectorTraining,
    Step,
)

#: Classes, numbers of domains, and experts that the subset of stage 2 has.
CLASSES, DOMAINS, SUBSET = 7, (1, 10, 55, 200, 1000, 10_000), 64
#: Names in the file.
BACKBONES = {'multiutae': 'MultiUTAE', 'unet': 'U-Net'}
PUBLISHED = 'MultiUTAE against its published form'
#: What tells rows apart.
KEYS = ['backbone', 'size', 'batch', 'device', 'threads', 'part', 'domains', 'variant']
#: Numbers of a row, empty for what needs too much memory.
NUMBERS = ['seconds', 'baseline_seconds', 'ratio', 'ratio_low', 'ratio_high']
NUMBERS += ['megabytes', 'baseline_megabytes', 'memory_ratio', 'repetitions', 'torch']
#: Parts, in the order of tables.
PARTS = ['stage 1', 'stage 2', 'training', 'inference']
#: Shares of the published MultiUTAE's time and memory that are to be reached.
GOALS = {'training': (1 / 1.5, 0.45), 'inference': (1 / 1.5, 0.2)}


@dataclass(frozen=True)
class Setting:
    """A backbone and what it reads: images of a shape without the batch."""

    backbone: str
    shape: tuple[int, ...]
    batch: int
    device: str

    def net(self, domains: int) -> SingleNet | ExpertNet:
        """Make a network, one head for 0 domains, with the same backbone each time."""
        torch.manual_seed(0)
        backbone: Backbone
        if self.backbone == 'MultiUTAE':
            backbone = MultiUTAEBackbone(in_channels=self.shape[-3])
        else:
            backbone = SMPBackbone('unet', 'resnet18', in_channels=self.shape[-3])
        heads = ConvExperts(max(domains, 1), backbone.out_features, CLASSES)
        if not domains:
            return SingleNet(backbone, heads)
        selector = ConvSelector(backbone.pyramid_channels, domains)
        return ExpertNet(backbone, heads, selector)

    def draw(self, domains: int) -> dict[str, Tensor]:
        """Draw a batch."""
        torch.manual_seed(1)
        mask = (self.batch, *self.shape[:-3], *self.shape[-2:])
        batch = {
            'image': torch.randn(self.batch, *self.shape),
            'mask': torch.randint(CLASSES, mask),
            'domain': torch.randint(domains, (self.batch,)),
        }
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    def predicting(self, domains: int) -> Work:
        """Make a prediction."""
        net = self.net(domains).eval().to(self.device)
        batch = self.draw(max(domains, 1))
        return Work(torch.no_grad()(partial(net, batch['image'])), (net,), batch)

    def training(self, domains: int, make: Callable[[], Objective]) -> Work:
        """Make a training step."""
        net, objective = self.net(domains).to(self.device), make().to(self.device)
        optimizer = torch.optim.AdamW(trained_parameters(net, objective), lr=1e-4)
        batch = self.draw(max(domains, 1))
        criterion = make_criterion('multiclass', 'focal')
        step = Step(net, batch, batch['mask'], criterion)

        def run() -> None:
            optimizer.zero_grad()
            torch.stack([*objective(step).terms.values()]).sum().backward()
            optimizer.step()

        return Work(run, (net, objective), batch, optimizer)

    def training_job(
        self, domains: int, part: str, variant: str, make: Callable[[], Objective]
    ) -> Job:
        """Describe a training step."""
        with torch.device('meta'):
            net, objective = self.net(domains), make()
        trained = sum(p.numel() for p in trained_parameters(net, objective))
        known = sum(p.numel() for p in net.backbone.parameters())
        held = sum(p.numel() for m in (net, objective) for p in m.parameters())
        # A trained one has a gradient, two moments, and two more while it is updated.
        extra = 4.0 * (held - known + 5 * trained)
        work = partial(self.training, domains, make)
        return Job(part, domains, variant, work, extra)

    def training_jobs(self, domains: int) -> list[Job]:
        """List the training steps of both stages."""
        kinds: list[type[Affinity]] = [LearnedAffinity]
        if domains > 1000:
            kinds.append(FactorizedAffinity)
        jobs: list[tuple[str, str, Callable[[], Objective]]] = [
            ('stage 1', kind.__name__, partial(expert_training, kind, domains))
            for kind in kinds
        ]
        if domains <= 200:
            jobs.append(('stage 2', 'all experts', SelectorTraining))
        if domains > SUBSET:
            some = partial(SelectorTraining, accuracy_experts=SUBSET)
            jobs.append(('stage 2', f'{SUBSET} experts', some))
        return [self.training_job(domains, *job) for job in jobs]


def expert_training(kind: type[Affinity], domains: int) -> ExpertTraining:
    """Make the objective of stage 1."""
    affinity = kind()
    affinity.build(domains)
    return ExpertTraining(affinity)


def trained_parameters(net: nn.Module, objective: Objective) -> list[nn.Parameter]:
    """Turn a network to its objective's stage, and list what is trained."""
    if isinstance(net, ExpertNet):
        net.select(isinstance(objective, SelectorTraining))
    return [p for m in (net, objective) for p in m.parameters() if p.requires_grad]


def write_missing(
    names: dict[str, Any],
    baseline: Callable[[], Work],
    jobs: Sequence[Job],
    args: argparse.Namespace,
) -> None:
    """Measure the jobs whose rows are not in the file, and append them."""
    names = names | {'device': args.device, 'threads': torch.get_num_threads()}
    done = set()
    if args.out.exists():
        rows = pd.read_csv(args.out)
        # What was too large may fit by now.
        rows = rows[rows['seconds'].notna() | (rows['megabytes'] > args.limit * 1e3)]
        done = set(rows[KEYS].itertuples(index=False, name=None))
    jobs = [j for j in jobs if tuple((names | j.names)[k] for k in KEYS) not in done]
    if not jobs:
        return
    names |= {'repetitions': args.repetitions, 'torch': torch.__version__}
    limits = args.device, args.repetitions, args.limit * 1e9
    for row in measure(baseline, jobs, *limits):
        new = not args.out.exists()
        with args.out.open('a', newline='') as file:
            writer = csv.DictWriter(file, KEYS + NUMBERS)
            if new:
                writer.writeheader()
            writer.writerow(names | row)


def run_experts(args: argparse.Namespace) -> None:
    """Measure experts beside one head."""
    series = args.backbone == 'multiutae'
    shape = (*((args.dates, 4) if series else (3,)), args.size, args.size)
    batch = args.batch or (1 if series else 8)
    setting = Setting(BACKBONES[args.backbone], shape, batch, args.device)
    size = ' x '.join(map(str, shape))
    names = {'backbone': setting.backbone, 'size': size, 'batch': batch}
    for domains in args.domains:
        single = partial(setting.training, 0, ERM)
        write_missing(names, single, setting.training_jobs(domains), args)
        mixture = partial(setting.predicting, domains)
        single = partial(setting.predicting, 0)
        job = Job('inference', domains, 'mixture', mixture)
        write_missing(names, single, [job], args)


def run_forms(args: argparse.Namespace) -> None:
    """Measure MultiUTAE beside its published form."""
    for size in args.sizes:
        shape = (args.dates, 4, size, size)
        check_forms(shape, args.device)
        names = {'backbone': PUBLISHED, 'size': ' x '.join(map(str, shape)), 'batch': 1}
        for part in GOALS:
            make = partial(form_work, shape=shape, training=part == 'training')
            works = [partial(make, form, device=args.device) for form in FORMS]
            jobs = [Job(part, 0, *job) for job in zip(FORMS, works, strict=True)]
            write_missing(names, works[0], jobs[1:], args)


def report(args: argparse.Namespace) -> None:
    """Print tables in Markdown."""
    rows = pd.read_csv(args.out).drop_duplicates(KEYS, keep='last')
    rows = rows.sort_values('domains', kind='stable')
    rows = rows.sort_values('part', key=lambda p: p.map(PARTS.index), kind='stable')
    for names, group in rows.groupby([*KEYS[:5], 'torch'], sort=False):
        texts = '{}, {}, batch of {} ({}, threads: {}, torch {})'.format(*names)
        print(f'\n{texts}\n')
        kinds = group['part'].where(group['part'] == 'inference', 'training')
        for kind, some in group.groupby(kinds, sort=False):
            time, memory = some[['baseline_seconds', 'baseline_megabytes']].median()
            print(f'- baseline of {kind}: {time:.3g} s, {memory:.0f} MB')
        print_table(group, 'part' if names[0] == PUBLISHED else 'domains')


def print_table(rows: pd.DataFrame, column: str) -> None:
    """Print ratios, in a column for each part or number of domains."""
    columns = list(dict.fromkeys(rows[column]))
    print('\n| ' + ' | '.join(['', *(f'{column} {c}' for c in columns)]) + ' |')
    print('|---' * (len(columns) + 1) + '|')
    lines = ['variant'] if column == 'part' else ['part', 'variant']
    for name, group in rows.groupby(lines, sort=False):
        cells = dict(zip(group[column], group.apply(write_cell, axis=1), strict=True))
        texts = [', '.join(name), *(cells.get(c, '-') for c in columns)]
        print('| ' + ' | '.join(texts) + ' |')
    if column == 'part':
        goals = [f'{time:.2f}; memory {memory:.2f}' for time, memory in GOALS.values()]
        print('| ' + ' | '.join(['goal, at most', *goals]) + ' |')


def write_cell(row: pd.Series) -> str:
    """Write ratios, or why there are none."""
    if np.isnan(row['seconds']):
        return f'skipped: up to {row["megabytes"]:.0f} MB'
    spread = f'{row["ratio_low"]:.2f} to {row["ratio_high"]:.2f}'
    return f'{row["ratio"]:.2f} ({spread}); memory {row["memory_ratio"]:.2f}'


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    experts = commands.add_parser('run', help='experts beside one head')
    experts.add_argument('--backbone', choices=BACKBONES, required=True)
    experts.add_argument('--size', type=int, default=128)
    experts.add_argument('--batch', type=int, help='default: 1 series or 8 images')
    experts.add_argument('--domains', type=int, nargs='+', default=DOMAINS)
    forms = commands.add_parser('multiutae', help='MultiUTAE beside its published form')
    forms.add_argument('--sizes', type=int, nargs='+', default=[64, 128])
    tables = commands.add_parser('report', help='tables in Markdown')
    actions = {experts: run_experts, forms: run_forms, tables: report}
    for command, action in actions.items():
        command.set_defaults(action=action)
        command.add_argument('--out', type=Path, required=True)
    for command in (experts, forms):
        command.add_argument('--dates', type=int, default=24)
        command.add_argument('--repetitions', type=int, default=5)
        command.add_argument('--limit', type=float, default=8, help='GB of a step')
        command.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    args = parser.parse_args(arguments)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    args.action(args)


if __name__ == '__main__':
    main()
