# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.grouping import Groups
from torchgeo_experts.losses.rdm import rdm_penalty, risk_variance_penalty

Penalty = Callable[[Tensor, Groups], Tensor]


def draw(seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risks = scale * torch.rand(24, generator=generator, dtype=torch.float64)
    group = torch.randint(-1, 3, (24,), generator=generator)
    counted = torch.rand(24, generator=generator) < 0.8
    return risks + scale * group / 3, group, counted


def worst_and_all(
    risks: Tensor, group: Tensor, counted: Tensor
) -> tuple[Tensor, Tensor]:
    parts = [risks[counted & (group == g)] for g in group[counted].unique()]
    return max(parts, key=lambda part: part.mean().item()), risks[counted]


def mmd(x: Tensor, y: Tensor, gammas: list[float]) -> float:
    total = 0.0
    for gamma in gammas:
        means = [
            rbf_kernel(a.detach()[:, None], b.detach()[:, None], gamma=gamma).mean()
            for a, b in ((x, x), (y, y), (x, y))
        ]
        total += means[0] + means[1] - 2 * means[2]
    return total


@pytest.mark.parametrize('scale', [0.01, 1.0, 30.0])
@pytest.mark.parametrize('seed', range(3))
def test_discrepancy_is_that_of_scikit_learn(seed: int, scale: float) -> None:
    risks, group, counted = draw(seed, scale)
    worst, everyone = worst_and_all(risks, group, counted)
    groups = Groups.of(group, counted)
    found = rdm_penalty(risks, groups).item()
    published = [0.0001, 0.001, 0.01, 0.1, 1, 10, 100, 1000]
    assert found == pytest.approx(mmd(worst, everyone, published), rel=1e-9)
    found = rdm_penalty(risks, groups, [0.5, 2]).item()
    assert found == pytest.approx(mmd(worst, everyone, [0.5, 2]), rel=1e-9)


@pytest.mark.parametrize('seed', range(3))
def test_variance_is_that_of_numpy(seed: int) -> None:
    risks, group, counted = draw(seed)
    parts = worst_and_all(risks, group, counted)
    found = risk_variance_penalty(risks, Groups.of(group, counted)).item()
    assert found == pytest.approx(sum(np.var(part.numpy(), ddof=1) for part in parts))


def test_the_group_without_training_domain_may_be_the_worst() -> None:
    risks = torch.tensor([3.0, 0.0, 5.0, 1.0], dtype=torch.float64)
    groups = Groups.of(torch.tensor([-1, 0, -1, 0]))
    expected = mmd(risks[::2], risks, [0.3])
    assert rdm_penalty(risks, groups, [0.3]).item() == pytest.approx(expected)
    # Variances 2 of the worst, and (9 + 25 + 1 - 81 / 4) / 3 of all.
    found = risk_variance_penalty(risks, groups).item()
    assert found == pytest.approx(2 + 14.75 / 3)


@pytest.mark.parametrize('penalty', [rdm_penalty, risk_variance_penalty])
class TestEither:
    def test_gradient(self, penalty: Penalty) -> None:
        risks, group, counted = draw(0)
        groups = Groups.of(group, counted)
        risks = risks.masked_fill(~counted, torch.nan).requires_grad_()
        (grad,) = torch.autograd.grad(penalty(risks, groups), risks)
        assert not grad[~counted].any() and grad.norm() > 0.01
        step = 1e-6
        for i in counted.nonzero().flatten().tolist()[:5]:
            shift = torch.zeros(24, dtype=torch.float64)
            shift[i] = step
            rise = penalty(risks + shift, groups) - penalty(risks - shift, groups)
            assert grad[i].item() == pytest.approx(rise.item() / 2 / step, abs=1e-6)

    def test_order_and_names_do_not_count(self, penalty: Penalty) -> None:
        risks, group, counted = draw(0)
        expected = penalty(risks, Groups.of(group, counted))
        order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
        groups = Groups.of(9 - group[order], counted[order])
        torch.testing.assert_close(penalty(risks[order], groups), expected)

    def test_equal_risks_have_no_penalty(self, penalty: Penalty) -> None:
        risks = torch.full((6,), 2.5, requires_grad=True)
        found = penalty(risks, Groups.of(torch.arange(6) % 2))
        found.backward()
        assert found.item() == pytest.approx(0, abs=1e-6)
        assert risks.grad is not None and not risks.grad.any()

    @pytest.mark.parametrize('size, counted', [(1, 1), (3, 1), (3, 0)])
    def test_without_two_samples_it_is_zero(
        self, penalty: Penalty, size: int, counted: int
    ) -> None:
        risks = torch.rand(size, requires_grad=True)
        groups = Groups.of(torch.arange(size), torch.arange(size) < counted)
        found = penalty(risks, groups)
        found.backward()
        assert found.item() == 0
        assert risks.grad is not None and not risks.grad.any()

    def test_half_precision_is_computed_in_single(self, penalty: Penalty) -> None:
        risks, group, counted = draw(0)
        groups, low = Groups.of(group, counted), risks.bfloat16()
        expected = penalty(low.float(), groups)
        with torch.autocast('cpu', torch.bfloat16):
            found = penalty(low, groups)
        assert found.dtype == torch.float32 and found.equal(expected)

    def test_host_does_not_wait_for_numbers(self, penalty: Penalty) -> None:
        with FakeTensorMode():
            risks = torch.rand(6, requires_grad=True)
            penalty(risks, Groups.of(torch.arange(6) % 2)).backward()


def test_one_domain_is_like_itself() -> None:
    risks, group, counted = draw(0)
    groups = Groups.of(torch.zeros_like(group), counted)
    assert rdm_penalty(risks, groups).item() == pytest.approx(0, abs=1e-15)
    variance = 2 * risks[counted].var().item()
    assert risk_variance_penalty(risks, groups).item() == pytest.approx(variance)


def test_worst_domain_of_one_sample_has_no_variance() -> None:
    risks = torch.tensor([1.0, 2.0, 9.0], requires_grad=True)
    found = risk_variance_penalty(risks, Groups.of(torch.tensor([0, 0, 1])))
    found.backward()
    assert found.item() == pytest.approx(np.var([1, 2, 9], ddof=1))
    assert risks.grad is not None and risks.grad.isfinite().all()
