# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses import make_criterion
from torchgeo_experts.losses.pseudo_labels import pseudo_label_risk

CASES = [
    ('multiclass', 'ce', (8, 4)),
    ('multiclass', 'focal', (2, 4, 3, 5)),
    ('binary', 'bce', (8, 1)),
    ('binary', 'focal', (2, 1, 3, 5)),
    ('multilabel', 'bce', (8, 3)),
]


def naive(logits: Tensor, labels: bool, gamma: float, threshold: float) -> np.ndarray:
    """One element after the other."""
    z = logits.double().numpy()
    if labels:
        z = np.stack([np.zeros_like(z), z], axis=1)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    risks = []
    for sample in np.moveaxis(p, 1, -1):
        total, columns = 0.0, sample.reshape(-1, p.shape[1])
        for top in columns.max(axis=1):
            total += -((1 - top) ** gamma) * np.log(top) if top >= threshold else 0
        risks.append(total / len(columns))
    return np.array(risks)


@pytest.mark.parametrize('task, loss, shape', CASES)
class TestTasks:
    @pytest.mark.parametrize('threshold', [0.0, 0.6, 0.7, 0.9])
    def test_matches_a_loop(
        self, task: str, loss: str, shape: tuple[int, ...], threshold: float
    ) -> None:
        torch.manual_seed(0)
        logits = 2 * torch.randn(shape)
        criterion = make_criterion(task, loss)  # type: ignore[arg-type]
        expected = naive(logits, task != 'multiclass', criterion.gamma, threshold)
        found = pseudo_label_risk(logits, criterion, threshold)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert expected.any()

    def test_above_one_it_is_zero(
        self, task: str, loss: str, shape: tuple[int, ...]
    ) -> None:
        # Certainty itself is not enough.
        logits = (50 * torch.randn(shape)).requires_grad_()
        criterion = make_criterion(task, loss)  # type: ignore[arg-type]
        found = pseudo_label_risk(logits, criterion, 1.01)
        found.sum().backward()
        assert not found.any()
        assert logits.grad is not None and not logits.grad.any()


def test_gradient_is_that_of_sure_elements_with_fixed_labels() -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(6, 3, 4)
    logits.requires_grad_()
    p = logits.detach().softmax(1)
    sure = p.amax(1) >= 0.7
    assert sure.any() and not sure.all()
    elements = F.cross_entropy(logits, p.argmax(1), reduction='none')
    (expected,) = torch.autograd.grad((elements * sure).sum() / sure.numel(), logits)
    found = pseudo_label_risk(logits, make_criterion('multiclass', 'ce'), 0.7)
    (grad,) = torch.autograd.grad(found.mean(), logits)
    torch.testing.assert_close(grad, expected)


def test_the_threshold_is_enough() -> None:
    # Probabilities of exactly one half.
    logits = torch.zeros(1, 2)
    found = pseudo_label_risk(logits, make_criterion('multiclass', 'ce'), 0.5)
    assert found.item() == pytest.approx(np.log(2))


def test_weights_of_classes_count() -> None:
    logits = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    criterion = make_criterion('multiclass', 'ce', class_weights=[1.0, 5.0])
    single = -np.log(1 / (1 + np.exp(-3)))
    found = pseudo_label_risk(logits, criterion, 0.5)
    assert found.tolist() == pytest.approx([single, 5 * single], rel=1e-5)


def test_half_precision_is_computed_in_single() -> None:
    low = torch.randn(3, 4, 5).bfloat16()
    criterion = make_criterion('multiclass', 'ce')
    with torch.autocast('cpu', torch.bfloat16):
        found = pseudo_label_risk(low, criterion, 0.5)
    torch.testing.assert_close(found, pseudo_label_risk(low.float(), criterion, 0.5))


@pytest.mark.parametrize('task, loss', [('multiclass', 'ce'), ('multilabel', 'bce')])
def test_host_does_not_wait_for_numbers(task: str, loss: str) -> None:
    criterion = make_criterion(task, loss)  # type: ignore[arg-type]
    with FakeTensorMode():
        logits = torch.randn(2, 3, 4, requires_grad=True)
        pseudo_label_risk(logits, criterion, 0.7).sum().backward()
