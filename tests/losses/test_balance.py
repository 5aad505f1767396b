# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from collections.abc import Callable
from math import erf, exp, log, sqrt

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.balance import (
    balance_loss,
    choice_probabilities,
    importance_loss,
    load_loss,
    router_z_loss,
    switch_loss,
)

Scores = tuple[Tensor, Tensor]

#: All losses as functions of scores, noisy scores and top_k.
LOSSES: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    'balance': lambda s, noisy, k: balance_loss(s, noisy, 0.3, k),
    'importance': lambda s, noisy, k: importance_loss(s),
    'load': lambda s, noisy, k: load_loss(s, noisy, 0.3, k),
    'switch': switch_loss,
    'z': lambda s, noisy, k: router_z_loss(s),
}


def scores(size: int = 12, num: int = 5, seed: int = 0) -> Scores:
    generator = torch.Generator().manual_seed(seed)
    shape = (size, num)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    return logits, logits + 0.3 * noise


def softmax(row: list[float]) -> list[float]:
    total = sum(exp(x) for x in row)
    return [exp(x) / total for x in row]


def squared_cv(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return sum((x - mean) ** 2 for x in values) / len(values) / mean**2


def chance(row: list[float], noisy: list[float], e: int, std: float, k: int) -> float:
    """Shazeer et al. (2017), equation 9."""
    threshold = sorted(noisy[:e] + noisy[e + 1 :], reverse=True)[k - 1]
    return 0.5 * (1 + erf((row[e] - threshold) / std / sqrt(2)))


@pytest.mark.parametrize('top_k', [1, 3, 4])
class TestFormulas:
    def test_importance_and_load(self, top_k: int) -> None:
        logits, noisy = scores()
        rows, noisy_rows = logits.tolist(), noisy.tolist()
        importance = squared_cv([sum(softmax(r)[e] for r in rows) for e in range(5)])
        pairs = list(zip(rows, noisy_rows, strict=True))
        load = squared_cv(
            [sum(chance(r, n, e, 0.3, top_k) for r, n in pairs) for e in range(5)]
        )
        assert importance_loss(logits).item() == pytest.approx(importance)
        assert load_loss(logits, noisy, 0.3, top_k).item() == pytest.approx(load)
        found = balance_loss(logits, noisy, 0.3, top_k)
        assert found.item() == pytest.approx((importance + load) / 2)

    def test_switch(self, top_k: int) -> None:
        logits, noisy = scores()
        mean = np.mean([softmax(row) for row in logits.tolist()], axis=0)
        choices = [e for r in noisy.tolist() for e in np.argsort(r)[::-1][:top_k]]
        expected = 5 * sum(choices.count(e) / len(choices) * mean[e] for e in range(5))
        found = switch_loss(logits, noisy, top_k)
        assert found.item() == pytest.approx(expected)

    def test_z(self, top_k: int) -> None:
        logits, _ = scores()
        expected = np.mean([log(sum(exp(x) for x in r)) ** 2 for r in logits.tolist()])
        assert router_z_loss(logits).item() == pytest.approx(expected)

    def test_load_probability_is_that_of_drawing_noise_anew(self, top_k: int) -> None:
        logits, noisy = scores(size=3)
        draws, std = 40_000, 0.8
        generator = torch.Generator().manual_seed(3)
        expected = torch.empty(3, 5)
        for b, e in np.ndindex(3, 5):
            drawn = noisy[b].repeat(draws, 1)
            anew = std * torch.randn(draws, generator=generator, dtype=torch.float64)
            drawn[:, e] = logits[b, e] + anew
            chosen = drawn.topk(top_k, dim=1).indices == e
            expected[b, e] = chosen.any(dim=1).float().mean()
        found = choice_probabilities(logits, noisy, std, top_k)
        # Four standard errors.
        torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.01)
        assert found.min() < 0.3 and found.max() > 0.7

    @pytest.mark.parametrize('name', LOSSES)
    def test_gradient(self, name: str, top_k: int) -> None:
        logits, noisy = scores()
        noise = noisy - logits
        logits.requires_grad_()
        # Scores move with their noise, and no choice changes within a tiny step.
        assert torch.autograd.gradcheck(
            lambda s: LOSSES[name](s, s + noise, top_k), logits, fast_mode=True
        )


class TestValues:
    def test_equal_scores(self) -> None:
        logits = torch.zeros(8, 5)
        assert importance_loss(logits).item() == pytest.approx(0, abs=1e-6)
        for k in range(1, 6):
            assert switch_loss(logits, logits, k).item() == pytest.approx(1)
        assert router_z_loss(logits).item() == pytest.approx(log(5) ** 2)

    def test_each_expert_as_often(self) -> None:
        logits = 4 * torch.eye(5).repeat(3, 1)
        for loss in (importance_loss(logits), load_loss(logits, logits, 0.2, 1)):
            assert loss.item() == pytest.approx(0, abs=1e-6)
        assert switch_loss(logits, logits, 1).item() == pytest.approx(1)

    @pytest.mark.parametrize('k', [1, 2])
    def test_always_the_same_experts(self, k: int) -> None:
        logits = torch.zeros(8, 5)
        logits[:, :k] = 60
        # E / k - 1 for k experts with equal parts.
        assert importance_loss(logits).item() == pytest.approx(5 / k - 1)
        load = load_loss(logits, logits, 0.2, k)
        assert load.item() == pytest.approx(5 / k - 1)
        assert balance_loss(logits, logits, 0.2, k).item() == pytest.approx(5 / k - 1)
        assert switch_loss(logits, logits, k).item() == pytest.approx(5 / k)

    @pytest.mark.parametrize('name', ['balance', 'importance', 'load', 'switch'])
    def test_descent_brings_balance(self, name: str) -> None:
        torch.manual_seed(0)
        # Samples differ a little, and all prefer the same experts.
        kinds = 0.3 * torch.randn(60, 5)
        bias = torch.tensor([1.0, 0.5, 0.0, -0.5, -1.0], requires_grad=True)
        optimizer = torch.optim.Adam([bias], lr=0.02)
        for _ in range(200):
            logits = kinds + bias
            noisy = logits + 0.3 * torch.randn(60, 5)
            optimizer.zero_grad()
            LOSSES[name](logits, noisy, 2).backward()
            optimizer.step()
        chosen = (kinds + bias).detach().topk(2, dim=1).indices.flatten()
        assert chosen.bincount(minlength=5).min() >= 12
        assert bias.std() < 0.25

    def test_shift_of_scores_counts_for_z_alone(self) -> None:
        logits, noisy = scores()
        for name, loss in LOSSES.items():
            before, after = loss(logits, noisy, 2), loss(logits + 3, noisy + 3, 2)
            assert torch.isclose(before, after).item() == (name != 'z')


@pytest.mark.parametrize('name', LOSSES)
class TestEdges:
    @pytest.mark.parametrize(
        'size, num, k', [(1, 5, 1), (1, 5, 3), (6, 4, 4), (6, 1, 1), (1, 1, 1)]
    )
    def test_small_batches_and_all_experts(
        self, size: int, num: int, k: int, name: str
    ) -> None:
        logits, noisy = scores(size, num)
        noise = noisy - logits
        logits.requires_grad_()
        loss = LOSSES[name](logits, logits + noise, k)
        loss.backward()
        assert loss.isfinite()
        assert logits.grad is not None and logits.grad.isfinite().all()
        if (name, num) in [('load', k), ('importance', 1)]:
            assert loss.item() == 0 and not logits.grad.any()
        if num == k and name == 'switch':
            assert loss.item() == pytest.approx(1)

    def test_extreme_scores_have_a_finite_gradient(self, name: str) -> None:
        logits = torch.tensor([[300.0, -300, 0, 0], [0, 0, 0, 0]], requires_grad=True)
        LOSSES[name](logits, logits, 2).backward()
        assert logits.grad is not None and logits.grad.isfinite().all()

    def test_half_precision_is_computed_in_single(self, name: str) -> None:
        low, noisy = (x.bfloat16() for x in scores())
        found = LOSSES[name](low, noisy, 2)
        torch.testing.assert_close(found, LOSSES[name](low.float(), noisy.float(), 2))
        with torch.autocast('cpu', torch.bfloat16):
            assert LOSSES[name](low, noisy, 2).equal(found)

    def test_host_does_not_wait_for_numbers(self, name: str) -> None:
        with FakeTensorMode():
            logits = torch.randn(6, 4, requires_grad=True)
            LOSSES[name](logits, logits + torch.randn(6, 4), 2).backward()


def test_wrong_arguments_are_refused() -> None:
    logits, noisy = scores()
    with pytest.raises(ValueError, match=r'found \(12, 5\) and \(11, 5\)'):
        switch_loss(logits, noisy[1:], 1)
    for k in (0, 6):
        with pytest.raises(ValueError, match=f'top_k must be from 1 to 5.*found {k}'):
            balance_loss(logits, noisy, 0.1, k)
    with pytest.raises(ValueError, match='noise_std must be positive, found 0'):
        load_loss(logits, noisy, 0, 1)
