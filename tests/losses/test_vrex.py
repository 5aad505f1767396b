# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.grouping import Groups
from torchgeo_experts.losses.vrex import vrex_penalty


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    risks = torch.rand(24, generator=generator, dtype=torch.float64)
    group = torch.randint(-1, 4, (24,), generator=generator)
    counted = torch.rand(24, generator=generator) < 0.8
    return risks, group, counted


def test_is_the_population_variance_of_means(
    batch: tuple[Tensor, Tensor, Tensor],
) -> None:
    risks, group, counted = batch
    means = [risks[counted & (group == g)].numpy().mean() for g in range(-1, 4)]
    found = vrex_penalty(risks, Groups.of(group, counted))
    assert found.item() == pytest.approx(np.var(means, ddof=0), rel=1e-12)


def test_gradient_by_hand() -> None:
    # Means 2, 5 and 8: deviations -3, 0 and 3 of means of 2, 1 and 1 samples.
    risks = torch.tensor([1.0, 5.0, 3.0, 8.0, 77.0], requires_grad=True)
    counted = torch.tensor([True, True, True, True, False])
    groups = Groups.of(torch.tensor([0, -1, 0, 4, 4]), counted)
    found = vrex_penalty(risks, groups)
    found.backward()
    assert found.item() == pytest.approx(6)
    assert risks.grad is not None
    torch.testing.assert_close(risks.grad, torch.tensor([-1.0, 0.0, -1.0, 2.0, 0.0]))


@pytest.mark.parametrize('group', [[0], [2, 2, 2], []])
def test_one_domain_has_no_variance(group: list[int]) -> None:
    risks = torch.rand(len(group), requires_grad=True)
    found = vrex_penalty(risks, Groups.of(torch.tensor(group)))
    found.backward()
    assert found.item() == 0
    assert risks.grad is not None and not risks.grad.any()


def test_half_precision_is_computed_in_single(
    batch: tuple[Tensor, Tensor, Tensor],
) -> None:
    risks, group, counted = batch
    groups, low = Groups.of(group, counted), risks.bfloat16()
    expected = vrex_penalty(low.float(), groups)
    with torch.autocast('cpu', torch.bfloat16):
        found = vrex_penalty(low, groups)
    assert found.dtype == torch.float32 and found.equal(expected)


def test_host_does_not_wait_for_numbers() -> None:
    with FakeTensorMode():
        risks = torch.rand(6, requires_grad=True)
        vrex_penalty(risks, Groups.of(torch.arange(6) % 2)).backward()
