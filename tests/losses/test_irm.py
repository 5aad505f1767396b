# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.criterion import Criterion, make_criterion
from torchgeo_experts.losses.irm import irm_penalty

IGNORED = 255


def naive(
    logits: Tensor, target: Tensor, criterion: Criterion, group: Tensor
) -> Tensor:
    """One domain, one half and one sample at a time, in reverse mode."""
    judged = criterion.judged(target).tolist()
    products = []
    for g in sorted({g for g, j in zip(group.tolist(), judged, strict=True) if j}):
        rows = [i for i in range(len(group)) if group[i] == g and judged[i]]
        slopes = []
        for half in (rows[0::2], rows[1::2]):
            scale = torch.ones((), requires_grad=True)
            risks = [criterion(scale * logits[[i]], target[[i]])[0] for i in half]
            slope = torch.zeros(())
            if risks:
                mean = torch.stack(risks).mean()
                (slope,) = torch.autograd.grad(mean, scale, create_graph=True)
            slopes.append(slope)
        products.append(slopes[0] * slopes[1])
    return torch.stack(products).mean()


CASES: list[tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = [
    ({'task': 'multiclass', 'loss': 'ce'}, (5,), ()),
    ({'task': 'multiclass', 'loss': 'focal', 'class_weights': [1, 2, 3, 4]}, (4,), ()),
    ({'task': 'multiclass', 'loss': 'ce'}, (3, 4, 5), (4, 5)),
    ({'task': 'multiclass', 'loss': 'focal'}, (3, 2, 4, 5), (2, 4, 5)),
    ({'task': 'binary', 'loss': 'bce', 'pos_weight': 3.0}, (1, 4, 5), (4, 5)),
    ({'task': 'binary', 'loss': 'focal'}, (1,), ()),
    ({'task': 'multilabel', 'loss': 'focal'}, (3,), (3,)),
]


def draw(
    case: tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]],
) -> tuple[Tensor, Tensor, Criterion, Tensor]:
    arguments, scores, elements = case
    generator = torch.Generator().manual_seed(0)
    classes = scores[0] if arguments['task'] == 'multiclass' else 2
    logits = 2 * torch.randn(20, *scores, generator=generator)
    target = torch.randint(classes, (20, *elements), generator=generator)
    # Samples without target, one of which comes first, and pixels.
    target[[0, 8]] = IGNORED
    if len(elements) > 1:
        target[3:6, :2] = IGNORED
    group = torch.randint(4, (20,), generator=generator)
    group[[1, 7, 9]] = -1
    # A domain with a single sample, and one with a single sample that counts.
    group[10], group[[8, 12]] = 30, 40
    return logits, target, make_criterion(**arguments, ignore_index=IGNORED), group


@pytest.mark.parametrize('case', CASES)
def test_matches_the_formula(
    case: tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]],
) -> None:
    logits, target, criterion, group = draw(case)
    logits.requires_grad_()
    found = irm_penalty(logits, target, criterion, group)
    expected = naive(logits, target, criterion, group)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    (grad,) = torch.autograd.grad(found, logits)
    (expected_grad,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-6)
    assert grad.norm() > 1e-3


def test_slope_of_cross_entropy_by_hand() -> None:
    # The slope of a sample is the mean score less that of its class.
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, generator=generator)
    target = torch.tensor([2, 0, 1, 1])
    slopes = (logits.softmax(1) * logits).sum(1) - logits[torch.arange(4), target]
    criterion = make_criterion('multiclass', 'ce')
    found = irm_penalty(logits, target, criterion, torch.tensor([0, 0, 0, 0]))
    halves = (slopes[0] + slopes[2]) / 2 * (slopes[1] + slopes[3]) / 2
    torch.testing.assert_close(found, halves)
    found = irm_penalty(logits, target, criterion, torch.tensor([5, -1, -1, 5]))
    pairs = (slopes[0] * slopes[3] + slopes[1] * slopes[2]) / 2
    torch.testing.assert_close(found, pairs)


def test_best_scale_has_no_penalty() -> None:
    # Half of the samples right: scores are best where both classes have the same.
    logits = torch.zeros(8, 2, requires_grad=True)
    target = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    criterion = make_criterion('multiclass', 'ce')
    assert irm_penalty(logits, target, criterion, torch.arange(8) // 4).item() == 0


def test_names_of_domains_do_not_count() -> None:
    logits, target, criterion, group = draw(CASES[0])
    expected = irm_penalty(logits, target, criterion, group)
    found = irm_penalty(logits, target, criterion, 1000 - group)
    torch.testing.assert_close(found, expected)
    # Nor does the order of domains.
    order = group.argsort(stable=True)
    found = irm_penalty(logits[order], target[order], criterion, group[order])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    'target, group',
    [
        ([1], [0]),  # a batch of one
        ([1, 0, 1], [0, 1, 2]),  # domains of one
        ([1, IGNORED, IGNORED], [0, 0, 0]),  # one sample that counts
        ([IGNORED, IGNORED], [0, 0]),  # none
    ],
)
def test_without_two_samples_it_is_zero(target: list[int], group: list[int]) -> None:
    logits = torch.randn(len(target), 3, requires_grad=True)
    criterion = make_criterion('multiclass', 'focal', ignore_index=IGNORED)
    found = irm_penalty(logits, torch.tensor(target), criterion, torch.tensor(group))
    found.backward()
    assert found.item() == 0
    assert logits.grad is not None and not logits.grad.any()


def test_domain_of_one_counts_in_the_mean() -> None:
    logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    criterion = make_criterion('multiclass', 'ce')
    alone = irm_penalty(logits[:4], target[:4], criterion, torch.zeros(4))
    found = irm_penalty(logits, target, criterion, torch.tensor([0, 0, 0, 0, 1]))
    torch.testing.assert_close(found, alone / 2)


@pytest.mark.parametrize('case', CASES)
def test_half_precision_is_computed_in_single(
    case: tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]],
) -> None:
    logits, target, criterion, group = draw(case)
    low = logits.bfloat16()
    expected = irm_penalty(low.float(), target, criterion, group)
    found = irm_penalty(low, target, criterion, group)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    with torch.autocast('cpu', torch.bfloat16):
        found = irm_penalty(low, target, criterion, group)
    torch.testing.assert_close(found, expected)


def test_it_can_be_computed_without_gradient() -> None:
    logits, target, criterion, group = draw(CASES[0])
    expected = irm_penalty(logits, target, criterion, group)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            found = irm_penalty(logits, target, criterion, group)
        assert found.equal(expected) and found.item() != 0


def test_host_does_not_wait_for_numbers() -> None:
    with FakeTensorMode():
        logits = torch.randn(8, 3, 4, requires_grad=True)
        target = torch.randint(3, (8, 4))
        criterion = make_criterion('multiclass', 'focal', ignore_index=IGNORED)
        irm_penalty(logits, target, criterion, torch.arange(8) % 3).backward()
