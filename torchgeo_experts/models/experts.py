# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Banks of expert heads, one a training domain, mixed by their weights."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Most logits that a chunk of experts may produce at once (64 MiB in float32).
CHUNK_LOGITS = 2**24


class ExpertBank(nn.Module, ABC):
    r"""Heads that are linear in their weights, one a training domain.

    As each head is linear, a mixture of predictions is the prediction of the mixed head:

    .. math:: \sum_d p_d (W_d f + b_d) = \Big(\sum_d p_d W_d\Big) f + \sum_d p_d b_d

    so a mixture costs one head a sample, whatever the number of experts. Source of the
    heads: CoDEX, sections 3.1 and 3.3 (3x3 convolutions for maps, linear layers for
    classification). The published code has two layers with ReLU in each head, for
    which this does not hold; the paper's text has one, which we take.
    """

    #: Weights of all heads, shape (D, C, F, ...).
    weight: nn.Parameter
    #: Biases of all heads, shape (D, C).
    bias: nn.Parameter

    def __init__(
        self, num_domains: int, in_features: int, num_classes: int, *kernel: int
    ) -> None:
        """Initialize a new ExpertBank instance.

        Each head starts like a layer of PyTorch's of the same shape.

        Args:
            num_domains: Number of experts D.
            in_features: Number of features F that a head reads.
            num_classes: Number of logits C that a head gives.
            *kernel: Size of the kernel of a convolution.
        """
        super().__init__()
        self.num_domains = num_domains
        self.num_classes = num_classes
        bound = (in_features * prod(kernel)) ** -0.5
        shape = (num_domains, num_classes)
        self.weight = nn.Parameter(
            torch.empty(*shape, in_features, *kernel).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

    def forward(self, features: Tensor, domain: Tensor) -> Tensor:
        """Let each sample's expert predict.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).
            domain: Expert of each sample, int64, shape (B,).

        Returns:
            Logits, shape (B, C, ...).
        """
        return self.apply_heads(features, self.weight[domain], self.bias[domain])

    def mix(self, features: Tensor, mixture: Tensor) -> Tensor:
        """Predict with a mixture of all experts, at the cost of one.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).
            mixture: Weight of each expert, shape (B, D).

        Returns:
            Logits, shape (B, C, ...).
        """
        mixture = mixture.to(self.weight.dtype)
        shape = self.weight.shape[1:]
        weight = (mixture @ self.weight.flatten(1)).unflatten(1, shape)
        return self.apply_heads(features, weight, mixture @ self.bias)

    def chunks(self, features: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Let every expert predict, some experts at a time, in bounded memory.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).

        Yields:
            Which experts these are, and their logits, shape (B, E, C, ...).
        """
        # A map has as many logits a class as features a channel.
        logits = self.num_classes * features.numel() // self.weight.shape[2]
        size = max(1, CHUNK_LOGITS // max(1, logits))
        for start in range(0, self.num_domains, size):
            experts = slice(start, min(start + size, self.num_domains))
            yield experts, self.each(features, experts)

    @abstractmethod
    def apply_heads(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Apply to each sample a head of its own.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).
            weight: Weight of each sample's head, shape (B, C, F, ...).
            bias: Bias of each sample's head, shape (B, C).

        Returns:
            Logits, shape (B, C, ...).
        """

    @abstractmethod
    def each(self, features: Tensor, experts: slice) -> Tensor:
        """Let some experts predict on all samples.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).
            experts: Which experts.

        Returns:
            Logits, shape (B, E, C, ...).
        """


class LinearExperts(ExpertBank):
    """Linear heads on pooled features, for classification."""

    def __init__(self, num_domains: int, in_features: int, num_classes: int) -> None:
        """Initialize a new LinearExperts instance.

        Args:
            num_domains: Number of experts D.
            in_features: Number of features F that a head reads.
            num_classes: Number of logits C that a head gives.
        """
        super().__init__(num_domains, in_features, num_classes)

    def apply_heads(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Apply to each sample a head of its own."""
        return torch.einsum('bcf,bf->bc', weight, features) + bias

    def each(self, features: Tensor, experts: slice) -> Tensor:
        """Let some experts predict on all samples."""
        weight, bias = self.weight[experts], self.bias[experts]
        logits = F.linear(features, weight.flatten(0, 1), bias.flatten())
        return logits.unflatten(1, weight.shape[:2])


class ConvExperts(ExpertBank):
    """3x3 convolutions on feature maps, for segmentation and change detection.

    Time series keep their dates: all dates of a sample share its head.
    """

    def __init__(self, num_domains: int, in_features: int, num_classes: int) -> None:
        """Initialize a new ConvExperts instance.

        Args:
            num_domains: Number of experts D.
            in_features: Number of channels F of the map that a head reads.
            num_classes: Number of logits C that a head gives.
        """
        super().__init__(num_domains, in_features, num_classes, 3, 3)

    def apply_heads(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Apply to each sample a head of its own."""
        logits = [
            F.conv2d(f if f.ndim == 4 else f[None], w, b, padding=1)
            for f, w, b in zip(features, weight, bias, strict=True)
        ]
        if features.ndim == 4:
            return torch.cat(logits)
        return torch.stack(logits).transpose(1, 2)

    def each(self, features: Tensor, experts: slice) -> Tensor:
        """Let some experts predict on all samples."""
        weight, bias = self.weight[experts], self.bias[experts]
        maps = features if features.ndim == 4 else features.flatten(0, 1)
        logits = F.conv2d(maps, weight.flatten(0, 1), bias.flatten(), padding=1)
        logits = logits.unflatten(1, weight.shape[:2])
        if features.ndim == 4:
            return logits
        return logits.unflatten(0, features.shape[:2]).movedim(1, 3)
