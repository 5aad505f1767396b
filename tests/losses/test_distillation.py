# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Imitating a gate."""

import pytest
import torch
from scipy.stats import entropy

from torchgeo_experts.losses import route_distillation


def draw() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    guess, logits = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    return guess, logits


def test_against_scipy() -> None:
    guess, logits = draw()
    known = torch.tensor([True, True, False, True, False])
    found = route_distillation(guess, logits, known)
    rows = entropy(logits.softmax(1).numpy(), guess.softmax(1).numpy(), axis=1)
    assert float(found) == pytest.approx(rows[known.numpy()].mean(), rel=1e-5)


def test_only_the_router_learns() -> None:
    guess, logits = (x.requires_grad_() for x in draw())
    route_distillation(guess, logits, torch.ones(5, dtype=torch.bool)).backward()
    assert logits.grad is None
    assert guess.grad is not None and guess.grad.abs().sum() > 0
    same = route_distillation(guess, guess, torch.ones(5, dtype=torch.bool))
    assert float(same) == pytest.approx(0)


def test_nothing_known() -> None:
    guess, logits = (x.requires_grad_() for x in draw())
    loss = route_distillation(guess, logits, torch.zeros(5, dtype=torch.bool))
    loss.backward()
    assert float(loss) == 0
    assert guess.grad is not None and not guess.grad.any()
