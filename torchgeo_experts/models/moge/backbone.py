# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""A Vision Transformer with MoGE blocks, as a backbone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample

from ..backbones import Backbone, Features
from ..location import LocationEncoder
from .gate import CosineGate, Route, Unknown
from .surgery import insert_experts

#: How images are routed: by the gates, to the shared expert alone (MoGE-SE), or to the
#: one routed expert of that number.
Mode = Literal['routed', 'shared'] | int


@dataclass(frozen=True)
class MoGEConfig:
    """How many experts there are, where, and how they are chosen.

    Args:
        blocks: Blocks that get experts, counted from 0.
        num_experts: Number of routed experts of a block.
        top_k: Number of routed experts of an image.
        gamma: Share of the shared expert, initially.
        learn_gamma: Whether gamma is learned, one a block.
        jitter: Noise added to the routed experts.
        codebook_dim: Number of features of a code of the gate.
        noise: Standard deviation, times E, of the gates' noise in training.
        unknown: What images of unknown place get.
        shared_only: Part of the training images that the shared expert sees alone, so
            that it learns to do without the others.
    """

    blocks: Sequence[int] = (8, 10)
    num_experts: int = 6
    top_k: int = 3
    gamma: float = 0.5
    learn_gamma: bool = True
    jitter: float = 0.01
    codebook_dim: int = 256
    noise: float = 1.0
    unknown: Unknown = 'shared'
    shared_only: float = 0.0


class MoGEBackbone(Backbone):
    """A Vision Transformer whose chosen blocks have experts routed by place.

    One location encoder serves all blocks, each of which has a gate of its own. The
    authors' repository speaks of a gate with about 5 % of the weights: a WRAP encoder is
    that much if it is shared, and twice as much if it is not.
    """

    def __init__(
        self,
        inner: Backbone,
        location: LocationEncoder,
        config: MoGEConfig | None = None,
    ) -> None:
        """Initialize a new MoGEBackbone instance.

        Args:
            inner: Backbone of a Vision Transformer, with or without pretrained weights.
                It is changed in place.
            location: Location encoder.
            config: Experts and gates.

        Raises:
            ValueError: If the network has no such blocks, or *shared_only* is no part.
        """
        super().__init__()
        config = config or MoGEConfig()
        if not 0 <= config.shared_only < 1:
            raise ValueError(
                f'shared_only must be at least 0 and below 1, found {config.shared_only}'
            )
        self.inner, self.location, self.config = inner, location, config
        self.out_features = inner.out_features
        self.pyramid_channels = inner.pyramid_channels
        insert_experts(
            inner.body,
            config.blocks,
            config.num_experts,
            config.top_k,
            config.gamma,
            config.learn_gamma,
            config.jitter,
        )
        self.gates = nn.ModuleList(
            CosineGate(
                location.out_features,
                config.num_experts,
                config.top_k,
                config.codebook_dim,
                config.noise,
                config.unknown,
            )
            for _ in config.blocks
        )
        self.mode: Mode = 'routed'
        self.body_fixed = False
        if location.frozen:
            self.fix(location)

    @property
    def body(self) -> Any:  # type: ignore[override]
        """The Vision Transformer."""
        return self.inner.body

    @property
    def parts(self) -> list[Any]:
        """The MoGE blocks' networks, in the order of the blocks."""
        # Looked up, as a copy of this backbone has parts of its own.
        return [self.body.blocks[index].mlp for index in self.config.blocks]

    @property
    def routes(self) -> list[Route]:
        """Routes of the last batch, one a block."""
        return [part.passage.route for part in self.parts]

    def read(self, batch: Sample) -> Features:
        """Compute the features of a batch.

        Args:
            batch: A batch, with its images, and ``lon`` and ``lat`` in degrees (NaN where
                unknown).

        Returns:
            Features.
        """
        routes = self.route(batch['lon'], batch['lat'])
        for part, route in zip(self.parts, routes, strict=True):
            part.passage.route = route
        return self.inner.read(batch)

    def route(self, lon: Tensor, lat: Tensor) -> list[Route]:
        """Choose the experts of places; no image is needed.

        Args:
            lon: Longitudes in degrees, shape (B,), NaN where unknown.
            lat: Latitudes in degrees, shape (B,), NaN where unknown.

        Returns:
            Routes, one a block.
        """
        embedding, known = self.location.locate(lon, lat)
        routes = [gate(embedding, known) for gate in self.gates]
        weigh = self._weighing(routes[0])
        return [route._replace(weights=weigh(route.weights)) for route in routes]

    def _weighing(self, route: Route) -> Any:
        """Tell what the mode makes of a gate's weights."""
        if self.mode == 'shared':
            return torch.zeros_like
        if self.mode != 'routed':
            forced = torch.zeros_like(route.weights)
            forced[:, self.mode] = 1
            return lambda weights: forced
        if self.training and self.config.shared_only:
            drawn = torch.rand_like(route.weights[:, :1])
            kept = (drawn >= self.config.shared_only).float()
            return lambda weights: weights * kept
        return lambda weights: weights

    def fix_body(self) -> None:
        """Freeze what was there before the experts, the shared expert too, for good."""
        self.body_fixed = True
        self.freeze(self.frozen)

    def freeze(self, frozen: bool) -> None:
        """Stop or resume its training.

        Args:
            frozen: Whether all of it is to stay as it is.
        """
        super().freeze(frozen)
        for part in self.parts:
            part.logit_gamma.requires_grad_(self.config.learn_gamma and not frozen)
        if self.body_fixed:
            for name, parameter in self.body.named_parameters():
                if '.experts.' not in name and 'logit_gamma' not in name:
                    parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> 'MoGEBackbone':
        """Set the mode.

        Args:
            mode: True for training, except what is frozen.

        Returns:
            The backbone.
        """
        super().train(mode)
        if self.body_fixed:
            self.body.eval()
            for part in self.parts:
                part.experts.train(self.training)
        return self
