# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""SyntheticEarth datamodule."""

from collections.abc import Sequence
from typing import Literal, cast

from torch import nn

from ..datasets import SyntheticEarth
from .base import DomainDataset, PlacesDataModule


class SyntheticEarthDataModule(PlacesDataModule):
    """LightningDataModule implementation for the SyntheticEarth data set.

    Prediction uses the test split.
    """

    def __init__(
        self,
        num_train_domains: int = 16,
        num_val_domains: int = 4,
        num_test_domains: int = 8,
        samples_per_domain: int = 128,
        num_classes: int = 6,
        size: int = 32,
        in_channels: int = 3,
        shift: float = 1.0,
        noise: float = 0.3,
        seed: int = 0,
        batch_size: int = 64,
        num_workers: int = 0,
        domains_per_batch: int | None = None,
        mean: float | Sequence[float] = 122.0,
        std: float | Sequence[float] = 22.0,
        augmentations: list[nn.Module] | None = None,
    ) -> None:
        """Initialize a new SyntheticEarthDataModule instance.

        Args:
            num_train_domains: Number of training domains.
            num_val_domains: Number of validation domains.
            num_test_domains: Number of test domains.
            samples_per_domain: Number of images of each domain.
            num_classes: Number of classes, 2 to 10, equally frequent in each domain.
            size: Height and width of images in pixels, a multiple of 4.
            in_channels: Number of bands, 3 or 4.
            shift: How much the looks of classes change with the climate; 0: not at all.
            noise: Scatter of the colours of a class, relative to the distance of classes
                from grey. It sets the best possible accuracy.
            seed: Seed of the Earth, its places and its images.
            batch_size: Size of each mini-batch.
            num_workers: Number of workers for parallel data loading.
            domains_per_batch: If given, each training batch holds this many domains
                with equally many samples each. Default: plain shuffling.
            mean: Mean to subtract from images, one value or one a channel.
            std: Standard deviation to divide images by, one value or one a channel.
            augmentations: Kornia augmentations of training batches, applied after
                normalization.
        """
        super().__init__(
            SyntheticEarth,
            batch_size,
            num_workers,
            domains_per_batch,
            mean,
            std,
            augmentations,
            num_train_domains=num_train_domains,
            num_val_domains=num_val_domains,
            num_test_domains=num_test_domains,
            samples_per_domain=samples_per_domain,
            num_classes=num_classes,
            size=size,
            in_channels=in_channels,
            shift=shift,
            noise=noise,
            seed=seed,
        )

    def configure_domains(self) -> None:
        """Name domains, groups and classes, by an Earth with few images."""
        few = SyntheticEarth('val', **self.kwargs | {'samples_per_domain': 1})
        self.domains, self.groups, self.classes = few.domains, few.groups, few.classes

    def make_dataset(self, split: str) -> DomainDataset:
        """Make the data set of one split.

        Args:
            split: One of 'train', 'val', 'test' or 'predict'.

        Returns:
            The data set.
        """
        name = cast(Literal['train'], 'test' if split == 'predict' else split)
        return SyntheticEarth(name, **self.kwargs)
