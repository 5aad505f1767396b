# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import torchgeo_experts.models.multiutae as module
from torchgeo_experts.models import MultiUTAE
from torchgeo_experts.models.temporal_attention import (
    DateEncoding,
    GroupNormOverTime,
    TemporalAttention,
    attend_skip,
)

DATES = torch.tensor([[0, 31, 59, 90], [0, 10, 400, 699]])


def uncontracted(attention: Tensor, skip: Tensor) -> Tensor:
    """Enlarge all weights, multiply them with every date, and sum afterwards."""
    batch, _, _, heads, time, _ = attention.shape
    weights = attention.permute(3, 0, 4, 5, 1, 2).flatten(0, 2)
    weights = F.interpolate(
        weights, skip.shape[-2:], mode='bilinear', align_corners=False
    )
    weights = weights.view(heads, batch, time, time, *skip.shape[-2:])
    values = torch.stack(skip.chunk(heads, dim=2))
    every = weights[:, :, :, :, None] * values[:, :, None]
    return torch.cat(list(every.sum(3)), dim=2)


class TestParameters:
    @pytest.mark.parametrize(
        'in_channels, width, count',
        [(4, 64, 260_416), (3, 64, 260_128), (3, 224, 3_087_408)],
    )
    def test_as_many_as_published(
        self, in_channels: int, width: int, count: int
    ) -> None:
        net = MultiUTAE(in_channels, width)
        assert sum(p.numel() for p in net.parameters()) == count

    def test_parts(self) -> None:
        """Counts of the published code's parts, from its description."""
        net = MultiUTAE(4)
        parts = (net.stem, net.down, net.attention, net.up)
        counts = [sum(p.numel() for p in part.parameters()) for part in parts]
        assert counts == [10_560, 142_368, 12_736, 94_752]

    def test_width_is_checked(self) -> None:
        with pytest.raises(ValueError, match='multiple of 32, found 48'):
            MultiUTAE(width=48)


class TestAttendSkip:
    @pytest.mark.parametrize('scale', [2, 4, 8])
    @pytest.mark.parametrize('time', [1, 3])
    def test_is_the_uncontracted_sum(self, scale: int, time: int) -> None:
        torch.manual_seed(0)
        scores = torch.randn(2, 3, 4, 4, time, time, dtype=torch.float64)
        scores.requires_grad_()
        shape = (2, time, 8, 3 * scale, 4 * scale)
        skip = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        out = torch.randn(shape, dtype=torch.float64)
        found, expected = (
            (mixed, *torch.autograd.grad((mixed * out).sum(), (scores, skip)))
            for mixed in (
                attend_skip(scores.softmax(-1), skip),
                uncontracted(scores.softmax(-1), skip),
            )
        )
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b)

    def test_bfloat16_is_right_to_its_rounding(self) -> None:
        torch.manual_seed(0)
        attention = torch.randn(1, 4, 4, 2, 6, 6).softmax(-1)
        skip = torch.randn(1, 6, 4, 32, 32)
        exact = attend_skip(attention, skip)
        with torch.autocast('cpu', torch.bfloat16):
            rounded = attend_skip(attention, skip)
        # Weights sum to one: roundings of weights, values and four corners.
        assert (rounded - exact).abs().max() < 6 * 2**-8 * skip.abs().max()

    def test_dates_that_look_at_themselves_stay(self) -> None:
        skip = torch.randn(2, 3, 8, 16, 24)
        attention = torch.eye(3).expand(2, 2, 3, 4, 3, 3)
        torch.testing.assert_close(attend_skip(attention, skip), skip)


class TestDateEncoding:
    def test_denominators(self) -> None:
        """The numbers that the published code gives with 64 channels and 16 heads."""
        days = DateEncoding(64, 16).days
        expected = torch.tensor([138.95, 138.95, 372.76, 372.76])
        torch.testing.assert_close(days, expected, atol=0.01, rtol=0)

    def test_codes(self) -> None:
        code = DateEncoding(64, 16)(DATES)
        days = DateEncoding(64, 16).days
        for channel in range(64):
            wave = np.sin if channel % 2 == 0 else np.cos
            expected = wave(DATES.numpy() / days[channel % 4].item())
            np.testing.assert_allclose(code[..., channel], expected, atol=1e-5)


def test_norm_over_time_leaves_invalid_dates_out() -> None:
    norm = GroupNormOverTime(4, 8).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    sequences = torch.randn(3, 5, 8, dtype=torch.float64)
    everything = torch.ones(3, 5, dtype=torch.bool)
    torch.testing.assert_close(norm(sequences, everything), norm(sequences))
    valid = torch.tensor([[1, 1, 0, 1, 0]] * 3).bool()
    found = norm(sequences, valid)[:, [0, 1, 3]]
    torch.testing.assert_close(found, norm(sequences[:, [0, 1, 3]]))


def test_attention_by_hand() -> None:
    """Each pixel, head and date in loops."""
    torch.manual_seed(0)
    layer = TemporalAttention(32, heads=4).double().eval()
    maps = torch.randn(2, 4, 32, 2, 3, dtype=torch.float64)
    out, attention = layer(maps, DATES)
    pixel = maps[1, :, :, 1, 2]
    sequence = F.group_norm(pixel.T[None], 4, layer.in_norm.weight, layer.in_norm.bias)[
        0
    ].T
    sequence = sequence + layer.date_encoding(DATES)[1]
    query, key = layer.query(sequence), layer.key(sequence)
    mixed = torch.empty(4, 32, dtype=torch.float64)
    for head in range(4):
        part = slice(4 * head, 4 * head + 4)
        for t in range(4):
            scores = torch.stack([query[t, part] @ key[u, part] / 2 for u in range(4)])
            weights = scores.softmax(0)
            torch.testing.assert_close(attention[1, 1, 2, head, t], weights)
            channels = slice(8 * head, 8 * head + 8)
            mixed[t, channels] = weights @ sequence[:, channels]
    expected = F.group_norm(
        F.relu(F.linear(mixed, layer.mlp[0].weight, layer.mlp[0].bias)),
        *(4, layer.out_norm.weight, layer.out_norm.bias),
    )
    torch.testing.assert_close(out[1, :, :, 1, 2], expected)


class TestForward:
    def net(self, **kwargs: Any) -> MultiUTAE:
        torch.manual_seed(0)
        return MultiUTAE(3, 32, **kwargs).eval()

    def test_equals_the_net_with_uncontracted_attention(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        net = self.net()
        image = torch.randn(2, 4, 3, 16, 24)
        found = net(image, DATES).out
        monkeypatch.setattr(module, 'attend_skip', uncontracted)
        torch.testing.assert_close(found, net(image, DATES).out, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize(
        'time, height, width', [(1, 16, 40), (5, 24, 16), (3, 8, 8), (2, 8, 24)]
    )
    def test_sizes(self, time: int, height: int, width: int) -> None:
        maps = self.net()(torch.randn(2, time, 3, height, width))
        assert maps.out.shape == (2, time, 8, height, width)
        shapes = [tuple(m.shape[2:]) for m in maps.encoder]
        halves = [(height // s, width // s) for s in (1, 2, 4, 8)]
        assert shapes == [
            (c, *s) for c, s in zip((16, 16, 16, 32), halves, strict=True)
        ]

    def test_size_is_checked(self) -> None:
        with pytest.raises(ValueError, match='found 20 x 32'):
            self.net()(torch.randn(1, 1, 3, 20, 32))

    def test_convolutions_are_those_of_pytorch(self) -> None:
        """But for maps of one pixel, which cannot be reflected."""
        torch.manual_seed(0)
        layer = module.ReflectedConv2d(3, 5, 4, stride=2)
        expected = nn.Conv2d(3, 5, 4, stride=2, padding=1, padding_mode='reflect')
        expected.load_state_dict(layer.state_dict())
        maps = torch.randn(2, 3, 6, 8)
        torch.testing.assert_close(layer(maps), expected(maps))
        small = module.ReflectedConv2d(3, 5, 3)
        row = torch.randn(2, 3, 1, 6)
        padded = torch.cat([row[..., 1:2], row, row[..., 4:5]], dim=-1)
        padded = padded.expand(-1, -1, 3, -1)
        expected_row = F.conv2d(padded, small.weight, small.bias)
        torch.testing.assert_close(small(row), expected_row)

    def test_missing_dates_change_nothing(self) -> None:
        """Not even if they hold no numbers."""
        net = self.net()
        image = torch.randn(2, 4, 3, 16, 16)
        short = net(image[:, [0, 1, 3]], DATES[:, [0, 1, 3]]).out
        valid = torch.tensor([[True, True, False, True]] * 2)
        for garbage in (0.0, 1e6, torch.nan):
            padded = image.clone()
            padded[:, 2] = garbage
            found = net(padded, DATES, valid).out
            torch.testing.assert_close(found[:, [0, 1, 3]], short, atol=1e-5, rtol=1e-4)
            assert found.isfinite().all()

    def test_black_images_are_images(self) -> None:
        """Padding is what the mask says, never what pixels look like."""
        net = self.net()
        image = torch.randn(1, 3, 3, 16, 16)
        image[:, 1] = 0
        with_black = net(image, DATES[:1, :3]).out[:, 0]
        without = net(image[:, [0, 2]], DATES[:1, [0, 2]]).out[:, 0]
        assert (with_black - without).abs().max() > 1e-3

    def test_series_without_images_have_finite_gradients(self) -> None:
        net = self.net()
        valid = torch.tensor([[False] * 4, [True] * 4])
        out = net(torch.randn(2, 4, 3, 16, 16), DATES, valid).out
        out.sum().backward()
        assert all(p.grad.isfinite().all() for p in net.parameters())  # type: ignore[union-attr]

    def test_dates_matter_and_default_to_months(self) -> None:
        net = self.net()
        image = torch.randn(1, 4, 3, 16, 16)
        months = torch.tensor([[0.0, 30.4375, 60.875, 91.3125]])
        torch.testing.assert_close(net(image).out, net(image, months).out)
        assert (net(image, DATES[1:]).out - net(image).out).abs().max() > 1e-3
