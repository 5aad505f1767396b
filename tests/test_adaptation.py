# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Adapting the shares of classes to a site."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from torchgeo_experts.adaptation import adapt_prior

SOURCE = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def site(shares: list[float], count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw images of three classes, and what the best classifier of the source says."""
    generator = np.random.default_rng(seed)
    label = generator.choice(3, count, p=shares)
    means = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])
    images = means[label] + generator.standard_normal((count, 2))
    squares = ((images[:, None] - means) ** 2).sum(axis=2)
    logits = -squares / 2 + np.log(SOURCE.numpy())
    return torch.from_numpy(logits), torch.from_numpy(label)


def test_against_loops() -> None:
    logits, _ = site([0.2, 0.2, 0.6], 30)
    found = adapt_prior(logits, SOURCE, pseudo_count=7, iterations=12, tolerance=0)
    q = SOURCE.tolist()
    for _ in range(12):
        totals = [0.0] * 3
        for row in logits.tolist():
            e = [math.exp(z) for z in row]
            p = [e[c] / sum(e) * q[c] / float(SOURCE[c]) for c in range(3)]
            totals = [t + x / sum(p) for t, x in zip(totals, p, strict=True)]
        q = [(t + 7 * float(s)) / 37 for t, s in zip(totals, SOURCE, strict=True)]
    assert found.prior.tolist() == pytest.approx(q)


def test_finds_the_shares_of_a_large_site() -> None:
    shares = [0.1, 0.15, 0.75]
    logits, label = site(shares, 20_000)
    found = adapt_prior(logits, SOURCE, iterations=500, tolerance=1e-9)
    assert found.prior.tolist() == pytest.approx(shares, abs=0.02)
    before = (logits.argmax(dim=1) == label).double().mean()
    after = (found.probabilities.argmax(dim=1) == label).double().mean()
    assert after > before + 0.03
    torch.testing.assert_close(
        found.probabilities.sum(dim=1), torch.ones_like(before).expand(20_000)
    )


def test_few_images_keep_the_source() -> None:
    logits, _ = site([0.0, 0.0, 1.0], 3)
    strong = adapt_prior(logits, SOURCE, pseudo_count=1e6)
    torch.testing.assert_close(strong.prior, SOURCE, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        strong.probabilities, logits.softmax(dim=1), atol=1e-4, rtol=0
    )
    none = adapt_prior(logits[:0], SOURCE)
    torch.testing.assert_close(none.prior, SOURCE)
    assert none.probabilities.shape == (0, 3)


def test_bad_input() -> None:
    logits, _ = site([0.2, 0.2, 0.6], 4)
    with pytest.raises(ValueError, match=r'found \(4, 3\) and \(2,\)'):
        adapt_prior(logits, SOURCE[:2])
    with pytest.raises(ValueError, match='each class needs a positive share'):
        adapt_prior(logits, torch.tensor([1.0, 0.0, 1.0]))
    for nothing in (logits[:0], logits[:2]):
        with pytest.raises(ValueError, match='images of some weight'):
            weight = torch.zeros(len(nothing))
            adapt_prior(nothing, SOURCE, pseudo_count=0.0, weight=weight)


def test_half_precision() -> None:
    logits, _ = site([0.2, 0.2, 0.6], 50)
    found = adapt_prior(logits.bfloat16(), SOURCE.float())
    assert found.prior.dtype == torch.float32
    assert found.prior.tolist() == pytest.approx(
        adapt_prior(logits, SOURCE).prior.tolist(), abs=0.02
    )


def test_rows_of_several_images() -> None:
    logits, _ = site([0.2, 0.2, 0.6], 12)
    count = torch.arange(12) % 4
    expected = adapt_prior(logits.repeat_interleave(count, dim=0), SOURCE).prior
    found = adapt_prior(logits, SOURCE, weight=count).prior
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match='a weight of each of 12 rows'):
        adapt_prior(logits, SOURCE, weight=count[:5])
