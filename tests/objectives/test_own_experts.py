# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Experts without a selector, against their formulas."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from objectives.tiny import (
    CLASSES,
    DOMAINS,
    FEATURES,
    Pooled,
    build,
    make_net,
    make_step,
)

from torchgeo_experts import DomainClassificationTask
from torchgeo_experts.models import (
    LinearExperts,
    OwnDomain,
    PlaceRelation,
    RelatedNet,
    Relation,
)
from torchgeo_experts.objectives import (
    D3G,
    AdvEnt,
    DeepCORAL,
    MaxSquare,
    OwnExperts,
    Step,
    TargetDANN,
)


def related_step(relation: Relation) -> Step:
    torch.manual_seed(0)
    relation.build(DOMAINS)
    relation.locate(torch.tensor([0.0, 40, 90]), torch.tensor([0.0, 20, -30]))
    heads = LinearExperts(DOMAINS, FEATURES, CLASSES)
    net = RelatedNet(Pooled(), heads, relation).double()
    step = make_step(make_net())
    places = {'lon': torch.linspace(-10, 80, 12), 'lat': torch.linspace(-40, 30, 12)}
    return Step(net, step.batch | places, step.target, step.criterion)


def predict_each(step: Step) -> tuple[torch.Tensor, torch.Tensor]:
    """Predict with the own expert and with each, one at a time."""
    features = step.net.backbone.inner.read(step.batch).head
    heads = zip(step.net.experts.weight, step.net.experts.bias, strict=True)
    every = torch.stack([F.linear(features, w, b) for w, b in heads])
    return every[step.domain, torch.arange(len(features))], every


def test_own_experts() -> None:
    step = related_step(OwnDomain())
    (risk,) = build(OwnExperts())(step).terms.values()
    own, _ = predict_each(step)
    assert float(risk) == pytest.approx(float(F.cross_entropy(own, step.target)))


def test_d3g() -> None:
    relation = PlaceRelation(fixed_share=0.4)
    step = related_step(relation)
    found = build(D3G(consistency_weight=0.7))(step).terms
    own, every = predict_each(step)
    weights = relation.others(step.batch, step.domain)
    assert not weights[torch.arange(12), step.domain].any()
    mixed = torch.einsum('bd,dbc->bc', weights.double(), every)
    assert float(found['domain']) == pytest.approx(
        float(F.cross_entropy(own, step.target))
    )
    assert float(found['consistency']) == pytest.approx(
        0.7 * float(F.cross_entropy(mixed, step.target)), rel=1e-5
    )
    # The relation learns from it.
    found['consistency'].backward()
    assert relation.embed[0].weight.grad.any()  # type: ignore[union-attr]


def test_messages() -> None:
    vit = {'model': 'test_resnet', 'num_classes': 3, 'num_domains': 3}
    for given in ({}, {'relation': OwnDomain()}):
        with pytest.raises(ValueError, match='D3G needs experts mixed by place'):
            DomainClassificationTask(**vit, objective=D3G(), **given)
    with pytest.raises(
        ValueError, match='OwnExperts needs one expert a training domain'
    ):
        DomainClassificationTask(
            **vit, objective=OwnExperts(), relation=PlaceRelation()
        )


@pytest.mark.parametrize('relation', [OwnDomain(), PlaceRelation()])
@pytest.mark.parametrize('kind', [MaxSquare, DeepCORAL, AdvEnt, TargetDANN])
def test_unlabelled_images_are_of_no_domain(relation: Relation, kind: Any) -> None:
    """They get all experts, or those of their place."""
    step = related_step(relation)
    step.batch['target_lon'] = step.batch['lon'].flip(0)
    step.batch['target_lat'] = step.batch['lat'].flip(0)
    loss = torch.stack(list(build(kind())(step).terms.values())).sum()
    assert torch.isfinite(loss)
    _, target = step.read_both()
    expected = relation(step.unlabelled | {'domain': torch.full((12,), -1)})
    torch.testing.assert_close(target.mixture, expected)
