# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""MultiUTAE: from a series of images to a series of feature maps."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .temporal_attention import TemporalAttention, attend_skip

#: Days between dates of which nothing is known: a month.
MONTH = 365.25 / 12


class SeriesMaps(NamedTuple):
    """Maps of a series."""

    #: Maps of the highest resolution, shape (B, T, width / 4, H, W).
    out: Tensor
    #: Maps of the four encoder blocks, from fine to coarse, date by date.
    encoder: tuple[Tensor, ...]


class ReflectedConv2d(nn.Conv2d):
    """Convolution with a border of one pixel that reflects the map.

    A map of one pixel cannot be reflected; there the border repeats it. (PyTorch's own
    ``padding_mode='reflect'`` refuses such maps, so that images of 8 pixels would fail.)
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve.

        Args:
            input: Maps, shape (N, C, H, W).

        Returns:
            Maps of the convolution.
        """
        height, width = input.shape[-2:]
        rows, columns = ('reflect' if n > 1 else 'replicate' for n in (height, width))
        if rows == columns:
            padded = F.pad(input, (1, 1, 1, 1), mode=rows)
        else:
            padded = F.pad(input, (1, 1, 0, 0), mode=columns)
            padded = F.pad(padded, (0, 0, 1, 1), mode=rows)
        return F.conv2d(padded, self.weight, self.bias, self.stride)


class ConvLayer(nn.Sequential):
    """Convolution with reflected borders, group normalization in 4 groups and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        """Initialize a new ConvLayer instance.

        Args:
            inputs: Number of input channels.
            outputs: Number of output channels.
            kernel: 3 to keep the resolution, 4 to halve it.
        """
        super().__init__(
            ReflectedConv2d(inputs, outputs, kernel, stride=kernel - 2),
            nn.GroupNorm(4, outputs),
            nn.ReLU(inplace=True),
        )


class DownBlock(nn.Module):
    """Halve the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Initialize a new DownBlock instance.

        Args:
            inputs: Number of input channels.
            outputs: Number of output channels.
        """
        super().__init__()
        self.down = ConvLayer(inputs, inputs, kernel=4)
        self.conv = ConvLayer(inputs, outputs)
        self.residual = ConvLayer(outputs, outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Compute maps.

        Args:
            maps: Maps, shape (N, inputs, H, W).

        Returns:
            Maps, shape (N, outputs, H / 2, W / 2).
        """
        maps = self.conv(self.down(maps))
        return maps + self.residual(maps)


class UpBlock(nn.Module):
    """Double the resolution and join the maps of the encoder."""

    def __init__(self, inputs: int, outputs: int, skip: int) -> None:
        """Initialize a new UpBlock instance.

        Args:
            inputs: Number of input channels.
            outputs: Number of output channels.
            skip: Number of channels of the encoder's maps.
        """
        super().__init__()
        self.up = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )
        self.skip = nn.Sequential(nn.Conv2d(skip, skip, 1), nn.ReLU(inplace=True))
        self.conv = ConvLayer(outputs + skip, outputs)
        self.residual = ConvLayer(outputs, outputs)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        """Compute maps.

        Args:
            maps: Maps, shape (N, inputs, H, W).
            skip: Maps of the encoder, shape (N, skip, 2 * H, 2 * W).

        Returns:
            Maps, shape (N, outputs, 2 * H, 2 * W).
        """
        maps = self.conv(torch.cat([self.up(maps), self.skip(skip)], dim=1))
        return maps + self.residual(maps)


class MultiUTAE(nn.Module):
    """U-Net over space with attention over time that keeps every date.

    The default backbone of CoDEX (section 3.3), from Vincent et al. [1]_ after U-TAE [2]_:
    260,416 parameters with four bands and a width of 64. Attention between dates is
    computed at an eighth of the resolution and mixes the dates of all skip connections
    too. Written anew: nothing runs twice, and dates without an image are left out by a
    mask; the published code runs every encoder block a second time on zeros, and looks for
    missing dates by pixels equal to zero after normalization, which finds none.

    .. [1] Vincent, Ponce and Aubry, Satellite image time series semantic change detection,
       2024, https://arxiv.org/abs/2407.07616
    .. [2] Garnot and Landrieu, Panoptic segmentation of satellite image time series, 2021,
       https://arxiv.org/abs/2107.07933
    """

    #: Height and width of images must be multiples of this.
    stride = 8

    def __init__(self, in_channels: int = 4, width: int = 64) -> None:
        """Initialize a new MultiUTAE instance.

        Args:
            in_channels: Number of bands C.
            width: Number of channels of the coarsest maps, a multiple of 32. 64 is that
                of the paper, 224 makes its larger network for classification.

        Raises:
            ValueError: If the width is no multiple of 32.
        """
        super().__init__()
        if width < 32 or width % 32:
            raise ValueError(f'width must be a multiple of 32, found {width}')
        half, quarter = width // 2, width // 4
        self.encoder_channels = (half, half, half, width)
        self.out_channels = quarter
        self.stem = nn.Sequential(ConvLayer(in_channels, half), ConvLayer(half, half))
        self.down = nn.ModuleList(
            [DownBlock(half, half), DownBlock(half, half), DownBlock(half, width)]
        )
        self.attention = TemporalAttention(width)
        self.up = nn.ModuleList(
            [
                UpBlock(width, half, half),
                UpBlock(half, quarter, half),
                UpBlock(quarter, quarter, half),
            ]
        )

    def forward(
        self, image: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> SeriesMaps:
        """Compute maps of every date.

        Args:
            image: Series, shape (B, T, C, H, W), H and W multiples of 8.
            dates: Days since 2018-01-01, shape (B, T). Default: one a month.
            valid: Which dates have an image, bool, shape (B, T); what stands in the
                others changes nothing at these. Default: all.

        Returns:
            Maps of the highest resolution, and those of the encoder.

        Raises:
            ValueError: If height or width do not fit.
        """
        batch, time, _, height, width = image.shape
        if height % self.stride or width % self.stride:
            raise ValueError(
                'MultiUTAE needs height and width that are multiples of 8, found'
                f' {height} x {width}'
            )
        if dates is None:
            dates = torch.arange(time, device=image.device).expand(batch, -1) * MONTH
        if valid is not None:
            image = image.masked_fill(~valid[:, :, None, None, None], 0)
            # A series without any image looks at all its zeros.
            valid = valid | ~valid.any(dim=1, keepdim=True)

        maps = [self.stem(image.flatten(0, 1))]
        for block in self.down:
            maps.append(block(maps[-1]))
        encoder = tuple(m.unflatten(0, (batch, time)) for m in maps)

        out, attention = self.attention(encoder[-1], dates, valid)
        out = out.flatten(0, 1)
        for block, skip in zip(self.up, reversed(encoder[:-1]), strict=True):
            out = block(out, attend_skip(attention, skip).flatten(0, 1))
        return SeriesMaps(out.unflatten(0, (batch, time)), encoder)
