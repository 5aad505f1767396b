# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Backbones: what the expert heads and the selector read."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import timm
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample
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
    #: Which dates of a series have an image, bool, shape (B, T). None: all.
    valid: Tensor | None = None
    #: Weights of experts that do not come from the image, float32, shape (B, D).
    mixture: Tensor | None = None

    def first(self, size: int) -> 'Features':
        """Keep the first samples.

        Args:
            size: How many.

        Returns:
            Their features.
        """
        return self.part(0, size)

    def part(self, start: int, end: int | None) -> 'Features':
        """Keep some samples.

        Args:
            start: Number of the first.
            end: Number of the first that is left out. None: keep all that follow.

        Returns:
            Their features.
        """
        kept = slice(start, end)
        valid, mixture = (
            None if x is None else x[kept] for x in (self.valid, self.mixture)
        )
        pyramid = [m[kept] for m in self.pyramid]
        return Features(self.head[kept], pyramid, valid, mixture)


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
    #: How many pixels of the image, in height and width, a pixel of the map that heads
    #: read stands for.
    upsampling = 1
    #: Whether all of it stays as it is, for now.
    frozen = False
    #: Parts that stay as they are for good.
    fixed: tuple[nn.Module, ...] = ()
    #: Parameters that no network of this kind trains, such as a table of positions.
    _constant: tuple[nn.Parameter, ...] | None = None

    def read(self, batch: Sample) -> Features:
        """Compute the features of a batch.

        Args:
            batch: A batch, with its image and metadata.

        Returns:
            Features.
        """
        features: Features = self(batch['image'])
        return features

    @property
    def encoder(self) -> Sequence[nn.Module]:
        """Parts that TorchGeo calls the backbone: what pretrained weights fill."""
        return (self.body,)

    @property
    def decoder(self) -> Sequence[nn.Module]:
        """Parts between the encoder and the heads."""
        return ()

    def fix(self, *parts: nn.Module) -> None:
        """Freeze parts for good.

        Args:
            *parts: Parts of this backbone.
        """
        self.fixed += parts
        self.freeze(self.frozen)

    def freeze(self, frozen: bool) -> None:
        """Stop or resume its training; what is frozen never leaves evaluation mode.

        Else dropout and batch statistics would change what a frozen network gives.

        Args:
            frozen: Whether all of it is to stay as it is.
        """
        self.frozen = frozen
        if self._constant is None:
            self._constant = tuple(p for p in self.parameters() if not p.requires_grad)
        freeze(self, frozen)
        for parameter in self._constant:
            parameter.requires_grad_(False)
        for part in self.fixed:
            freeze(part, True)
        self.train(self.training)

    def train(self, mode: bool = True) -> 'Backbone':
        """Set the mode.

        Args:
            mode: True for training, except what is frozen.

        Returns:
            The backbone.
        """
        super().train(mode and not self.frozen)
        for part in self.fixed:
            part.eval()
        return self


class OuterBackbone(Backbone):
    """Base class of backbones that add something to the features of another one."""

    def __init__(self, inner: Backbone) -> None:
        """Initialize a new OuterBackbone instance.

        Args:
            inner: The other one.
        """
        super().__init__()
        self.inner = inner
        self.out_features = inner.out_features
        self.pyramid_channels = inner.pyramid_channels

    @property
    def body(self) -> Any:  # type: ignore[override]
        """The network."""
        return self.inner.body

    def freeze(self, frozen: bool) -> None:
        """Stop or resume its training.

        Args:
            frozen: Whether all of it is to stay as it is.
        """
        super().freeze(frozen)
        # The network has parts of its own that stay frozen.
        self.inner.freeze(frozen)


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
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        """Initialize a new TimmBackbone instance.

        Args:
            model: Name of the timm model.
            weights: Initial weights, by TorchGeo's rules: a weight enum or its name, True
                for ImageNet weights, None or False for random weights, or the path of a
                checkpoint.
            in_channels: Number of input channels.
            model_args: Further arguments of the timm model.

        Raises:
            ValueError: If the model gives no intermediate features.
        """
        super().__init__()
        self.body = self.make_body(
            model,
            num_classes=0,
            in_chans=in_channels,
            pretrained=weights is True,
            **(model_args or {}),
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

    def make_body(self, model: str, **kwargs: Any) -> nn.Module:
        """Make the network.

        Args:
            model: Its name.
            **kwargs: Arguments of timm's models.

        Returns:
            The network.
        """
        return timm.create_model(model, **kwargs)

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
