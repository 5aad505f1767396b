# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Imitating a gate that knows the place by a router that sees the image."""

from torch import Tensor


def route_distillation(guess: Tensor, logits: Tensor, known: Tensor) -> Tensor:
    """Compare what a router guesses with what a gate says.

    The Kullback-Leibler divergence from the gate's softmax over all experts to the
    router's (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015,
    temperature 1). No gradient reaches the gate.

    Args:
        guess: Logits of the router, shape (B, E).
        logits: Logits of the gate, without noise, shape (B, E).
        known: Whether the gate knows the place, bool, shape (B,).

    Returns:
        The mean over images of known place, a scalar; 0 if there are none.
    """
    target = logits.detach().float().log_softmax(dim=1)
    found = guess.float().log_softmax(dim=1)
    divergence = (target.exp() * (target - found)).sum(dim=1)
    return divergence.where(known, 0).sum() / known.sum().clamp(min=1)
