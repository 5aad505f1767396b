# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""A Vision Transformer routed by longitude and latitude."""

import copy
import dataclasses
from typing import Literal

import pytest
import torch
from torch import Tensor

from torchgeo_experts.models import TimmBackbone
from torchgeo_experts.models.location import LocationEncoder, WrapEncoder
from torchgeo_experts.models.moge import MoGEBackbone, MoGEConfig

SMALL = {'blocks': (3, 5), 'num_experts': 4, 'top_k': 2}


class FixedEncoder(LocationEncoder):
    """Features that are not learned."""

    periodic = True
    frozen = True

    def __init__(self) -> None:
        super().__init__()
        self.out_features = 4
        self.layer = torch.nn.Linear(2, 4)
        self.drop = torch.nn.Dropout(0.5)

    def encode(self, lon: Tensor, lat: Tensor) -> Tensor:
        return self.drop(self.layer(torch.stack([lon, lat], dim=1) / 90))


def make_backbone(
    location: LocationEncoder | None = None, **kwargs: object
) -> MoGEBackbone:
    torch.manual_seed(0)
    location = location or WrapEncoder(16, 1)
    config = MoGEConfig(**(SMALL | kwargs))  # type: ignore[arg-type]
    return MoGEBackbone(TimmBackbone('test_vit'), location, config)


def make_batch(size: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    lon = 360 * torch.rand(size, generator=generator) - 180
    lat = 180 * torch.rand(size, generator=generator) - 90
    image = torch.randn(size, 3, 160, 160, generator=generator)
    return {'image': image, 'lon': lon, 'lat': lat}


def test_conversion_keeps_features() -> None:
    torch.manual_seed(0)
    before = TimmBackbone('test_vit').eval()
    backbone = MoGEBackbone(
        copy.deepcopy(before),
        WrapEncoder(16, 1),
        MoGEConfig(blocks=(3, 5), num_experts=4, jitter=0.0),
    ).eval()
    batch = make_batch()
    batch['lon'][0] = batch['lat'][0] = torch.nan
    expected, found = before.read(batch), backbone.read(batch)
    torch.testing.assert_close(found.head, expected.head, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.pyramid, expected.pyramid, rtol=0, atol=1e-5)


def test_place_matters_and_images_of_a_batch_do_not() -> None:
    """The route is of the place alone, and each image keeps its own."""
    backbone = make_backbone(jitter=1.0).eval()
    batch = make_batch()
    whole = backbone.read(batch).head
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = backbone.read({k: v[order] for k, v in batch.items()}).head
    torch.testing.assert_close(shuffled, whole[order], rtol=0, atol=1e-5)
    moved = batch | {'lon': -batch['lon'], 'lat': -batch['lat']}
    assert (backbone.read(moved).head - whole).abs().max() > 1e-3
    noise = torch.randn_like(batch['image'])
    backbone.read(batch | {'image': noise})
    for route, other in zip(
        backbone.routes, backbone.route(batch['lon'], batch['lat']), strict=True
    ):
        assert torch.equal(route.weights, other.weights)


def test_unknown_places_see_the_shared_expert_alone() -> None:
    backbone = make_backbone(jitter=1.0).eval()
    batch = make_batch()
    backbone.mode = 'shared'
    shared = backbone.read(batch).head
    backbone.mode = 'routed'
    unknown = torch.full_like(batch['lon'], torch.nan)
    for nowhere in (
        {'lon': unknown},
        {'lat': unknown},
        {'lon': unknown, 'lat': unknown},
    ):
        torch.testing.assert_close(backbone.read(batch | nowhere).head, shared)
    assert not shared.isnan().any()


def test_forced_expert() -> None:
    backbone = make_backbone(jitter=1.0).eval()
    batch = make_batch()
    for expert in range(4):
        backbone.mode = expert
        backbone.read(batch)
        for route in backbone.routes:
            assert torch.equal(route.top, torch.full((6,), expert))
            assert torch.equal(route.weights.sum(dim=1), torch.ones(6))


def test_some_training_images_see_the_shared_expert_alone() -> None:
    backbone = make_backbone(shared_only=0.25)
    lon, lat = torch.zeros(2, 2000)
    first, second = backbone.route(lon, lat)
    alone = first.weights.sum(dim=1) == 0
    assert alone.float().mean().item() == pytest.approx(0.25, abs=0.04)
    assert torch.equal(alone, second.weights.sum(dim=1) == 0)
    backbone.eval()
    assert (backbone.route(lon, lat)[0].weights.sum(dim=1) > 0).all()


@pytest.mark.parametrize('rate', [-0.1, 1.0])
def test_wrong_share(rate: float) -> None:
    with pytest.raises(ValueError, match='shared_only must be at least 0 and below 1'):
        make_backbone(shared_only=rate)


def test_frozen_location_encoder_stays() -> None:
    backbone = make_backbone(FixedEncoder())
    backbone.train()
    assert not backbone.location.drop.training
    assert not any(p.requires_grad for p in backbone.location.parameters())
    backbone.freeze(False)
    assert not any(p.requires_grad for p in backbone.location.parameters())
    backbone.read(make_batch()).head.square().sum().backward()
    assert backbone.gates[0].projection.weight.grad.abs().sum() > 0


def test_fixed_body() -> None:
    """What was there before is frozen and in evaluation mode; experts and gates learn."""
    backbone = make_backbone(jitter=0.1)
    backbone.fix_body()
    backbone.freeze(False)
    backbone.train()
    before = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    backbone.read(make_batch()).head.square().sum().backward()
    for name, parameter in backbone.named_parameters():
        new = any(part in name for part in ('.experts.', 'gamma', 'gates', 'location'))
        assert parameter.requires_grad == new, name
        assert (parameter.grad is not None) == new, name
    assert before.keys() == dict(backbone.named_parameters()).keys()
    part = backbone.parts[0]
    assert part.experts.training and not part.shared.training
    assert not backbone.eval().parts[0].experts.training


def test_every_parameter_learns() -> None:
    """No expert is without gradient, whichever are chosen: so DDP misses none."""
    backbone = make_backbone(jitter=0.1)
    one = {key: value[:1] for key, value in make_batch().items()}
    backbone.read(one).head.square().sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name


def test_copy_routes_by_itself() -> None:
    backbone = make_backbone(jitter=0.1).eval()
    other = copy.deepcopy(backbone)
    batch = make_batch()
    backbone.read(batch)
    assert other.parts[0].passage.route is None
    other.read({key: value[:2] for key, value in batch.items()})
    assert len(backbone.routes[0].weights) == 6


def test_far_places_fade_to_the_shared_expert() -> None:
    backbone = make_backbone(fade_km=500.0, jitter=1.0)
    batch = make_batch(3) | {
        'lon': torch.tensor([10.5, 16.0, -100.0]),
        'lat': torch.tensor([50.5, 50.5, -40.0]),
    }
    near = batch | {'lon': torch.full((3,), 10.5), 'lat': torch.full((3,), 50.5)}
    backbone.train()
    backbone.read(near)
    backbone.eval()
    found = backbone.read(batch).head
    # 5.5 degrees along this parallel are 389 km, within 500; the last is far away.
    trusted = backbone.routes[0].weights.sum(dim=1)
    assert trusted.tolist() == pytest.approx([1.0, 1.0, 0.0])
    backbone.mode = 'shared'
    torch.testing.assert_close(found[2], backbone.read(batch).head[2])
    with pytest.raises(ValueError, match='fade_km must be positive, found 0'):
        make_backbone(fade_km=0)


def test_half_faded() -> None:
    backbone = make_backbone(fade_km=300.0).train()
    place = torch.tensor([10.5]), torch.tensor([0.5])
    backbone.read(make_batch(1) | {'lon': place[0], 'lat': place[1]})
    backbone.eval()
    # 450 km east along the equator: half way between 300 and 600.
    lon = place[0] + 450 / 111.1949
    weights = backbone.route(lon, place[1])[0].weights
    backbone.config = dataclasses.replace(backbone.config, fade_km=None)
    whole = backbone.route(lon, place[1])[0].weights
    torch.testing.assert_close(weights, 0.5 * whole, rtol=1e-3, atol=1e-5)


def test_router_serves_unknown_places_only() -> None:
    backbone = make_backbone(unknown='image', jitter=1.0).eval()
    batch = make_batch()
    batch['lon'][:2] = torch.nan
    gates = [r.weights for r in backbone.route(batch['lon'], batch['lat'])]
    backbone.read(batch)
    for gate, route in zip(gates, backbone.routes, strict=True):
        torch.testing.assert_close(route.weights[2:], gate[2:])
        torch.testing.assert_close(route.weights.sum(dim=1), torch.ones(6))
        assert (route.weights[:2] > 0).sum(dim=1).tolist() == [2, 2]
    backbone.mode = 'imitated'
    backbone.read(batch)
    imitated = [route.weights for route in backbone.routes]
    nowhere = batch | {'lon': torch.full((6,), torch.nan)}
    backbone.mode = 'routed'
    backbone.read(nowhere)
    for a, route in zip(imitated, backbone.routes, strict=True):
        torch.testing.assert_close(a, route.weights)
    backbone.mode = 'shared'
    backbone.read(batch)
    assert not backbone.routes[0].weights.any()


def test_router_changes_nothing_else() -> None:
    """Its tokens have no gradient, so the rest learns as if it was not there."""
    grads = []
    for unknown in ('shared', 'image'):
        backbone = make_backbone(unknown=unknown).train()
        torch.manual_seed(2)
        loss = backbone.read(make_batch()).head.square().sum()
        if backbone.router is not None:
            guesses = [part.passage.guess for part in backbone.parts]
            loss = loss + torch.stack(guesses).square().sum()
        loss.backward()
        grads.append({n: p.grad for n, p in backbone.named_parameters()})
    without, with_router = grads
    for name, grad in without.items():
        torch.testing.assert_close(with_router[name], grad)
    routers = [g for n, g in with_router.items() if n.startswith('router.')]
    assert routers and all(g is not None and g.any() for g in routers)


@pytest.mark.parametrize('tuned', ['gate', 'router'])
def test_tune(tuned: Literal['gate', 'router']) -> None:
    backbone = make_backbone(unknown='image')
    backbone.tune(tuned)
    backbone.train()
    trained = {n for n, p in backbone.named_parameters() if p.requires_grad}
    prefixes = {'gate': ('location.', 'gates.'), 'router': ('router.',)}[tuned]
    assert trained == {
        n for n, _ in backbone.named_parameters() if n.startswith(prefixes)
    }
    assert not backbone.body.training
    assert backbone.gates.training == (tuned == 'gate')
    # Freezing and thawing the whole leaves it so.
    backbone.freeze(True)
    backbone.freeze(False)
    assert trained == {n for n, p in backbone.named_parameters() if p.requires_grad}


def test_nothing_to_tune() -> None:
    with pytest.raises(ValueError, match="set unknown='image'"):
        make_backbone().tune('router')
    with pytest.raises(ValueError, match="'shared', 'mean' or 'image', found 'images'"):
        make_backbone(unknown='images')


@pytest.mark.slow
def test_compiled_whole() -> None:
    """In one graph, with its gates, router and experts, and their gradients."""
    backbone = make_backbone(noise=0.0, unknown='image', jitter=1.0).train()
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = make_batch()
    batch['lon'][0] = torch.nan
    found = []
    torch.compiler.reset()
    compiled = torch.compile(backbone.read, backend='aot_eager', fullgraph=True)
    for read in (backbone.read, compiled):
        backbone.zero_grad()
        head = read(batch).head
        head.square().sum().backward()
        grads = {
            n: p.grad for n, p in backbone.named_parameters() if p.grad is not None
        }
        found.append((head.detach(), grads))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)
    torch.compiler.reset()
