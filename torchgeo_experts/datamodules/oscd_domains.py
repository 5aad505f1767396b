# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""OSCDDomains datamodule."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn
from torchgeo.datasets.utils import Path

from ..datasets.oscd_cities import VAL_CITIES
from ..datasets.oscd_domains import OSCDDomains, check_bands
from .base import PlacesDataModule, TargetSplit

#: Mean and standard deviation of each band, values as stored. They are those of
#: TorchGeo's OSCDDataModule (0.10), rounded; it does not say which images they are of.
STATISTICS = {
    'B01': (1565.7, 263.8),
    'B02': (1351.3, 394.6),
    'B03': (1257.1, 509.0),
    'B04': (1254.9, 726.4),
    'B05': (1388.7, 686.6),
    'B06': (1827.7, 730.0),
    'B07': (2050.3, 822.0),
    'B08': (1963.5, 842.6),
    'B8A': (2182.7, 895.8),
    'B09': (629.8, 314.8),
    'B10': (14.9, 9.4),
    'B11': (1909.8, 984.9),
    'B12': (1379.6, 844.8),
}


class OSCDDomainsDataModule(PlacesDataModule):
    """LightningDataModule implementation for the OSCDDomains data set.

    The official split has no validation cities: some training cities are held out.
    Unlike TorchGeo's ``OSCDDataModule``, which crops at random in validation and test
    too, all tiles of a city are used, the same ones every time. Prediction uses the test
    split.
    """

    def __init__(
        self,
        root: Path = 'data',
        bands: Literal['rgb', 'all'] | Sequence[str] = 'rgb',
        tiling: Literal['native', 'paper', 'overlap'] = 'native',
        val_cities: Sequence[str] = VAL_CITIES,
        exclude_cities: Sequence[str] = (),
        batch_size: int = 8,
        num_workers: int = 0,
        domains_per_batch: int | None = None,
        target_split: TargetSplit | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        augmentations: list[nn.Module] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new OSCDDomainsDataModule instance.

        Args:
            root: Folder of the three folders, or of the three zips they come in.
            bands: 'rgb' (B04, B03 and B02, as in the paper), 'all' (13 bands), or a list
                of names of bands.
            tiling: 'native': tiles side by side at 10 m, what is left over is dropped.
                'paper': each city is made 600 x 600 and cut into 8 x 8 tiles. 'overlap':
                8 x 8 tiles at 10 m at equal distances.
            val_cities: Training cities to hold out for validation. If there are none, as
                in the paper, training has no validation, and the learning rate, which
                follows the validation loss, stays as it is.
            exclude_cities: Training cities to leave out, such as 'saclay_e', which
                touches the test city saclay_w.
            batch_size: Size of each mini-batch.
            num_workers: Number of workers for parallel data loading.
            domains_per_batch: If given, each training batch holds this many domains
                with equally many samples each. Default: plain shuffling.
            target_split: If given, training also sees the images of this split, 'val' or
                'test', without their labels: for methods that adapt to them.
            mean: Mean to subtract from images, one value or one a channel. Default:
                that of each band.
            std: Standard deviation to divide images by, one value or one a channel.
                Default: that of each band.
            augmentations: Kornia augmentations of training batches, applied after
                normalization, to both dates and the mask of a sample alike.
            download: If True, download the data set and store it in the root folder.
            checksum: If True, check the MD5 of the zips.

        Raises:
            ValueError: If *bands* names a band that there is not.
        """
        means, stds = zip(*(STATISTICS[b] for b in check_bands(bands)), strict=True)
        super().__init__(
            OSCDDomains,
            batch_size,
            num_workers,
            domains_per_batch,
            means if mean is None else mean,
            stds if std is None else std,
            augmentations,
            root=root,
            bands=bands,
            tiling=tiling,
            val_cities=val_cities,
            exclude_cities=exclude_cities,
            download=download,
            checksum=checksum,
        )
        self.target_split = target_split

    def val_dataloader(self) -> Any:
        """Implement one or more PyTorch DataLoaders for validation.

        Returns:
            The data loader; none if training has no validation.

        Raises:
            MisconfigurationException: If there are no validation cities, and training
                is not what is asked for.
        """
        fitting = self.trainer is not None and self.trainer.state.fn == 'fit'
        if fitting and not self.kwargs['val_cities']:
            return []
        return super().val_dataloader()
