# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Networks of segmentation_models_pytorch as backbones."""

from collections.abc import Sequence

import segmentation_models_pytorch as smp
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample
from torchvision.models._api import WeightsEnum

from .backbones import Backbone, Features
from .weights import load_weights

#: TorchGeo's names of networks, where they differ from those of the library.
SMP_NAMES = {'deeplabv3+': 'deeplabv3plus'}


class SMPBackbone(Backbone):
    """Any network of segmentation_models_pytorch with any of its encoders.

    Heads read the last map of the decoder; where that is smaller than the image, their
    logits are enlarged, as the library does. The selector reads the maps of the encoder.
    Series are read image by image.
    """

    def __init__(
        self,
        model: str = 'unet',
        backbone: str = 'resnet50',
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 3,
    ) -> None:
        """Initialize a new SMPBackbone instance.

        Args:
            model: Name of the network.
            backbone: Name of the encoder, one of the library's own, or ``tu-`` and
                the name of a timm model.
            weights: Initial weights of the encoder, by TorchGeo's rules: a weight enum or
                its name, True for ImageNet weights, None or False for random weights, or
                the path of a checkpoint.
            in_channels: Number of input channels.
        """
        super().__init__()
        self.body = smp.create_model(
            SMP_NAMES.get(model, model),
            backbone,
            'imagenet' if weights is True else None,
            in_channels,
        )
        load_weights(self.body.encoder, weights)
        last, enlarge, _ = self.body.segmentation_head
        self.out_features = last.in_channels
        self.upsampling = int(getattr(enlarge, 'scale_factor', 1))
        # The experts take its place.
        self.body.segmentation_head = nn.Identity()
        # The first map is the image. Some transformers leave out the second.
        self.pyramid_channels = tuple(filter(None, self.body.encoder.out_channels[1:]))

    @property
    def encoder(self) -> Sequence[nn.Module]:
        """The encoder."""
        return (self.body.encoder,)

    @property
    def decoder(self) -> Sequence[nn.Module]:
        """The decoder."""
        return (self.body.decoder,)

    def read(self, batch: Sample) -> Features:
        """Compute the features of a batch.

        Args:
            batch: A batch. Of series, ``valid`` (B, T) tells which dates have an image,
                if it is there.

        Returns:
            Features.
        """
        features: Features = self(batch['image'], batch.get('valid'))
        return features

    def forward(self, image: Tensor, valid: Tensor | None = None) -> Features:
        """Compute features.

        Args:
            image: Images, shape (B, C, H, W), or series, shape (B, T, C, H, W).
            valid: Which dates of series have an image, bool, shape (B, T). Others are
                read as zeros, so that batch normalization still counts them, as zeros.
                Default: all.

        Returns:
            The last map of the decoder and the maps of the encoder.
        """
        if image.ndim == 4:
            return self._maps(image)
        if valid is not None:
            image = image.masked_fill(~valid[:, :, None, None, None], 0)
        maps = self._maps(image.flatten(0, 1))
        dates = image.shape[:2]
        pyramid = [m.unflatten(0, dates) for m in maps.pyramid]
        return Features(maps.head.unflatten(0, dates), pyramid, valid)

    def _maps(self, image: Tensor) -> Features:
        self.body.check_input_shape(image)
        pyramid = self.body.encoder(image)
        maps = [m for m in pyramid[1:] if m.shape[1]]
        return Features(self.body.decoder(pyramid), maps)
