# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from scipy.stats import entropy
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses import make_criterion
from torchgeo_experts.losses.entropy import entropy_loss, max_square_loss

SHAPES = [(5, 4), (1, 3), (2, 3, 4, 5), (2, 6, 3, 2, 2)]
BOTH = [max_square_loss, entropy_loss]


@pytest.mark.parametrize('shape', SHAPES)
class TestOracles:
    def test_entropy_is_that_of_scipy(self, shape: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        logits = 2 * torch.randn(shape, dtype=torch.float64)
        values = entropy(softmax(logits.numpy(), axis=1), base=shape[1], axis=1)
        expected = values.reshape(shape[0], -1).mean(1)
        np.testing.assert_allclose(entropy_loss(logits), expected)

    def test_maximum_squares_are_half_of_gini(self, shape: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        logits = 2 * torch.randn(shape, dtype=torch.float64)
        p = softmax(logits.numpy(), axis=1)
        gini = (p * (1 - p)).sum(1).reshape(shape[0], -1).mean(1)
        np.testing.assert_allclose(max_square_loss(logits), (gini - 1) / 2)


def test_published_code_divides_by_classes_once_more() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 5, 4, 4)
    published = -(logits.softmax(1) ** 2).mean() / 2
    torch.testing.assert_close(max_square_loss(logits).mean() / 5, published)


@pytest.mark.parametrize('loss', BOTH)
class TestEither:
    def test_extremes(self, loss: Callable[[Tensor], Tensor]) -> None:
        logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [200.0, 0.0, 0.0, 0.0]])
        logits.requires_grad_()
        unsure, sure = loss(logits)
        limits = {entropy_loss: (1.0, 0.0), max_square_loss: (-1 / 8, -1 / 2)}
        assert (unsure.item(), sure.item()) == pytest.approx(limits[loss])
        with torch.autograd.detect_anomaly(check_nan=True):
            loss(logits).sum().backward()
        # At both extremes there is nowhere to go.
        assert logits.grad is not None and logits.grad.abs().max() < 1e-6

    def test_gradient_makes_the_likely_class_likelier(
        self, loss: Callable[[Tensor], Tensor]
    ) -> None:
        logits = torch.tensor([[0.0, 1.0, 0.2]], dtype=torch.float64)
        logits.requires_grad_()
        assert torch.autograd.gradcheck(loss, logits)
        loss(logits).sum().backward()
        assert logits.grad is not None
        assert logits.grad[0, 1] < 0 < logits.grad[0, 0]

    def test_samples_have_values_of_their_own(
        self, loss: Callable[[Tensor], Tensor]
    ) -> None:
        logits = torch.randn(4, 3, 5, 6)
        each = torch.cat([loss(sample[None]) for sample in logits])
        torch.testing.assert_close(loss(logits), each)

    def test_half_precision_is_computed_in_single(
        self, loss: Callable[[Tensor], Tensor]
    ) -> None:
        low = torch.randn(3, 4, 5).bfloat16()
        with torch.autocast('cpu', torch.bfloat16):
            found = loss(low)
        torch.testing.assert_close(found, loss(low.float()))

    def test_host_does_not_wait_for_numbers(
        self, loss: Callable[[Tensor], Tensor]
    ) -> None:
        with FakeTensorMode():
            logits = torch.randn(2, 3, 4, requires_grad=True)
            loss(logits).sum().backward()


class TestLabels:
    @pytest.mark.parametrize('task, labels', [('binary', 1), ('multilabel', 3)])
    @pytest.mark.parametrize('size', [(), (4, 5)])
    def test_a_label_is_two_classes(
        self, task: str, labels: int, size: tuple[int, ...]
    ) -> None:
        torch.manual_seed(0)
        criterion = make_criterion(task, 'bce')  # type: ignore[arg-type]
        logits = 2 * torch.randn(6, labels, *size, dtype=torch.float64)
        found = criterion.class_logits(logits)
        assert found.shape == (6, 2, labels, *size)
        p = expit(logits.numpy())
        np.testing.assert_allclose(found.softmax(1)[:, 1], p)
        values = entropy(np.stack([1 - p, p]), base=2).reshape(6, -1).mean(1)
        np.testing.assert_allclose(entropy_loss(found), values)
        squares = -(p**2 + (1 - p) ** 2).reshape(6, -1).mean(1) / 2
        np.testing.assert_allclose(max_square_loss(found), squares)

    def test_classes_stay(self) -> None:
        logits = torch.randn(6, 4, 2)
        assert make_criterion('multiclass', 'ce').class_logits(logits) is logits
