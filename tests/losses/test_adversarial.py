# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import nn
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.adversarial import (
    information_map,
    reversal_ramp,
    reverse_gradient,
)


class TestReversal:
    @pytest.mark.parametrize('factor', [1.0, 0.3, 0.0])
    def test_gradient_is_reversed_and_values_are_not(self, factor: float) -> None:
        torch.manual_seed(0)
        x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
        found = reverse_gradient(x, factor)
        assert found.equal(x)
        (grad,) = torch.autograd.grad(found.sin().sum(), x)
        torch.testing.assert_close(grad, -factor * x.cos())

    def test_default_factor_is_one(self) -> None:
        x = torch.ones(2, requires_grad=True)
        reverse_gradient(x).sum().backward()
        assert x.grad is not None and x.grad.tolist() == [-1, -1]

    def test_has_a_second_derivative(self) -> None:
        x = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        (first,) = torch.autograd.grad(
            reverse_gradient(x, 2.0) ** 3, x, create_graph=True
        )
        (second,) = torch.autograd.grad(first, x)
        # d/dx of -2 * 3 r(x)^2, where r is passed through once more.
        torch.testing.assert_close(second, -2 * -2 * 6 * x.detach())

    def test_one_step_is_that_of_two_players(self) -> None:
        torch.manual_seed(0)
        extractor, judge = nn.Linear(4, 3), nn.Linear(3, 2)
        x, domain = torch.randn(8, 4), torch.arange(8) % 2
        nn.functional.cross_entropy(
            judge(reverse_gradient(extractor(x), 0.5)), domain
        ).backward()
        loss = nn.functional.cross_entropy(judge(extractor(x)), domain)
        params = [*extractor.parameters(), *judge.parameters()]
        plain = torch.autograd.grad(loss, params)
        for param, grad, factor in zip(params, plain, [-0.5, -0.5, 1, 1], strict=True):
            torch.testing.assert_close(param.grad, factor * grad)

    def test_half_precision_keeps_its_type(self) -> None:
        x = torch.randn(3, dtype=torch.bfloat16, requires_grad=True)
        reverse_gradient(x, 0.1).sum().backward()
        assert x.grad is not None and x.grad.dtype == torch.bfloat16

    def test_ramp_is_a_hyperbolic_tangent(self) -> None:
        assert reversal_ramp(0) == 0
        for progress in (0.1, 0.5, 1.0):
            assert reversal_ramp(progress) == pytest.approx(math.tanh(5 * progress))


class TestInformationMap:
    @pytest.mark.parametrize('shape', [(5, 4), (2, 3, 4, 5), (2, 6, 3, 2, 2)])
    def test_sum_is_the_entropy_of_scipy(self, shape: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        logits = 3 * torch.randn(shape, dtype=torch.float64)
        p = softmax(logits.numpy(), axis=1)
        found = information_map(logits)
        assert found.shape == shape
        expected = entropy(p, base=shape[1], axis=1)
        np.testing.assert_allclose(found.sum(dim=1), expected)
        np.testing.assert_allclose(found, -p * np.log(p) / np.log(shape[1]))

    def test_gradient_is_that_of_finite_differences(self) -> None:
        torch.manual_seed(0)
        logits = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(information_map, logits)

    @pytest.mark.parametrize('low', [-1e4, -torch.inf])
    def test_probability_of_zero_has_no_information(self, low: float) -> None:
        logits = torch.tensor([[0.0, low, 1.0], [5.0, low, low]], requires_grad=True)
        with torch.autograd.detect_anomaly(check_nan=True):
            found = information_map(logits)
            found.sum().backward()
        assert found[:, 1].tolist() == [0, 0] and found[1].sum() == 0
        assert logits.grad is not None and logits.grad.isfinite().all()
        assert not logits.grad[:, 1].any()
        two = logits.detach()[:1, [0, 2]].softmax(1)
        torch.testing.assert_close(
            found[0, [0, 2]], -(two * two.log())[0] / math.log(3)
        )

    def test_half_precision_is_computed_in_single(self) -> None:
        low = torch.randn(3, 4, 5).bfloat16()
        with torch.autocast('cpu', torch.bfloat16):
            found = information_map(low)
        torch.testing.assert_close(found, information_map(low.float()))

    def test_one_class_is_refused(self) -> None:
        with pytest.raises(
            ValueError, match=r'found \(3, 1, 2\): see Criterion\.class_logits'
        ):
            information_map(torch.zeros(3, 1, 2))

    def test_host_does_not_wait_for_numbers(self) -> None:
        with FakeTensorMode():
            logits = torch.randn(2, 3, 4, requires_grad=True)
            reverse_gradient(information_map(logits)).sum().backward()
