# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""A Vision Transformer with MoGE blocks, as a backbone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample

from ...losses.gather import gather_with_grad
from ..backbones import Backbone, Features
from ..location import LocationEncoder
from .coverage import Coverage, fade
from .gate import CosineGate, Route, top_k_softmax
from .router import ImageRouter
from .surgery import insert_experts

#: How images are routed: by the gates, by the image router, to the shared expert alone
#: (MoGE-SE), or to the one routed expert of that number.
Mode = Literal['routed', 'imitated', 'shared'] | int

#: What an image of unknown place gets.
Unknown = Literal['shared', 'mean', 'image']

#: What is trained, all else being frozen.
Tuned = Literal['all', 'gate', 'router']


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
        unknown: What images of unknown place get: the 'shared' expert alone, the 'mean'
            route of the training images, or what a router tells from the 'image'.
        shared_only: Part of the training images that the shared expert sees alone, so
            that it learns to do without the others.
        fade_km: Distance to the places of training up to which gates are trusted.
            Farther away the routed experts fade, and from twice as far on the shared one
            is alone. None: gates are trusted everywhere.
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
    fade_km: float | None = None

    def __post_init__(self) -> None:
        """Check what no part of the network checks.

        Raises:
            ValueError: If an argument is out of its range.
        """
        if not 0 <= self.shared_only < 1:
            raise ValueError(
                f'shared_only must be at least 0 and below 1, found {self.shared_only}'
            )
        if self.fade_km is not None and not self.fade_km > 0:
            raise ValueError(f'fade_km must be positive, found {self.fade_km}')
        if self.unknown not in ('shared', 'mean', 'image'):
            raise ValueError(
                f"unknown must be 'shared', 'mean' or 'image', found {self.unknown!r}"
            )


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
            ValueError: If the network has no such blocks.
        """
        super().__init__()
        config = config or MoGEConfig()
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
                'mean' if config.unknown == 'mean' else 'shared',
            )
            for _ in config.blocks
        )
        self.router = (
            ImageRouter(inner.out_features, len(config.blocks), config.num_experts)
            if config.unknown == 'image'
            else None
        )
        #: Where training images came from.
        self.coverage = Coverage()
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
        lon, lat = batch['lon'], batch['lat']
        if self.training:
            self.coverage.mark(gather_with_grad(lon), gather_with_grad(lat))
        routes = self.route(lon, lat)
        for part, route in zip(self.parts, routes, strict=True):
            part.passage.route = route
        if self.router is not None:
            first = self.body.blocks[min(self.config.blocks)].mlp
            first.passage.revise = self._imitate
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
        weigh = self._weighing(routes[0], lon, lat)
        return [route._replace(weights=weigh(route.weights)) for route in routes]

    def _weighing(
        self, route: Route, lon: Tensor, lat: Tensor
    ) -> Callable[[Tensor], Tensor]:
        """Tell what the mode makes of a gate's weights."""
        if self.mode == 'shared':
            return torch.zeros_like
        if isinstance(self.mode, int):
            forced = torch.zeros_like(route.weights)
            forced[:, self.mode] = 1
            return lambda weights: forced
        if self.training and self.config.shared_only:
            drawn = torch.rand_like(route.weights[:, :1])
            kept = (drawn >= self.config.shared_only).float()
            return lambda weights: weights * kept
        if not self.training and self.config.fade_km is not None:
            trust = fade(self.coverage.distance(lon, lat), self.config.fade_km)
            return lambda weights: weights * trust[:, None]
        return lambda weights: weights

    def _imitate(self, tokens: Tensor) -> None:
        """Route images of unknown place as the router guesses.

        Args:
            tokens: Tokens of the first block with experts, shape (B, N, D).
        """
        assert self.router is not None
        # It follows the features, and does not change them.
        with torch.autocast(tokens.device.type, enabled=False):
            guesses = self.router(tokens.detach().float())
        for part, guess in zip(self.parts, guesses.unbind(dim=1), strict=True):
            route = part.passage.route
            part.passage.guess = guess
            if self.mode not in ('routed', 'imitated'):
                continue
            given = route.known[:, None] & (self.mode == 'routed')
            weights = top_k_softmax(guess, self.config.top_k)
            weights = route.weights.where(given, weights)
            part.passage.route = route._replace(weights=weights)

    def tune(self, tuned: Tuned) -> None:
        """Freeze all but some of it for good.

        Args:
            tuned: 'all', the 'gate' (location encoder, projections and codebooks), or
                the 'router' of images of unknown place.

        Raises:
            ValueError: If there is no router to tune.
        """
        if tuned == 'router' and self.router is None:
            raise ValueError("tune='router' needs a router: set unknown='image'")
        if tuned == 'all':
            return
        self.fix(self.body)
        if tuned == 'router':
            self.fix(self.location, self.gates)
        elif self.router is not None:
            self.fix(self.router)

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
                part.experts.train(self.training and self.body not in self.fixed)
        return self
