# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.invariance import invariance_loss, invariance_loss_outside

Loss = Callable[..., Tensor]


def naive(
    features: Tensor, labels: Tensor, experts: Tensor, tau: float, outside: bool
) -> Tensor:
    """Both sums of the formulas, one sample and one pair at a time."""
    q = [f / f.norm() for f in features]
    terms = []
    for i in range(len(q)):
        same = [
            j
            for j in range(len(q))
            if labels[j] == labels[i] and experts[j] != experts[i]
        ]
        other = [
            j
            for j in range(len(q))
            if labels[j] != labels[i] and experts[j] == experts[i]
        ]
        if not same:
            continue
        e = {j: (q[i] @ q[j] / tau).exp() for j in same + other}
        total = torch.stack(list(e.values())).sum()
        if outside:
            logs = torch.stack([(e[p] / total).log() for p in same])
            terms.append(logs.mean())
        else:
            terms.append((torch.stack([e[p] for p in same]).sum() / total).log())
    return -torch.stack(terms).mean()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(24, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (24,), generator=generator)
    experts = torch.randint(3, (24,), generator=generator)
    # A class of its own: no anchor, but a negative.
    labels[7] = 9
    # An expert of its own: an anchor without negatives.
    experts[3] = 5
    return features, labels, experts


@pytest.mark.parametrize('tau', [0.05, 0.1, 1.0])
@pytest.mark.parametrize(
    'loss, outside', [(invariance_loss, False), (invariance_loss_outside, True)]
)
def test_matches_the_formula(
    loss: Loss, outside: bool, tau: float, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    features, labels, experts = batch
    features.requires_grad_()
    found = loss(features, labels, experts, tau)
    expected = naive(features, labels, experts, tau, outside)
    torch.testing.assert_close(found, expected)
    (grad,) = torch.autograd.grad(found, features)
    (expected_grad,) = torch.autograd.grad(expected, features)
    torch.testing.assert_close(grad, expected_grad)
    assert grad.norm() > 0.01


def test_inside_is_at_most_outside(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    assert 0 < invariance_loss(*batch) < invariance_loss_outside(*batch)
    # The default is the temperature of the reference.
    torch.testing.assert_close(invariance_loss(*batch), invariance_loss(*batch, 0.1))


@pytest.mark.parametrize('loss', [invariance_loss, invariance_loss_outside])
class TestEither:
    def test_one_pair_by_hand(self, loss: Loss) -> None:
        # Sample 0: positive 1 at cosine 0.6, negative 2 at 0.8. Sample 1 has no negative.
        features = torch.tensor([[2.0, 0.0], [0.3, 0.4], [4.0, 3.0]])
        found = loss(features, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), 0.5)
        first = -math.log(math.exp(1.2) / (math.exp(1.2) + math.exp(1.6)))
        assert found.item() == pytest.approx((first + 0) / 2, rel=1e-6)

    def test_order_and_length_do_not_count(
        self, loss: Loss, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        features, labels, experts = batch
        expected = loss(features, labels, experts)
        order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
        found = loss(features[order], labels[order], experts[order])
        torch.testing.assert_close(found, expected)
        scale = 10 ** torch.linspace(-4, 4, 24, dtype=torch.float64)[:, None]
        found = loss(features * scale, labels, experts)
        torch.testing.assert_close(found, expected)
        # Names of classes and experts do not either.
        torch.testing.assert_close(loss(features, 50 - labels, experts), expected)
        torch.testing.assert_close(loss(features, labels, 50 - experts), expected)

    @pytest.mark.parametrize(
        'labels, experts',
        [
            ([1], [0]),  # a batch of one
            ([0, 1, 2], [0, 0, 0]),  # no class twice
            ([1, 1, 1], [2, 2, 2]),  # a single class and expert
            ([0, 0, 1, 1], [0, 0, 1, 1]),  # no class with two experts
        ],
    )
    def test_without_anchors_it_is_zero(
        self, loss: Loss, labels: list[int], experts: list[int]
    ) -> None:
        features = torch.randn(len(labels), 3, requires_grad=True)
        found = loss(features, torch.tensor(labels), torch.tensor(experts))
        found.backward()
        assert found.item() == 0
        assert features.grad is not None and not features.grad.any()

    def test_without_location_samples_count_in_no_pair(
        self, loss: Loss, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        features, labels, experts = batch
        lost = torch.arange(24) % 4 == 0
        found = loss(features, labels, experts.where(~lost, -1))
        expected = loss(features[~lost], labels[~lost], experts[~lost])
        torch.testing.assert_close(found, expected)

    def test_small_temperature_does_not_overflow(
        self, loss: Loss, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        features = batch[0].float().requires_grad_()
        found = loss(features, *batch[1:], 1e-4)
        found.backward()
        expected = loss(batch[0], *batch[1:], 1e-4)
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=0)
        assert features.grad is not None and features.grad.isfinite().all()

    def test_features_of_length_zero_have_a_finite_gradient(
        self, loss: Loss, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        features, labels, experts = batch
        features[2] = 0
        features.requires_grad_()
        with torch.autograd.detect_anomaly(check_nan=True):
            loss(features, labels, experts).backward()
        assert features.grad is not None and features.grad.abs().max() < 100

    def test_half_precision_is_computed_in_single(
        self, loss: Loss, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        features, labels, experts = batch
        low = features.bfloat16()
        expected = loss(low.float(), labels, experts)
        torch.testing.assert_close(loss(low, labels, experts), expected)
        with torch.autocast('cpu', torch.bfloat16):
            found = loss(low.float(), labels, experts)
        torch.testing.assert_close(found, expected)

    def test_host_does_not_wait_for_numbers(self, loss: Loss) -> None:
        with FakeTensorMode():
            features = torch.randn(8, 3, requires_grad=True)
            groups = torch.arange(8)
            loss(features, groups % 2, groups % 3).backward()

    def test_wrong_arguments_are_refused(
        self, loss: Loss, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        features, labels, experts = batch
        with pytest.raises(ValueError, match=r'found \(24, 5\), \(24,\) and \(23,\)'):
            loss(features, labels, experts[1:])
        with pytest.raises(ValueError, match='temperature must be positive, found 0'):
            loss(features, labels, experts, 0)
