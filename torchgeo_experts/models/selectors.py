# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Selectors: how well will each expert do on this image?"""

from collections.abc import Sequence

from torch import Tensor, nn

from .backbones import Features, pooled_pyramid


class LinearSelector(nn.Module):
    """A linear layer on features pooled from several blocks, for classification.

    CoDEX, sections 3.2 and 3.3: it predicts the accuracy of each expert. It starts at zero,
    so that an untrained selector mixes all experts alike.
    """

    def __init__(self, channels: Sequence[int], num_domains: int) -> None:
        """Initialize a new LinearSelector instance.

        Args:
            channels: Number of channels of each map of the pyramid.
            num_domains: Number of experts D.
        """
        super().__init__()
        self.linear = nn.Linear(sum(channels), num_domains)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Features) -> Tensor:
        """Score the experts.

        Args:
            features: What the backbone gave.

        Returns:
            Predicted accuracies, shape (B, D).
        """
        scores: Tensor = self.linear(pooled_pyramid(features))
        return scores
