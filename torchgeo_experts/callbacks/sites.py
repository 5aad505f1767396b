# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Sites: places of which many unlabelled images are at hand when a model is used."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..models import Features
from ..tasks.base import DomainTask


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
            site: Site of each image, int64, shape (B,), each one of the table.

        Returns:
            Their values, shape (B, K).
        """
        self.sites, self.values = (x.to(site.device) for x in (self.sites, self.values))
        return self.values[torch.searchsorted(self.sites, site)]


class SiteCallback(Callback):
    """Base class: looks at all images before they are tested or predicted.

    Each process looks at all of them, so that sites are whole however images are shared
    out. A test reports what comes out beside the model's own metrics; a prediction *is*
    what comes out.
    """

    def __init__(self, site: str | None = None) -> None:
        """Initialize a new SiteCallback instance.

        Args:
            site: Key of samples that tells the site, a whole number. Default: the
                evaluation group, such as country, camera or region. Images that have
                none, such as the patches of a scene, are one site together.
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
            ValueError: If there is no datamodule to read images from.
        """
        if stage not in ('test', 'predict'):
            return
        name = type(self).__name__
        if not isinstance(pl_module, DomainTask):
            raise TypeError(
                f'{name} is for tasks of torchgeo_experts, found'
                f' {type(pl_module).__name__}: use e.g. DomainClassificationTask'
            )
        if getattr(trainer, 'datamodule', None) is None:
            raise ValueError(
                f'{name} reads all images of a site before it predicts: give the trainer'
                ' a datamodule in place of dataloaders'
            )
        pl_module.ways = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the images of the test.

        Args:
            trainer: The trainer.
            pl_module: The task.
        """
        assert isinstance(pl_module, DomainTask)
        self.adapt(pl_module, Looks(trainer, pl_module, self.site, 'test'))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the images to predict.

        Args:
            trainer: The trainer.
            pl_module: The task.
        """
        assert isinstance(pl_module, DomainTask)
        self.adapt(pl_module, Looks(trainer, pl_module, self.site, 'predict'))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the task as it was.

        Args:
            trainer: The trainer.
            pl_module: The task.
        """
        assert isinstance(pl_module, DomainTask)
        pl_module.ways = {}

    on_predict_end = on_test_end


class Looks:
    """All batches of a test or prediction, with their features, as often as needed."""

    def __init__(
        self, trainer: Trainer, task: DomainTask, key: str | None, stage: str
    ) -> None:
        """Initialize a new Looks instance.

        Args:
            trainer: The trainer.
            task: The task.
            key: Key of samples that tells the site, if not the evaluation group.
            stage: Either 'test' or 'predict'.
        """
        self.trainer, self.task, self.key, self.stage = trainer, task, key, stage

    def __iter__(self) -> Iterator[Looked]:
        """Read all images once."""
        precision = self.trainer.precision_plugin
        for number, loader in enumerate(self._loaders()):
            for batch in islice(loader, self._limit(loader)):
                batch = precision.convert_input(batch)
                batch = self.trainer.strategy.batch_to_device(
                    batch, dataloader_idx=number
                )
                with precision.forward_context(), torch.no_grad():
                    features = self.task.model.backbone.read(batch)
                    yield Looked(batch, features, self.site(batch))

    def site(self, batch: Sample) -> Tensor:
        """Tell the site of each image.

        Args:
            batch: A batch.

        Returns:
            Numbers of sites, int64, shape (B,).

        Raises:
            ValueError: If samples do not tell it.
        """
        if self.key is None:
            return self.task.group(batch)
        found = batch.get(self.key)
        size = len(batch['image'])
        if not isinstance(found, Tensor) or found.shape != (size,):
            raise ValueError(
                f'site={self.key!r} must be a whole number of each sample; samples have'
                f' the keys {sorted(batch)}'
            )
        return found.long()

    def _loaders(self) -> Sequence[Any]:
        """Make loaders anew: those of the trainer are being read, by workers of theirs."""
        datamodule: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        found = getattr(datamodule, f'{self.stage}_dataloader')()
        return found if isinstance(found, Sequence) else [found]

    def _limit(self, loader: Any) -> int | None:
        """Tell how many batches the trainer is limited to."""
        limit: int | float = getattr(self.trainer, f'limit_{self.stage}_batches')
        return limit if isinstance(limit, int) else int(limit * len(loader))
