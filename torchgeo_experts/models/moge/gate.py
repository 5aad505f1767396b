# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The gate: which experts a place gets."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: What an image of unknown place gets.
Unknown = Literal['shared', 'mean']

#: Largest factor of cosine similarities.
MAX_SCALE = 100.0


class Route(NamedTuple):
    """What a gate decides for a batch; float32 throughout."""

    #: Weights of the experts, at most k of an image other than zero, shape (B, E). They
    #: sum up to 1, or to 0 where the place is unknown and the shared expert is alone.
    weights: Tensor
    #: Scaled cosine similarities, shape (B, E).
    logits: Tensor
    #: The same with the noise of training, by which experts were chosen.
    noisy: Tensor
    #: Whether the place is known, bool, shape (B,).
    known: Tensor

    @property
    def top(self) -> Tensor:
        """Expert with the largest weight, int64, shape (B,): the domain found."""
        return self.weights.argmax(dim=1)


class CosineGate(nn.Module):
    """Choose experts by the cosine similarity of a place and a learned codebook.

    The location embedding is projected and compared with one code an expert; the top k
    experts share the image by a softmax of their scaled similarities (MoGE, and the
    authors' repository: "a learned expert codebook by cosine similarity"). The poster
    gives no formula; scale and noise are those of the cosine router of GMoE (Li et al.,
    ICLR 2023). Always in float32: the choice of experts must not depend on precision.
    """

    running_route: Tensor

    def __init__(
        self,
        in_features: int,
        num_experts: int = 6,
        top_k: int = 3,
        codebook_dim: int = 256,
        noise: float = 1.0,
        unknown: Unknown = 'shared',
    ) -> None:
        """Initialize a new CosineGate instance.

        Args:
            in_features: Number of features of the location embedding.
            num_experts: Number of experts E.
            top_k: Number of experts of an image.
            codebook_dim: Number of features of a code.
            noise: Standard deviation, times E, of the noise added to logits in training.
            unknown: What an image of unknown place gets: the 'shared' expert alone, or
                the 'mean' route of the training images (its top k experts).

        Raises:
            ValueError: If there are fewer experts than *top_k*, or *noise* is negative.
        """
        super().__init__()
        if not 1 <= top_k <= num_experts:
            raise ValueError(f'top_k={top_k} must be 1 to num_experts={num_experts}')
        if noise < 0:
            raise ValueError(f'noise must not be negative, found {noise}')
        if unknown not in ('shared', 'mean'):
            raise ValueError(f"unknown must be 'shared' or 'mean', found {unknown!r}")
        self.top_k, self.unknown = top_k, unknown
        self.noise_std = noise / num_experts
        self.projection = nn.Linear(in_features, codebook_dim, bias=False)
        self.codebook = nn.Parameter(torch.randn(num_experts, codebook_dim))
        self.log_scale = nn.Parameter(torch.tensor(math.log(2.0)))
        #: Mean weights of training images, shape (E,).
        self.register_buffer(
            'running_route', torch.full((num_experts,), 1 / num_experts)
        )

    @property
    def num_experts(self) -> int:
        """Number of experts."""
        return len(self.codebook)

    def forward(self, embedding: Tensor, known: Tensor) -> Route:
        """Choose experts.

        Args:
            embedding: Location embeddings, shape (B, F); what they hold where the place
                is unknown does not matter.
            known: Whether the place is known, bool, shape (B,).

        Returns:
            The route.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            logits = self.similarity(embedding.float())
            noisy = logits
            if self.training and self.noise_std:
                noisy = logits + self.noise_std * torch.randn_like(logits)
            weights = top_k_softmax(noisy, self.top_k)
            weights = torch.where(known[:, None], weights, self._fallback())
        if self.training:
            self._remember(weights.detach(), known)
        return Route(weights, logits, noisy, known)

    def similarity(self, embedding: Tensor) -> Tensor:
        """Compare places with the codebook.

        Args:
            embedding: Location embeddings, shape (B, F).

        Returns:
            Cosine similarities times the learned scale, shape (B, E).
        """
        places = F.normalize(self.projection(embedding), dim=1)
        codes = F.normalize(self.codebook, dim=1)
        scale = self.log_scale.clamp(max=math.log(MAX_SCALE)).exp()
        return scale * places @ codes.T

    def _fallback(self) -> Tensor:
        """Tell the weights of an image of unknown place, shape (E,)."""
        if self.unknown == 'shared':
            return torch.zeros_like(self.running_route)
        return top_k_softmax(
            self.running_route.clamp(min=1e-6).log()[None], self.top_k
        )[0]

    @torch.no_grad()
    def _remember(self, weights: Tensor, known: Tensor) -> None:
        """Follow the mean route of training images."""
        count = known.sum()
        mean = (weights * known[:, None]).sum(dim=0) / count.clamp(min=1)
        step = 0.01 * (count > 0)
        self.running_route += step * (mean - self.running_route)


def top_k_softmax(logits: Tensor, top_k: int) -> Tensor:
    """Share an image among its top k experts.

    A softmax over the k largest logits is the softmax over all of them, cut to the k
    largest and normalized again.

    Args:
        logits: Logits, shape (B, E).
        top_k: Number of experts.

    Returns:
        Weights, shape (B, E), zero for all other experts.
    """
    values, chosen = logits.topk(top_k, dim=1)
    return torch.zeros_like(logits).scatter(1, chosen, values.softmax(dim=1))
