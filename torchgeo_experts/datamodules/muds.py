# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""MUDS datamodule."""

from collections.abc import Sequence
from typing import Literal

from torch import nn
from torchgeo.datasets.utils import Path

from ..datasets.muds import MUDS
from .base import PlacesDataModule, TargetSplit

#: Mean and standard deviation of red, green and blue, from the published code of CoDEX.
MEAN, STD = (119.9347, 105.3608, 77.5125), (59.5921, 48.2708, 44.7296)


class MUDSDataModule(PlacesDataModule):
    """LightningDataModule implementation for the MUDS data set.

    Masks hold 255 where a pixel has no class: give the task ``ignore_index: 255``.
    Prediction uses the test split.
    """

    def __init__(
        self,
        root: Path = 'data',
        images: Literal['images', 'images_masked'] = 'images',
        split_seed: int = 0,
        cache: Path | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        domains_per_batch: int | None = None,
        target_split: TargetSplit | None = None,
        mean: float | Sequence[float] = MEAN,
        std: float | Sequence[float] = STD,
        augmentations: list[nn.Module] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new MUDSDataModule instance.

        Args:
            root: Root directory where the data set can be found.
            images: Folder of images of SpaceNet 7. In 'images_masked' unusable pixels
                are blank. (The processed form has one kind.)
            split_seed: Seed of the draw of splits, where there is no ``split.json``.
            cache: Folder for what takes long to make: drawn masks of SpaceNet 7, or
                decoded images of the processed form. Default: those of the last place
                only are kept, in memory.
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
            download: If True, download SpaceNet 7 and store it in the root directory.
            checksum: If True, check the MD5 of the downloaded file.
        """
        super().__init__(
            MUDS,
            batch_size,
            num_workers,
            domains_per_batch,
            mean,
            std,
            augmentations,
            root=root,
            images=images,
            split_seed=split_seed,
            cache=cache,
            download=download,
            checksum=checksum,
        )
        self.target_split = target_split

    def prepare_data(self) -> None:
        """Download and unpack what is missing, in one process only."""
        self.make_dataset('train')
