# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Augmentations of images with more bands than red, green and blue."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from kornia.augmentation import IntensityAugmentationBase2D
from kornia.augmentation.random_generator import PlainUniformGenerator
from kornia.color import rgb_to_grayscale
from kornia.enhance import adjust_hue
from torch import Tensor


class BandColorJitter(IntensityAugmentationBase2D):
    """Change brightness, contrast, saturation and hue of images with any bands.

    Red, green and blue are jittered as by the ``ColorJitter`` of torchvision and kornia.
    The other bands, where colour means nothing, get a brightness and a contrast drawn
    anew, the same for all of them. The published CoDEX code does so with its infrared
    band, all ranges being 0.5.

    Datamodules augment images that are normalized already. There black may be any
    number, and ``ColorJitter`` would cut off all that is not in [0, 1]. So this one goes
    back to what was measured, for which it needs the ``mean`` and ``std`` of the
    datamodule; a mean of 0 and a single standard deviation, as 0 and 255, need not be
    given. Nothing is cut off, as measurements have no upper end. Without that, the order
    of the four hardly matters: it is not random, and hue comes last.

    All dates of a series are jittered alike, with contrast about the mean of each date.
    They come folded into channels, which is why the number of bands has to be given.
    """

    def __init__(
        self,
        num_bands: int,
        rgb: Sequence[int] = (0, 1, 2),
        brightness: float = 0.5,
        contrast: float = 0.5,
        saturation: float = 0.5,
        hue: float = 0.5,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        p: float = 1.0,
    ) -> None:
        """Initialize a new BandColorJitter instance.

        Args:
            num_bands: Number of bands C of one date.
            rgb: Positions of the red, the green and the blue band.
            brightness: Range of the factor of an image: from 1 - brightness, but at
                least 0, to 1 + brightness. Likewise:
            contrast: Range of the factor of differences to the mean of an image.
            saturation: Range of the factor of differences to grey.
            hue: Hue is turned by up to this share of a full turn, at most 0.5.
            mean: Mean that was subtracted from images, one value or one a band.
            std: Standard deviation that images were divided by, one value or one a band.
            p: Probability of a sample to be jittered.

        Raises:
            ValueError: If bands, statistics or ranges do not fit.
        """
        super().__init__(p=p)
        if len(rgb) != 3 or len(set(rgb) & set(range(num_bands))) != 3:
            raise ValueError(
                f'rgb must be three bands from 0 to {num_bands - 1}, found {tuple(rgb)}'
            )
        self.num_bands = num_bands
        self.rgb = tuple(rgb)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer('mean', _by_band(mean, num_bands), persistent=False)
        self.register_buffer('std', _by_band(std, num_bands), persistent=False)
        positive = (0.0, math.inf)
        self._param_generator = PlainUniformGenerator(
            (brightness, 'brightness', 1.0, positive),
            (contrast, 'contrast', 1.0, positive),
            (saturation, 'saturation', 1.0, positive),
            (hue, 'hue', 0.0, (-0.5, 0.5)),
            (brightness, 'other_brightness', 1.0, positive),
            (contrast, 'other_contrast', 1.0, positive),
        )

    def apply_transform(
        self,
        input: Tensor,
        params: dict[str, Tensor],
        flags: dict[str, Any],
        transform: Tensor | None = None,
    ) -> Tensor:
        """Jitter a batch.

        Args:
            input: Normalized images, shape (B, C, H, W), or series, shape
                (B, T * C, H, W).
            params: Factors of each sample, shape (B,).
            flags: Not used.
            transform: Not used.

        Returns:
            Images of the same shape.

        Raises:
            ValueError: If the channels are no multiple of the bands.
        """
        if input.shape[1] % self.num_bands:
            raise ValueError(
                f'num_bands={self.num_bands} does not fit {input.shape[1]} channels'
            )
        mean, std = self.mean.to(input), self.std.to(input)
        frames = input.unflatten(1, (-1, self.num_bands)) * std + mean
        bands = list(frames.split(1, dim=-3))
        colours = torch.cat([bands[i] for i in self.rgb], dim=-3)
        jittered = dict(zip(self.rgb, _jitter_colours(colours, params), strict=True))
        for i, band in enumerate(bands):
            bands[i] = jittered[i] if i in jittered else _jitter_grey(band, params)
        return ((torch.cat(bands, dim=-3) - mean) / std).flatten(1, 2)


def _jitter_grey(band: Tensor, params: dict[str, Tensor]) -> Tensor:
    """Jitter a band of its own, shape (B, T, 1, H, W)."""
    bright = band * _factor(params['other_brightness'], band)
    mean = bright.mean(dim=(-2, -1), keepdim=True)
    return mean.lerp(bright, _factor(params['other_contrast'], band))


def _jitter_colours(rgb: Tensor, params: dict[str, Tensor]) -> tuple[Tensor, ...]:
    """Jitter red, green and blue, shape (B, T, 3, H, W), and part them."""
    rgb = rgb * _factor(params['brightness'], rgb)
    mean = rgb_to_grayscale(rgb).mean(dim=(-2, -1), keepdim=True)
    rgb = mean.lerp(rgb, _factor(params['contrast'], rgb))
    rgb = rgb_to_grayscale(rgb).lerp(rgb, _factor(params['saturation'], rgb))
    # Hue is that of the differences to the lowest colour, whatever that one is. Kornia
    # wants positive numbers.
    lowest = rgb.amin(dim=-3, keepdim=True)
    turn = _factor(params['hue'], rgb) * 2 * math.pi
    return (lowest + adjust_hue(rgb - lowest, turn)).split(1, dim=-3)


def _factor(values: Tensor, images: Tensor) -> Tensor:
    """Give the factors of samples the dimensions of images."""
    return values.to(images).view(-1, *[1] * (images.ndim - 1))


def _by_band(values: float | Sequence[float], num_bands: int) -> Tensor:
    """Give statistics the dimensions of images."""
    by_band = torch.as_tensor(values, dtype=torch.float32).reshape(-1, 1, 1)
    if len(by_band) not in (1, num_bands):
        raise ValueError(
            f'mean and std must have one value or {num_bands}, found {len(by_band)}'
        )
    return by_band
