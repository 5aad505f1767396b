# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Figures of tasks: where they are saved and shown."""

from typing import Any

import matplotlib.pyplot as plt
from lightning.pytorch import LightningModule
from matplotlib.figure import Figure
from torch import Tensor
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets import RGBBandsMissingError, unbind_samples
from torchgeo.datasets.utils import Sample


def show_figure(task: LightningModule, figure: Figure, name: str) -> None:
    """Hand a figure to the logger, if it takes figures, and close it.

    Args:
        task: Task.
        figure: Figure.
        name: Its name.
    """
    experiment: Any = getattr(task.logger, 'experiment', None)
    if hasattr(experiment, 'add_figure'):
        experiment.add_figure(name, figure, global_step=task.global_step)
    plt.close(figure)


def save_figure(task: Any, figure: Figure, name: str) -> None:
    """Save a figure beside the logs, and hand it to the logger.

    Args:
        task: Task with a ``report_dir``.
        figure: Figure.
        name: Its name, without suffix.
    """
    task.report_dir.mkdir(parents=True, exist_ok=True)
    figure.savefig(task.report_dir / f'{name}.png', dpi=120, bbox_inches='tight')
    show_figure(task, figure, name)


def log_sample(task: Any, batch: Sample, prediction: Tensor, batch_idx: int) -> None:
    """Show the first sample of a batch, as TorchGeo's tasks do.

    Args:
        task: Task.
        batch: A batch, normalized.
        prediction: Predicted classes, as many as targets.
        batch_idx: Number of the batch.
    """
    datamodule = getattr(task.trainer, 'datamodule', None)
    takes_figures = hasattr(getattr(task.logger, 'experiment', None), 'add_figure')
    if not (isinstance(datamodule, BaseDataModule) and takes_figures):
        return
    first = {key: value[:1].detach().cpu() for key, value in batch.items()}
    first['image'] = first['image'] * per_band(datamodule.std)
    first['image'] = first['image'] + per_band(datamodule.mean)
    first |= task.panels(first, prediction[:1].cpu())
    sample = unbind_samples(first)[0]
    try:
        figure = datamodule.plot(sample)
    except RGBBandsMissingError:
        return
    if figure is not None:
        show_figure(task, figure, f'image/{batch_idx}')


def per_band(values: Tensor) -> Tensor:
    """Shape a number, or one a band, so that it fits images.

    Args:
        values: A scalar, or shape (C,).

    Returns:
        Shape (C, 1, 1), C being 1 for a scalar.
    """
    return values.detach().cpu().reshape(-1, 1, 1)
