# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What all datamodules with domains share."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, cast

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchgeo.datamodules import NonGeoDataModule
from torchgeo.datasets import NonGeoDataset
from torchgeo.datasets.utils import Sample

from ..domains import Domains
from ..ranks import this_rank
from ..samplers import DomainBalancedSampler, ShuffleSampler, run_seed
from .paired import PairedDataset, PairSampler, augment_pairs
from .series_augmentation import SeriesAugmentation

#: Splits that each stage of a trainer needs.
STAGE_SPLITS = {
    'fit': ('train', 'val'),
    'validate': ('val',),
    'test': ('test',),
    'predict': ('predict',),
}

#: Splits whose images training may see without their labels.
TargetSplit = Literal['val', 'test']


class DomainDataset(Protocol):
    """What a data set tells about its samples without reading their images."""

    #: Training domain of each sample, int64, shape (N,), -1 for none of them.
    domain: Tensor
    #: Evaluation group of each sample, int64, shape (N,).
    group: Tensor

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Return a sample."""


class NamedDataset(Protocol):
    """What a data set tells about all splits together."""

    domains: Domains
    groups: Sequence[str]
    classes: Sequence[str]


class PlacesDataModule(NonGeoDataModule):
    """Base class of datamodules whose samples know their domain.

    After :meth:`setup`, ``domains`` holds the training domains, ``groups`` the names of
    the evaluation groups (training domains first, so that a training domain has the same
    number in both) and ``split_domains`` the groups seen in each split.
    """

    #: Split whose images training sees without their labels, for methods that adapt to it.
    target_split: TargetSplit | None = None
    _seed: int | None = None
    #: The training data set, if it was made to tell the names of domains.
    _training: Any = None
    #: Training domains, in the order of the samples' ``domain``.
    domains: Domains
    #: Names of the evaluation groups, in the order of the samples' ``group``.
    groups: tuple[str, ...]
    #: Class names, in the order of the labels.
    classes: tuple[str, ...]

    def __init__(
        self,
        dataset_class: type[NonGeoDataset],
        batch_size: int = 64,
        num_workers: int = 0,
        domains_per_batch: int | None = None,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 255.0,
        augmentations: list[nn.Module] | None = None,
        **kwargs: Any,
    ) -> None:
        """Initialize a new PlacesDataModule instance.

        Args:
            dataset_class: Class of the data set.
            batch_size: Size of each mini-batch.
            num_workers: Number of workers for parallel data loading.
            domains_per_batch: If given, each training batch holds this many domains
                with equally many samples each. Default: plain shuffling.
            mean: Mean to subtract from images, one value or one a channel.
            std: Standard deviation to divide images by, one value or one a channel.
            augmentations: Kornia augmentations of training batches, applied after
                normalization.
            **kwargs: Additional keyword arguments passed to ``dataset_class``.
        """
        self.mean = torch.as_tensor(mean, dtype=torch.float32)
        self.std = torch.as_tensor(std, dtype=torch.float32)
        super().__init__(dataset_class, batch_size, num_workers, **kwargs)
        self.domains_per_batch = domains_per_batch
        self.split_domains: dict[str, tuple[str, ...]] = {}
        self.aug = SeriesAugmentation(self.mean, self.std)
        if augmentations:
            self.train_aug = SeriesAugmentation(self.mean, self.std, augmentations)

    @property
    def num_domains(self) -> int:
        """Number of training domains."""
        return len(self.domains)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def seed(self) -> int:
        """Seed of the order of batches: that of the run, or of the one it goes on from."""
        return run_seed() if self._seed is None else self._seed

    def state_dict(self) -> dict[str, Any]:
        """Save the seed, so that a resumed run draws the batches it would have drawn.

        Returns:
            The seed.
        """
        return {'seed': self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seed.

        Args:
            state_dict: What :meth:`state_dict` gave.
        """
        self._seed = state_dict['seed']

    def configure_domains(self) -> None:
        """Set ``domains``, ``groups`` and ``classes`` before data sets are made.

        By default they are those that the training data set tells.
        """
        train = cast(NamedDataset, self.training_dataset())
        self.domains, self.groups, self.classes = (
            train.domains,
            tuple(train.groups),
            tuple(train.classes),
        )

    def training_dataset(self) -> Any:
        """Make the training data set, once in each :meth:`setup`.

        Returns:
            The data set.
        """
        if self._training is None:
            self._training = self.make_dataset('train')
        return self._training

    def make_dataset(self, split: str) -> DomainDataset:
        """Make the data set of one split.

        Args:
            split: One of 'train', 'val', 'test' or 'predict', which is the test split
                by default.

        Returns:
            The data set.
        """
        name = 'test' if split == 'predict' else split
        dataset_class = cast(Any, self.dataset_class)
        return cast(DomainDataset, dataset_class(split=name, **self.kwargs))

    def setup(self, stage: str) -> None:
        """Set up datasets.

        Args:
            stage: Either 'fit', 'validate', 'test', or 'predict'.
        """
        self._training = None
        self.configure_domains()
        for split in STAGE_SPLITS[stage]:
            train = split == 'train'
            dataset = self.training_dataset() if train else self.make_dataset(split)
            setattr(self, f'{split}_dataset', dataset)
            present = dataset.group.unique().tolist()
            self.split_domains[split] = tuple(self.groups[i] for i in present)
        if stage == 'fit' and self.target_split is not None:
            self.target_dataset = self.make_dataset(self.target_split)

    def on_after_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Normalize and augment a batch, and its unlabelled targets if it has any.

        Args:
            batch: A batch.
            dataloader_idx: Index of the dataloader.

        Returns:
            The batch.
        """
        return augment_pairs(batch, lambda part: self.augment(part, dataloader_idx))

    def augment(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Normalize and augment a batch.

        Args:
            batch: A batch.
            dataloader_idx: Index of the dataloader.

        Returns:
            The batch.
        """
        return super().on_after_batch_transfer(batch, dataloader_idx)

    def _dataloader_factory(self, split: str) -> DataLoader[Sample]:
        if split != 'train':
            return super()._dataloader_factory(split)
        dataset = self._valid_attribute('train_dataset')
        replicas, _ = this_rank()
        if len(dataset) // replicas < self.batch_size:
            raise MisconfigurationException(
                f'batch_size={self.batch_size} is larger than the training split'
                f' ({len(dataset)} samples for {replicas} processes): there would be no'
                ' batch to train on'
            )
        if self.domains_per_batch is None:
            sampler: Any = ShuffleSampler(dataset, self.seed)
        else:
            sampler = DomainBalancedSampler(
                dataset.domain, self.batch_size, self.domains_per_batch, self.seed
            )
        if self.target_split is not None:
            target = self._valid_attribute('target_dataset')
            sampler = PairSampler(sampler, ShuffleSampler(target, self.seed + 1))
            dataset = PairedDataset(dataset, target)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=self.collate_fn,
            drop_last=True,
            persistent_workers=self.num_workers > 0,
        )
