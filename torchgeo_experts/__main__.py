# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The ``torchgeo-experts`` command.

Configurations, the demo, benchmarks, a look at domains and routes, and TorchGeo's
commands.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import __all__ as public
from .shipped import config_names, config_path

#: Commands that TorchGeo's own command line carries out.
TORCHGEO = ('fit', 'validate', 'test', 'predict')


def list_configs(args: argparse.Namespace) -> None:
    """Print the path of a shipped configuration, or the names of all."""
    print('\n'.join(config_names()) if args.name is None else config_path(args.name))


def run_demo(args: argparse.Namespace) -> None:
    """Train ERM and CoDEX on the embedded data set and compare them."""
    from .demo import demo

    demo(args.out, args.task)


def run_benchmark(args: argparse.Namespace) -> None:
    """Run what is left of a suite."""
    from .benchmark.command import benchmark

    launch = (args.jobs, args.launcher, args.parameter)
    benchmark(args.suite, args.out, *launch, extra=args.rest)


def run_report(args: argparse.Namespace) -> None:
    """Make the tables of a benchmark."""
    from .benchmark.command import report

    report(args.folder, args.metric, args.baseline)


def run_domains(args: argparse.Namespace) -> None:
    """Tell how near the domains of validation and test are to those of training."""
    know_short_names()
    from .leakage.command import show_domains

    files = [part for file in args.config for part in ('--config', file)]
    show_domains([*files, *args.rest], args.samples, args.out)


def run_routing(args: argparse.Namespace) -> None:
    """Draw what the gates of a checkpoint decide."""
    from .routing_command import show_routing

    show_routing(args.checkpoint, args.out, args.whole)


def know_short_names() -> None:
    """Have this package's classes known by short names in YAML files."""
    package = importlib.import_module(__package__ or 'torchgeo_experts')
    for name in public:
        getattr(package, name)


def run_torchgeo(argv: Sequence[str]) -> None:
    """Run TorchGeo's command line, with this package's classes known by short names."""
    know_short_names()
    from torchgeo.main import main as torchgeo

    torchgeo(list(argv))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        argv: Arguments. Default: those of the process.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in TORCHGEO:
        run_torchgeo(argv)
        return

    parser = make_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and args.run not in (run_domains, run_benchmark):
        parser.error(f'unrecognized arguments: {" ".join(rest)}')
    args.rest = rest
    try:
        args.run(args)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands but TorchGeo's."""
    parser = argparse.ArgumentParser(
        prog='torchgeo-experts',
        description=__doc__,
        epilog=f'{", ".join(TORCHGEO)}: as in torchgeo, with short class names.',
    )
    commands = parser.add_subparsers(required=True, metavar='command')
    configs = commands.add_parser('configs', help='where the shipped YAML files are')
    configs.add_argument('name', nargs='?', help="like 'codex/synthetic_earth'")
    configs.set_defaults(run=list_configs)
    demo = commands.add_parser('demo', help='compare ERM and CoDEX in a few minutes')
    demo.add_argument('--out', type=Path, default=Path('demo'), help='folder to write')
    kinds = ('classification', 'segmentation', 'series', 'change')
    demo.add_argument('--task', choices=kinds, default=kinds[0], help='what to predict')
    demo.set_defaults(run=run_demo)
    domains = commands.add_parser(
        'domains',
        help='how near the domains of test are to those of training',
        epilog='Other arguments change what the files say: --data.init_args.seed 1',
        allow_abbrev=False,
    )
    domains.add_argument(
        '-c',
        '--config',
        action='append',
        default=[],
        help='YAML file with a data section',
    )
    domains.add_argument(
        '--out', type=Path, default=Path('domains'), help='folder to write'
    )
    domains.add_argument(
        '--samples',
        type=int,
        default=8,
        help='how many samples of a domain to read for the shares of classes, where'
        ' labels are not known without (default: 8)',
    )
    domains.set_defaults(run=run_domains)
    add_benchmark(commands)
    routing = commands.add_parser('routing', help='which experts MoGE gives to places')
    routing.add_argument('checkpoint', type=Path, help='of a MoGEClassificationTask')
    routing.add_argument(
        '--out', type=Path, default=Path('routing'), help='folder to write'
    )
    routing.add_argument(
        '--whole', action='store_true', help='the whole Earth, not the part of training'
    )
    routing.set_defaults(run=run_routing)
    return parser


def add_benchmark(commands: Any) -> None:
    """Add the commands of a benchmark to a parser."""
    benchmark = commands.add_parser(
        'benchmark',
        help='compare many methods, with folds and seeds',
        epilog='Other arguments are those of all runs: --data.init_args.root DATA',
        allow_abbrev=False,
    )
    benchmark.add_argument('suite', help="YAML file, or a shipped suite like 'demo'")
    benchmark.add_argument(
        '--out', type=Path, default=Path('benchmark'), help='folder to write'
    )
    benchmark.add_argument('--jobs', type=int, default=1, help='runs at a time')
    benchmark.add_argument(
        '--launcher',
        choices=('local', 'submitit'),
        default='local',
        help='processes of this machine, or jobs of a cluster',
    )
    benchmark.add_argument(
        '--parameter',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='of the launcher, such as slurm_partition=gpu',
    )
    benchmark.set_defaults(run=run_benchmark)
    report = commands.add_parser('report', help='the tables of a benchmark')
    report.add_argument('folder', type=Path, help='what --out was')
    report.add_argument('--metric', help="like 'OverallAccuracy'")
    report.add_argument('--baseline', help="label of a method, like 'ERM'")
    report.set_defaults(run=run_report)


if __name__ == '__main__':
    main()
