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
            domain: Expert of each sample, int64, shape (B,), or of each date, (B, T).

        Returns:
            Logits, shape (B, C, ...).
        """
        return self.apply_heads(features, self.weight[domain], self.bias[domain])

    def mix(self, features: Tensor, mixture: Tensor) -> Tensor:
        """Predict with a mixture of all experts, at the cost of one.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).
            mixture: Weight of each expert, shape (B, D), or for each date, (B, T, D).

        Returns:
            Logits, shape (B, C, ...).
        """
        return self.apply_heads(features, *self.mix_heads(mixture))

    def mix_heads(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        """Mix the weights of all experts.

        Args:
            mixture: Weight of each expert, shape (..., D).

        Returns:
            Weights (..., C, F, ...) and biases (..., C) of mixed heads.
        """
        mixture = mixture.to(self.weight.dtype)
        weight = mixture @ self.weight.flatten(1)
        return weight.unflatten(-1, self.weight.shape[1:]), mixture @ self.bias

    def forward_and_mix(
        self, features: Tensor, domain: Tensor, mixture: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predict with each sample's expert and with a mixture, at the cost of one head.

        Both heads are one with twice the logits: features are read once, and most of a
        head's time is spent on reading.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).
            domain: Expert of each sample, int64, shape (B,).
            mixture: Weight of each expert, shape (B, D).

        Returns:
            Logits of :meth:`forward` and of :meth:`mix`, shape (B, C, ...) each.
        """
        weight, bias = self.mix_heads(mixture)
        weight = torch.cat([self.weight[domain], weight], dim=1)
        bias = torch.cat([self.bias[domain], bias], dim=1)
        own, mixed = self.apply_heads(features, weight, bias).chunk(2, dim=1)
        return own, mixed

    def chunks(
        self, features: Tensor, experts: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Let experts predict on all samples, some at a time, in bounded memory.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).
            experts: Which experts, int64, shape (E,). Default: all.

        Yields:
            Which experts these are, and their logits, shape (B, E, C, ...).
        """
        if experts is None:
            experts = torch.arange(self.num_domains, device=features.device)
        size = max(1, CHUNK_LOGITS // max(1, self.count_logits(features)))
        for some in experts.split(size):
            yield some, self.each(features, some)

    def count_logits(self, features: Tensor) -> int:
        """Count the logits that one expert gives.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).

        Returns:
            Their number.
        """
        # A map has as many logits a class as features a channel.
        return self.num_classes * features.numel() // self.weight.shape[2]

    @abstractmethod
    def apply_heads(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Apply to each sample a head of its own.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).
            weight: Weight of each sample's head, shape (B, C, F, ...), or of each
                date's, (B, T, C, F, ...).
            bias: Bias of each sample's head, shape (B, C), or of each date's, (B, T, C).

        Returns:
            Logits, shape (B, C, ...).
        """

    @abstractmethod
    def each(self, features: Tensor, experts: Tensor) -> Tensor:
        """Let some experts predict on all samples.

        Args:
            features: Features, shape (B, F, ...) or (B, T, F, H, W).
            experts: Which experts, int64, shape (E,).

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

    def each(self, features: Tensor, experts: Tensor) -> Tensor:
        """Let some experts predict on all samples."""
        weight, bias = self.weight[experts], self.bias[experts]
        logits = F.linear(features, weight.flatten(0, 1), bias.flatten())
        return logits.unflatten(1, weight.shape[:2])


class ConvExperts(ExpertBank):
    """3x3 convolutions on feature maps, for segmentation.

    Time series keep their dates: all dates of a sample share its head, unless each is
    given one of its own.
    """

    def __init__(
        self, num_domains: int, in_features: int, num_classes: int, upsampling: int = 1
    ) -> None:
        """Initialize a new ConvExperts instance.

        Args:
            num_domains: Number of experts D.
            in_features: Number of channels F of the map that a head reads.
            num_classes: Number of logits C that a head gives.
            upsampling: By how much logits are enlarged, bilinearly, which is linear too.
        """
        super().__init__(num_domains, in_features, num_classes, 3, 3)
        self.upsampling = upsampling

    def count_logits(self, features: Tensor) -> int:
        """Count the logits that one expert gives."""
        return super().count_logits(features) * self.upsampling**2

    def apply_heads(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Apply to each sample, or to each of its dates, a head of its own."""
        if not len(features):
            # Of a batch that is padding only, no sample is left.
            first = torch.zeros(1, dtype=torch.long, device=features.device)
            return ConvExperts.each(self, features, first).squeeze(1)
        if bias.ndim == 3:
            heads = weight.flatten(0, 1), bias.flatten(0, 1)
            logits = self.apply_heads(features.flatten(0, 1), *heads)
            return self._series(logits, features)
        # The dates of a series are a batch that shares its head.
        batches = features if features.ndim == 5 else features[:, None]
        samples = zip(batches, weight, bias, strict=True)
        logits = torch.cat([F.conv2d(f, w, b, padding=1) for f, w, b in samples])
        logits = self.enlarge(logits)
        return logits if features.ndim == 4 else self._series(logits, features)

    def each(self, features: Tensor, experts: Tensor) -> Tensor:
        """Let some experts predict on all samples."""
        weight, bias = self.weight[experts], self.bias[experts]
        maps = features if features.ndim == 4 else features.flatten(0, 1)
        logits = F.conv2d(maps, weight.flatten(0, 1), bias.flatten(), padding=1)
        logits = self.enlarge(logits).unflatten(1, weight.shape[:2])
        if features.ndim == 4:
            return logits
        return logits.unflatten(0, features.shape[:2]).movedim(1, 3)

    def enlarge(self, logits: Tensor) -> Tensor:
        """Enlarge logits to the size of the image, as segmentation_models_pytorch does.

        Args:
            logits: Logits, shape (N, C, H, W).

        Returns:
            Logits, shape (N, C, s * H, s * W).
        """
        if self.upsampling == 1:
            return logits
        return F.interpolate(
            logits, scale_factor=self.upsampling, mode='bilinear', align_corners=True
        )

    def _series(self, logits: Tensor, features: Tensor) -> Tensor:
        """Bring logits of all dates, (B * T, C, H, W), into the shape (B, C, T, H, W)."""
        return logits.unflatten(0, features.shape[:2]).transpose(1, 2)


class ChangeExperts(ConvExperts):
    """3x3 convolutions on two dates, whose logits are subtracted, for change detection.

    CoDEX, section 3.3: "we subtract the logits predicted for the two consecutive images
    and supervise it with the true binary change map". The difference of logits is the
    convolution of the difference, except for the bias, which cancels: we keep it as the
    threshold of change, since unchanged pixels would stand at a probability of one half
    without it.
    """

    def apply_heads(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Apply to each pair, features (B, 2, F, H, W), a head of its own."""
        return super().apply_heads(_difference(features), weight, bias)

    def each(self, features: Tensor, experts: Tensor) -> Tensor:
        """Let some experts predict on all pairs."""
        return super().each(_difference(features), experts)


def _difference(features: Tensor) -> Tensor:
    before, after = features.unbind(dim=1)
    return after - before
