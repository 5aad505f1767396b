# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from typing import Any

import kornia.augmentation as K
import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from torchgeo_experts import SyntheticEarthDataModule
from torchgeo_experts.datasets import (
    SyntheticEarth,
    SyntheticEarthChange,
    SyntheticEarthSegmentation,
    SyntheticEarthSeries,
)

TASKS = ('classification', 'segmentation', 'series', 'change')

#: Shape of an image, key and shape of its target, and number of classes, by task.
SAMPLES: dict[str, tuple[tuple[int, ...], str, tuple[int, ...], int]] = {
    'classification': ((3, 16, 16), 'label', (), 6),
    'segmentation': ((3, 16, 16), 'mask', (16, 16), 7),
    'series': ((6, 3, 16, 16), 'mask', (6, 16, 16), 7),
    'change': ((2, 3, 16, 16), 'mask', (1, 16, 16), 2),
}


def make(task: str, **kwargs: Any) -> SyntheticEarthDataModule:
    arguments = {'samples_per_domain': 6, 'size': 16, 'batch_size': 8} | kwargs
    return SyntheticEarthDataModule(task=task, **arguments)  # type: ignore[arg-type]


class Watcher(pl.LightningModule):
    """A model that keeps the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, dict[str, Tensor]] = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.seen['train'] = batch
        return self.weight

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.seen['val'] = batch


@pytest.mark.parametrize('task', TASKS)
class TestTasks:
    def test_batches_have_the_shapes_of_the_task(self, task: str) -> None:
        data = make(task)
        data.setup('fit')
        image, key, target, num_classes = SAMPLES[task]
        batch = next(iter(data.train_dataloader()))
        assert batch['image'].shape == (8, *image)
        assert batch[key].shape == (8, *target)
        assert data.num_classes == num_classes
        assert (data.num_domains, len(data.groups)) == (16, 28)

    def test_splits_are_disjoint(self, task: str) -> None:
        data = make(task)
        for stage in ('fit', 'test', 'predict'):
            data.setup(stage)
        names = data.split_domains
        assert names['train'] == data.domains.names
        assert names['val'] == data.groups[16:20]
        assert names['test'] == names['predict'] == data.groups[20:]

    def test_images_are_normalized(self, task: str) -> None:
        data = make(task, samples_per_domain=30, size=32, batch_size=256)
        data.setup('fit')
        batch = data.aug(next(iter(data.train_dataloader())))
        assert batch['image'].mean().abs() < 0.3
        assert 0.8 < batch['image'].std() < 1.25

    def test_training_batches_are_augmented(self, task: str) -> None:
        """The trainer finds the augmentations, which move images and masks alike."""
        flips: list[torch.nn.Module] = [K.RandomHorizontalFlip(p=1.0)]
        data, model = make(task, augmentations=flips), Watcher()
        trainer = pl.Trainer(
            fast_dev_run=1, accelerator='cpu', enable_progress_bar=False
        )
        trainer.fit(model, data)
        for split, flipped in (('train', True), ('val', False)):
            dataset = getattr(data, f'{split}_dataset')
            batch = model.seen[split]
            for i in range(8):
                lon = batch['lon'][i]
                sample = dataset[int((dataset.lon == lon).nonzero())]
                image = (sample['image'] - 122) / 22
                image = image.flip(-1) if flipped else image
                torch.testing.assert_close(batch['image'][i], image)
                if task != 'classification':
                    mask = sample['mask'].flip(-1) if flipped else sample['mask']
                    assert batch['mask'][i].equal(mask)
                if task in ('series', 'change'):
                    assert batch['dates'][i].equal(sample['dates'])


def test_defaults_are_those_of_the_data_sets() -> None:
    for task, dataset_class in zip(
        TASKS,
        (
            SyntheticEarth,
            SyntheticEarthSegmentation,
            SyntheticEarthSeries,
            SyntheticEarthChange,
        ),
        strict=True,
    ):
        data = SyntheticEarthDataModule(task=task, num_train_domains=1)  # type: ignore[arg-type]
        data.setup('validate')
        found, expected = data.val_dataset, dataset_class('val', num_train_domains=1)
        assert isinstance(found, dataset_class)
        assert found.images.equal(expected.images)


def test_arguments_reach_the_data_set() -> None:
    data = make('series', num_dates=4, num_classes=5, clue=0.5, noise=0.1, shift=0.3)
    data.setup('test')
    dataset = data.test_dataset
    assert isinstance(dataset, SyntheticEarthSeries)
    expected = SyntheticEarthSeries(
        'test',
        num_dates=4,
        num_classes=5,
        clue=0.5,
        noise=0.1,
        shift=0.3,
        size=16,
        samples_per_domain=6,
    )
    assert dataset.images.equal(expected.images)
    assert data.num_classes == 5


@pytest.mark.parametrize(
    'task, arguments, message',
    [
        ('segmentation', {'num_dates': 3}, 'num_dates is for task series'),
        ('change', {'num_classes': 3}, 'num_classes is for task classification or'),
        ('classification', {'clue': 1.0}, "clue .* not for 'classification'"),
        ('regression', {}, "task must be one of .* found 'regression'"),
    ],
)
def test_wrong_arguments_are_refused(
    task: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(task, **arguments)
