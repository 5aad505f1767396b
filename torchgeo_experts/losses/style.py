# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The style of an image, as the statistics of its channels."""

import torch
from torch import Tensor

from .precision import at_least_single

#: Variation, in units of rounding, below which a channel is constant.
NOISE = 64


def transfer_statistics(
    content: Tensor,
    style: Tensor,
    strength: Tensor | float = 1.0,
    valid: Tensor | None = None,
    style_valid: Tensor | None = None,
) -> Tensor:
    r"""Give images the mean and the contrast of other images, channel by channel.

    .. math::
        (1 - s)\, x + s \left( \sigma(y) \frac{x - \mu(x)}{\sigma(x)} + \mu(y) \right)

    AdaIN (Huang & Belongie, "Arbitrary Style Transfer in Real-time with Adaptive
    Instance Normalization", 2017, equation 8) of pixels instead of features, with the
    statistics of each channel and image. StyleAugment (Chun & Park, 2021) has the
    features of a network between, and the other images of a batch as styles. Series are
    one image: all dates change alike, so that what changes over time still does.

    Nothing depends on units: a channel that is constant but for rounding has no contrast
    to scale, and gets the style's mean; it needs no small number beside the variance.

    Args:
        content: Images :math:`x`, shape (B, C, H, W), or series, shape (B, T, C, H, W).
        style: Images :math:`y` to take statistics from, of as many dimensions. Only
            batch and channels must be as many.
        strength: :math:`s`, from 0 to 1, one value or one a sample, shape (B,).
        valid: Of series, which dates of the content have an image, bool, shape (B, T).
            Others are in no statistic. Default: all.
        style_valid: The same of the style. A series without any image has no style, and
            its content stays as it is.

    Returns:
        Images, in the shape and type of the content.

    Raises:
        ValueError: If shapes do not fit.
    """
    _check(content, style)
    _check_dates(content, valid)
    _check_dates(style, style_valid)
    if isinstance(strength, Tensor):
        strength = strength.view(-1, *[1] * (content.ndim - 1))
    x = at_least_single(content)
    mean, std = _statistics(x, valid)
    new_mean, new_std = _statistics(at_least_single(style), style_valid)
    if style_valid is not None:
        has_style = style_valid.any(dim=1).view(-1, *[1] * (content.ndim - 1))
        strength = strength * has_style.to(x.dtype)
    varied = std > 0
    ratio = (new_std / std.where(varied, 1)).where(varied, 0)
    scale = 1 + strength * (ratio - 1)
    shift = strength * (new_mean - mean)
    return ((x - mean) * scale + mean + shift).to(content.dtype)


def _statistics(images: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute mean and standard deviation of channels, 0 if they are constant."""
    var, mean = torch.var_mean(images, dim=(-2, -1), correction=0, keepdim=True)
    if images.ndim == 5:
        dates = mean
        mean = _mean_over_time(dates, valid)
        # The variance is that within dates, and that between them.
        var = _mean_over_time(var + (dates - mean).square(), valid)
    rounding = NOISE * torch.finfo(images.dtype).eps * mean.detach()
    varied = var > rounding.square()
    # The root of 0 has no finite gradient.
    return mean, var.where(varied, 1).sqrt().where(varied, 0)


def _mean_over_time(values: Tensor, valid: Tensor | None) -> Tensor:
    """Average (B, T, C, 1, 1) over dates that have an image; 0 if none has."""
    if valid is None:
        return values.mean(dim=1, keepdim=True)
    seen = valid[:, :, None, None, None]
    total = values.where(seen, 0).sum(dim=1, keepdim=True)
    return total / seen.sum(dim=1, keepdim=True).clamp(min=1)


def _check(content: Tensor, style: Tensor) -> None:
    sizes = [
        (x.ndim, len(x), x.shape[-3]) for x in (content, style) if x.ndim in (4, 5)
    ]
    if len(sizes) < 2 or sizes[0] != sizes[1]:
        raise ValueError(
            'expected content and style (B, C, H, W) or (B, T, C, H, W) of as many'
            f' samples and channels, found {tuple(content.shape)} and'
            f' {tuple(style.shape)}'
        )


def _check_dates(series: Tensor, valid: Tensor | None) -> None:
    if valid is not None and (series.ndim != 5 or valid.shape != series.shape[:2]):
        raise ValueError(
            'valid tells which dates of series (B, T, C, H, W) have an image, and has the'
            f' shape (B, T): found {tuple(valid.shape)} for images of'
            f' {tuple(series.shape)}'
        )
