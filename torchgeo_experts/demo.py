# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The demo: does an expert a place help on places never seen?"""

import csv
import subprocess
import sys
import time
from pathlib import Path

from .shipped import config_path

#: What is compared, and the configuration of each.
METHODS = {'ERM': 'erm/synthetic_earth', 'CoDEX': 'codex/synthetic_earth'}


def torchgeo(command: str, config: Path, folder: Path, *extra: str) -> None:
    """Run TorchGeo's command line on a shipped configuration.

    Args:
        command: 'fit' or 'test'.
        config: The YAML file.
        folder: Folder for logs and checkpoints.
        *extra: Further arguments.

    Raises:
        SystemExit: If the command fails.
    """
    arguments = [
        *('torchgeo', command, '--config', str(config)),
        *('--trainer.default_root_dir', str(folder)),
        *('--trainer.logger', 'CSVLogger'),
        *('--trainer.logger.save_dir', str(folder)),
        *('--trainer.logger.name', command, '--trainer.logger.version', ''),
        *extra,
    ]
    print(f'\n$ {" ".join(arguments)}', flush=True)
    done = subprocess.run([sys.executable, '-m', *arguments], check=False)
    if done.returncode:
        raise SystemExit(f'torchgeo {command} failed, see the messages above')


def mean_accuracy(folder: Path, column: str) -> tuple[float, float]:
    """Read the mean and the worst accuracy over domains.

    Args:
        folder: Folder of a test run.
        column: Column of ``domains.csv``.

    Returns:
        Mean and lowest of the column.
    """
    with (folder / 'domains.csv').open(encoding='utf-8') as file:
        values = [float(row[column]) for row in csv.DictReader(file)]
    return sum(values) / len(values), min(values)


def demo(out: Path) -> None:
    """Train ERM and CoDEX on the embedded data set, test both, and compare them.

    Args:
        out: Folder to write.
    """
    start = time.perf_counter()
    for name, config in METHODS.items():
        folder = out / name.lower()
        for old in folder.glob('fit/checkpoints/*.ckpt'):
            old.unlink()
        torchgeo('fit', config_path(config), folder)
        last = folder / 'fit' / 'checkpoints' / 'last.ckpt'
        torchgeo('test', config_path(config), folder, '--ckpt_path', str(last))

    rows = [
        ('ERM', *mean_accuracy(out / 'erm/test', 'OverallAccuracy')),
        ('CoDEX', *mean_accuracy(out / 'codex/test', 'OverallAccuracy')),
        (
            'CoDEX, uniform mixture',
            *mean_accuracy(out / 'codex/test', 'UniformOverallAccuracy'),
        ),
        ('oracle expert', *mean_accuracy(out / 'codex/test', 'OracleOverallAccuracy')),
    ]
    figure = draw(out)
    print(f'\n{"accuracy on unseen places":28}{"mean":>8}{"worst":>8}')
    for row, mean, worst in rows:
        print(f'{row:28}{mean:8.1%}{worst:8.1%}')
    print(f'{"best possible":28}{best_accuracy():8.1%}')
    print(
        f'\n{time.perf_counter() - start:.0f} s. One seed of a small data set:'
        ' docs/results.md has several, and real images.'
        f'\nFigure: {figure}\nTables and figures of each test: {out}/*/test'
    )


def best_accuracy() -> float:
    """Tell the accuracy that no model can exceed on the embedded data set."""
    from .datasets import SyntheticEarth

    return SyntheticEarth('test').best_accuracy


def draw(out: Path) -> Path:
    """Draw what was compared.

    Args:
        out: Folder of the demo.

    Returns:
        File of the figure.
    """
    import torch

    from .datasets import SyntheticEarth
    from .plots import plot_comparison

    scores = {}
    for name in METHODS:
        with (out / name.lower() / 'test/domains.csv').open(encoding='utf-8') as file:
            rows = csv.DictReader(file)
            scores[name] = {r['domain']: float(r['OverallAccuracy']) for r in rows}
    data = SyntheticEarth('test')
    places = data.group.unique()[:6]
    images = [
        [
            data[int(((data.label == c) & (data.group == g)).nonzero()[0])]
            for g in places
        ]
        for c in range(3)
    ]
    shown = torch.stack([torch.stack([s['image'] for s in row]) for row in images])
    figure = plot_comparison(shown / 255, data.classes[:3], scores, data.best_accuracy)
    path = out / 'comparison.png'
    figure.savefig(path, dpi=150, bbox_inches='tight')
    return path
