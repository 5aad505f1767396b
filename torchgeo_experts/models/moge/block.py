# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The MoGE block: a shared expert and routed ones in place of a feed-forward network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .dispatch import mix
from .feed_forward import FeedForwards
from .gate import Route


@dataclass
class Passage:
    """What passes through a block beside its tokens; never copied nor saved."""

    #: The route of the batch.
    route: Route | None = None
    #: Tokens that the experts read, shape (B, N, D).
    tokens: Tensor | None = None
    #: What the shared expert gave for them, shape (B, N, D).
    shared: Tensor | None = None
    #: What a router guesses of the route from the image, logits, shape (B, E).
    guess: Tensor | None = None
    #: What may revise routes once it sees the tokens, before they are used.
    revise: Callable[[Tensor], None] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Passage':
        """Leave the batch behind."""
        return Passage()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the batch behind."""
        return vars(Passage())


class MoGEFeedForward(nn.Module):
    """A feed-forward network for all places, and some that depend on the place.

    ``f(x, m) = gamma f_0(x) + (1 - gamma) sum_k alpha_k(phi(m)) f_k(x)`` (MoGE, equation
    of block i). The shared expert f_0 is the network that was there before, untouched;
    the others start as its copies. As the weights alpha sum up to 1, the block then
    gives what the network gave, for any gamma.
    """

    def __init__(
        self,
        shared: nn.Module,
        num_experts: int,
        top_k: int,
        gamma: float = 0.5,
        learn_gamma: bool = True,
        jitter: float = 0.0,
    ) -> None:
        """Initialize a new MoGEFeedForward instance.

        Args:
            shared: The network that is replaced.
            num_experts: Number of routed experts E.
            top_k: Number of routed experts of an image.
            gamma: Share of the shared expert, between 0 and 1. The poster does not tell.
            learn_gamma: Whether gamma is learned, from there on.
            jitter: Noise added to the copies, as a part of the standard deviation of
                each weight tensor. Without any, the gradient of the diversity loss is
                exactly 0, and it never tells copies apart.

        Raises:
            ValueError: If *gamma* is out of its range.
        """
        super().__init__()
        if not 0 < gamma < 1:
            raise ValueError(f'gamma must lie between 0 and 1, found {gamma}')
        self.shared = shared
        self.experts = FeedForwards(shared, num_experts, jitter)
        self.top_k = top_k
        self.logit_gamma = nn.Parameter(
            torch.tensor(gamma).logit(), requires_grad=learn_gamma
        )
        self.passage = Passage()

    @property
    def gamma(self) -> Tensor:
        """Share of the shared expert, shape ()."""
        return self.logit_gamma.sigmoid()

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix the shared expert with those of the batch's route.

        Args:
            tokens: Tokens, shape (B, N, D).

        Returns:
            The mixture, shape (B, N, D).

        Raises:
            RuntimeError: If there is no route for as many images.
        """
        route = self.passage.route
        if route is None or len(route.weights) != len(tokens):
            raise RuntimeError(
                f'a MoGE block got {len(tokens)} images, but no route for as many: call'
                ' the backbone with longitudes and latitudes, not its blocks'
            )
        if self.passage.revise is not None:
            self.passage.revise(tokens)
            route = self.passage.route
            assert route is not None
        shared = self.shared(tokens)
        self.passage.tokens, self.passage.shared = tokens, shared
        # Where no expert has a weight, the shared one is alone: gamma is 1 there.
        routed = (1 - self.gamma) * route.weights
        alone = (1 - routed.sum(dim=1)).to(shared.dtype)[:, None, None]
        return alone * shared + mix(self.experts, tokens, routed, self.top_k)
