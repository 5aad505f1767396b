# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.style import transfer_statistics

SHAPES = [(4, 3, 6, 7), (4, 2, 3, 6, 7)]


def pair(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    content = torch.randn(shape, generator=generator, dtype=torch.float64)
    style = torch.randn(shape, generator=generator, dtype=torch.float64)
    return content, 3 * style - 2


def naive(content: Tensor, style: Tensor, strength: list[float]) -> np.ndarray:
    """One image and one channel at a time."""
    found = content.numpy().copy()
    for b in range(len(content)):
        for c in range(content.shape[-3]):
            x, y = content[b, ..., c, :, :].numpy(), style[b, ..., c, :, :].numpy()
            new = y.std() * (x - x.mean()) / x.std() + y.mean()
            found[b, ..., c, :, :] = (1 - strength[b]) * x + strength[b] * new
    return found


@pytest.mark.parametrize('shape', SHAPES)
class TestTransfer:
    def test_matches_the_formula(self, shape: tuple[int, ...]) -> None:
        content, style = pair(shape)
        found = transfer_statistics(content, style, 0.3)
        np.testing.assert_allclose(found, naive(content, style, [0.3] * 4))
        strength = torch.tensor([0.0, 0.2, 0.9, 1.0], dtype=torch.float64)
        found = transfer_statistics(content, style, strength)
        np.testing.assert_allclose(found, naive(content, style, strength.tolist()))

    def test_default_takes_all_of_the_style(self, shape: tuple[int, ...]) -> None:
        content, style = pair(shape)
        found = transfer_statistics(content, style)
        dims = (-2, -1) if len(shape) == 4 else (1, -2, -1)
        torch.testing.assert_close(found.mean(dims), style.mean(dims))
        torch.testing.assert_close(found.std(dims), style.std(dims))

    def test_own_style_changes_nothing(self, shape: tuple[int, ...]) -> None:
        content, _ = pair(shape)
        torch.testing.assert_close(transfer_statistics(content, content), content)

    @pytest.mark.parametrize('scale', [1e-4, 1e4])
    def test_units_do_not_matter(self, scale: float, shape: tuple[int, ...]) -> None:
        content, style = (x.float() for x in pair(shape))
        expected = transfer_statistics(content, style, 0.5)
        found = transfer_statistics(scale * content, scale * style, 0.5)
        torch.testing.assert_close(found / scale, expected)

    @pytest.mark.parametrize('level', [0.0, 0.1, -3.3, 12345.6])
    def test_constant_images(self, level: float, shape: tuple[int, ...]) -> None:
        content, style = (x.float() for x in pair(shape))
        flat = torch.full_like(content, level).requires_grad_()
        with torch.autograd.detect_anomaly(check_nan=True):
            found = transfer_statistics(flat, style)
            found.square().sum().backward()
        assert flat.grad is not None and flat.grad.isfinite().all()
        dims = (-2, -1) if len(shape) == 4 else (1, -2, -1)
        mean = style.mean(dims, keepdim=True)
        tolerance = 1e-5 * max(1.0, abs(level))
        torch.testing.assert_close(
            found, mean.expand_as(found), atol=tolerance, rtol=1e-4
        )
        # And the other way round: no contrast at the level of the style.
        found = transfer_statistics(content, flat.detach())
        torch.testing.assert_close(
            found, torch.full_like(found, level), atol=1e-3, rtol=1e-5
        )

    def test_gradient(self, shape: tuple[int, ...]) -> None:
        content, style = (x[:1, ..., :2, :3].clone() for x in pair(shape))
        content.requires_grad_()
        style.requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x, y: transfer_statistics(x, y, 0.6), (content, style)
        )


def test_style_may_have_another_size() -> None:
    content, style = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 9, 4)
    found = transfer_statistics(content, style)
    assert found.shape == content.shape
    torch.testing.assert_close(found.mean((-2, -1)), style.mean((-2, -1)))


@pytest.mark.parametrize('level', [0.1, 0.3, -7.7, 1234.567])
def test_rounding_is_no_contrast(level: float) -> None:
    flat = torch.full((1, 1, 61, 67), level)
    # One unit in the last place here and there, as after a normalization.
    flat[..., ::7] = torch.nextafter(flat, torch.tensor(torch.inf))[..., ::7]
    assert flat.var() > 0
    found = transfer_statistics(flat, 100 * torch.randn(1, 1, 61, 67) + 5)
    torch.testing.assert_close(found, found[..., :1, :1].expand_as(found))


def test_changes_over_time_stay() -> None:
    content, style = pair(SHAPES[1])
    content[:, 1] += 5
    found = transfer_statistics(content, style)
    # The same factor and shift for all dates.
    ratio = (found[:, 1] - found[:, 0]) / (content[:, 1] - content[:, 0])
    torch.testing.assert_close(ratio, ratio[..., :1, :1].expand_as(ratio))


class TestMissingDates:
    seen = torch.tensor([[1, 0], [1, 1], [0, 1], [1, 0]]).bool()
    other = torch.tensor([[1, 1], [0, 1], [1, 0], [0, 0]]).bool()

    def test_statistics_are_of_the_others(self) -> None:
        content, style = pair(SHAPES[1])
        found = transfer_statistics(content, style, 0.7, self.seen, self.other)
        for b in range(3):
            x, y = content[b : b + 1, self.seen[b]], style[b : b + 1, self.other[b]]
            expected = naive(x, y, [0.7])[0]
            np.testing.assert_allclose(found[b, self.seen[b]], expected)

    @pytest.mark.parametrize('strength', [0.7, torch.full((4,), 0.7)])
    def test_without_any_there_is_no_style(self, strength: Tensor | float) -> None:
        content, style = pair(SHAPES[1])
        found = transfer_statistics(content, style, strength, self.seen, self.other)
        torch.testing.assert_close(found[3], content[3])

    def test_what_stands_there_does_not_matter(self) -> None:
        content, style = pair(SHAPES[1])
        missing = ~self.seen[:, :, None, None, None]
        expected = transfer_statistics(content, style, 0.7, self.seen, self.other)
        for value in (0.0, 1e6, torch.inf, torch.nan):
            x = content.masked_fill(missing, value)
            y = style.masked_fill(~self.other[:, :, None, None, None], value)
            found = transfer_statistics(x, y, 0.7, self.seen, self.other)
            assert found[self.seen].equal(expected[self.seen])

    def test_shapes_are_checked(self) -> None:
        content, style = pair(SHAPES[1])
        with pytest.raises(ValueError, match=r'found \(4, 3\) for images of \(4, 2,'):
            transfer_statistics(content, style, 1.0, torch.ones(4, 3).bool())
        single, _ = pair(SHAPES[0])
        with pytest.raises(ValueError, match='dates of series'):
            transfer_statistics(single, single, 1.0, None, torch.ones(4, 3).bool())


def test_half_precision_is_computed_in_single() -> None:
    content, style = (x.bfloat16() for x in pair(SHAPES[0]))
    with torch.autocast('cpu', torch.bfloat16):
        found = transfer_statistics(content, style, 0.5)
    expected = transfer_statistics(content.float(), style.float(), 0.5)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected.bfloat16())


@pytest.mark.parametrize(
    'other', [(3, 3, 6, 7), (4, 2, 6, 7), (4, 1, 3, 6, 7), (3, 6, 7)]
)
def test_shapes_are_checked(other: tuple[int, ...]) -> None:
    content = torch.zeros(4, 3, 6, 7)
    with pytest.raises(ValueError, match='as many samples and channels, found'):
        transfer_statistics(content, torch.zeros(other))


def test_host_does_not_wait_for_numbers() -> None:
    with FakeTensorMode():
        content = torch.randn(2, 3, 4, 4, requires_grad=True)
        transfer_statistics(content, content.detach(), torch.rand(2)).sum().backward()
        series, seen = content[:, None], torch.rand(2, 1) > 0.5
        transfer_statistics(series, series, 0.5, seen, seen).sum().backward()
