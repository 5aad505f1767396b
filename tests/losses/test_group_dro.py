# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import copy

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses import soft_group_dro
from torchgeo_experts.losses.group_dro import GroupDRO


def draw(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    risks = 3 * torch.rand(16, generator=generator)
    # Groups -1 and 4 are none of four; some batches lack one of the four.
    group = torch.randint(-1, 5 - seed % 2, (16,), generator=generator)
    return risks, group, torch.rand(16, generator=generator) < 0.8


def mean_risks(risks: Tensor, group: Tensor, counted: Tensor) -> np.ndarray:
    parts = [risks[counted & (group == g)].detach().numpy() for g in range(4)]
    return np.array([part.mean() if len(part) else 0 for part in parts])


def test_weights_are_those_of_scipy() -> None:
    dro, q = GroupDRO(4, step_size=0.3), np.full(4, 0.25)
    assert dro.weights.tolist() == [0.25] * 4
    for seed in range(20):
        risks, group, counted = draw(seed)
        risks.requires_grad_()
        loss = dro(risks, group, counted)
        means = mean_risks(risks, group, counted)
        q = softmax(np.log(q) + 0.3 * means)
        np.testing.assert_allclose(dro.weights, q, rtol=1e-5)
        # With the weights after the update, not divided by their sum over the batch.
        assert loss.item() == pytest.approx(q @ means, rel=1e-5)
        loss.backward()
        expected = np.zeros(16)
        for g in range(4):
            own = (counted & (group == g)).numpy()
            expected[own] = q[g] / own.sum()
        assert risks.grad is not None
        np.testing.assert_allclose(risks.grad.numpy(), expected, rtol=1e-5)


def test_all_count_by_default() -> None:
    risks, group, _ = draw(0)
    expected = GroupDRO(4)(risks, group, torch.ones(16).bool())
    assert GroupDRO(4)(risks, group).equal(expected)


def test_default_step_is_that_of_wilds() -> None:
    dro = GroupDRO(2)
    dro(torch.tensor([1.0, 3.0]), torch.tensor([0, 1]))
    np.testing.assert_allclose(dro.weights, softmax([0.01, 0.03]), rtol=1e-6)


def test_what_does_not_count_may_be_no_number() -> None:
    risks, group, counted = draw(0)
    dro, expected = GroupDRO(4), GroupDRO(4)(risks, group, counted)
    out = ~counted | (group < 0) | (group > 3)
    assert out.sum() > counted.logical_not().sum()
    risks = risks.masked_fill(out, torch.nan).requires_grad_()
    found = dro(risks, group, counted)
    found.backward()
    torch.testing.assert_close(found, expected)
    assert risks.grad is not None and risks.grad.isfinite().all()
    assert not risks.grad[out].any()


@pytest.mark.parametrize('group, counted', [([-1, 2], [1, 1]), ([0, 1], [0, 0])])
def test_a_batch_that_nothing_counts_of_is_zero(
    group: list[int], counted: list[int]
) -> None:
    dro = GroupDRO(2)
    dro(torch.tensor([1.0, 50.0]), torch.tensor([0, 1]))
    before = dro.weights
    risks = torch.rand(2, requires_grad=True)
    loss = dro(risks, torch.tensor(group), torch.tensor(counted).bool())
    loss.backward()
    assert loss.item() == 0
    assert risks.grad is not None and not risks.grad.any()
    torch.testing.assert_close(dro.weights, before)


def test_evaluation_leaves_weights_alone() -> None:
    dro = GroupDRO(4, 0.5)
    dro(*draw(0))
    before = dro.weights
    loss = dro.eval()(*draw(1))
    assert dro.weights.equal(before)
    assert loss.item() == pytest.approx(before.numpy() @ mean_risks(*draw(1)))


def test_state_resumes_exactly() -> None:
    dro, resumed = GroupDRO(4, 0.2), GroupDRO(4, 0.2)
    for seed in range(5):
        dro(*draw(seed))
    resumed.load_state_dict(copy.deepcopy(dro.state_dict()))
    assert resumed.weights.equal(dro.weights) and dro.weights.std() > 0.01
    for seed in range(5, 8):
        assert dro(*draw(seed)).equal(resumed(*draw(seed)))


def test_mean_risks_are_those_of_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    risks, group, counted = draw(0)
    alone = GroupDRO(4, 0.5)
    expected = alone(risks, group, counted)
    handed: list[Tensor] = []

    def record(tensor: Tensor) -> Tensor:
        handed.append(tensor)
        return tensor

    # Ranks of different size; what the second hands in comes to the first.
    monkeypatch.setattr(soft_group_dro, 'gather_with_grad', record)
    GroupDRO(4, 0.5)(risks[10:], group[10:], counted[10:])
    monkeypatch.setattr(
        soft_group_dro, 'gather_with_grad', lambda own: torch.cat([own, *handed])
    )
    first = GroupDRO(4, 0.5)
    found = first(risks[:10], group[:10], counted[:10])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(first.weights, alone.weights)


def test_half_precision_is_computed_in_single() -> None:
    risks, group, counted = draw(0)
    low = risks.bfloat16()
    expected = GroupDRO(4)(low.float(), group, counted)
    dro = GroupDRO(4).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        found = dro(low, group, counted)
    assert found.dtype == torch.float32 == dro.weights.dtype
    torch.testing.assert_close(found, expected)


def test_host_does_not_wait_for_numbers() -> None:
    with FakeTensorMode():
        dro = GroupDRO(2)
        risks = torch.rand(6, requires_grad=True)
        dro(risks, torch.arange(6) % 3, torch.rand(6) < 0.9).backward()


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match='num_groups must be at least 1'):
        GroupDRO(0)
    with pytest.raises(ValueError, match=r'found \(3,\), \(3,\), \(2,\)'):
        GroupDRO(2)(torch.rand(3), torch.zeros(3), torch.ones(2).bool())
    with pytest.raises(ValueError, match='expected risks, group and counted'):
        GroupDRO(2)(torch.rand(3, 1), torch.zeros(3, 1))
