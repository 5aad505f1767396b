# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Sites: places of which many unlabelled images are at hand when a model is used."""

import copy
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from torchgeo.datasets.utils import Sample

from ..models import Features
from ..ranks import this_rank
from ..tasks.base import DomainTask
from ..tasks.padding import count_own


class Looked(NamedTuple):
    """What a first look at a batch gives."""

    #: The batch.
    batch: Sample
    #: Features of its images.
    features: Features
    #: Site of each image, int64, shape (B,).
    site: Tensor


class SiteTable:
    """Values of sites."""

    def __init__(self, sites: Tensor, values: Tensor) -> None:
        """Initialize a new SiteTable instance.

        Args:
            sites: Numbers of the sites, int64, shape (S,), in rising order.
            values: A row a site, shape (S, K).
        """
        self.sites, self.values = sites, values

    def of(self, site: Tensor) -> Tensor:
        """Look up the values of sites.

        Args:
            site: Site of each image, int64, shape (B,).

        Returns:
            Their values, shape (B, K).

        Raises:
            ValueError: If one is not in the table.
        """
        self.sites, self.values = (x.to(site.device) for x in (self.sites, self.values))
        rows = torch.searchsorted(self.sites, site).clamp(max=len(self.sites) - 1)
        unknown = site[self.sites[rows] != site]
        if len(unknown):
            raise ValueError(
                f'no image of site {unknown[0].item()} was there at the first look: read'
                ' the same images in the same order each time'
            )
        return self.values[rows]


class SiteCallback(Callback):
    """Base class: looks at all images before they are tested or predicted.

    Each process looks at its own images, and they tell each other, so that sites are whole
    however images are shared out. A test reports what comes out beside the model's own
    metrics; a prediction *is* what comes out.
    """

    def __init__(self, site: str | None = None) -> None:
        """Initialize a new SiteCallback instance.

        Args:
            site: Key of samples that tells the site, a whole number. Default: in a test
                the evaluation group, such as country, camera or region; in a prediction
                the scene that a patch of a raster lies in, or else the group. Images that
                have none are one site together.
        """
        super().__init__()
        self.site = site

    @abstractmethod
    def adapt(self, task: DomainTask, looks: 'Looks') -> None:
        """Add ways to predict to a task.

        Args:
            task: The task.
            looks: All batches, as often as they are needed.
        """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what an earlier test has left.

        Args:
            trainer: The trainer.
            pl_module: The task.
            stage: Either 'fit', 'validate', 'test' or 'predict'.

        Raises:
            TypeError: If the task is not one of this package.
        """
        if stage in ('test', 'predict') and not isinstance(pl_module, DomainTask):
            raise TypeError(
                f'{type(self).__name__} is for tasks of torchgeo_experts, found'
                f' {type(pl_module).__name__}: use e.g. DomainClassificationTask'
            )
        forget(pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the images of the test.

        Args:
            trainer: The trainer.
            pl_module: The task.
        """
        self._look(trainer, pl_module, 'test')

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the images to predict, as :meth:`on_test_start` does."""
        self._look(trainer, pl_module, 'predict')

    def _look(self, trainer: Trainer, task: LightningModule, stage: str) -> None:
        assert isinstance(task, DomainTask)
        self.adapt(task, Looks(trainer, task, self.site, stage))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the task as it was.

        Args:
            trainer: The trainer.
            pl_module: The task.
        """
        forget(pl_module)

    on_predict_end = on_test_end

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the task as it was.

        Args:
            trainer: The trainer.
            pl_module: The task.
            exception: What went wrong.
        """
        forget(pl_module)


def forget(task: LightningModule) -> None:
    """Take from a task all ways to predict but its own."""
    if isinstance(task, DomainTask):
        task.ways = {}


class Looks:
    """All batches of a test or prediction, with their features, as often as needed."""

    def __init__(
        self, trainer: Trainer, task: DomainTask, key: str | None, stage: str
    ) -> None:
        """Initialize a new Looks instance.

        Args:
            trainer: The trainer.
            task: The task.
            key: Key of samples that tells the site, if it is not the default.
            stage: Either 'test' or 'predict'.
        """
        self.trainer, self.task, self.key, self.stage = trainer, task, key, stage

    def __iter__(self) -> Iterator[Looked]:
        """Read the images of this process once."""
        loaders: Any = getattr(self.trainer, f'{self.stage}_dataloaders')
        limits = getattr(self.trainer, f'num_{self.stage}_batches')
        loaders = list(loaders.values()) if isinstance(loaders, dict) else loaders
        loaders = loaders if isinstance(loaders, Sequence) else [loaders]
        for number, (loader, limit) in enumerate(zip(loaders, limits, strict=True)):
            again = independent(loader)
            end = None if limit == float('inf') else int(limit)
            for index, batch in enumerate(islice(again, end)):
                size = count_own(loader, index, len(batch['image']))
                yield self._look(batch, size, number)

    def _look(self, batch: Sample, size: int, number: int) -> Looked:
        """Compute the features of the first samples of a batch, as the trainer does."""
        precision, strategy = self.trainer.precision_plugin, self.trainer.strategy
        batch = precision.convert_input(batch)
        batch = self.task._on_before_batch_transfer(batch, dataloader_idx=number)
        batch = strategy.batch_to_device(batch, dataloader_idx=number)
        with self.computing(), torch.no_grad():
            features = self.task.model.backbone.read(batch).first(size)
        own = {k: v if v is None else v[:size] for k, v in batch.items()}
        if number and self._by_scene(own):
            raise ValueError(
                'scenes of each prediction loader are numbered anew: predict with one'
                ' loader at a time, or name a key of samples that tells the site'
            )
        return Looked(own, features, self.site(own))

    def computing(self) -> AbstractContextManager[None]:
        """Compute in the precision of the trainer, as its own steps do."""
        return self.trainer.precision_plugin.forward_context()

    def _by_scene(self, batch: Sample) -> bool:
        return self.key is None and self.stage == 'predict' and 'scene' in batch

    def site(self, batch: Sample) -> Tensor:
        """Tell the site of each image.

        Args:
            batch: A batch.

        Returns:
            Numbers of sites, int64, shape (B,).

        Raises:
            ValueError: If samples do not tell it.
        """
        if self.key is not None:
            return self._of_key(batch, self.key)
        if self._by_scene(batch):
            return batch['scene']
        return self.task.group(batch)

    def _of_key(self, batch: Sample, key: str) -> Tensor:
        found = batch.get(key)
        size = len(batch['image'])
        if (
            not isinstance(found, Tensor)
            or found.is_floating_point()
            or found.shape != (size,)
        ):
            raise ValueError(
                f'site={key!r} must be a whole number of each sample; samples have the'
                f' keys {sorted(batch)}'
            )
        return found.long()


def independent(loader: Any) -> Any:
    """Make a loader that can be read while the trainer is reading the given one.

    Args:
        loader: A loader of the trainer.

    Returns:
        A loader of the same batches.
    """
    if not isinstance(loader, DataLoader):
        return loader
    again = copy.copy(loader)
    sampler = loader.batch_sampler
    # Workers that stay are those of one reader, and what Lightning wraps around a sampler
    # in prediction is its own iterator.
    vars(again)['_iterator'] = None
    vars(again)['batch_sampler'] = getattr(sampler, '_batch_sampler', sampler)
    return again


def of_all_ranks(*tensors: Tensor) -> list[Tensor]:
    """Join what all processes have.

    Args:
        *tensors: Tensors on the CPU, of any length.

    Returns:
        The same of all processes, in order of ranks.
    """
    ranks, _ = this_rank()
    if ranks == 1:
        return list(tensors)
    found: list[Any] = [None] * ranks
    dist.all_gather_object(found, tensors)
    return [torch.cat(parts) for parts in zip(*found, strict=True)]
