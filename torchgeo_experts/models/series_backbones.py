# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""MultiUTAE as a backbone."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample
from torchvision.models._api import WeightsEnum

from .backbones import Backbone, Features
from .multiutae import MultiUTAE
from .pooling import pool
from .weights import load_weights


class MultiUTAEBackbone(Backbone):
    """MultiUTAE for maps of images and series.

    Heads read the maps of the highest resolution, the selector those of the encoder
    blocks (CoDEX, section 3.3).
    """

    body: MultiUTAE

    def __init__(
        self,
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 4,
        width: int = 64,
    ) -> None:
        """Initialize a new MultiUTAEBackbone instance.

        Args:
            weights: Path of a checkpoint of this package, or None for random weights.
            in_channels: Number of input channels.
            width: Number of channels of the coarsest maps.

        Raises:
            ValueError: If ImageNet weights are asked for: there are none.
        """
        super().__init__()
        if weights is True:
            raise ValueError(
                "there are no ImageNet weights for model='multiutae': leave weights out,"
                ' or give the path of a checkpoint of this package'
            )
        self.body = MultiUTAE(in_channels, width)
        load_weights(self.body, weights)
        self.out_features = self.body.out_channels
        self.pyramid_channels = self.body.encoder_channels

    @property
    def encoder(self) -> Sequence[nn.Module]:
        """Parts before the maps grow again."""
        return (self.body.stem, self.body.down, self.body.attention)

    @property
    def decoder(self) -> Sequence[nn.Module]:
        """Parts between the encoder and the heads."""
        return (self.body.up,)

    def read(self, batch: Sample) -> Features:
        """Compute the features of a batch.

        Args:
            batch: A batch. Of series, ``dates`` (B, T) tells the days since 2018-01-01
                and ``valid`` (B, T) which dates have an image, if it is there.

        Returns:
            Features.
        """
        features: Features = self(
            batch['image'], batch.get('dates'), batch.get('valid')
        )
        return features

    def forward(
        self, image: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> Features:
        """Compute features.

        Sizes that are no multiples of 8 are reflected at the lower and right border.
        What this adds is cut off from the map that heads read; maps of the encoder keep
        it.

        Args:
            image: Images, shape (B, C, H, W), or series, shape (B, T, C, H, W).
            dates: Days since 2018-01-01, shape (B, T). Default: one a month.
            valid: Which dates have an image, bool, shape (B, T). Default: all.

        Returns:
            Features of images, or of series.
        """
        if image.ndim == 4:
            maps = self._maps(image[:, None], None, None)
            return Features(maps.head[:, 0], [m[:, 0] for m in maps.pyramid])
        return self._maps(image, dates, valid)

    def _maps(
        self, series: Tensor, dates: Tensor | None, valid: Tensor | None
    ) -> Features:
        height, width = series.shape[-2:]
        if min(height, width) < self.body.stride:
            raise ValueError(
                f'MultiUTAE needs images of at least 8 x 8 pixels, found {height} x {width}'
            )
        below, right = -height % self.body.stride, -width % self.body.stride
        if below or right:
            padded = F.pad(series.flatten(0, 1), (0, right, 0, below), mode='reflect')
            series = padded.unflatten(0, series.shape[:2])
        maps = self.body(series, dates, valid)
        return Features(maps.out[..., :height, :width], maps.encoder, valid)


class PooledMultiUTAEBackbone(MultiUTAEBackbone):
    """MultiUTAE for classification: heads read the mean over space and time.

    CoDEX, section 3.3, with a width of 224: 3.1 million parameters.
    """

    def forward(
        self, image: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> Features:
        """Compute features.

        Args:
            image: Images, shape (B, C, H, W), or series, shape (B, T, C, H, W).
            dates: Days since 2018-01-01, shape (B, T). Default: one a month.
            valid: Which dates have an image, bool, shape (B, T). Default: all.

        Returns:
            Pooled features (B, width / 4) and the maps of the encoder blocks.
        """
        features = super().forward(image, dates, valid)
        return features._replace(head=pool(features.head, features.valid))
