# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What a datamodule that wraps another one hands on to it."""

from abc import ABC
from typing import Any, cast

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from matplotlib.figure import Figure
from torchgeo.datamodules import BaseDataModule, GeoDataModule
from torchgeo.datasets.utils import Sample

from .base import STAGE_SPLITS, PlacesDataModule
from .frame_masks import with_frame_masks
from .patches import PatchSampler
from .placed import PlacesCollate, by_owner, origins


class WrappedDataModule(PlacesDataModule, ABC):
    """Base class of a datamodule that wraps another one.

    Data are downloaded, split, augmented and plotted by the other one.
    """

    def __init__(
        self, datamodule: BaseDataModule, domains_per_batch: int | None
    ) -> None:
        """Initialize a new WrappedDataModule instance.

        Args:
            datamodule: Datamodule to wrap.
            domains_per_batch: If given, each training batch holds this many domains
                with equally many samples each. Default: plain shuffling.
        """
        # First: the base class sets the trainer, which is that of the datamodule.
        self.datamodule = datamodule
        self.geo = isinstance(datamodule, GeoDataModule)
        super().__init__(
            cast(Any, datamodule.dataset_class),
            datamodule.batch_size,
            datamodule.num_workers,
            domains_per_batch,
            cast(Any, datamodule.mean),
            cast(Any, datamodule.std),
        )
        collate: Any = datamodule.collate_fn  # type: ignore[attr-defined]
        self.collate_fn = datamodule.collate_fn = PlacesCollate(collate)  # type: ignore[attr-defined]
        #: Data set of each split as the datamodule made it, None if it made none.
        self.own_datasets: dict[str, Any] = {}

    @property
    def trainer(self) -> Trainer | None:  # type: ignore[override]
        """Trainer, the same as that of the datamodule."""
        return self.datamodule.trainer

    @trainer.setter
    def trainer(self, trainer: Trainer | None) -> None:
        self.datamodule.trainer = trainer

    def prepare_data(self) -> None:
        """Download and prepare data."""
        self.datamodule.prepare_data()

    def augment(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Apply the datamodule's augmentations.

        Args:
            batch: A batch of data that needs to be altered or augmented.
            dataloader_idx: The index of the dataloader to which the batch belongs.

        Returns:
            A batch of data.
        """
        return self.datamodule.on_after_batch_transfer(batch, dataloader_idx)

    def plot(self, *args: Any, **kwargs: Any) -> Figure | None:
        """Run the plot method of the datamodule.

        Args:
            *args: Arguments passed to the plot method.
            **kwargs: Keyword arguments passed to the plot method.

        Returns:
            A matplotlib Figure, if the datamodule makes one.
        """
        return self.datamodule.plot(*args, **kwargs)

    def setup_datamodule(self, stage: str) -> None:
        """Have the datamodule make the data sets of a stage, and keep them.

        Args:
            stage: Either 'fit', 'validate', 'test', or 'predict'.
        """
        self.datamodule.setup(stage)
        for split in STAGE_SPLITS[stage]:
            dataset = getattr(self.datamodule, f'{split}_dataset')
            if dataset is None and split == 'predict':
                self.setup_datamodule('test')
                self._predict_like_test()
                dataset = self.own_datasets['test']
            dataset = self.datamodule.dataset if dataset is None else dataset
            self.own_datasets[split] = dataset
            if dataset is not None and not self.geo:
                for samples, _ in by_owner(origins(dataset)):
                    _fix_frames(samples.dataset, 'transforms')
        for split in ('', 'train_', 'val_', 'test_', 'predict_'):
            _fix_frames(self.datamodule, f'{split}aug')

    def _predict_like_test(self) -> None:
        """Have the datamodule treat prediction as a test."""
        for name in ('aug', 'sampler', 'batch_size'):
            test = getattr(self.datamodule, f'test_{name}', None)
            if getattr(self.datamodule, f'predict_{name}', None) is None:
                setattr(self.datamodule, f'predict_{name}', test)

    def own_dataset(self, split: str) -> Any:
        """Find the data set that the datamodule made for a split.

        Args:
            split: One of 'train', 'val', 'test' or 'predict'.

        Returns:
            The data set.

        Raises:
            MisconfigurationException: If it made none.
        """
        dataset = self.own_datasets.get(split)
        if dataset is None:
            raise MisconfigurationException(
                f'{type(self.datamodule).__name__} has no {split} data set'
            )
        return dataset

    def own_sampler(self, split: str) -> PatchSampler:
        """Find the sampler that the datamodule made for a split.

        Args:
            split: One of 'train', 'val', 'test' or 'predict'.

        Returns:
            The sampler of patches.

        Raises:
            MisconfigurationException: If it made none that gives one patch at a time.
        """
        for name in (f'{split}_sampler', 'sampler'):
            sampler = getattr(self.datamodule, name)
            if sampler is not None:
                return sampler
        raise MisconfigurationException(
            f'{type(self.datamodule).__name__} has no {split}_sampler (samplers of whole'
            ' batches are not supported)'
        )


def _fix_frames(owner: Any, name: str) -> None:
    """Make an augmentation of image series work with any version of kornia."""
    if getattr(owner, name, None) is not None:
        setattr(owner, name, with_frame_masks(getattr(owner, name)))
