# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""CoDEX on images, series and pairs, against loops over samples, experts and pixels."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchgeo_experts.losses import make_criterion
from torchgeo_experts.models import (
    ChangeExperts,
    ConvExperts,
    ConvSelector,
    DatewiseSelector,
    ExpertNet,
    LearnedAffinity,
    MultiUTAEBackbone,
)
from torchgeo_experts.objectives import ExpertTraining, SelectorTraining, Step
from torchgeo_experts.objectives.codex import expert_accuracies

DOMAIN = torch.tensor([2, 0, 2])
IGNORED = 9


def make_step(kind: str) -> Step:
    torch.manual_seed(0)
    backbone = MultiUTAEBackbone(in_channels=3, width=32)
    bank = ChangeExperts if kind == 'change' else ConvExperts
    experts = bank(4, backbone.out_features, 3)
    select = DatewiseSelector if kind == 'datewise' else ConvSelector
    selector = select(backbone.pyramid_channels, 4)
    torch.nn.init.normal_(selector.linear.weight, std=0.3)
    net = ExpertNet(backbone, experts, selector, temperature=0.5).double().eval()
    leading = {'image': (3,), 'series': (3, 4), 'datewise': (3, 4), 'change': (3, 2)}
    image = torch.randn(*leading[kind], 3, 16, 24, dtype=torch.float64)
    shape = (3, 16, 24) if kind in ('image', 'change') else (3, 4, 16, 24)
    target = torch.randint(3, shape)
    target[0, ..., :5] = IGNORED
    criterion = make_criterion('multiclass', 'focal', 2.0, ignore_index=IGNORED)
    batch = {'image': image, 'domain': DOMAIN}
    if kind in ('series', 'datewise'):
        batch['dates'] = torch.tensor([[0, 31, 59, 90]]).repeat(3, 1)
        batch['valid'] = torch.tensor([[True, True, False, True]]).repeat(3, 1)
        target[:, 2] = IGNORED
    return Step(net, batch, target, criterion)


def every_expert(step: Step) -> Tensor:
    """Logits of each expert on each sample, one at a time: (B, D, C, ...)."""
    features = step.net.backbone.read(step.batch).head
    result = []
    for sample in features:
        experts = []
        for weight, bias in zip(
            step.net.experts.weight, step.net.experts.bias, strict=True
        ):
            if isinstance(step.net.experts, ChangeExperts):
                before, after = F.conv2d(sample, weight, padding=1)
                experts.append(after - before + bias[:, None, None])
            else:
                maps = sample if sample.ndim == 4 else sample[None]
                logits = F.conv2d(maps, weight, bias, padding=1)
                experts.append(
                    logits.transpose(0, 1).reshape(3, *step.target.shape[1:])
                )
        result.append(torch.stack(experts))
    return torch.stack(result)


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Mean focal loss over the pixels of a sample that are not ignored."""
    pixels = logits.flatten(1).T[(target != IGNORED).flatten()]
    p = pixels.softmax(1)
    true = p[torch.arange(len(p)), target[target != IGNORED]]
    return (-((1 - true) ** 2) * true.log()).mean()


def accuracy(logits: Tensor, target: Tensor) -> Tensor:
    right = logits.argmax(0) == target
    return right[target != IGNORED].double().mean()


@pytest.mark.parametrize('kind', ['image', 'series', 'change'])
class TestAgainstLoops:
    def test_first_stage(self, kind: str) -> None:
        step = make_step(kind)
        every = every_expert(step)
        affinity = LearnedAffinity()
        affinity.build(4)
        torch.nn.init.normal_(affinity.scores)
        affinity.double()
        domain, consistency = [], []
        for logits, d, y in zip(every, DOMAIN.tolist(), step.target, strict=True):
            domain.append(focal(logits[d], y))
            others = [e for e in range(4) if e != d]
            a = affinity.scores[d, others].softmax(0)
            mixed = sum(w * logits[e] for w, e in zip(a, others, strict=True))
            consistency.append(focal(mixed, y))
        found = ExpertTraining(affinity)(step)
        tight = {'atol': 1e-5, 'rtol': 1e-5, 'check_dtype': False}
        terms = found.terms
        torch.testing.assert_close(terms['domain'], torch.stack(domain).mean(), **tight)
        torch.testing.assert_close(
            terms['consistency'], torch.stack(consistency).mean(), **tight
        )
        parameters = [*step.net.backbone.parameters(), affinity.scores]
        for a, b in zip(
            torch.autograd.grad(sum(terms.values()), parameters),
            torch.autograd.grad(
                torch.stack(domain).mean() + torch.stack(consistency).mean(), parameters
            ),
            strict=True,
        ):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)

    def test_second_stage(self, kind: str) -> None:
        step = make_step(kind)
        every = every_expert(step)
        scores = step.net.selector(step.net.backbone.read(step.batch))
        right, mixture = [], []
        for logits, s, y in zip(every, scores, step.target, strict=True):
            errors = [(s[d] - accuracy(logits[d], y)).abs() for d in range(4)]
            right.append(torch.stack(errors).sum())
            p = (s / 0.5).softmax(0)
            mixture.append(focal(torch.einsum('d,d...->...', p, logits), y))
        terms = SelectorTraining()(step).terms
        tight = {'atol': 1e-5, 'rtol': 1e-5, 'check_dtype': False}
        torch.testing.assert_close(
            terms['accuracy'], torch.stack(right).mean(), **tight
        )
        torch.testing.assert_close(
            terms['mixture'], torch.stack(mixture).mean(), **tight
        )


def test_selector_may_choose_for_each_date() -> None:
    step = make_step('datewise')
    every = every_expert(step)
    scores = step.net.selector(step.net.backbone.read(step.batch))
    assert scores.shape == (3, 4, 4)
    errors = []
    for b, t in [(b, t) for b in range(3) for t in range(4)]:
        target = step.target[b, t]
        if (target == IGNORED).all():
            continue  # the missing date has no accuracy
        experts = [accuracy(every[b, d, :, t], target) for d in range(4)]
        errors.append((scores[b, t] - torch.stack(experts)).abs().sum())
    found = SelectorTraining()(step)
    torch.testing.assert_close(
        found.terms['accuracy'],
        torch.stack(errors).mean(),
        check_dtype=False,
        atol=1e-5,
        rtol=1e-5,
    )
    mixed = torch.einsum('btd,bdcthw->bcthw', (scores / 0.5).softmax(-1), every)
    torch.testing.assert_close(
        found.logits, mixed, check_dtype=False, atol=1e-5, rtol=1e-5
    )


class TestFewerExperts:
    """Of thousands of domains, a step looks at the accuracy of some."""

    def test_expectation_is_that_of_all(self) -> None:
        step = make_step('image')
        with torch.no_grad():
            exact = SelectorTraining()(step).terms['accuracy']
            some = SelectorTraining(accuracy_experts=2)
            drawn = torch.stack([some(step).terms['accuracy'] for _ in range(300)])
        # The mean of all 6 pairs is exact; drawn pairs scatter around it.
        assert drawn.std() > 0
        assert (drawn.mean() - exact).abs() < 4 * drawn.std() / 300**0.5

    def test_all_are_looked_at_when_there_are_not_more(self) -> None:
        step = make_step('image')
        exact = SelectorTraining()(step).terms['accuracy']
        for count in (4, 100):
            found = SelectorTraining(accuracy_experts=count)(step).terms['accuracy']
            torch.testing.assert_close(found, exact)

    def test_others_do_not_predict(self) -> None:
        step = make_step('image')
        features = step.net.backbone.read(step.batch).head
        asked = []
        each = step.net.experts.each
        step.net.experts.each = lambda f, e: asked.extend(e.tolist()) or each(f, e)
        which = torch.tensor([3, 1])
        args = (step.net.experts, features, step.target, step.criterion)
        found = expert_accuracies(*args, which)
        assert asked == [3, 1]
        torch.testing.assert_close(found, expert_accuracies(*args)[:, [3, 1]])

    def test_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match='at least 1, found 0'):
            SelectorTraining(accuracy_experts=0)


def test_samples_without_labels_do_not_teach_the_selector() -> None:
    step = make_step('image')
    step.target[1] = IGNORED
    found = SelectorTraining()(step).terms['accuracy']
    step.batch['image'] = step.batch['image'][[0, 2]]
    rest = Step(step.net, step.batch, step.target[[0, 2]], step.criterion)
    torch.testing.assert_close(found, SelectorTraining()(rest).terms['accuracy'])


def test_labels_and_dates_are_not_mixed_up() -> None:
    """As many labels as dates: a wrong order would go unnoticed."""
    torch.manual_seed(0)
    step = make_step('datewise')
    criterion = make_criterion('multilabel', 'bce')
    step.batch['image'] = step.batch['image'][:, :3]
    for key in ('dates', 'valid'):
        step.batch[key] = step.batch[key][:, :3]
    target = torch.randint(2, (3, 3, 3, 16, 24))
    step = Step(step.net, step.batch, target, criterion)
    features = step.net.backbone.read(step.batch)
    scores = step.net.selector(features)
    errors = []
    for b, t, d in [(b, t, d) for b in range(3) for t in range(3) for d in range(4)]:
        weight, bias = step.net.experts.weight[d], step.net.experts.bias[d]
        logits = F.conv2d(features.head[b, t][None], weight, bias, padding=1)[0]
        right = ((logits >= 0) == target[b, :, t].bool()).double().mean()
        errors.append((scores[b, t, d] - right).abs())
    expected = torch.stack(errors).mean() * 4
    found = SelectorTraining()(step).terms['accuracy']
    torch.testing.assert_close(found, expected, check_dtype=False, atol=1e-5, rtol=1e-5)
