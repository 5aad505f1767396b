# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""IWildCam datamodule."""

from collections.abc import Sequence
from typing import Literal

from torch import nn
from torchgeo.datasets.utils import Path

from ..datasets.iwildcam import IWildCam
from .base import PlacesDataModule, TargetSplit
from .imagenet import MEAN, STD
from .rules import PlaceRule

#: Names of the splits in the table.
ROLES = {
    ('val', 'ood'): 'val',
    ('val', 'id'): 'id_val',
    ('test', 'ood'): 'test',
    ('test', 'id'): 'id_test',
}


class IWildCamDataModule(PlacesDataModule):
    """LightningDataModule implementation for the IWildCam data set.

    Splits are the official ones. Validation and test are on cameras that gave no training
    image ('ood'), or on other days of training cameras ('id').

    Prediction uses the test split.
    """

    def __init__(
        self,
        root: Path = 'data',
        val_split: Literal['ood', 'id'] = 'ood',
        test_split: Literal['ood', 'id'] = 'ood',
        gps: Path | None = None,
        domains: PlaceRule | None = None,
        size: int = 448,
        batch_size: int = 16,
        num_workers: int = 0,
        domains_per_batch: int | None = None,
        target_split: TargetSplit | None = None,
        mean: float | Sequence[float] = MEAN,
        std: float | Sequence[float] = STD,
        augmentations: list[nn.Module] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new IWildCamDataModule instance.

        Args:
            root: Folder that holds (or is to hold) ``iwildcam_v2.0/``.
            val_split: Validation on other cameras ('ood') or on training cameras ('id').
            test_split: Test and prediction on other cameras ('ood') or on training
                cameras ('id').
            gps: Path of ``gps_locations.json``. Default: that in ``iwildcam_v2.0/`` or
                in *root*; if there is none, all places are unknown, with a warning.
            domains: What puts cameras together by place: ``ClusterDomains``,
                ``GridDomains`` or ``PolygonDomains``. It learns from the training
                cameras, each of which counts once. Cameras without a place are then one
                domain, 'unknown', and cameras outside all domains are left out of
                training. Default: each camera is a domain.
            size: Height and width in pixels to resize images to, 448 in WILDS.
            batch_size: Size of each mini-batch, 16 in WILDS.
            num_workers: Number of workers for parallel data loading.
            domains_per_batch: If given, each training batch holds this many domains
                with equally many samples each. Default: plain shuffling.
            target_split: If given, training also sees the images of this split, 'val' or
                'test', without their labels: for methods that adapt to them.
            mean: Mean to subtract from images, one value or one a channel. Default:
                that of ImageNet, as in WILDS.
            std: Standard deviation to divide images by, one value or one a channel.
                Default: that of ImageNet, as in WILDS.
            augmentations: Kornia augmentations of training batches, applied after
                normalization.
            download: If True, download the data set (12 GB) and unpack it (25 GB), unless
                it is there.
            checksum: If True, check the MD5 of the archive (there is none published).

        Raises:
            ValueError: If *val_split* or *test_split* is unknown.
        """
        for name, value in (('val_split', val_split), ('test_split', test_split)):
            if value not in ('ood', 'id'):
                raise ValueError(f"{name} must be 'ood' or 'id', found {value!r}")
        super().__init__(
            IWildCam,
            batch_size,
            num_workers,
            domains_per_batch,
            mean,
            std,
            augmentations,
            root=root,
            gps=gps,
            domains=domains,
            size=size,
            download=download,
            checksum=checksum,
        )
        self.target_split = target_split
        self.val_split, self.test_split = val_split, test_split
        self._train: IWildCam | None = None

    def make_dataset(self, split: str) -> IWildCam:
        """Make the data set of one split.

        Args:
            split: One of 'train', 'val', 'test' or 'predict'.

        Returns:
            The data set.
        """
        if self._train is None:
            # The tables are read, and the folder is listed, once.
            self._train = IWildCam(split='train', **self.kwargs)
        if split == 'train':
            return self._train
        role = 'val' if split == 'val' else 'test'
        return self._train.with_split(ROLES[role, getattr(self, f'{role}_split')])
