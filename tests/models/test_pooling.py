# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import pytest
import torch
import torch.nn.functional as F

from torchgeo_experts.models.backbones import Features
from torchgeo_experts.models.pooling import (
    mean_over_time,
    pool,
    pyramid_windows,
    window_means,
)
from torchgeo_experts.models.selectors import ConvSelector, DatewiseSelector


def test_pooling_is_the_mean_over_space_and_time() -> None:
    maps, series = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 3, 4, 5)
    torch.testing.assert_close(pool(maps), maps.flatten(2).mean(2))
    expected = series.transpose(1, 2).flatten(2).mean(2)
    torch.testing.assert_close(pool(series), expected)


def test_only_valid_dates_count() -> None:
    series = torch.randn(3, 4, 2, 5, 5)
    series[0, 2] = torch.nan
    valid = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]).bool()
    found = pool(series, valid)
    torch.testing.assert_close(found[0], pool(series[:1, [0, 1, 3]])[0])
    torch.testing.assert_close(found[1], series[1, 1].mean((-2, -1)))
    # Of none, all: a series without images must not become no number.
    torch.testing.assert_close(found[2], pool(series[2:])[0])
    everything = torch.ones_like(valid)
    values = torch.randn(3, 4, 7)
    torch.testing.assert_close(mean_over_time(values, everything), values.mean(1))


@pytest.mark.parametrize('height, width', [(7, 9), (2, 2), (1, 1), (1, 6), (16, 3)])
def test_window_means_give_the_mean_of_a_convolution(height: int, width: int) -> None:
    torch.manual_seed(0)
    maps = torch.randn(3, 4, height, width, dtype=torch.float64)
    weight = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    naive = F.conv2d(maps, weight, padding=1).mean((-2, -1))
    found = torch.einsum('bcij,dcij->bd', window_means(maps), weight)
    torch.testing.assert_close(found, naive)


def pyramid(time: int | None) -> list[torch.Tensor]:
    leading = (2,) if time is None else (2, time)
    return [
        torch.randn(*leading, c, s, s + 1, dtype=torch.float64, requires_grad=True)
        for c, s in ((3, 16), (5, 8), (4, 2))
    ]


def naive_scores(selector: ConvSelector, maps: list[torch.Tensor]) -> torch.Tensor:
    """A convolution a block, pooled over space, summed over blocks: (N, D)."""
    channels = [m.shape[-3] for m in maps]
    parts = selector.linear.weight.split([9 * c for c in channels], dim=1)
    scores = selector.linear.bias
    for part, count, block in zip(parts, channels, maps, strict=True):
        kernel = part.unflatten(1, (count, 3, 3))
        block = block if block.ndim == 4 else block.flatten(0, 1)
        scores = scores + F.conv2d(block, kernel, padding=1).mean((-2, -1))
    return scores


@pytest.mark.parametrize('time', [None, 3])
def test_selector_is_the_pooled_convolution(time: int | None) -> None:
    torch.manual_seed(0)
    maps = pyramid(time)
    selector = ConvSelector([3, 5, 4], 6).double()
    torch.nn.init.normal_(selector.linear.weight)
    torch.nn.init.normal_(selector.linear.bias)
    naive = naive_scores(selector, maps)
    if time is not None:
        naive = naive.unflatten(0, (2, time)).mean(1)
    found = selector(Features(maps[0], maps))
    torch.testing.assert_close(found, naive)
    inputs = [*maps, selector.linear.weight, selector.linear.bias]
    for a, b in zip(
        torch.autograd.grad(found.sin().sum(), inputs),
        torch.autograd.grad(naive.sin().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_datewise_selector_scores_each_date() -> None:
    maps = pyramid(3)
    selector = DatewiseSelector([3, 5, 4], 6).double()
    torch.nn.init.normal_(selector.linear.weight)
    expected = naive_scores(selector, maps).unflatten(0, (2, 3))
    torch.testing.assert_close(selector(Features(maps[0], maps)), expected)


def test_selector_does_not_see_missing_dates() -> None:
    maps = pyramid(4)
    selector = ConvSelector([3, 5, 4], 6).double()
    torch.nn.init.normal_(selector.linear.weight)
    valid = torch.tensor([[True, False, True, True]] * 2)
    found = selector(Features(maps[0], maps, valid))
    seen = [m[:, [0, 2, 3]] for m in maps]
    torch.testing.assert_close(found, selector(Features(seen[0], seen)))


def test_window_means_of_bfloat16_are_right_to_its_rounding() -> None:
    torch.manual_seed(0)
    maps = torch.rand(2, 3, 128, 128) + 1
    exact = window_means(maps)
    rounded = window_means(maps.bfloat16())
    # The rounding of the inputs only: sums are in single precision.
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 2**-8 * 2


def test_windows_are_features_of_all_blocks() -> None:
    maps = pyramid(None)
    windows = pyramid_windows(Features(maps[0], maps))
    assert windows.shape == (2, 9 * 12)
