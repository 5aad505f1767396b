# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchgeo_experts.losses import make_criterion
from torchgeo_experts.models import (
    ExpertNet,
    LearnedAffinity,
    LinearExperts,
    LinearSelector,
    TimmBackbone,
)
from torchgeo_experts.objectives import ERM, ExpertTraining, SelectorTraining, Step
from torchgeo_experts.objectives.codex import expert_accuracies

DOMAIN = torch.tensor([2, 0, 2, 3])
TARGET = torch.tensor([1, 2, 0, 1])


@pytest.fixture
def step() -> Step:
    torch.manual_seed(0)
    backbone = TimmBackbone('test_resnet')
    experts = LinearExperts(4, backbone.out_features, 3)
    selector = LinearSelector(backbone.pyramid_channels, 4)
    torch.nn.init.normal_(selector.linear.weight, std=0.3)
    net = ExpertNet(backbone, experts, selector, temperature=0.5).eval()
    batch = {'image': torch.randn(4, 3, 32, 32), 'domain': DOMAIN}
    return Step(net, batch, TARGET, make_criterion('multiclass', 'ce'))


@pytest.fixture
def affinity() -> LearnedAffinity:
    affinity = LearnedAffinity()
    affinity.build(4)
    torch.nn.init.normal_(affinity.scores)
    return affinity


def every_expert(step: Step) -> Tensor:
    """Logits of all experts, one at a time: shape (B, D, C)."""
    features = step.net.backbone(step.batch['image']).head
    bank = step.net.experts
    heads = zip(bank.weight, bank.bias, strict=True)
    return torch.stack([F.linear(features, w, b) for w, b in heads], dim=1)


def test_erm_is_the_mean_risk(step: Step) -> None:
    logits, terms, *_ = ERM()(step)
    expected = F.cross_entropy(step.net(step.batch['image']), TARGET)
    torch.testing.assert_close(terms['risk'], expected)
    assert logits.equal(step.net(step.batch['image']))


class TestExpertTraining:
    def test_losses_by_the_paper(self, step: Step, affinity: LearnedAffinity) -> None:
        """Equations 1 and 2, sample by sample and expert by expert."""
        every = every_expert(step)
        domain_losses, consistency_losses = [], []
        for logits, d, y in zip(every, DOMAIN, TARGET, strict=True):
            domain_losses.append(F.cross_entropy(logits[d], y))
            others = [e for e in range(4) if e != d]
            a = affinity.scores[d, others].softmax(0)
            mixed = sum(w * logits[e] for w, e in zip(a, others, strict=True))
            consistency_losses.append(F.cross_entropy(mixed, y))
        found = ExpertTraining(affinity, 0.5, 2.0)(step)
        terms = found.terms
        torch.testing.assert_close(
            terms['domain'], 0.5 * torch.stack(domain_losses).mean()
        )
        expected = 2 * torch.stack(consistency_losses).mean()
        torch.testing.assert_close(terms['consistency'], expected)
        torch.testing.assert_close(found.logits, every[torch.arange(4), DOMAIN])

    def test_gradients_reach_the_right_experts(
        self, step: Step, affinity: LearnedAffinity
    ) -> None:
        """The domain loss reaches own experts, consistency all others."""
        for name, expected in (('domain', [0, 2, 3]), ('consistency', [0, 1, 2, 3])):
            step.net.zero_grad()
            affinity.zero_grad()
            ExpertTraining(affinity)(step).terms[name].backward()
            gradient = step.net.experts.weight.grad.flatten(1).abs().sum(1)
            assert gradient.nonzero().flatten().tolist() == expected
            if name == 'domain':
                assert affinity.scores.grad is None or not affinity.scores.grad.any()
            else:
                assert affinity.scores.grad is not None
                rows = affinity.scores.grad.abs().sum(1).nonzero().flatten()
                assert rows.tolist() == [0, 2, 3]

    def test_own_expert_has_no_part_in_consistency(
        self, step: Step, affinity: LearnedAffinity
    ) -> None:
        one = {'image': step.batch['image'][:1], 'domain': DOMAIN[:1]}
        alone = Step(step.net, one, TARGET[:1], step.criterion)
        ExpertTraining(affinity)(alone).terms['consistency'].backward()
        gradient = step.net.experts.weight.grad.flatten(1).abs().sum(1)
        assert gradient.nonzero().flatten().tolist() == [0, 1, 3]

    def test_two_domains_agree_with_each_other(self, step: Step) -> None:
        """With two experts, the mixture of all others is the other one."""
        affinity = LearnedAffinity()
        affinity.build(2)
        step.net.experts = LinearExperts(2, 96, 3)
        step.batch['domain'] = torch.tensor([0, 1, 1, 0])
        every = every_expert(step)
        other = every[torch.arange(4), 1 - step.domain]
        found = ExpertTraining(affinity)(step).terms['consistency']
        torch.testing.assert_close(found, F.cross_entropy(other, TARGET))


class TestSelectorTraining:
    @pytest.mark.parametrize('reduction', ['sum', 'mean'])
    def test_losses_by_the_paper(self, reduction: Any, step: Step) -> None:
        """Equations 3 and 4, sample by sample and expert by expert."""
        every = every_expert(step)
        scores = step.net.selector(step.net.backbone(step.batch['image']))
        accuracy_losses, mixture_losses = [], []
        for logits, s, y in zip(every, scores, TARGET, strict=True):
            errors = [(s[d] - float(logits[d].argmax() == y)).abs() for d in range(4)]
            total = torch.stack(errors).sum()
            accuracy_losses.append(total if reduction == 'sum' else total / 4)
            p = torch.exp(s / 0.5) / torch.exp(s / 0.5).sum()
            mixture_losses.append(F.cross_entropy(p @ logits, y))
        terms = SelectorTraining(3.0, 0.9, reduction)(step).terms
        torch.testing.assert_close(
            terms['accuracy'], 3 * torch.stack(accuracy_losses).mean()
        )
        torch.testing.assert_close(
            terms['mixture'], 0.9 * torch.stack(mixture_losses).mean()
        )

    @pytest.mark.parametrize(
        'weights, names', [((0.0, 1.0), {'mixture'}), ((1.0, 0.0), {'accuracy'})]
    )
    def test_a_term_of_weight_zero_is_left_out(
        self, weights: tuple[float, float], names: set[str], step: Step
    ) -> None:
        assert set(SelectorTraining(*weights)(step).terms) == names

    def test_accuracies_carry_no_gradient(self, step: Step) -> None:
        features = step.net.backbone(step.batch['image']).head
        found = expert_accuracies(step.net.experts, features, TARGET, step.criterion)
        assert not found.requires_grad
        right = every_expert(step).argmax(-1) == TARGET[:, None]
        assert found.equal(right.float())


@pytest.mark.parametrize(
    'make',
    [lambda: SelectorTraining(0, 0), lambda: ExpertTraining(LearnedAffinity(), 0, 0)],
)
def test_nothing_to_learn_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match='both 0'):
        make()
