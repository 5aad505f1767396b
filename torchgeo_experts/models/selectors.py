# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Selectors: how well will each expert do on this image?"""

from collections.abc import Sequence

from torch import Tensor, nn

from .backbones import Features
from .pooling import mean_over_time, pooled_pyramid, pyramid_windows


class Selector(nn.Module):
    """A linear layer on pooled features.

    It starts at zero, so that an untrained selector mixes all experts alike.
    """

    def __init__(self, in_features: int, num_domains: int) -> None:
        """Initialize a new Selector instance.

        Args:
            in_features: Number of pooled features.
            num_domains: Number of experts D.
        """
        super().__init__()
        self.linear = nn.Linear(in_features, num_domains)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def score(self, pooled: Tensor) -> Tensor:
        """Score the experts.

        Args:
            pooled: Pooled features, shape (..., number of features).

        Returns:
            Predicted accuracies, shape (..., D).
        """
        scores: Tensor = self.linear(pooled.to(self.linear.weight.dtype))
        return scores


class LinearSelector(Selector):
    """A linear layer on features pooled from several blocks, for classification.

    CoDEX, sections 3.2 and 3.3: it predicts the accuracy of each expert.
    """

    def __init__(self, channels: Sequence[int], num_domains: int) -> None:
        """Initialize a new LinearSelector instance.

        Args:
            channels: Number of channels of each map of the pyramid.
            num_domains: Number of experts D.
        """
        super().__init__(sum(channels), num_domains)

    def forward(self, features: Features) -> Tensor:
        """Score the experts.

        Args:
            features: What the backbone gave.

        Returns:
            Predicted accuracies, shape (B, D).
        """
        return self.score(pooled_pyramid(features))


class ConvSelector(Selector):
    """A 3x3 convolution on several blocks, pooled over space and time, for maps.

    CoDEX, section 3.3: "a 3x3 convolution that takes as input features from different
    encoder blocks concatenated along the channel dimension which are then pooled
    spatially and temporally". Blocks have different resolutions; each is convolved at
    its own, as in the published code, which has several convolutions a block and reads
    the decoder too. As nothing stands between convolution and mean, the mean is taken
    first: a linear layer on window means, with the weights of the convolution.
    """

    def __init__(self, channels: Sequence[int], num_domains: int) -> None:
        """Initialize a new ConvSelector instance.

        Args:
            channels: Number of channels of each map of the pyramid.
            num_domains: Number of experts D.
        """
        super().__init__(9 * sum(channels), num_domains)

    def forward(self, features: Features) -> Tensor:
        """Score the experts.

        Args:
            features: What the backbone gave.

        Returns:
            Predicted accuracies, shape (B, D).
        """
        means = pyramid_windows(features)
        if means.ndim == 3:
            means = mean_over_time(means, features.valid)
        return self.score(means)


class DatewiseSelector(ConvSelector):
    """A selector that chooses for each date of a series.

    The ablation without temporal pooling of CoDEX, section 4.3 and table 3.
    """

    def forward(self, features: Features) -> Tensor:
        """Score the experts.

        Args:
            features: What the backbone gave of series.

        Returns:
            Predicted accuracies, shape (B, T, D).
        """
        return self.score(pyramid_windows(features))
