# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Experts weighed by domain or place."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchgeo_experts.configurable import from_config
from torchgeo_experts.domains import great_circle_angles, unit_vectors
from torchgeo_experts.models import (
    LinearExperts,
    OwnDomain,
    PlaceRelation,
    RelatedNet,
    Relation,
    SatCLIPEncoder,
    WrapEncoder,
)

LON = torch.tensor([5.0, 100.0, -60.0, 20.0])
LAT = torch.tensor([50.0, 10.0, -20.0, 45.0])


def make(**kwargs: object) -> PlaceRelation:
    torch.manual_seed(0)
    relation = PlaceRelation(**kwargs)  # type: ignore[arg-type]
    relation.build(4)
    relation.locate(LON, LAT)
    return relation


def batch(**given: Tensor) -> dict[str, Tensor]:
    places = {
        'lon': torch.tensor([6.0, 99.0, torch.nan]),
        'lat': torch.tensor([51.0, 12.0, 3.0]),
        'domain': torch.tensor([0, -1, 2]),
    }
    return places | given


def test_own_domain() -> None:
    relation = OwnDomain()
    relation.build(4)
    expected = [[1, 0, 0, 0], [0.25] * 4, [0, 0, 1, 0]]
    assert relation(batch()).tolist() == expected


def naive(relation: PlaceRelation, row: int, without: int) -> list[float]:
    """Write the formula out for one sample."""
    place = unit_vectors(batch()['lon'][row : row + 1], batch()['lat'][row : row + 1])
    angles = great_circle_angles(place, unit_vectors(LON, LAT))[0].rad2deg()
    fixed = [
        0.0 if d == without else float((-angles[d] / relation.temperature).exp())
        for d in range(4)
    ]
    learned = []
    for d in range(4):
        own, other = (
            relation.embed(x.float()) for x in (place[0], unit_vectors(LON, LAT)[d])
        )
        cosines = [
            float(F.cosine_similarity(w * own, w * other, dim=0))
            for w in relation.weight
        ]
        learned.append(0.0 if d == without else (1 + sum(cosines) / len(cosines)) / 2)
    share = relation.fixed_share
    return [
        share * f / sum(fixed) + (1 - share) * a / sum(learned)
        for f, a in zip(fixed, learned, strict=True)
    ]


@pytest.mark.parametrize('without', [-1, 0, 3])
@torch.no_grad()
def test_place_relation_against_the_formula(without: int) -> None:
    relation = make(fixed_share=0.3, temperature=40.0)
    found = relation.others(batch(), torch.full((3,), without))
    for row in (0, 1):
        expected = naive(relation, row, without)
        assert found[row].tolist() == pytest.approx(expected, abs=1e-5)
    # Of an unknown place all count alike.
    alike = [0.25 if without < 0 else (0 if d == without else 1 / 3) for d in range(4)]
    assert found[2].tolist() == pytest.approx(alike)
    if without < 0:
        torch.testing.assert_close(relation(batch()), found)


def test_one_domain() -> None:
    torch.manual_seed(0)
    relation = PlaceRelation()
    relation.build(1)
    relation.locate(LON[:1], LAT[:1])
    assert relation(batch()).tolist() == [[1], [1], [1]]
    assert not relation.others(batch(), torch.zeros(3, dtype=torch.long)).any()


def test_recipe_and_places_are_kept() -> None:
    relation = make(location=WrapEncoder(16, 1), fixed_share=0.5)
    again = from_config(relation.to_config(), Relation)  # type: ignore[type-abstract]
    again.build(4)
    again.load_state_dict(relation.state_dict())
    torch.testing.assert_close(again.eval()(batch()), relation.eval()(batch()))
    with pytest.raises(ValueError, match='fixed_share must lie in'):
        PlaceRelation(fixed_share=2)


def test_net_mixes_by_relation() -> None:
    from objectives.tiny import FEATURES, Pooled

    relation = make()
    net = RelatedNet(Pooled(), LinearExperts(4, FEATURES, 3), relation)
    given = batch(image=torch.randn(3, 3, 4, 4))
    features = net.backbone.read(given)
    each = [net.experts(features.head, torch.full((3,), d)) for d in range(4)]
    weights = relation(given)
    expected = sum(weights[:, d, None] * each[d] for d in range(4))
    torch.testing.assert_close(net.predict(features), expected)
    first = features.first(2)
    torch.testing.assert_close(net.predict(first), expected[:2])


def test_frozen_location_encoder_stays_frozen() -> None:
    from objectives.tiny import FEATURES, Pooled

    relation = make(location=SatCLIPEncoder(None, legendre_polys=4))
    net = RelatedNet(Pooled(), LinearExperts(4, FEATURES, 3), relation).train()
    for frozen in (True, False):
        net.backbone.freeze(frozen)
    assert relation.location is not None
    assert not any(p.requires_grad for p in relation.location.parameters())
    assert not relation.location.training
    assert relation.weight.requires_grad and net.backbone.body.weight.requires_grad


def test_half_precision_is_refused() -> None:
    """Degrees would be those of a place up to 50 km away."""
    with pytest.raises(TypeError, match=r"domains of PlaceRelation .* 'bf16-mixed'"):
        make().bfloat16()(batch())
    lon = batch()['lon'].bfloat16()
    with pytest.raises(TypeError, match='lon of PlaceRelation'):
        make()(batch(lon=lon))
    with pytest.raises(TypeError, match='lon of WrapEncoder'):
        WrapEncoder().locate(lon, batch()['lat'])
