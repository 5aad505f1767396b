# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Backbones: what the expert heads and the selector read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torchvision.models._api import WeightsEnum

from .weights import load_weights


class Features(NamedTuple):
    """What a backbone gives for a batch of images."""

    #: What the heads read: pooled features (B, F), or a map (B, F, H, W), or maps of a
    #: series (B, T, F, H, W).
    head: Tensor
    #: Maps of several blocks, which the selector reads, each (B, C, H, W) or
    #: (B, T, C, H, W).
    pyramid: Sequence[Tensor]


class Backbone(nn.Module):
    """Base class of backbones.

    The network itself is ``body``, under the names of the library that makes it, so that
    its pretrained weights fit.
    """

    #: The network.
    body: Any
    #: Number of features that a head reads.
    out_features: int
    #: Number of channels of each map of the pyramid.
    pyramid_channels: tuple[int, ...]
    #: Whether it stays as it is.
    frozen = False

    def freeze(self, frozen: bool) -> None:
        """Stop or resume its training; frozen, it never leaves evaluation mode.

        Else dropout and batch statistics would change what a frozen network gives.

        Args:
            frozen: Whether it is to stay as it is.
        """
        self.frozen = frozen
        freeze(self, frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> 'Backbone':
        """Set the mode.

        Args:
            mode: True for training, unless it is frozen.

        Returns:
            The backbone.
        """
        super().train(mode and not self.frozen)
        return self


class TimmBackbone(Backbone):
    """Any timm model with intermediate features, for classification.

    Heads read the pooled last features, the selector reads maps of several blocks (CoDEX,
    section 3.3).
    """

    def __init__(
        self,
        model: str = 'resnet18',
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 3,
    ) -> None:
        """Initialize a new TimmBackbone instance.

        Args:
            model: Name of the timm model.
            weights: Initial weights, by TorchGeo's rules: a weight enum or its name, True
                for ImageNet weights, None or False for random weights, or the path of a
                checkpoint.
            in_channels: Number of input channels.

        Raises:
            ValueError: If the model gives no intermediate features.
        """
        super().__init__()
        self.body = timm.create_model(
            model, num_classes=0, in_chans=in_channels, pretrained=weights is True
        )
        if not hasattr(self.body, 'forward_intermediates'):
            raise ValueError(
                f'timm model {model!r} gives no intermediate features, which the selector'
                " reads: choose one that has them, like 'resnet18' or 'vit_tiny_patch16_224'"
            )
        load_weights(self.body, weights)

        channels = [info['num_chs'] for info in self.body.feature_info]
        self.blocks = spread_blocks(len(channels))
        self.pyramid_channels = tuple(channels[block] for block in self.blocks)
        self.out_features = getattr(self.body, 'head_hidden_size', None) or int(
            self.body.num_features
        )

    def forward(self, image: Tensor) -> Features:
        """Compute features.

        Args:
            image: Images, shape (B, C, H, W).

        Returns:
            Pooled features (B, F) and the maps of several blocks.
        """
        last, pyramid = self.body.forward_intermediates(image, indices=self.blocks)
        return Features(self.body.forward_head(last, pre_logits=True), pyramid)


def spread_blocks(depth: int) -> list[int]:
    """Choose the blocks that the selector reads.

    Args:
        depth: Number of blocks with features.

    Returns:
        All blocks of a network with up to five (the stages of a convolutional network),
        else four, evenly spread, with the last one (transformers).
    """
    if depth <= 5:
        return list(range(depth))
    return [round(depth * share / 4) - 1 for share in range(1, 5)]


def freeze(module: nn.Module, frozen: bool) -> None:
    """Stop or resume the training of a module's parameters.

    Args:
        module: Module.
        frozen: Whether its parameters are to stay as they are.
    """
    for parameter in module.parameters():
        parameter.requires_grad_(not frozen)


def pool(maps: Tensor) -> Tensor:
    """Average maps over space, and over time where there is one.

    Args:
        maps: Maps, shape (B, C, H, W) or (B, T, C, H, W).

    Returns:
        Means, shape (B, C).
    """
    return maps.mean(dim=(-2, -1)) if maps.ndim == 4 else maps.mean(dim=(1, -2, -1))


def pooled_pyramid(features: Features) -> Tensor:
    """Pool each map of a pyramid and concatenate the channels.

    Args:
        features: What a backbone gave.

    Returns:
        Pooled features of all blocks, shape (B, sum of channels).
    """
    return torch.cat([pool(maps) for maps in features.pyramid], dim=1)
