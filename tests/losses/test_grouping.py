# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.grouping import Groups


def rows_of_groups(group: Tensor, counted: Tensor) -> list[list[int]]:
    """Counted samples of each group, in the order in which groups come."""
    found: dict[int, list[int]] = {}
    for i, g in enumerate(group.tolist()):
        if counted[i]:
            found.setdefault(g, []).append(i)
    return list(found.values())


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    group = 7 * torch.randint(5, (30,), generator=generator)
    group[[2, 11, 12]] = -1
    # A group of one, and one that nothing counts of.
    group[4], group[5] = 100, 200
    counted = torch.rand(30, generator=generator) < 0.7
    counted[4], counted[5] = True, False
    # The first sample of its group does not count.
    counted[0] = False
    return group, counted


def test_by_hand() -> None:
    group = torch.tensor([3, -1, 3, 8, -1, 3])
    counted = torch.tensor([False, True, True, False, True, True])
    groups = Groups.of(group, counted)
    assert groups.present.tolist() == [False, True, True, False, False, False]
    assert groups.members.nonzero().tolist() == [[1, 1], [1, 4], [2, 2], [2, 5]]
    assert groups.count.item() == 2
    assert groups.counted.equal(counted)
    assert groups.sizes.tolist() == [0, 2, 2, 0, 0, 0]
    assert groups.slot.tolist() == [0, 1, 2, 0, 1, 2]
    values = torch.tensor([9.0, 1.0, 2.0, 9.0, 5.0, 12.0])
    means = groups.means(values)
    assert means.tolist() == [0, 3, 7, 0, 0, 0]
    assert groups.mean(means).item() == 5
    assert groups.variance(means).item() == 4


def test_all_count_by_default(batch: tuple[Tensor, Tensor]) -> None:
    group, _ = batch
    found, expected = Groups.of(group), Groups.of(group, torch.ones(30).bool())
    assert found.members.equal(expected.members)
    assert found.counted.all()
    assert found.count.item() == len(group.unique())


def test_rows_are_those_of_a_loop(batch: tuple[Tensor, Tensor]) -> None:
    rows = rows_of_groups(*batch)
    groups = Groups.of(*batch)
    assert groups.count.item() == len(rows) == groups.present.sum()
    expected = torch.zeros(30, 30, dtype=torch.bool)
    for samples in rows:
        assert groups.present[samples[0]]
        expected[samples[0], samples] = True
    assert groups.members.equal(expected)


@pytest.mark.parametrize('shape', [(), (3,), (2, 4, 5)])
def test_means_are_those_of_numpy(
    shape: tuple[int, ...], batch: tuple[Tensor, Tensor]
) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(30, *shape, generator=generator, dtype=torch.float64)
    groups, rows = Groups.of(*batch), rows_of_groups(*batch)
    expected = np.zeros(values.shape)
    for samples in rows:
        expected[samples[0]] = values[samples].numpy().mean(axis=0)
    found = groups.means(values)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    if not shape:
        means = expected[[samples[0] for samples in rows]]
        np.testing.assert_allclose(groups.mean(found), means.mean())
        np.testing.assert_allclose(groups.variance(found), means.var(ddof=0))


def test_gradients(batch: tuple[Tensor, Tensor]) -> None:
    groups = Groups.of(*batch)
    values = torch.randn(30, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(groups.means, values)
    torch.autograd.gradgradcheck(groups.means, values)
    torch.autograd.gradcheck(groups.mean, values)
    torch.autograd.gradcheck(groups.variance, values)


def test_what_does_not_count_may_be_no_number(batch: tuple[Tensor, Tensor]) -> None:
    group, counted = batch
    groups = Groups.of(group, counted)
    values = torch.rand(30)
    expected = groups.means(values)
    values = values.masked_fill(~counted, torch.nan).requires_grad_()
    means = groups.means(values)
    torch.testing.assert_close(means, expected)
    slots = means.masked_fill(~groups.present, torch.inf)
    (groups.mean(slots) + groups.variance(slots)).backward()
    assert values.grad is not None and values.grad.isfinite().all()
    assert not values.grad[~counted].any()


def test_a_group_without_number_spoils_no_other() -> None:
    means = Groups.of(torch.tensor([0, 1, 0])).means(torch.tensor([torch.nan, 1, 2]))
    assert means[0].isnan() and means[1:].tolist() == [1, 0]


def test_a_batch_that_nothing_counts_of_is_zero() -> None:
    for size in (0, 1, 3):
        groups = Groups.of(torch.zeros(size).long(), torch.zeros(size).bool())
        values = torch.rand(size, requires_grad=True)
        means = groups.means(values)
        loss = groups.mean(means) + groups.variance(means)
        loss.backward()
        assert loss.item() == 0 and groups.count.item() == 0
        assert values.grad is not None and not values.grad.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.int64])
def test_means_have_at_least_single_precision(
    dtype: torch.dtype, batch: tuple[Tensor, Tensor]
) -> None:
    groups = Groups.of(*batch)
    values = torch.arange(60).view(30, 2).to(dtype)
    expected = groups.means(values.float())
    assert groups.means(values).equal(expected)
    with torch.autocast('cpu', torch.bfloat16):
        found = groups.means(values)
    assert found.dtype == torch.float32 and found.equal(expected)


def test_host_does_not_wait_for_numbers() -> None:
    with FakeTensorMode():
        groups = Groups.of(torch.arange(6) % 2, torch.rand(6) < 0.5)
        means = groups.means(torch.rand(6, 3, requires_grad=True))
        (groups.mean(means[:, 0]) + groups.variance(means[:, 1])).backward()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r'found \(3,\) and \(2,\)'):
        Groups.of(torch.zeros(3), torch.ones(2).bool())
    with pytest.raises(ValueError, match=r'expected group \(B,\)'):
        Groups.of(torch.zeros(3, 1))
