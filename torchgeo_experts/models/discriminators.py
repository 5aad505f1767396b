# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Discriminators: which domain do features or predictions come from?"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class MLPDiscriminator(nn.Sequential):
    """Linear layers with normalization and ReLU, for features of whole images.

    Discriminator of DANN (Ganin et al., "Domain-Adversarial Training of Neural
    Networks", 2016) with the sizes of WILDS (Sagawa et al., "Extending the WILDS
    Benchmark for Unsupervised Adaptation", 2022), which has batch normalization. Here it
    is layer normalization: batches of one domain each, normalized by their own
    statistics, would hide just the shift that it is to find; and with it neither the
    other samples, nor ranks, nor a second pass with frozen weights change a result.
    """

    def __init__(
        self, in_features: int, num_outputs: int, width: int = 1024, depth: int = 2
    ) -> None:
        """Initialize a new MLPDiscriminator instance.

        Args:
            in_features: Number of features.
            num_outputs: Number of logits: one a domain, or a single one.
            width: Number of features of hidden layers.
            depth: Number of hidden layers. 0 leaves a linear layer.
        """
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(in_features, width), nn.LayerNorm(width), nn.ReLU()]
            in_features = width
        super().__init__(*layers, nn.Linear(in_features, num_outputs))


class ConvDiscriminator(nn.Module):
    """Five 4x4 convolutions with stride 2, for maps of predictions.

    Discriminator of AdvEnt (Vu et al., "ADVENT: Adversarial Entropy Minimization for
    Domain Adaptation in Semantic Segmentation", 2019), which judges patches. Each
    convolution halves the map, so that the smallest has 32 pixels a side: smaller maps
    are enlarged to that by repeating pixels, which has the effect of smaller strides in
    the first layers.
    """

    #: Side of the smallest map that five halvings leave a pixel of.
    SMALLEST = 32

    def __init__(self, in_channels: int, width: int = 64) -> None:
        """Initialize a new ConvDiscriminator instance.

        Args:
            in_channels: Number of classes.
            width: Number of channels after the first layer, and an eighth of the most.
        """
        super().__init__()
        widths = [in_channels, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for old, new in pairwise(widths):
            layers += [nn.Conv2d(old, new, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 2, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Judge patches.

        Args:
            maps: Maps such as those of
                :func:`~torchgeo_experts.losses.adversarial.information_map`, shape
                (B, C, H, W), or (B, C, T, H, W) of dates or of labels, which are judged
                one by one.

        Returns:
            Logits, shape (B, 1, h, w), or (B * T, 1, h, w), for maps of 32 pixels or
            more with h = H // 32 and w = W // 32.
        """
        images = maps.movedim(1, -3).flatten(0, -4)
        size = [max(side, self.SMALLEST) for side in images.shape[-2:]]
        if size != list(images.shape[-2:]):
            images = F.interpolate(images, size, mode='nearest-exact')
        logits: Tensor = self.layers(images)
        return logits
