# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import numpy as np
import pytest
import torch
from sklearn.preprocessing import KernelCenterer
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.cka import (
    CKAEstimator,
    cka_matrix,
    diversity_loss,
    linear_cka,
)

BOTH: list[CKAEstimator] = ['biased', 'unbiased']


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def alike(num: int, n: int, width: int) -> Tensor:
    """Experts that share a part of what they say."""
    return noise(1, n, width, seed=1) + noise(num, n, width, seed=2) + 3


def plain_cka(x: Tensor, y: Tensor) -> Tensor:
    """Kornblith et al. (2019), with norms of products of features."""
    x, y = x - x.mean(0), y - y.mean(0)
    return (x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())


def kernel_cka(x: np.ndarray, y: np.ndarray) -> float:
    """The same from centred kernels."""
    k, m = (KernelCenterer().fit_transform(z @ z.T) for z in (x, y))
    return float(np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m)))


def hsic_1(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al. (2012), term by term."""
    n = len(x)
    k, m = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = np.ones(n)
    first = np.trace(k @ m)
    second = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (one @ k @ m @ one)
    return float((first + second - third) / (n * (n - 3)))


def unbiased_cka(x: np.ndarray, y: np.ndarray) -> float:
    return float(hsic_1(x, y) / np.sqrt(hsic_1(x, x) * hsic_1(y, y)))


class TestLinearCKA:
    # Fewer samples than features, and more: both forms of the products.
    @pytest.mark.parametrize('n, width', [(5, 40), (4, 3), (60, 4), (300, 7)])
    def test_matches_the_formulas(self, n: int, width: int) -> None:
        x, y = alike(2, n, width)
        found = linear_cka(x, y)
        torch.testing.assert_close(found, plain_cka(x, y))
        assert found.item() == pytest.approx(kernel_cka(x.numpy(), y.numpy()))
        expected = unbiased_cka(x.numpy(), y.numpy())
        assert linear_cka(x, y, 'unbiased').item() == pytest.approx(expected)

    def test_widths_may_differ(self) -> None:
        x, y = noise(20, 3), noise(20, 8, seed=1)
        y[:, :3] += x
        torch.testing.assert_close(linear_cka(x, y), plain_cka(x, y))
        expected = unbiased_cka(x.numpy(), y.numpy())
        assert linear_cka(x, y, 'unbiased').item() == pytest.approx(expected)

    @pytest.mark.parametrize('n, expected', [(16, 0.93), (64, 0.75), (1024, 0.16)])
    def test_only_the_biased_form_sees_likeness_in_noise(
        self, n: int, expected: float
    ) -> None:
        # The mean over 15 pairs.
        outputs = noise(6, n, 192)
        assert diversity_loss(outputs).item() == pytest.approx(expected, abs=0.01)
        assert abs(diversity_loss(outputs, 'unbiased').item()) < 0.03

    @pytest.mark.parametrize('estimator', BOTH)
    def test_rotation_shift_and_scale_do_not_count(
        self, estimator: CKAEstimator
    ) -> None:
        x, y = alike(2, 30, 6)
        rotation, _ = torch.linalg.qr(noise(6, 6, seed=5))
        expected = linear_cka(x, y, estimator)
        for scale in (1e-30, 1, 1e30):
            moved = scale * (x @ rotation + 2)
            torch.testing.assert_close(linear_cka(moved, y, estimator), expected)
            one = linear_cka(moved, x, estimator)
            torch.testing.assert_close(one, torch.ones_like(one))
        # Other linear maps do.
        stretched = x * torch.arange(1, 7)
        assert abs(linear_cka(stretched, y, estimator) - expected) > 1e-3

    def test_single_precision_has_a_wide_range(self) -> None:
        x, y = alike(2, 30, 6).float()
        for estimator in BOTH:
            expected = linear_cka(x, y, estimator)
            for scale in (1e-15, 1e15):
                found = linear_cka(x * scale, y / scale, estimator)
                torch.testing.assert_close(found, expected)

    def test_wrong_shapes_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r'found \(5, 2\) and \(6, 2\)'):
            linear_cka(noise(5, 2), noise(6, 2))
        with pytest.raises(ValueError, match=r'unbiased CKA .* at least 4 samples'):
            linear_cka(noise(3, 2), noise(3, 2), 'unbiased')
        with pytest.raises(ValueError, match=r'\(E, n, D\).* found \(4, 5\)'):
            cka_matrix(noise(4, 5))


@pytest.mark.parametrize('estimator', BOTH)
@pytest.mark.parametrize('n, width', [(6, 12), (40, 3)])
class TestCKAMatrix:
    def test_entries_are_those_of_pairs(
        self, n: int, width: int, estimator: CKAEstimator
    ) -> None:
        outputs = alike(4, n, width)
        found = cka_matrix(outputs, estimator)
        pair = plain_cka if estimator == 'biased' else unbiased_cka
        arrays = outputs if estimator == 'biased' else outputs.numpy()
        expected = [[float(pair(x, y)) for y in arrays] for x in arrays]
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        losses = [expected[i][j] for i in range(4) for j in range(i + 1, 4)]
        loss = diversity_loss(outputs, estimator)
        assert loss.item() == pytest.approx(np.mean(losses))

    def test_gradient(self, n: int, width: int, estimator: CKAEstimator) -> None:
        outputs = alike(3, n, width).requires_grad_()

        def uneven(x: Tensor) -> Tensor:
            # Not symmetric, as a user's use of the matrix may be.
            return (cka_matrix(x, estimator) * noise(3, 3, seed=9)).sum()

        assert torch.autograd.gradcheck(uneven, outputs, fast_mode=True)
        assert torch.autograd.gradcheck(lambda x: diversity_loss(x, estimator), outputs)


@pytest.mark.parametrize('estimator', BOTH)
class TestDiversityLoss:
    @pytest.mark.parametrize('n', [20, 300])
    def test_copies_need_noise_to_part(self, n: int, estimator: CKAEstimator) -> None:
        copies = noise(1, n, 8).repeat(4, 1, 1)
        sizes = []
        for jitter in (0, 0.01):
            outputs = (copies + jitter * noise(4, n, 8, seed=1)).requires_grad_()
            loss = diversity_loss(outputs, estimator)
            (grad,) = torch.autograd.grad(loss, outputs)
            assert loss.item() == pytest.approx(1, abs=1e-3)
            sizes.append(grad.norm().item())
        assert sizes[0] < 1e-12
        assert sizes[1] > 1e-5

    def test_descent_makes_experts_differ(self, estimator: CKAEstimator) -> None:
        outputs = alike(3, 40, 5).requires_grad_()
        before = diversity_loss(outputs, estimator)
        for _ in range(20):
            loss = diversity_loss(outputs, estimator)
            (grad,) = torch.autograd.grad(loss, outputs)
            outputs = (outputs - 3 * grad / grad.norm()).detach().requires_grad_()
        assert loss < 0.5 * before

    @pytest.mark.parametrize('shape', [(1, 50, 4), (3, 1, 4), (0, 50, 4)])
    def test_nothing_to_compare(
        self, shape: tuple[int, ...], estimator: CKAEstimator
    ) -> None:
        outputs = noise(*shape).bfloat16().requires_grad_()
        loss = diversity_loss(outputs, estimator)
        loss.backward()
        assert loss.item() == 0 and loss.dtype == torch.float32
        assert outputs.grad is not None and not outputs.grad.any()

    @pytest.mark.parametrize('level', [0.0, 0.1, -1e3])
    @pytest.mark.parametrize('n', [9, 700])
    def test_constant_expert_is_like_no_other(
        self, level: float, n: int, estimator: CKAEstimator
    ) -> None:
        outputs = alike(4, n, 5).float()
        outputs[2] = level
        outputs.requires_grad_()
        loss = diversity_loss(outputs, estimator)
        (grad,) = torch.autograd.grad(loss, outputs)
        others = outputs.detach()[[0, 1, 3]].requires_grad_()
        # Three of six pairs are left.
        expected = diversity_loss(others, estimator) / 2
        torch.testing.assert_close(loss, expected)
        (expected_grad,) = torch.autograd.grad(expected, others)
        torch.testing.assert_close(grad[[0, 1, 3]], expected_grad)
        assert not grad[2].any()
        matrix = cka_matrix(outputs.detach(), estimator)
        assert not matrix[2].any() and not matrix[:, 2].any()
        torch.testing.assert_close(matrix.diagonal(), torch.tensor([1.0, 1, 0, 1]))

    def test_all_constant(self, estimator: CKAEstimator) -> None:
        outputs = torch.full((3, 20, 4), 0.3, requires_grad=True)
        loss = diversity_loss(outputs, estimator)
        loss.backward()
        assert loss.item() == 0
        assert outputs.grad is not None and not outputs.grad.any()

    def test_not_a_number_is_not_hidden(self, estimator: CKAEstimator) -> None:
        outputs = noise(3, 20, 4)
        outputs[1, 3, 2] = torch.nan
        assert diversity_loss(outputs, estimator).isnan()

    @pytest.mark.parametrize('n', [24, 500])
    def test_half_precision_is_computed_in_single(
        self, n: int, estimator: CKAEstimator
    ) -> None:
        low = alike(3, n, 16).bfloat16()
        expected = diversity_loss(low.float(), estimator)
        torch.testing.assert_close(diversity_loss(low, estimator), expected)
        outputs = low.float().requires_grad_()
        (exact,) = torch.autograd.grad(diversity_loss(outputs, estimator), outputs)
        with torch.autocast('cpu', torch.bfloat16):
            loss = diversity_loss(outputs, estimator)
        (grad,) = torch.autograd.grad(loss, outputs)
        assert loss.equal(diversity_loss(outputs, estimator)) and grad.equal(exact)

    def test_host_does_not_wait_for_numbers(self, estimator: CKAEstimator) -> None:
        with FakeTensorMode():
            for n in (10, 500):
                outputs = torch.randn(3, n, 8, requires_grad=True)
                diversity_loss(outputs, estimator).backward()


def test_unbiased_form_of_a_single_outlier_is_zero() -> None:
    # Off the diagonal, the centred kernel of all but the outlier is constant.
    outputs = noise(2, 10, 3).float()
    outputs[0] = 0
    outputs[0, 4] = 5
    outputs.requires_grad_()
    loss = diversity_loss(outputs, 'unbiased')
    loss.backward()
    assert loss.item() == 0
    assert outputs.grad is not None and not outputs.grad.any()
    assert diversity_loss(outputs, 'biased') > 0


def test_three_samples_are_too_few_for_the_unbiased_form_only() -> None:
    outputs = noise(2, 3, 4).requires_grad_()
    assert diversity_loss(outputs, 'unbiased').item() == 0
    assert diversity_loss(outputs, 'biased') > 0
