# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Objectives over domains, against their formulas written out."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback
from objectives.tiny import CLASSES, DOMAINS, build, make_net, make_step, predict
from scipy.special import softmax
from torch import Tensor, nn
from trainers import trainer

from conftest import ToyDataModule
from torchgeo_experts import DomainClassificationTask
from torchgeo_experts.losses.adversarial import reversal_ramp
from torchgeo_experts.losses.grouping import Groups
from torchgeo_experts.losses.rdm import rdm_penalty, risk_variance_penalty
from torchgeo_experts.objectives import (
    CORAL,
    DANN,
    ERM,
    IRM,
    RDM,
    Fish,
    GroupDRO,
    MaxSquare,
    MinEnt,
    Mixup,
    Objective,
    PseudoLabels,
    Step,
    VREx,
)


def risks_by_domain(step: Step) -> list[Tensor]:
    risks = step.criterion(predict(step), step.target)
    return [risks[step.domain == d] for d in range(DOMAINS)]


def ready(objective: Objective) -> Objective:
    """Make an objective whose penalty has set in."""
    for _ in range(getattr(objective, 'anneal_steps', 0)):
        objective.steps += 1  # type: ignore[operator]
    return build(objective)


@pytest.mark.parametrize('maps', [False, True])
def test_vrex(maps: bool) -> None:
    step = make_step(make_net(maps), maps)
    terms = ready(VREx(weight=3.0))(step).terms
    means = np.array([float(r.detach().mean()) for r in risks_by_domain(step)])
    assert float(terms['risk']) == pytest.approx(means.mean())
    assert float(terms['vrex']) == pytest.approx(3 * means.var())


@pytest.mark.parametrize('maps', [False, True])
def test_irm(maps: bool) -> None:
    step = make_step(make_net(maps), maps)
    terms = ready(IRM(weight=3.0))(step).terms
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    logits = scale * predict(step)
    products = []
    for d in range(DOMAINS):
        risks = step.criterion(logits, step.target)[step.domain == d]
        even, odd = (
            torch.autograd.grad(part.mean(), scale, retain_graph=True)[0]
            for part in (risks[::2], risks[1::2])
        )
        products.append(float(even * odd))
    assert float(terms['irm']) == pytest.approx(3 * np.mean(products), rel=1e-4)


def test_rdm() -> None:
    step = make_step(make_net(), size=24)
    terms = ready(RDM(weight=2.0, variance_weight=0.5))(step).terms
    risks = step.criterion(predict(step), step.target)
    groups = Groups.of(step.domain)
    expected = 2 * rdm_penalty(risks, groups) + 0.5 * risk_variance_penalty(
        risks, groups
    )
    assert float(terms['rdm']) == pytest.approx(float(expected))
    # Before it sets in there is none.
    assert build(RDM())(step).terms.keys() == {'risk'}


@pytest.mark.parametrize('kind', [IRM, VREx, RDM])
def test_annealing(kind: Any) -> None:
    """Early weight, then the full one and no moments left; kept in checkpoints."""
    net = make_net()
    step = make_step(net)
    optimizer = torch.optim.Adam(net.parameters())
    given = {'variance_weight': 0.0} if kind is RDM else {}
    objective = build(kind(weight=7.0, anneal_steps=3, **given))
    found = []
    for _ in range(4):
        outcome = objective(step)
        found.append({k: float(v.detach()) for k, v in outcome.terms.items()})
        torch.stack(list(outcome.terms.values())).sum().backward()
        optimizer.step()
        objective.after_step(net, optimizer)
        if objective.steps == 3:
            assert not optimizer.state
    name = kind.name
    again = build(kind(weight=7.0, anneal_steps=3, **given))
    again.load_state_dict(objective.state_dict())
    assert again.steps == 4
    late = {k: float(v) for k, v in again(step).terms.items()}
    early = build(kind(weight=1.0, anneal_steps=0, **given))(step).terms
    assert late[name] == pytest.approx(7 * float(early[name]), rel=1e-4)
    assert (name in found[0]) == bool(kind.most_early)


@pytest.mark.parametrize('kind', [IRM, VREx, RDM])
def test_small_weights(kind: Any) -> None:
    """No larger before than after; where nothing changes, moments are kept."""
    net = make_net()
    optimizer = torch.optim.Adam(net.parameters())
    objective = build(kind(weight=0.5, anneal_steps=1))
    assert objective.early_weight == (0 if kind is RDM else 0.5)
    torch.stack(list(objective(make_step(net)).terms.values())).sum().backward()
    optimizer.step()
    objective.after_step(net, optimizer)
    assert bool(optimizer.state) == (kind is not RDM)


def test_group_dro() -> None:
    step = make_step(make_net())
    objective = build(GroupDRO(step_size=0.5))
    means = np.array([float(r.detach().mean()) for r in risks_by_domain(step)])
    weights = np.full(DOMAINS, 1 / DOMAINS)
    for _ in range(3):
        weights = softmax(np.log(weights) + 0.5 * means)
        (loss,) = objective(step).terms.values()
        assert float(loss) == pytest.approx(weights @ means, rel=1e-5)


@pytest.mark.parametrize('maps', [False, True])
def test_coral(maps: bool) -> None:
    step = make_step(make_net(maps), maps)
    objective = build(CORAL(weight=2.0, pixels=10**6))
    found = float(objective(step).terms['coral'])
    head = step.net.backbone.read(step.batch).head.detach()
    vectors = [head[step.domain == d] for d in range(DOMAINS)]
    if maps:
        vectors = [v.movedim(1, -1).flatten(0, -2) for v in vectors]
    pairs = []
    for i in range(DOMAINS):
        for j in range(i):
            means = (vectors[i].mean(0) - vectors[j].mean(0)).square().mean()
            spread = np.cov(vectors[i].numpy().T) - np.cov(vectors[j].numpy().T)
            pairs.append(float(means) + (spread**2).mean())
    assert found == pytest.approx(2 * np.mean(pairs), rel=1e-4)


def test_dann() -> None:
    """The discriminator's gradient as it is, the features' reversed and ramped."""
    step = make_step(make_net(), progress=0.3)
    objective = build(DANN(weight=0.5, width=16))
    loss = objective(step).terms['adversarial']
    body = step.net.backbone.body.weight
    judge = list(objective.discriminator.parameters())
    found = torch.autograd.grad(loss, [body, *judge])
    logits = objective.discriminator(step.net.backbone.read(step.batch).head)
    plain = 0.5 * F.cross_entropy(logits, step.domain)
    expected = list(torch.autograd.grad(plain, [body, *judge]))
    expected[0] = -reversal_ramp(0.3) * expected[0]
    torch.testing.assert_close(list(found), expected, rtol=1e-5, atol=1e-8)
    assert float(loss) == pytest.approx(float(plain))


def test_mixup() -> None:
    net = make_net()
    step = make_step(net)
    objective = build(Mixup(alpha=0.7))
    torch.manual_seed(5)
    (risk,) = objective(step).terms.values()
    torch.manual_seed(5)
    from torchgeo_experts.losses.mixing import beta_coefficient, domain_pairs

    partner = domain_pairs(step.domain)
    share = float(beta_coefficient(0.7, step.batch['image']))
    assert (step.domain[partner] != step.domain).all() and 0 < share < 1
    image = step.batch['image']
    mixed = share * image + (1 - share) * image[partner]
    logits = predict(step, {'image': mixed})
    one_hot = F.one_hot(step.target, CLASSES).double()
    soft = share * one_hot + (1 - share) * one_hot[partner]
    expected = F.cross_entropy(logits, soft)
    assert float(risk) == pytest.approx(float(expected), rel=1e-5)


class TestFish:
    def steps_of(self, net: nn.Module, count: int) -> list[Step]:
        steps = [make_step(net) for _ in range(count)]
        for number, step in enumerate(steps):
            step.batch['image'] = step.batch['image'] + 0.1 * number
        return steps

    def test_against_a_copy(self) -> None:
        """Algorithm 1 with a copy of the network, as the paper has it."""
        net = make_net()
        objective = build(Fish(steps=2, share=0.3))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for step in self.steps_of(net, 6):
            (loss,) = objective(step).terms.values()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            objective.after_step(net, optimizer)

        slow = make_net()
        for turn in range(3):
            fast = copy.deepcopy(slow)
            optimizer = torch.optim.SGD(fast.parameters(), lr=0.1)
            for step in self.steps_of(fast, 6)[2 * turn : 2 * turn + 2]:
                optimizer.zero_grad()
                step.risk(predict(step)).backward()
                optimizer.step()
            with torch.no_grad():
                for a, b in zip(slow.parameters(), fast.parameters(), strict=True):
                    a += 0.3 * (b - a)
        torch.testing.assert_close(net.state_dict(), slow.state_dict())

    @pytest.mark.parametrize('given', [{'max_steps': 7}, {'val_check_interval': 2}, {}])
    def test_copy_is_neither_validated_nor_left(self, given: Any) -> None:
        """Also where training stops, or is validated, in the middle of an epoch."""
        task = DomainClassificationTask(
            'test_resnet', num_classes=3, objective=Fish(steps=4), lr=0.1
        )
        looks = []

        class Look(Callback):
            def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
                looks.append(fish.taken)

        fish: Any = task.objective
        trainer(2, callbacks=[Look()], logger=False, **given).fit(
            task, datamodule=ToyDataModule(domains_per_batch=1)
        )
        assert looks and not any(looks) and fish.taken == 0
        found = task.model.state_dict()
        for name, value in fish.slow.items():
            assert value.equal(found[name])

    def test_follows_at_the_end_of_an_epoch(self) -> None:
        net = make_net()
        before = copy.deepcopy(net.state_dict())
        objective = build(Fish(steps=5, share=0.3))
        objective(make_step(net))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += 1
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        objective.after_step(net, optimizer)
        objective.before_use(net)
        for name, value in net.state_dict().items():
            torch.testing.assert_close(value, before[name] + 0.3)
        objective.before_use(net)  # it stands still
        for name, value in net.state_dict().items():
            torch.testing.assert_close(value, before[name] + 0.3)

    def test_goes_on_in_the_middle(self) -> None:
        net = make_net()
        objective = build(Fish(steps=3, share=0.3))

        def train(objective: Objective, net: nn.Module, steps: list[Step]) -> None:
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            for step in steps:
                (loss,) = objective(step).terms.values()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                objective.after_step(net, optimizer)

        train(objective, net, self.steps_of(net, 5)[:2])
        other, again = make_net(), build(Fish(steps=3, share=0.3))
        other.load_state_dict(net.state_dict())
        again.load_state_dict(copy.deepcopy(objective.state_dict()))
        train(objective, net, self.steps_of(net, 5)[2:])
        train(again, other, self.steps_of(other, 5)[2:])
        torch.testing.assert_close(net.state_dict(), other.state_dict())


def test_mixup_tells_whose_targets_are_judged() -> None:
    step, objective, owners = make_step(make_net()), build(Mixup()), set()
    for seed in range(8):
        torch.manual_seed(seed)
        outcome = objective(step)
        assert outcome.target is not None and outcome.owner is not None
        assert torch.equal(outcome.target, step.target[outcome.owner])
        itself = bool((outcome.owner == torch.arange(12)).all())
        others = bool((step.domain[outcome.owner] != step.domain).all())
        assert itself or others
        owners.add(itself)
    assert owners == {True, False}


@pytest.mark.parametrize(
    'objective',
    [
        VREx(weight=0.0, anneal_steps=0),
        IRM(weight=0.0, anneal_steps=0),
        CORAL(0.0),
        MinEnt(0.0),
        MaxSquare(0.0),
        PseudoLabels(0.0),
    ],
)
def test_weight_zero_is_erm(objective: Objective) -> None:
    """Domains of equal size: the mean over domains is that over samples."""
    step = make_step(make_net())
    parameters = list(step.net.parameters())
    grads = []
    for each in (build(objective), ERM()):
        loss = torch.stack(list(each(step).terms.values())).sum()
        grads.append(torch.autograd.grad(loss, parameters))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('kind', [VREx, GroupDRO, CORAL])
def test_names_of_domains_do_not_matter(kind: Any) -> None:
    step = make_step(make_net())
    torch.manual_seed(0)
    before = build(kind())(step).terms
    step.batch['domain'] = (step.domain + 1) % DOMAINS
    after = build(kind())(step).terms
    for name, value in before.items():
        assert float(after[name]) == pytest.approx(float(value), rel=1e-6)
