# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.coral import (
    deep_coral_loss,
    moment_distance,
    pairwise_moment_distance,
)
from torchgeo_experts.losses.grouping import Groups

Distance = Callable[[Tensor, Tensor], Tensor]


def draw(num: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(num, width, generator=generator, dtype=torch.float64)
    return noise @ torch.rand(width, width, generator=generator).double() + seed


def covariance(x: Tensor) -> np.ndarray:
    return np.atleast_2d(np.cov(x.numpy(), rowvar=False, ddof=1))


@pytest.mark.parametrize('width', [1, 4])
def test_distances_are_those_of_numpy(width: int) -> None:
    a, b = draw(7, width), draw(12, width, 1)
    squares = (covariance(a) - covariance(b)) ** 2
    means = (a.numpy().mean(0) - b.numpy().mean(0)) ** 2
    expected = squares.sum() / (4 * width**2)
    assert deep_coral_loss(a, b).item() == pytest.approx(expected)
    assert moment_distance(a, b).item() == pytest.approx(means.mean() + squares.mean())


def test_means_count_in_one_distance_only() -> None:
    a = draw(9, 4)
    assert deep_coral_loss(a, a + 3).item() == pytest.approx(0, abs=1e-20)
    assert moment_distance(a, a + 3).item() == pytest.approx(9)


@pytest.mark.parametrize('distance', [deep_coral_loss, moment_distance])
class TestEither:
    def test_gradient(self, distance: Distance) -> None:
        a, b = draw(5, 3).requires_grad_(), draw(4, 3, 1).requires_grad_()
        torch.autograd.gradcheck(distance, (a, b))
        assert distance(a, b).item() == distance(b, a).item() > 0

    @pytest.mark.parametrize('sizes', [(1, 5), (5, 1), (0, 3), (0, 0)])
    def test_without_covariance_it_is_zero(
        self, distance: Distance, sizes: tuple[int, int]
    ) -> None:
        a, b = (torch.randn(size, 3, requires_grad=True) for size in sizes)
        found = distance(a, b)
        found.backward()
        assert found.item() == 0
        assert a.grad is not None and not a.grad.any()
        assert b.grad is not None and not b.grad.any()

    def test_half_precision_is_computed_in_single(self, distance: Distance) -> None:
        a, b = draw(7, 4).bfloat16(), draw(12, 4, 1).bfloat16()
        expected = distance(a.float(), b.float())
        assert distance(a, b).equal(expected)
        with torch.autocast('cpu', torch.bfloat16):
            found = distance(a.float(), b)
        assert found.dtype == torch.float32 and found.equal(expected)

    def test_host_does_not_wait_for_numbers(self, distance: Distance) -> None:
        with FakeTensorMode():
            a, b = (torch.randn(n, 3, requires_grad=True) for n in (4, 6))
            distance(a, b).backward()

    def test_wrong_shapes_are_refused(self, distance: Distance) -> None:
        with pytest.raises(ValueError, match=r'found \(4, 3\) and \(4, 2\)'):
            distance(torch.rand(4, 3), torch.rand(4, 2))
        with pytest.raises(ValueError, match=r'expected features \(N, F\)'):
            distance(torch.rand(4, 3, 2), torch.rand(4, 3, 2))


def pairs(features: Tensor, group: Tensor, counted: Tensor) -> Tensor:
    """Distances of all pairs, one at a time."""
    parts = [features[counted & (group == g)] for g in group.unique()]
    large = [part for part in parts if len(part) > 1]
    distances = [moment_distance(a, b) for a, b in combinations(large, 2)]
    return torch.stack(distances).mean()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    group = torch.randint(4, (26,), generator=generator)
    group[[3, 8, 9]] = -1
    # A domain of one sample, and one of a single sample that counts.
    group[4], group[[7, 10]] = 20, 30
    counted = torch.rand(26, generator=generator) < 0.85
    counted[[3, 8, 9, 4, 7]], counted[10] = True, False
    return draw(26, 5) * (1 + group[:, None] % 3), group, counted


class TestPairs:
    def test_match_a_loop(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        features, group, counted = batch
        features.requires_grad_()
        found = pairwise_moment_distance(features, Groups.of(group, counted))
        expected = pairs(features, group, counted)
        torch.testing.assert_close(found, expected)
        (grad,) = torch.autograd.grad(found, features)
        (expected_grad,) = torch.autograd.grad(expected, features)
        torch.testing.assert_close(grad, expected_grad)
        assert grad.norm() > 0.01

    @pytest.mark.parametrize('width', [1, 40])
    def test_any_width(self, width: int) -> None:
        features, group = draw(12, width), torch.arange(12) % 3
        found = pairwise_moment_distance(features, Groups.of(group))
        expected = pairs(features, group, torch.ones(12).bool())
        torch.testing.assert_close(found, expected)

    def test_a_pair_of_two(self) -> None:
        a, b = draw(7, 4), draw(12, 4, 1)
        groups = Groups.of(torch.arange(19) < 7)
        found = pairwise_moment_distance(torch.cat([a, b]), groups)
        torch.testing.assert_close(found, moment_distance(a, b))

    def test_single_precision_is_near_for_close_domains(self) -> None:
        # Covariances that differ by a few percent, and means far from 0.
        features, group = draw(1000, 8) + 50, torch.arange(1000) % 4
        groups = Groups.of(group)
        expected = pairwise_moment_distance(features, groups)
        found = pairwise_moment_distance(features.float(), groups)
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0)

    def test_what_does_not_count_may_be_no_number(
        self, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        features, group, counted = batch
        groups = Groups.of(group, counted)
        expected = pairwise_moment_distance(features, groups)
        features = features.masked_fill(~counted[:, None], torch.nan).requires_grad_()
        found = pairwise_moment_distance(features, groups)
        found.backward()
        torch.testing.assert_close(found, expected)
        assert features.grad is not None and features.grad.isfinite().all()

    @pytest.mark.parametrize(
        'group', [[], [0], [0, 1, 2], [0, 0, 0], [0, 0, 0, 1], [0, 1, 2, 2]]
    )
    def test_without_two_large_domains_it_is_zero(self, group: list[int]) -> None:
        features = torch.randn(len(group), 3, requires_grad=True)
        groups = Groups.of(torch.tensor(group))
        found = pairwise_moment_distance(features, groups)
        found.backward()
        assert found.item() == 0
        assert features.grad is not None and not features.grad.any()

    def test_equal_domains_have_no_distance(self) -> None:
        features = draw(9, 4).repeat(3, 1)
        groups = Groups.of(torch.arange(27) // 9)
        found = pairwise_moment_distance(features, groups)
        assert found.item() == pytest.approx(0, abs=1e-12)

    def test_half_precision_is_computed_in_single(
        self, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        features, group, counted = batch
        groups, low = Groups.of(group, counted), features.bfloat16()
        expected = pairwise_moment_distance(low.float(), groups)
        assert pairwise_moment_distance(low, groups).equal(expected)
        with torch.autocast('cpu', torch.bfloat16):
            found = pairwise_moment_distance(low.float(), groups)
        assert found.dtype == torch.float32 and found.equal(expected)

    def test_host_does_not_wait_for_numbers(self) -> None:
        with FakeTensorMode():
            features = torch.randn(6, 3, requires_grad=True)
            groups = Groups.of(torch.arange(6) % 2, torch.rand(6) < 0.9)
            pairwise_moment_distance(features, groups).backward()

    def test_wrong_shapes_are_refused(self) -> None:
        groups = Groups.of(torch.arange(6) % 2)
        with pytest.raises(ValueError, match=r'\(6, F\), found \(5, 3\)'):
            pairwise_moment_distance(torch.rand(5, 3), groups)
        with pytest.raises(ValueError, match=r'found \(6, 3, 2\)'):
            pairwise_moment_distance(torch.rand(6, 3, 2), groups)
