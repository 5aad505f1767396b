# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""SyntheticEarth datamodule."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from ..datasets import (
    SyntheticEarth,
    SyntheticEarthChange,
    SyntheticEarthSegmentation,
    SyntheticEarthSeries,
)
from .base import PlacesDataModule, TargetSplit

#: Data set of each task.
DATASETS: dict[str, type[Any]] = {
    'classification': SyntheticEarth,
    'segmentation': SyntheticEarthSegmentation,
    'series': SyntheticEarthSeries,
    'change': SyntheticEarthChange,
}

#: Arguments that not all data sets have, and the tasks whose data sets have them.
SOME_TASKS = {
    'num_classes': ('classification', 'segmentation', 'series'),
    'num_dates': ('series',),
    'clue': ('segmentation', 'series', 'change'),
}


class SyntheticEarthDataModule(PlacesDataModule):
    """LightningDataModule implementation for the SyntheticEarth data sets.

    Prediction uses the test split.
    """

    def __init__(
        self,
        num_train_domains: int = 16,
        num_val_domains: int = 4,
        num_test_domains: int = 8,
        task: Literal[
            'classification', 'segmentation', 'series', 'change'
        ] = 'classification',
        samples_per_domain: int | None = None,
        num_classes: int | None = None,
        num_dates: int | None = None,
        size: int | None = None,
        in_channels: int = 3,
        shift: float = 1.0,
        noise: float = 0.3,
        clue: float | None = None,
        seed: int = 0,
        batch_size: int = 64,
        num_workers: int = 0,
        domains_per_batch: int | None = None,
        target_split: TargetSplit | None = None,
        mean: float | Sequence[float] = 122.0,
        std: float | Sequence[float] = 22.0,
        augmentations: list[nn.Module] | None = None,
    ) -> None:
        """Initialize a new SyntheticEarthDataModule instance.

        Args:
            num_train_domains: Number of training domains.
            num_val_domains: Number of validation domains.
            num_test_domains: Number of test domains.
            task: What the data set is for. 'classification': one label an image.
                'segmentation': a map an image. 'series': a map a date. 'change': what
                becomes built-up between two dates.
            samples_per_domain: Number of samples of each domain. Default: 128 to
                classify, 64 otherwise.
            num_classes: Number of classes; not for 'change'. Default: 6 to classify,
                otherwise 7, the ground among them.
            num_dates: Number of dates, for 'series' only. Default: 6.
            size: Height and width of images in pixels, a multiple of 4. Default: 32 to
                classify, 48 otherwise.
            in_channels: Number of bands, 3 or 4.
            shift: How much the looks of classes change with the climate; 0: not at all.
            noise: Scatter of the colours of a class, relative to the distance of classes
                from grey. It sets how well one can do.
            clue: How plainly images show the climate: by the tint of the ground, and by
                mottles, whose strength is relative to those of 'classification'; not for
                that one. Default: 2.
            seed: Seed of the Earth, its places and its images.
            batch_size: Size of each mini-batch.
            num_workers: Number of workers for parallel data loading.
            domains_per_batch: If given, each training batch holds this many domains
                with equally many samples each. Default: plain shuffling.
            target_split: If given, training also sees the images of this split, 'val' or
                'test', without their labels: for methods that adapt to them.
            mean: Mean to subtract from images, one value or one a channel.
            std: Standard deviation to divide images by, one value or one a channel.
            augmentations: Kornia augmentations of training batches, applied after
                normalization, to all dates and masks of a sample alike.

        Raises:
            ValueError: If an argument is given that the task has no use for.
        """
        chosen = {
            'samples_per_domain': samples_per_domain,
            'num_classes': num_classes,
            'num_dates': num_dates,
            'size': size,
            'clue': clue,
        }
        given = {name: value for name, value in chosen.items() if value is not None}
        _check(task, given)
        self.task = task
        super().__init__(
            DATASETS[task],
            batch_size,
            num_workers,
            domains_per_batch,
            mean,
            std,
            augmentations,
            num_train_domains=num_train_domains,
            num_val_domains=num_val_domains,
            num_test_domains=num_test_domains,
            in_channels=in_channels,
            shift=shift,
            noise=noise,
            seed=seed,
            **given,
        )
        self.target_split = target_split

    def configure_domains(self) -> None:
        """Name domains, groups and classes, by an Earth with few images."""
        few = DATASETS[self.task]('val', **self.kwargs | {'samples_per_domain': 1})
        self.domains, self.groups, self.classes = few.domains, few.groups, few.classes


def _check(task: str, given: dict[str, Any]) -> None:
    """Refuse an unknown task, and arguments that it has no use for."""
    if task not in DATASETS:
        raise ValueError(f'task must be one of {list(DATASETS)}, found {task!r}')
    for name, tasks in SOME_TASKS.items():
        if name in given and task not in tasks:
            raise ValueError(
                f'{name} is for task {" or ".join(tasks)}, not for {task!r}: leave it out'
            )
