# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""TorchGeo's own Vision Transformers as backbones: DOFA and Scale-MAE."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torchgeo.models
from torch import Tensor, nn
from torchvision.models._api import WeightsEnum

from .backbones import Backbone, Features, TimmBackbone, spread_blocks
from .weights import load_weights


class ScaleMAEBackbone(TimmBackbone):
    """Scale-MAE, whose position embedding knows the size of a pixel.

    Reed et al., "Scale-MAE: A Scale-Aware Masked Autoencoder for Multiscale Geospatial
    Representation Learning", 2023. Its argument ``res`` is that size in metres.
    """

    def make_body(self, model: str, **kwargs: Any) -> nn.Module:
        """Make the network."""
        if kwargs.pop('pretrained'):
            raise ValueError(_no_imagenet(model))
        body: nn.Module = getattr(torchgeo.models, model)(**kwargs)
        return body


class DOFABackbone(Backbone):
    """DOFA, whose patch embedding is made from the wavelengths of the bands.

    Xiong et al., "Neural Plasticity-Inspired Multimodal Foundation Model for Earth
    Observation", 2024.
    """

    def __init__(
        self,
        model: str = 'dofa_base_patch16_224',
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 3,
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        """Initialize a new DOFABackbone instance.

        Args:
            model: Name of TorchGeo's model.
            weights: Initial weights: a weight enum or its name, None or False for random
                weights, or the path of a checkpoint.
            in_channels: Number of input channels.
            model_args: ``wavelengths`` of the bands in micrometres, and further
                arguments of TorchGeo's model.

        Raises:
            ValueError: If there are not as many wavelengths as channels, or the weights
                are those of ImageNet.
        """
        super().__init__()
        given = dict(model_args or {})
        self.wavelengths: Sequence[float] = given.pop('wavelengths', ())
        if len(self.wavelengths) != in_channels:
            raise ValueError(
                f'{model} needs the wavelength of each of the {in_channels} bands in'
                f' micrometres: model_args={{wavelengths: [0.665, 0.56, 0.49]}}, found'
                f' {list(self.wavelengths)}'
            )
        if weights is True:
            raise ValueError(_no_imagenet(model))
        self.body = getattr(torchgeo.models, model)(num_classes=0, **given)
        load_weights(self.body, weights)
        self.out_features = self.body.embed_dim
        self.blocks = spread_blocks(len(self.body.blocks))
        self.pyramid_channels = (self.out_features,) * len(self.blocks)

    def forward(self, image: Tensor) -> Features:
        """Compute features.

        Args:
            image: Images, shape (B, C, H, W).

        Returns:
            Pooled features (B, F) and the maps of several blocks.
        """
        tokens: list[Tensor] = []
        handles = [
            self.body.blocks[index].register_forward_hook(
                lambda block, inputs, output: tokens.append(output)
            )
            for index in self.blocks
        ]
        try:
            pooled = self.body.forward_features(image, list(self.wavelengths))
        finally:
            for handle in handles:
                handle.remove()
        return Features(pooled, [_as_map(found) for found in tokens])


def _as_map(tokens: Tensor) -> Tensor:
    """Lay patches out as a map, without the class token in front of them."""
    side = math.isqrt(tokens.shape[1] - 1)
    return tokens[:, 1:].mT.unflatten(2, (side, side))


def _no_imagenet(model: str) -> str:
    return (
        f'{model} has no ImageNet weights (weights=True): give the name of one of'
        " TorchGeo's weight enums, the path of a checkpoint, or None"
    )


def make_image_backbone(
    model: str,
    weights: WeightsEnum | str | bool | None = None,
    in_channels: int = 3,
    model_args: Mapping[str, Any] | None = None,
) -> Backbone:
    """Make a backbone that classifies images.

    Args:
        model: Name of one of TorchGeo's DOFA or Scale-MAE models, or of a timm model.
        weights: Initial weights.
        in_channels: Number of input channels.
        model_args: Further arguments of the model.

    Returns:
        The backbone.
    """
    kinds = {'dofa_': DOFABackbone, 'scalemae_': ScaleMAEBackbone}
    kind: Any = next((k for p, k in kinds.items() if model.startswith(p)), TimmBackbone)
    backbone: Backbone = kind(model, weights, in_channels, model_args)
    return backbone
