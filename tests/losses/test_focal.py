# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import math

import kornia
import pytest
import torch
import torch.nn.functional as F
import torchvision

from torchgeo_experts.losses import sigmoid_focal, softmax_focal


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(3, 4, 5, 6), torch.randint(0, 4, (3, 5, 6))


class TestSoftmaxFocal:
    def test_gamma_zero_is_cross_entropy(
        self, maps: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        logits, target = maps
        weight = torch.tensor([0.5, 1.0, 2.0, 3.0])
        expected = F.cross_entropy(logits, target, weight=weight, reduction='none')
        found = softmax_focal(logits, target, gamma=0, weight=weight)
        torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize('gamma', [0.5, 1.0, 2.0])
    def test_matches_kornia(
        self, gamma: float, maps: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        logits, target = maps
        expected = kornia.losses.focal_loss(
            logits, target, alpha=None, gamma=gamma, reduction='none'
        ).sum(dim=1)
        torch.testing.assert_close(softmax_focal(logits, target, gamma), expected)

    def test_one_element_by_hand(self) -> None:
        p = math.exp(2) / (math.exp(2) + math.exp(-1))
        found = softmax_focal(torch.tensor([[2.0, -1.0]]), torch.tensor([0]), 3.0)
        assert found.item() == pytest.approx(-((1 - p) ** 3) * math.log(p), rel=1e-5)

    def test_saturated_logits_have_a_finite_gradient(self) -> None:
        logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
        softmax_focal(logits, torch.tensor([0, 0]), gamma=0.5).sum().backward()
        assert logits.grad is not None and logits.grad.isfinite().all()

    def test_half_precision_is_computed_in_single(
        self, maps: tuple[torch.Tensor, torch.Tensor]
    ) -> None:
        logits, target = maps
        low = logits.bfloat16()
        found = softmax_focal(low, target)
        torch.testing.assert_close(found, softmax_focal(low.float(), target))


class TestSigmoidFocal:
    @pytest.mark.parametrize('gamma', [0.0, 1.0, 2.0])
    def test_matches_torchvision(self, gamma: float) -> None:
        torch.manual_seed(0)
        logits, target = torch.randn(6, 3), torch.randint(0, 2, (6, 3))
        expected = torchvision.ops.sigmoid_focal_loss(
            logits, target.float(), alpha=-1, gamma=gamma
        )
        torch.testing.assert_close(sigmoid_focal(logits, target, gamma), expected)

    def test_weight_counts_for_positives_of_its_label(self) -> None:
        logits, target = torch.randn(4, 2, 3), torch.randint(0, 2, (4, 2, 3))
        weight = torch.tensor([5.0, 0.5])
        factor = torch.where(target == 1, weight[:, None], 1.0)
        expected = factor * sigmoid_focal(logits, target)
        torch.testing.assert_close(
            sigmoid_focal(logits, target, weight=weight), expected
        )
