# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Objectives with unlabelled targets, and with maps, against their formulas."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from objectives.tiny import CLASSES, build, labels_of, make_net, make_step, predict
from scipy.stats import entropy
from torch import Tensor, nn

from torchgeo_experts import DomainChangeTask
from torchgeo_experts.losses.adversarial import information_map, reversal_ramp
from torchgeo_experts.losses.mixing import class_mix, random_circle
from torchgeo_experts.losses.pixel_contrast import supervised_contrast
from torchgeo_experts.objectives import (
    AdvEnt,
    ClassMix,
    DeepCORAL,
    MaxSquare,
    MinEnt,
    PixelContrast,
    PseudoLabels,
    Step,
    StyleAugment,
    TargetDANN,
    TargetStyle,
)
from torchgeo_experts.objectives.mixing import over_bands


def unlabelled(step: Step) -> Tensor:
    return predict(step, step.unlabelled)


@pytest.mark.parametrize('maps', [False, True])
def test_deep_coral(maps: bool) -> None:
    step = make_step(make_net(maps), maps)
    found = build(DeepCORAL(weight=3.0, pixels=10**6))(step).terms['coral']
    covariances = []
    for batch in (step.batch, step.unlabelled):
        head = step.net.backbone.read(batch).head.detach()
        vectors = head.movedim(1, -1).flatten(0, -2) if maps else head
        covariances.append(np.cov(vectors.numpy().T))
    distance = ((covariances[0] - covariances[1]) ** 2).sum() / (
        4 * len(covariances[0]) ** 2
    )
    assert float(found) == pytest.approx(3 * distance, rel=1e-4)


@pytest.mark.parametrize('maps', [False, True])
def test_max_square(maps: bool) -> None:
    step = make_step(make_net(maps), maps)
    found = build(MaxSquare(weight=0.3), maps)(step).terms['max_square']
    p = unlabelled(step).softmax(dim=1)
    # Half of the Gini impurity, less one half.
    gini = (1 - p.square().sum(dim=1)).mean()
    assert float(found) == pytest.approx(0.3 * float(gini - 1) / 2, rel=1e-5)


@pytest.mark.parametrize('maps', [False, True])
def test_min_ent(maps: bool) -> None:
    step = make_step(make_net(maps), maps)
    found = build(MinEnt(weight=0.3), maps)(step).terms['entropy']
    p = unlabelled(step).softmax(dim=1).detach().numpy()
    expected = entropy(p, base=CLASSES, axis=1).mean()
    assert float(found) == pytest.approx(0.3 * expected, rel=1e-5)


@pytest.mark.parametrize('maps', [False, True])
def test_pseudo_labels(maps: bool) -> None:
    net = make_net(maps)
    with torch.no_grad():
        for parameter in net.head.parameters():
            parameter *= 4
    step = make_step(net, maps, progress=0.1)
    objective = build(PseudoLabels(weight=2.0, threshold=0.6, ramp=0.4), maps)
    found = objective(step).terms['pseudo_labels']
    logits = unlabelled(step)
    top, label = logits.softmax(dim=1).max(dim=1)
    assert 0.05 < (top >= 0.6).double().mean() < 0.95
    loss = F.cross_entropy(logits, label, reduction='none') * (top >= 0.6)
    assert float(found) == pytest.approx(2 * 0.25 * float(loss.mean()), rel=1e-5)
    late = make_step(net, maps, progress=0.9)
    full = objective(late).terms['pseudo_labels']
    assert float(full) == pytest.approx(4 * float(found), rel=1e-5)


def test_target_dann() -> None:
    step = make_step(make_net(), progress=0.3)
    objective = build(TargetDANN(weight=0.5, width=16))
    loss = objective(step).terms['adversarial']
    body = step.net.backbone.body.weight
    judge = list(objective.discriminator.parameters())
    found = torch.autograd.grad(loss, [body, *judge])
    source, target = (
        objective.discriminator(step.net.backbone.read(batch).head)
        for batch in (step.batch, step.unlabelled)
    )
    truth = torch.cat([torch.ones_like(source), torch.zeros_like(target)])
    together = torch.cat([source, target])
    plain = 0.5 * F.binary_cross_entropy_with_logits(together, truth)
    expected = list(torch.autograd.grad(plain, [body, *judge]))
    expected[0] = -reversal_ramp(0.3) * expected[0]
    torch.testing.assert_close(list(found), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize('maps', [False, True])
def test_advent_gives_the_gradients_of_two_passes(maps: bool) -> None:
    step = make_step(make_net(maps), maps, size=4)
    objective = build(AdvEnt(weight=0.7), maps)
    judge = objective.discriminator
    network, own = list(step.net.parameters()), list(judge.parameters())
    loss = torch.stack(list(objective(step).terms.values())).sum()
    found = torch.autograd.grad(loss, [*network, *own])

    def bce(logits: Tensor, value: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            logits, torch.full_like(logits, value)
        )

    logits, target = predict(step), unlabelled(step)
    first = step.risk(logits) + 0.7 * bce(judge(information_map(target)), 1)
    by_hand = list(torch.autograd.grad(first, network))
    second = (
        bce(judge(information_map(logits.detach())), 1)
        + bce(judge(information_map(target.detach())), 0)
    ) / 2
    by_hand += torch.autograd.grad(second, own)
    torch.testing.assert_close(list(found), by_hand, rtol=1e-5, atol=1e-8)


def test_class_mix() -> None:
    net = make_net(maps=True)
    step = make_step(net, maps=True)
    objective = build(ClassMix(), maps=True)
    torch.manual_seed(3)
    (risk,) = objective(step).terms.values()
    torch.manual_seed(3)
    partner = random_circle(len(step.target))
    mask = class_mix(step.target[partner], CLASSES)
    image, target = step.batch['image'].clone(), step.target.clone()
    for i in range(len(target)):
        j = int(partner[i])
        for row in range(8):
            for column in range(8):
                if mask[i, row, column]:
                    image[i, :, row, column] = step.batch['image'][j, :, row, column]
                    target[i, row, column] = step.target[j, row, column]
    expected = F.cross_entropy(predict(step, {'image': image}), target)
    assert float(risk) == pytest.approx(float(expected), rel=1e-5)


def test_masks_over_bands() -> None:
    mask = torch.rand(2, 4, 4) > 0.5
    single = over_bands(mask, torch.zeros(2, 3, 4, 4))
    assert torch.equal(single, mask[:, None])
    pair = over_bands(mask, torch.zeros(2, 2, 3, 4, 4))
    assert torch.equal(
        pair.expand(2, 2, 3, 4, 4), mask[:, None, None].expand(2, 2, 3, 4, 4)
    )
    dates = torch.rand(2, 5, 4, 4) > 0.5
    series = over_bands(dates, torch.zeros(2, 5, 3, 4, 4))
    assert torch.equal(series, dates[:, :, None])


@pytest.mark.parametrize('kind', [StyleAugment, TargetStyle])
def test_style(kind: Any) -> None:
    step = make_step(make_net())
    objective = build(kind(strength=0.8))
    torch.manual_seed(3)
    (risk,) = objective(step).terms.values()
    torch.manual_seed(3)
    image = step.batch['image']
    strength = 0.8 * torch.rand(len(image))
    other = step.unlabelled['image']
    if kind is StyleAugment:
        other = image[random_circle(len(image))]
    styled = torch.empty_like(image)
    for i, a in enumerate(strength.double()):
        for band in range(3):
            x, y = image[i, band], other[i, band]
            moved = (x - x.mean()) / x.std(correction=0) * y.std(
                correction=0
            ) + y.mean()
            styled[i, band] = (1 - a) * x + a * moved
    expected = F.cross_entropy(predict(step, {'image': styled}), step.target)
    assert float(risk) == pytest.approx(float(expected), rel=1e-4)


def test_pixel_contrast() -> None:
    step = make_step(make_net(maps=True), maps=True, size=2)
    objective = build(PixelContrast(weight=0.5, pixels=128), maps=True)
    found = objective(step).terms['contrast']
    head = step.net.backbone.read(step.batch).head.movedim(1, -1).flatten(0, -2)
    projected = F.normalize(objective.projection(head), dim=1)
    expected = supervised_contrast(projected, step.target.flatten(), 0.07)
    assert float(found) == pytest.approx(0.5 * float(expected), rel=1e-3)
    with pytest.raises(ValueError, match='PixelContrast needs a map of each image'):
        DomainChangeTask('unet', 'tu-test_resnet', objective=PixelContrast())


@pytest.mark.parametrize('maps', [False, True])
def test_adversary_in_half_precision(maps: bool) -> None:
    """As under precision='bf16-true', where all weights and images are so."""
    step = make_step(make_net(maps).bfloat16(), maps)
    for key in ('image', 'target_image'):
        step.batch[key] = step.batch[key].bfloat16()
    objective = build(AdvEnt(), maps).bfloat16()
    if maps:  # five strides of two
        for key in ('image', 'target_image'):
            step.batch[key] = step.batch[key].repeat(1, 1, 4, 4)
        step = replace(step, target=step.target.repeat(1, 4, 4))
    assert all(term.isfinite() for term in objective(step).terms.values())


def test_fewer_targets_than_images() -> None:
    """Of any number, each of no training domain."""
    step = make_step(make_net())
    step.batch['target_image'] = step.batch['target_image'][:7]
    seen = []
    backbone: Any = step.net.backbone
    read = backbone.read
    backbone.read = lambda batch: seen.append(batch) or read(batch)
    source, target = step.read_both()
    (both,) = seen
    assert both['domain'].tolist() == [*step.domain.tolist(), *[-1] * 7]
    torch.testing.assert_close(torch.cat([source.head, target.head]), read(both).head)
    assert len(target.head) == 7


@pytest.mark.parametrize('task', ['binary', 'multilabel'])
@pytest.mark.parametrize('maps', [False, True])
@pytest.mark.parametrize(
    'kind',
    [AdvEnt, MinEnt, MaxSquare, PseudoLabels, DeepCORAL, TargetDANN, StyleAugment],
)
def test_labels(kind: Any, maps: bool, task: Any) -> None:
    """Labels that do not exclude each other, and a single one, of images and of maps."""
    step, outputs = labels_of(
        make_step(make_net(maps), maps, size=4, progress=0.5), task
    )
    objective = build(kind(), maps, outputs, labels=True)
    terms = objective(step).terms
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None for p in objective.parameters())
    assert all(p.grad.any() for p in step.net.parameters())
    if kind is MaxSquare:
        p = unlabelled(step).sigmoid()
        expected = -(p.square() + (1 - p).square()).mean() / 2
        assert float(terms['max_square']) == pytest.approx(0.3 * float(expected))


def test_batch_statistics_are_of_both() -> None:
    """A shift between source and target must not be normalized away."""
    net = make_net()
    net.backbone.body = nn.Sequential(
        net.backbone.body, nn.BatchNorm1d(5, affine=False).double()
    )
    step = make_step(net)
    source, target = step.read_both()
    both = torch.cat([step.batch['image'], step.batch['target_image']])
    expected = net.backbone(both).head
    torch.testing.assert_close(torch.cat([source.head, target.head]), expected)
    assert (source.head.mean(dim=0) - target.head.mean(dim=0)).abs().max() > 0.1


def test_mixed_targets_are_judged() -> None:
    step = make_step(make_net(maps=True), maps=True)
    outcome = build(ClassMix(), maps=True)(step)
    assert outcome.target is not None
    risk = step.criterion.mean(
        step.criterion(outcome.logits, outcome.target), outcome.target
    )
    assert float(outcome.terms['risk']) == pytest.approx(float(risk))


def test_class_mix_leaves_missing_dates_alone() -> None:
    step = make_step(make_net(maps=True), maps=True, size=6)
    series = step.batch['image'].unsqueeze(1).repeat(1, 3, 1, 1, 1)
    valid = torch.ones(6, 3, dtype=torch.bool)
    valid[:, 1] = False
    batch = {'image': series, 'valid': valid}
    target = step.target.unsqueeze(1).repeat(1, 3, 1, 1)
    given = Step(step.net, batch, target, step.criterion)
    outcome = build(ClassMix(), maps=True)(given)
    assert outcome.target is not None
    changed = (outcome.target != target).flatten(2).any(dim=2)
    assert changed[:, [0, 2]].any() and not changed[:, 1].any()
