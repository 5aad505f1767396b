# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The demo: does an expert a place help on places never seen?"""

import csv
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .shipped import config_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Task = Literal['classification', 'segmentation', 'series', 'change']

#: What is compared, and the folder of its configurations.
METHODS = {'ERM': 'erm', 'CoDEX': 'codex'}

#: Score of each task: its column in ``domains.csv``, what it is called, and what is known
#: of how well one can do.
SCORES: dict[str, tuple[str, str, str]] = {
    'classification': ('OverallAccuracy', 'accuracy', 'best possible'),
    'segmentation': (
        'OverallAccuracy',
        'pixel accuracy',
        'rule that knows the climate',
    ),
    'series': ('OverallAccuracy', 'pixel accuracy', 'rule that knows the climate'),
    'change': ('AverageF1Score', 'F1 of change', 'rule that knows the climate'),
}


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


def read_scores(folder: Path, column: str) -> dict[str, float]:
    """Read the score of each domain.

    Args:
        folder: Folder of a test run.
        column: Column of ``domains.csv``.

    Returns:
        Score of each domain.
    """
    with (folder / 'domains.csv').open(encoding='utf-8') as file:
        return {row['domain']: float(row[column]) for row in csv.DictReader(file)}


def demo(out: Path, task: Task = 'classification') -> None:
    """Train ERM and CoDEX on the embedded data set, test both, and compare them.

    Args:
        out: Folder to write.
        task: What the embedded data set is for.
    """
    start = time.perf_counter()
    suffix = ''
    if task != 'classification':
        suffix, out = f'_{task}', out / task
    for name, method in METHODS.items():
        folder = out / name.lower()
        for old in folder.glob('fit/checkpoints/*.ckpt'):
            old.unlink()
        config = config_path(f'{method}/synthetic_earth{suffix}')
        torchgeo('fit', config, folder)
        last = folder / 'fit' / 'checkpoints' / 'last.ckpt'
        torchgeo('test', config, folder, '--ckpt_path', str(last))
    figure = draw(out, task)
    print_table(out, task)
    print(
        f'\n{time.perf_counter() - start:.0f} s. One seed of a small data set:'
        ' docs/results.md has several, and real images.'
        f'\nFigure: {figure}\nTables and figures of each test: {out}/*/test'
    )


def print_table(out: Path, task: Task) -> None:
    """Print what was compared.

    Args:
        out: Folder of the demo.
        task: Its task.
    """
    column, score, ceiling = SCORES[task]
    rows = {
        'ERM': read_scores(out / 'erm/test', column),
        'CoDEX': read_scores(out / 'codex/test', column),
        'CoDEX, uniform mixture': read_scores(out / 'codex/test', f'Uniform{column}'),
        'oracle expert': read_scores(out / 'codex/test', f'Oracle{column}'),
    }
    print(f'\n{score + " on unseen places":32}{"mean":>8}{"worst":>8}')
    for row, values in rows.items():
        mean, worst = sum(values.values()) / len(values), min(values.values())
        print(f'{row:32}{mean:8.1%}{worst:8.1%}')
    print(f'{ceiling:32}{best_score(test_data(task)):8.1%}')


def test_data(task: Task) -> Any:
    """Make the test split of the embedded data set."""
    from . import datasets

    suffix = '' if task == 'classification' else task.capitalize()
    return getattr(datasets, f'SyntheticEarth{suffix}')('test')


def best_score(data: Any) -> float:
    """Tell what is known of how well one can do on the embedded data set."""
    names = ('best_accuracy', 'rule_accuracy', 'rule_f1')
    return float(next(getattr(data, name) for name in names if hasattr(data, name)))


def draw(out: Path, task: Task) -> Path:
    """Draw what was compared.

    Args:
        out: Folder of the demo.
        task: Its task.

    Returns:
        File of the figure.
    """
    data = test_data(task)
    column, score, _ = SCORES[task]
    scores = {
        name: read_scores(out / name.lower() / 'test', column) for name in METHODS
    }
    picture = draw_classes if task == 'classification' else draw_maps
    figure = picture(out, task, data, {score: scores})
    path = out / 'comparison.png'
    figure.savefig(path, dpi=150, bbox_inches='tight')
    return path


def draw_classes(out: Path, task: Task, data: Any, scores: dict[str, Any]) -> 'Figure':
    """Draw what classes look like in several places, and the scores."""
    import torch

    from .plots import plot_comparison

    images = [
        [
            data[int(((data.label == c) & (data.group == g)).nonzero()[0])]
            for g in data.group.unique()[:6]
        ]
        for c in range(3)
    ]
    shown = torch.stack([torch.stack([s['image'] for s in row]) for row in images])
    (methods,) = scores.values()
    return plot_comparison(shown / 255, data.classes[:3], methods, best_score(data))


def draw_maps(out: Path, task: Task, data: Any, scores: dict[str, Any]) -> 'Figure':
    """Draw what both methods predict in several places, and the scores."""
    import torch

    from . import tasks
    from .datamodules import SyntheticEarthDataModule
    from .plots import plot_map_comparison

    rows = [
        int((data.group == group).nonzero()[0]) for group in data.group.unique()[:4]
    ]
    batch = torch.utils.data.default_collate([data[row] for row in rows])
    normalized = SyntheticEarthDataModule(task=task).aug(dict(batch))
    name = 'Change' if task == 'change' else 'Segmentation'
    maps = {'truth': batch['mask']}
    for method, prefix in (('ERM', 'Domain'), ('CoDEX', 'CoDEX')):
        file = out / method.lower() / 'fit/checkpoints/last.ckpt'
        loader = getattr(tasks, f'{prefix}{name}Task').load_from_checkpoint
        model = loader(file, map_location='cpu', weights_only=True).eval()
        with torch.no_grad():
            logits = model.model.predict(model.model.backbone.read(normalized))
        maps[method] = model.criterion.predict(logits)
    ((score, methods),) = scores.items()
    return plot_map_comparison(
        batch['image'] / 255, maps, data.classes, score, methods, best_score(data)
    )
