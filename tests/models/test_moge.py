# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""MoGE blocks against naive forms, and what surgery leaves as it was."""

import copy
import pickle

import pytest
import timm
import torch
from timm.layers import GluMlp, Mlp
from torch import Tensor, nn
from torch.nn import functional as F
from torchgeo.models import DOFA, ScaleMAE

from torchgeo_experts.models.moge import CosineGate, MoGEFeedForward, insert_experts
from torchgeo_experts.models.moge.dispatch import dense, gathered, looped
from torchgeo_experts.models.moge.feed_forward import FeedForwards
from torchgeo_experts.models.moge.gate import Route, top_k_softmax

EXPERTS = 5


def make_experts(model: nn.Module | None = None) -> FeedForwards:
    torch.manual_seed(0)
    experts = FeedForwards(Mlp(8, 12) if model is None else model, EXPERTS, jitter=1.0)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return experts.double()


def naive(experts: FeedForwards, tokens: Tensor, weights: Tensor) -> Tensor:
    """Write the mixture out, image by image and expert by expert, for an Mlp."""
    w1, b1 = experts.stack('fc1.weight'), experts.stack('fc1.bias')
    w2, b2 = experts.stack('fc2.weight'), experts.stack('fc2.bias')
    rows = []
    for image, row in zip(tokens, weights, strict=True):
        total = torch.zeros_like(image)
        for k in range(EXPERTS):
            hidden = F.gelu(image @ w1[k].T + b1[k])
            total = total + row[k] * (hidden @ w2[k].T + b2[k])
        rows.append(total)
    return torch.stack(rows)


def some_weights(images: int, top_k: int) -> Tensor:
    logits = torch.randn(images, EXPERTS, dtype=torch.float64)
    return top_k_softmax(logits, top_k)


@pytest.mark.parametrize('images', [1, 7])
@pytest.mark.parametrize('top_k', range(1, EXPERTS + 1))
@pytest.mark.parametrize('way', [dense, looped, gathered])
def test_dispatch(way: object, top_k: int, images: int) -> None:
    """All ways give the naive sum and its gradients, also where no expert is asked."""
    experts = make_experts()
    tokens = torch.randn(images, 4, 8, dtype=torch.float64, requires_grad=True)
    weights = some_weights(images, top_k)
    weights[-1] = 0  # an unknown place
    weights.requires_grad_()
    more = (top_k,) if way is gathered else ()
    mixed = way(experts, tokens, weights, *more)  # type: ignore[operator]
    expected = naive(experts, tokens, weights)
    torch.testing.assert_close(mixed, expected)

    upstream = torch.randn_like(expected)
    inputs = (tokens, *experts.parameters())
    found = torch.autograd.grad(mixed, inputs, upstream)
    wanted = torch.autograd.grad(expected, inputs, upstream)
    torch.testing.assert_close(found, wanted)


def test_gradient_of_weights() -> None:
    """Of the experts that an image has, weights learn as in the naive sum."""
    experts = make_experts()
    tokens = torch.randn(6, 4, 8, dtype=torch.float64)
    logits = torch.randn(6, EXPERTS, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(6, 4, 8, dtype=torch.float64)
    grads = [
        torch.autograd.grad(mixed, logits, upstream)[0]
        for mixed in (
            naive(experts, tokens, top_k_softmax(logits, 2)),
            dense(experts, tokens, top_k_softmax(logits, 2)),
            looped(experts, tokens, top_k_softmax(logits, 2)),
            gathered(experts, tokens, top_k_softmax(logits, 2), 2),
        )
    ]
    for grad in grads[1:]:
        torch.testing.assert_close(grad, grads[0])


def test_experts_of_any_network() -> None:
    """A gated network is copied too; each copy computes what the network would."""
    model = GluMlp(8, 12).double()
    experts = make_experts(model)
    tokens = torch.randn(3, 4, 8, dtype=torch.float64)
    weights = some_weights(3, 2)
    outputs = []
    for k in range(EXPERTS):
        single = copy.deepcopy(model)
        state = {name: experts.stack(name)[k] for name in experts.names}
        single.load_state_dict(state)
        outputs.append(single(tokens))
    expected = sum(weights[:, k, None, None] * outputs[k] for k in range(EXPERTS))
    torch.testing.assert_close(looped(experts, tokens, weights), expected)
    torch.testing.assert_close(experts.each(tokens), torch.stack(outputs))


def test_statistics_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match='running_mean'):
        FeedForwards(model, 2)


def test_dropout_follows_the_mode() -> None:
    experts = FeedForwards(Mlp(8, 12, drop=0.5), EXPERTS)
    tokens, weights = torch.randn(3, 4, 8), some_weights(3, 2).float()
    assert not torch.equal(
        looped(experts, tokens, weights), looped(experts, tokens, weights)
    )
    experts.eval()
    torch.testing.assert_close(
        looped(experts, tokens, weights), looped(experts, tokens, weights)
    )


def test_softmax_of_the_top() -> None:
    """Softmax over k is softmax over all, cut and normalized again; ties get k too."""
    logits = torch.randn(50, 6, dtype=torch.float64)
    for k in range(1, 7):
        probabilities = logits.softmax(dim=1)
        least = probabilities.sort(dim=1, descending=True).values[:, k - 1 : k]
        cut = probabilities * (probabilities >= least)
        torch.testing.assert_close(
            top_k_softmax(logits, k), cut / cut.sum(dim=1, keepdim=True)
        )
    tied = top_k_softmax(torch.zeros(2, 6), 3)
    assert ((tied > 0).sum(dim=1) == 3).all()
    torch.testing.assert_close(tied.sum(dim=1), torch.ones(2))


def set_route(parts: list[MoGEFeedForward], weights: Tensor) -> None:
    """Route a batch by hand."""
    known = weights.sum(dim=1) > 0
    for part in parts:
        part.passage.route = Route(weights, weights, weights, known)


def tiny_vit(**kwargs: object) -> nn.Module:
    return timm.create_model('test_vit', num_classes=3, img_size=32, **kwargs)


def tiny_scale_mae() -> nn.Module:
    return ScaleMAE(img_size=32, patch_size=8, embed_dim=48, depth=3, num_heads=3)


MODELS = {
    'test_vit': tiny_vit,
    'test_vit2': lambda: timm.create_model('test_vit2', img_size=32),
    'test_vit4': lambda: timm.create_model('test_vit4', img_size=32),
    'scale_mae': tiny_scale_mae,
    'dofa': lambda: DOFA(32, 8, embed_dim=48, depth=3, num_heads=3),
}


@pytest.mark.parametrize('gamma', [0.1, 0.5, 0.9])
@pytest.mark.parametrize('name', MODELS)
def test_surgery_changes_nothing(name: str, gamma: float) -> None:
    """A converted model is the model it was, for any route and for unknown places."""
    torch.manual_seed(0)
    model = MODELS[name]().double().eval()
    before = copy.deepcopy(model)
    depth = len(model.blocks)
    parts = insert_experts(model, [depth - 2, depth - 1], EXPERTS, 3, gamma)
    image = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    weights = some_weights(4, 3)
    weights[0] = 0
    set_route(parts, weights)
    more = ([0.66, 0.56, 0.48],) if name == 'dofa' else ()
    torch.testing.assert_close(
        model(image, *more), before(image, *more), rtol=0, atol=1e-12
    )
    for key, value in before.state_dict().items():
        new = key.replace('.mlp.', '.mlp.shared.')
        kept = model.state_dict().get(key, model.state_dict().get(new))
        assert torch.equal(kept, value)


def test_block_is_the_formula() -> None:
    torch.manual_seed(0)
    shared = Mlp(8, 12)
    part = MoGEFeedForward(shared, EXPERTS, 2, gamma=0.3, jitter=2.0).double()
    tokens = torch.randn(5, 4, 8, dtype=torch.float64)
    weights = some_weights(5, 2)
    set_route([part], weights)
    expected = 0.3 * shared(tokens) + 0.7 * naive(part.experts, tokens, weights)
    # 0.3 was a float32 once.
    torch.testing.assert_close(part(tokens), expected, rtol=0, atol=1e-6)
    set_route([part], torch.zeros_like(weights))
    torch.testing.assert_close(part(tokens), shared(tokens))


def test_gamma_is_learned_or_not() -> None:
    for learned in (True, False):
        part = MoGEFeedForward(Mlp(8, 12), EXPERTS, 2, 0.25, learned)
        assert part.logit_gamma.requires_grad == learned
        assert part.gamma.item() == pytest.approx(0.25)
    with pytest.raises(ValueError, match='gamma must lie between 0 and 1, found 1'):
        MoGEFeedForward(Mlp(8, 12), EXPERTS, 2, 1.0)


def test_blocks_without_route() -> None:
    model = tiny_vit()
    parts = insert_experts(model, [4, 5], EXPERTS, 2)
    with pytest.raises(RuntimeError, match='no route for as many'):
        model(torch.randn(2, 3, 32, 32))
    set_route(parts, some_weights(3, 2).float())
    with pytest.raises(RuntimeError, match='got 2 images'):
        model(torch.randn(2, 3, 32, 32))


def test_wrong_blocks() -> None:
    model = tiny_vit()
    for blocks, message in {
        (1, 6): 'has the blocks 0 to 5, found 6',
        (-1,): 'found -1',
        (1, 1): 'each block once',
        (): 'each block once',
    }.items():
        with pytest.raises(ValueError, match=message):
            insert_experts(model, blocks)
    insert_experts(model, [2])
    with pytest.raises(ValueError, match='block 2 has experts already'):
        insert_experts(model, [2])
    with pytest.raises(ValueError, match='ResNet has no transformer blocks'):
        insert_experts(timm.create_model('test_resnet'))


def test_copies_leave_the_batch_behind() -> None:
    """A model is copied and pickled in the middle of training, as averaging does."""
    model = tiny_vit()
    parts = insert_experts(model, [4, 5], EXPERTS, 2)
    set_route(parts, some_weights(2, 2).float())
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert parts[0].passage.tokens is not None
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.blocks[4].mlp.passage.tokens is None
        assert other.blocks[4].mlp.passage.route is None


def test_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = tiny_vit()
        parts = insert_experts(model, [4, 5], EXPERTS, 2, jitter=0.1)
        model.set_grad_checkpointing(checkpointing)
        torch.manual_seed(1)
        set_route(parts, some_weights(4, 2).float())
        model(torch.randn(4, 3, 32, 32)).square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients)


def test_autocast() -> None:
    """In bfloat16 the block is the same to rounding, and weights stay float32."""
    part = MoGEFeedForward(Mlp(8, 12), EXPERTS, 2, jitter=0.5)
    tokens = torch.randn(5, 4, 8)
    set_route([part], some_weights(5, 2).float())
    expected = part(tokens)
    with torch.autocast('cpu', torch.bfloat16):
        found = part(tokens)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)


# The gate ---------------------------------------------------------------------------


def test_gate_is_the_formula() -> None:
    torch.manual_seed(0)
    gate = CosineGate(7, EXPERTS, 2, codebook_dim=4).eval()
    embedding = torch.randn(3, 7)
    route = gate(embedding, torch.tensor([True, True, False]))
    places = embedding @ gate.projection.weight.T
    for b in range(3):
        logits = [
            2 * (places[b] @ c / (places[b].norm() * c.norm())) for c in gate.codebook
        ]
        torch.testing.assert_close(route.logits[b], torch.stack(logits))
        order = sorted(range(EXPERTS), key=lambda k: -float(logits[k]))[:2]
        weights = torch.zeros(EXPERTS)
        if b < 2:
            weights[order] = torch.stack([logits[k] for k in order]).softmax(dim=0)
            assert route.top[b] == order[0]
        torch.testing.assert_close(route.weights[b], weights)


def test_noise_in_training_only() -> None:
    gate = CosineGate(7, EXPERTS, 2)
    embedding, known = torch.randn(400, 7), torch.ones(400, dtype=torch.bool)
    first, second = gate(embedding, known), gate(embedding, known)
    torch.testing.assert_close(first.logits, second.logits)
    noise = (first.noisy - first.logits).detach()
    assert noise.std() == pytest.approx(1 / EXPERTS, rel=0.05)
    gate.eval()
    calm = gate(embedding, known)
    assert torch.equal(calm.noisy, calm.logits)


def test_mean_route_of_unknown_places() -> None:
    """It follows the training images and leaves out those of unknown place."""
    torch.manual_seed(0)
    gate = CosineGate(2, EXPERTS, 1, noise=0.0, unknown='mean')
    place = torch.randn(1, 2)
    known = torch.tensor([True] * 3 + [False])
    for _ in range(500):
        route = gate(place.expand(4, 2), known)
    expected = route.weights[0]
    torch.testing.assert_close(gate.running_route, expected, atol=0.01, rtol=0)
    torch.testing.assert_close(route.weights[3], expected)
    before = gate.running_route.clone()
    gate(place.expand(4, 2), torch.zeros(4, dtype=torch.bool))
    assert torch.equal(gate.running_route, before)


def test_gate_stays_in_float32() -> None:
    gate = CosineGate(7, EXPERTS, 2).eval()
    embedding, known = torch.randn(3, 7), torch.ones(3, dtype=torch.bool)
    expected = gate(embedding, known)
    with torch.autocast('cpu', torch.bfloat16):
        found = gate(embedding, known)
    torch.testing.assert_close(found.weights, expected.weights)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'top_k': 6}, 'top_k=6 must be 1 to num_experts=5'),
        ({'top_k': 0}, 'top_k=0'),
        ({'noise': -1.0}, 'noise must not be negative, found -1'),
        ({'unknown': 'zero'}, "found 'zero'"),
    ],
)
def test_wrong_gates(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CosineGate(7, EXPERTS, **({'top_k': 2} | arguments))  # type: ignore[arg-type]
