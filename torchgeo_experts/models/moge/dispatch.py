# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Ways to mix experts, all with the same result.

The gate sees the place of an image only, so that all tokens of an image share their
experts: whole images are handed out, without capacity, drops or order of tokens.

The nonlinearity between its layers keeps an expert from being mixed by its weights.
"""

import torch
from timm.layers import Mlp
from torch import Tensor, nn

from .feed_forward import FeedForwards

#: Most bytes of weights that are gathered for a batch.
GATHERED_BYTES = 2**30


def mix(experts: FeedForwards, tokens: Tensor, weights: Tensor, top_k: int) -> Tensor:
    """Mix the outputs of experts, in the way that is fastest.

    On a CPU experts take turns (docs/results). Elsewhere, where that would wait for the
    numbers of images, weights are gathered, unless they are too many.

    Args:
        experts: Experts.
        tokens: Tokens of images, shape (B, N, D).
        weights: Weights of the experts, at most *top_k* of an image other than zero,
            shape (B, E).
        top_k: How many experts an image has at most.

    Returns:
        The weighted sum, shape (B, N, D).
    """
    waits = tokens.device.type != 'cpu' or torch.compiler.is_compiling()
    if waits and is_plain(experts.model) and fits(experts, len(tokens), top_k):
        return gathered(experts, tokens, weights, top_k)
    return looped(experts, tokens, weights)


def is_plain(model: nn.Module) -> bool:
    """Tell whether a network is two linear layers with a nonlinearity between them."""
    return (
        isinstance(model, Mlp)
        and isinstance(model.fc1, nn.Linear)
        and isinstance(model.norm, nn.Identity)
    )


def fits(experts: FeedForwards, images: int, top_k: int) -> bool:
    """Tell whether the weights of a batch's experts are few enough to be gathered.

    Args:
        experts: Experts, of two linear layers.
        images: Number of images.
        top_k: How many experts an image has.

    Returns:
        Whether they are below a gigabyte.
    """
    stack = experts.stack('fc1.weight')
    size = 2 * stack[0].numel() * stack.element_size()
    return images * top_k * size <= GATHERED_BYTES


def dense(experts: FeedForwards, tokens: Tensor, weights: Tensor) -> Tensor:
    """Evaluate every expert on every image.

    Args:
        experts: Experts.
        tokens: Tokens, shape (B, N, D).
        weights: Weights, shape (B, E).

    Returns:
        The weighted sum, shape (B, N, D).
    """
    outputs = experts.each(tokens)
    return torch.einsum('ebnd,be->bnd', outputs, weights.to(outputs.dtype))


def looped(experts: FeedForwards, tokens: Tensor, weights: Tensor) -> Tensor:
    """Give each expert its images, one expert after the other.

    A GPU waits once an expert, to learn how many images it has.

    Args:
        experts: Experts.
        tokens: Tokens, shape (B, N, D).
        weights: Weights, shape (B, E).

    Returns:
        The weighted sum, shape (B, N, D).
    """
    mixed: Tensor | None = None
    for expert, parameters in enumerate(experts.parameters_of()):
        rows = weights[:, expert].nonzero().squeeze(1)
        output = experts.apply_one(parameters, tokens[rows])
        output = output * weights[rows, expert].to(output.dtype)[:, None, None]
        if mixed is None:
            mixed = output.new_zeros(tokens.shape)
        mixed.index_add_(0, rows, output)
    assert mixed is not None
    return mixed


def gathered(
    experts: FeedForwards, tokens: Tensor, weights: Tensor, top_k: int
) -> Tensor:
    """Gather the weights of each image's experts, for one product of many matrices.

    Nothing waits and shapes do not depend on routes, but the weights of an expert are
    copied for each image that it has.

    Args:
        experts: Experts, of two linear layers.
        tokens: Tokens, shape (B, N, D).
        weights: Weights, shape (B, E).
        top_k: How many experts an image has at most.

    Returns:
        The weighted sum, shape (B, N, D).
    """
    model = experts.model
    shares, chosen = weights.topk(top_k, dim=1)
    hidden = _linear(experts, 'fc1', chosen, tokens[:, None])
    hidden = model.drop1(model.act(hidden))  # type: ignore[operator]
    output = model.drop2(_linear(experts, 'fc2', chosen, hidden))  # type: ignore[operator]
    return (shares.to(output.dtype)[..., None, None] * output).sum(dim=1)


def _linear(experts: FeedForwards, name: str, chosen: Tensor, values: Tensor) -> Tensor:
    """Apply a layer of chosen experts, (B, k) of them, to values (B, k or 1, N, D)."""
    weight = experts.stack(f'{name}.weight')[chosen]
    output = values @ weight.transpose(-1, -2)
    if f'{name}.bias' not in experts.names:
        return output
    return output + experts.stack(f'{name}.bias')[chosen][:, :, None].to(output.dtype)
