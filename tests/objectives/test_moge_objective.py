# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The terms of MoGE's loss against the formulas, and what they do to the network."""

from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from torchgeo_experts.losses import make_criterion
from torchgeo_experts.models import LinearExperts, SingleNet, TimmBackbone, WrapEncoder
from torchgeo_experts.models.moge import MoGEBackbone, MoGEConfig
from torchgeo_experts.objectives import MoGE, RobustMoGE, Step

EXPERTS = 4


def make_step(size: int = 12, **config: object) -> Step:
    torch.manual_seed(0)
    arguments = {'blocks': (3, 5), 'num_experts': EXPERTS, 'top_k': 2, 'jitter': 0.5}
    vit = TimmBackbone('test_vit', model_args={'img_size': 32})
    backbone = MoGEBackbone(vit, WrapEncoder(16, 1), MoGEConfig(**(arguments | config)))  # type: ignore[arg-type]
    net = SingleNet(backbone, LinearExperts(1, backbone.out_features, 3))
    batch = {
        'image': torch.randn(size, 3, 32, 32),
        'lon': 360 * torch.rand(size) - 180,
        'lat': 180 * torch.rand(size) - 90,
    }
    target = torch.arange(size) % 3
    criterion = make_criterion('multiclass', 'ce', num_outputs=3)
    return Step(net, batch, target, criterion)


def naive_cka(x: Tensor, y: Tensor) -> Tensor:
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    cross = (x.T @ y).square().sum()
    return cross / ((x.T @ x).norm() * (y.T @ y).norm())


def test_diversity_is_of_all_experts_on_the_same_tokens() -> None:
    step = make_step()
    objective = MoGE(0.0, 0.3, 0.0, cka_tokens=10**6)
    _, terms, *_ = objective(step)
    per_block = []
    for part in step.net.backbone.parts:
        tokens = part.passage.tokens.reshape(-1, 64)
        outputs = part.experts.each(tokens)
        pairs = [naive_cka(x, y) for x, y in combinations(outputs, 2)]
        per_block.append(torch.stack(pairs).mean())
    expected = 0.3 * torch.stack(per_block).mean()
    assert terms.keys() == {'risk', 'cka'}
    torch.testing.assert_close(terms['cka'], expected)


def test_diversity_needs_jitter() -> None:
    """Exact copies have the largest similarity, where there is no gradient."""
    sizes = []
    for jitter in (0.0, 0.05):
        step = make_step(jitter=jitter)
        terms = MoGE(0.0, 1.0, 0.0)(step).terms
        terms['cka'].backward()
        weight = step.net.backbone.parts[0].experts.stack('fc1.weight')
        sizes.append(float(weight.grad.norm()))
    assert sizes[0] < 1e-6
    assert sizes[1] > 1e-3


def test_invariance_is_of_the_shared_class_token_of_the_last_block() -> None:
    step = make_step()
    _, terms, *_ = MoGE(0.0, 0.0, 0.2, temperature=0.5)(step)
    backbone = step.net.backbone
    q = F.normalize(backbone.parts[-1].passage.shared[:, 0], dim=1)
    domain = backbone.routes[-1].top.tolist()
    label = step.target.tolist()
    losses = []
    for i in range(12):
        pairs = {'p': 0.0, 'n': 0.0}
        for j in range(12):
            same = (label[i] == label[j], domain[i] == domain[j])
            kind = {(True, False): 'p', (False, True): 'n'}.get(same)
            if kind:
                pairs[kind] = pairs[kind] + (q[i] @ q[j] / 0.5).exp()
        if pairs['p']:
            ratio = pairs['p'] / (pairs['p'] + pairs['n'])
            losses.append(-torch.as_tensor(ratio).log())
    torch.testing.assert_close(terms['invariance'], 0.2 * torch.stack(losses).mean())


def test_unknown_places_are_of_no_domain() -> None:
    step = make_step()
    step.batch['lon'] = torch.full_like(step.batch['lon'], torch.nan)
    logits, terms, *_ = MoGE()(step)
    assert terms['invariance'] == 0
    assert terms['balance'].abs() < 1e-6
    torch.stack(list(terms.values())).sum().backward()
    for name, parameter in step.net.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    assert logits.isfinite().all()


def test_one_image() -> None:
    """Nothing to compare it with: no invariance loss, and gradients stay finite."""
    step = make_step(1)
    _, terms, *_ = MoGE()(step)
    torch.stack(list(terms.values())).sum().backward()
    assert terms['invariance'] == 0
    for name, parameter in step.net.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_balance_spreads_the_images() -> None:
    """Steps on the balance loss alone use more experts."""
    from torchgeo_experts.routing import effective_number

    step = make_step(64)
    gate = step.net.backbone.gates[-1]
    with torch.no_grad():
        # Codes that all places of half the Earth are near to.
        gate.codebook[1:] = -gate.codebook[0]
        gate.log_scale.fill_(2)
    objective = MoGE(1.0, 0.0, 0.0)
    optimizer = torch.optim.Adam(step.net.parameters(), 1e-2)
    numbers = []
    for _ in range(60):
        _, terms, *_ = objective(step)
        shares = step.net.backbone.routes[-1].weights.sum(dim=0).detach()
        numbers.append(effective_number(shares))
        optimizer.zero_grad()
        terms['balance'].backward()
        optimizer.step()
    assert numbers[-1] > numbers[0] + 0.3


def test_no_noise() -> None:
    step = make_step(noise=0.0)
    _, terms, *_ = MoGE()(step)
    assert terms['balance'].isfinite()


def test_robust_risk_is_of_the_domains_found() -> None:
    step = make_step()
    objective = RobustMoGE(EXPERTS, 0.5, 0.0, 0.0, 0.0)
    logits, terms, *_ = objective(step)
    weights = step.net.backbone.routes[-1].weights.detach()
    risks = F.cross_entropy(logits, step.target, reduction='none')
    losses = torch.stack(
        [
            (weights[:, g] * risks).sum() / weights[:, g].sum().clamp(min=1e-12)
            for g in range(EXPERTS)
        ]
    )
    q = (0.5 * losses.detach()).exp() / EXPERTS
    q = q / q.sum()
    torch.testing.assert_close(terms['risk'], (q * losses).sum())


def test_robust_risk_of_unknown_places() -> None:
    """They are of all domains alike, so that their risk counts."""
    step = make_step()
    step.batch['lon'] = torch.full_like(step.batch['lon'], torch.nan)
    logits, terms, *_ = RobustMoGE(EXPERTS, 0.5, 0.0, 0.0, 0.0)(step)
    torch.testing.assert_close(terms['risk'], F.cross_entropy(logits, step.target))


@pytest.mark.parametrize('name', ['balance', 'cka', 'invariance', 'z'])
def test_each_term_moves_the_network(name: str) -> None:
    """Without a term the gradient is another one."""
    weights = {'balance_weight': 1.0, 'cka_weight': 1.0, 'invariance_weight': 1.0}
    grads = []
    for without in (False, True):
        step = make_step()
        chosen = weights | {'z_weight': 1.0}
        if without:
            chosen[f'{name}_weight'] = 0.0
        torch.manual_seed(1)
        terms = MoGE(**chosen)(step).terms
        torch.stack(list(terms.values())).sum().backward()
        parameters = step.net.parameters()
        grads.append(torch.cat([p.grad.flatten() for p in parameters]))
    assert (grads[0] - grads[1]).norm() > 1e-4
