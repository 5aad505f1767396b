# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""DynamicEarthNet datamodule."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import nn
from torchgeo.datasets.utils import Path

from ..datasets.dynamicearthnet import STATISTICS, DynamicEarthNet
from .base import PlacesDataModule, TargetSplit
from .series_augmentation import SeriesAugmentation


class DynamicEarthNetDataModule(PlacesDataModule):
    """LightningDataModule implementation for the DynamicEarthNet data set.

    Training, validation and test are in different cubes: the official split. Prediction
    uses the test split. Masks are 255 where nothing is to be learnt: tasks need
    ``ignore_index: 255``.
    """

    def __init__(
        self,
        root: Path = 'data',
        num_classes: Literal[6, 7] = 6,
        cache: Path | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        domains_per_batch: int | None = None,
        target_split: TargetSplit | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        augmentations: list[nn.Module] | None = None,
    ) -> None:
        """Initialize a new DynamicEarthNetDataModule instance.

        Args:
            root: Folder of the data set. Archives in it are unpacked if need be.
            num_classes: 6, with snow and ice ignored, or 7.
            cache: Folder for decoded images of the processed form, 100 MB a cube.
                Default: JPEG files are decoded for each patch.
            batch_size: Size of each mini-batch.
            num_workers: Number of workers for parallel data loading.
            domains_per_batch: If given, each training batch holds this many domains
                with equally many samples each. Default: plain shuffling.
            target_split: If given, training also sees the images of this split, 'val' or
                'test', without their labels: for methods that adapt to them.
            mean: Mean to subtract from images, one value or one a channel. Default:
                that of the published code for the form of the files.
            std: Standard deviation to divide images by, one value or one a channel.
                Default: as for *mean*.
            augmentations: Kornia augmentations of training batches, applied after
                normalization, to all months and masks of a sample alike.
        """
        # Until the files are seen: then they tell which form it is.
        self._given = (mean, std)
        self._augmentations = augmentations
        super().__init__(
            DynamicEarthNet,
            batch_size,
            num_workers,
            domains_per_batch,
            0.0 if mean is None else mean,
            1.0 if std is None else std,
            augmentations,
            root=root,
            num_classes=num_classes,
            cache=cache,
        )
        self.target_split = target_split

    def prepare_data(self) -> None:
        """Unpack archives, in one process only."""
        self.make_dataset('train')

    def configure_domains(self) -> None:
        """Set ``domains``, ``groups`` and ``classes``, and how to normalize."""
        train = cast(DynamicEarthNet, self.training_dataset())
        self.domains, self.groups = train.domains, train.groups
        self.classes = train.classes
        self.mean, self.std = (
            torch.as_tensor(usual if given is None else given, dtype=torch.float32)
            for usual, given in zip(STATISTICS[train.form], self._given, strict=True)
        )
        self.aug = SeriesAugmentation(self.mean, self.std)
        if self._augmentations:
            self.train_aug = SeriesAugmentation(
                self.mean, self.std, self._augmentations
            )
