# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""FMoW datamodule."""

from collections.abc import Sequence
from typing import Literal

from torch import nn
from torchgeo.datasets.utils import Path

from ..datasets.fmow import DomainName, FMoW, SplitName
from .base import PlacesDataModule, TargetSplit
from .imagenet import MEAN, STD


class FMoWDataModule(PlacesDataModule):
    """LightningDataModule implementation for the FMoW data set.

    The defaults are the official split of WILDS with regions as domains and groups.
    ``WorstDomainOverallAccuracy`` is then the accuracy of the worst region of WILDS: the
    region 'Other' does not compete. Prediction uses the test split.
    """

    #: Groups that do not compete for the worst one.
    unranked_groups: tuple[str, ...] = ()

    def __init__(
        self,
        root: Path = 'data',
        split_by: SplitName = 'time',
        domain_by: DomainName = 'region',
        group_by: DomainName = 'region',
        val_split: Literal['val', 'id_val'] = 'val',
        test_split: Literal['test', 'id_test'] = 'test',
        left_out: str = 'Asia',
        few_samples: int = 150,
        train_countries: Sequence[str] | int = 100,
        val_countries: Sequence[str] | int = 50,
        test_countries: Sequence[str] | int = 50,
        split_seed: int = 0,
        min_samples: int = 1,
        size: int = 224,
        batch_size: int = 64,
        num_workers: int = 0,
        domains_per_batch: int | None = None,
        target_split: TargetSplit | None = None,
        mean: float | Sequence[float] = MEAN,
        std: float | Sequence[float] = STD,
        augmentations: list[nn.Module] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new FMoWDataModule instance.

        Args:
            root: Folder of the data set, or the one in which its folder ``fmow_v1.1``
                (WILDS) or ``fmow-rgb`` lies.
            split_by: How images are split. 'time': the official split of WILDS. 'region':
                that one, with one region for testing alone. 'few': that region alone, with
                few images for training. 'countries': by countries.
            domain_by: What the training domains are: 'country', 'region' or 'year'.
            group_by: What the evaluation groups are, like *domain_by*.
            val_split: Split for validation. 'val': of 2013 to 2015, later than training.
                'id_val': of the time of training.
            test_split: Split for test and prediction. 'test': from 2016 on. 'id_test': of
                the time of training. Countries are split into 'val' and 'test' only.
            left_out: The region for testing alone, for ``split_by='region'`` and 'few'.
            few_samples: Number of training images, for ``split_by='few'``.
            train_countries: Countries for training (ISO 3166-1 alpha-3), or how many to
                draw, for ``split_by='countries'``.
            val_countries: Those for validation.
            test_countries: Those for testing.
            split_seed: Seed of the draw of countries or of few images.
            min_samples: Fewest training images of a domain; those with fewer are left out
                of training with a warning. Also the fewest images of a country that is
                drawn.
            size: Height and width of images in pixels.
            batch_size: Size of each mini-batch.
            num_workers: Number of workers for parallel data loading.
            domains_per_batch: If given, each training batch holds this many domains
                with equally many samples each. Default: plain shuffling.
            target_split: If given, training also sees the images of this split, 'val' or
                'test', without their labels: for methods that adapt to them.
            mean: Mean to subtract from images, one value or one a channel.
            std: Standard deviation to divide images by, one value or one a channel.
            augmentations: Kornia augmentations of training batches, applied after
                normalization.
            download: If True, download the form of WILDS if nothing is there.
            checksum: If True, check the MD5 of the downloaded files (none is published,
                so this makes no difference).
        """
        super().__init__(
            FMoW,
            batch_size,
            num_workers,
            domains_per_batch,
            mean,
            std,
            augmentations,
            root=root,
            split_by=split_by,
            domain_by=domain_by,
            group_by=group_by,
            left_out=left_out,
            few_samples=few_samples,
            train_countries=train_countries,
            val_countries=val_countries,
            test_countries=test_countries,
            split_seed=split_seed,
            min_samples=min_samples,
            size=size,
            download=download,
            checksum=checksum,
        )
        self.target_split = target_split
        self.roles = {'val': val_split, 'test': test_split, 'predict': test_split}
        self._train: FMoW | None = None

    def configure_domains(self) -> None:
        """Read the tables once."""
        train = self.make_dataset('train')
        self.domains, self.groups = train.domains, train.groups
        self.classes, self.unranked_groups = train.classes, train.unranked_groups

    def make_dataset(self, split: str) -> FMoW:
        """Make the data set of one split.

        Args:
            split: One of 'train', 'val', 'test' or 'predict'.

        Returns:
            The data set.
        """
        if self._train is None:
            self._train = FMoW(split='train', **self.kwargs)
        return self._train.with_split(self.roles.get(split, split))
