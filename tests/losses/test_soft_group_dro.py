# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import copy
from math import exp, sqrt
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.soft_group_dro import SoftGroupDRO, class_groups


def draw(seed: int, size: int = 10, groups: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risks = 3 * torch.rand(size, generator=generator)
    return risks, torch.rand(size, groups, generator=generator).softmax(dim=1)


class NaiveGroupDRO:
    """Sagawa et al. (2020), algorithm 1, with the adjustment for small groups."""

    def __init__(self, groups: int, eta: float, extra: list[float]) -> None:
        self.q = [1 / groups] * groups
        self.eta, self.extra = eta, extra

    def __call__(self, risks: Tensor, group: list[int]) -> Tensor:
        losses = {}
        for g in range(len(self.q)):
            own = [r for r, h in zip(risks, group, strict=True) if h == g]
            if own:
                losses[g] = torch.stack(own).mean()
                self.q[g] *= exp(self.eta * (losses[g].item() + self.extra[g]))
        total = sum(self.q)
        self.q = [q / total for q in self.q]
        return torch.stack([self.q[g] * loss for g, loss in losses.items()]).sum()


@pytest.mark.parametrize('adjustment', [0.0, 2.0])
def test_hard_groups_are_group_dro(adjustment: float) -> None:
    sizes = [400.0, 25.0, 100.0, 9.0]
    naive = NaiveGroupDRO(4, 0.5, [adjustment / sqrt(n) for n in sizes])
    dro = SoftGroupDRO(4, 0.5, adjustment, sizes)
    for seed in range(30):
        risks = draw(seed)[0].requires_grad_()
        generator = torch.Generator().manual_seed(seed)
        # Some batches lack a group or two.
        group = torch.randint(4 - seed % 3, (10,), generator=generator)
        found = dro(risks, torch.eye(4)[group])
        expected = naive(risks, group.tolist())
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(dro.weights, torch.tensor(naive.q))
        (grad,) = torch.autograd.grad(found, risks)
        (expected_grad,) = torch.autograd.grad(expected, risks)
        torch.testing.assert_close(grad, expected_grad)


def test_soft_groups_by_hand() -> None:
    # Risks of groups: (1 * .5 + 4 * .25) / .75 = 2 and (1 * .5 + 4 * .75) / 1.25 = 2.8.
    risks = torch.tensor([1.0, 4.0], requires_grad=True)
    members = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    dro = SoftGroupDRO(2, step_size=1.0)
    loss = dro(risks, members)
    q = exp(2) / (exp(2) + exp(2.8))
    torch.testing.assert_close(dro.weights, torch.tensor([q, 1 - q]))
    assert loss.item() == pytest.approx(2 * q + 2.8 * (1 - q))
    loss.backward()
    first = q * 0.5 / 0.75 + (1 - q) * 0.5 / 1.25
    assert risks.grad is not None
    torch.testing.assert_close(risks.grad, torch.tensor([first, 1 - first]))


def test_scale_of_memberships_does_not_count() -> None:
    risks, members = draw(0)
    expected = SoftGroupDRO(4, 0.3)(risks, members)
    found = SoftGroupDRO(4, 0.3)(risks, members * torch.tensor([1e-6, 1.0, 7.0, 1e6]))
    torch.testing.assert_close(found, expected)


def test_group_that_is_absent_grows_by_one() -> None:
    risks, members = draw(0)
    members[:, 2] = 0
    dro = SoftGroupDRO(4, 0.7)
    dro(*draw(1))
    before = dro.weights
    risks.requires_grad_()
    dro(risks, members).backward()
    assert risks.grad is not None and risks.grad.isfinite().all()
    group_risks = (members * risks.detach()[:, None]).sum(0) / members.sum(0)
    grown = before * (0.7 * group_risks).exp()
    grown[2] = before[2]
    torch.testing.assert_close(dro.weights, grown / grown.sum())


def test_batch_without_members_is_zero() -> None:
    risks = torch.rand(3, requires_grad=True)
    dro = SoftGroupDRO(4)
    dro(*draw(0))
    before = dro.weights
    loss = dro(risks, torch.zeros(3, 4))
    loss.backward()
    assert loss.item() == 0
    assert risks.grad is not None and not risks.grad.any()
    torch.testing.assert_close(dro.weights, before)


def test_evaluation_leaves_weights_alone() -> None:
    dro = SoftGroupDRO(4, 0.5)
    dro(*draw(0))
    before = dro.log_weights.clone()
    risks, members = draw(1)
    found = dro.eval()(risks, members)
    assert dro.log_weights.equal(before)
    group_risks = (members * risks[:, None]).sum(0) / members.sum(0)
    torch.testing.assert_close(found, before.exp() @ group_risks)


def test_gate_has_no_gradient() -> None:
    risks, members = draw(0)
    loss = SoftGroupDRO(4)(risks.requires_grad_(), members.requires_grad_())
    loss.backward()
    assert members.grad is None and risks.grad is not None


def test_worst_group_gets_all_weight_and_can_lose_it() -> None:
    dro = SoftGroupDRO(3, step_size=1.0)
    members = torch.eye(3)
    for _ in range(150):
        dro(torch.tensor([0.0, 1.0, 2.0]), members)
    torch.testing.assert_close(dro.weights, torch.tensor([0.0, 0.0, 1.0]))
    # A weight of exp(-300) is 0 in float32, and not forgotten.
    for _ in range(310):
        dro(torch.tensor([1.0, 0.0, 0.0]), members)
    assert dro.weights[0] > 0.9


def test_state_resumes_exactly() -> None:
    dro, resumed = SoftGroupDRO(4, 0.2), SoftGroupDRO(4, 0.2)
    for seed in range(5):
        dro(*draw(seed))
    assert set(dro.state_dict()) == {'log_weights'}
    resumed.load_state_dict(copy.deepcopy(dro.state_dict()))
    for seed in range(5, 8):
        assert dro(*draw(seed)).equal(resumed(*draw(seed)))


def test_overflow_does_not_spoil_weights() -> None:
    dro = SoftGroupDRO(4, 0.5)
    for value in (torch.inf, torch.nan):
        risks, members = draw(0)
        risks[3] = value
        assert not dro(risks, members).isfinite()
        assert dro.weights.isfinite().all()


def test_half_precision_keeps_small_steps() -> None:
    risks, members = draw(0)
    dro, half = SoftGroupDRO(4, 0.001), SoftGroupDRO(4, 0.001).bfloat16()
    for _ in range(20):
        expected = dro(risks.bfloat16().float(), members.bfloat16().float())
        found = half(risks.bfloat16(), members.bfloat16())
    assert found.dtype == torch.float32 and half.log_weights.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    assert half.log_weights.equal(dro.log_weights)
    assert half.half().to('cpu').log_weights.equal(dro.log_weights)


def test_host_does_not_wait_for_numbers() -> None:
    with FakeTensorMode():
        dro = SoftGroupDRO(4)
        dro(torch.rand(6, requires_grad=True), torch.rand(6, 4)).backward()


class TestClassGroups:
    def test_memberships_go_to_the_class(self) -> None:
        members = torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
        found = class_groups(members, torch.tensor([2, 0, 255]), 3)
        assert found.tolist() == [
            [0, 0, 0.25, 0, 0, 0.75],
            [1, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
        ]

    def test_risk_of_each_class_of_each_group(self) -> None:
        risks, members = draw(0, size=40, groups=2)
        labels = torch.arange(40) % 3
        dro = SoftGroupDRO(6, step_size=1.0)
        dro(risks, class_groups(members, labels, 3))
        expected = []
        for g in range(2):
            for c in range(3):
                own = members[labels == c, g]
                expected.append((own * risks[labels == c]).sum() / own.sum())
        torch.testing.assert_close(dro.weights, torch.stack(expected).softmax(0))


@pytest.mark.parametrize(
    'arguments, message',
    [
        ({'num_groups': 0}, 'num_groups must be at least 1'),
        ({'num_groups': 2, 'step_size': -1.0}, 'step_size'),
        ({'num_groups': 2, 'adjustment': 1.0}, 'adjustment=1.0 needs group_sizes'),
        ({'num_groups': 2, 'group_sizes': [1.0]}, 'must be 2 positive numbers'),
        ({'num_groups': 2, 'group_sizes': [1.0, 0.0]}, 'must be 2 positive numbers'),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftGroupDRO(**arguments)


def test_wrong_shapes_are_refused() -> None:
    risks, members = draw(0)
    with pytest.raises(ValueError, match=r'\(B, 3\), found \(10,\) and \(10, 4\)'):
        SoftGroupDRO(3)(risks, members)
