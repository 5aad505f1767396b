# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""MoGE blocks in a Vision Transformer that exists already."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from .block import MoGEFeedForward


def insert_experts(
    model: nn.Module,
    blocks: Sequence[int] = (8, 10),
    num_experts: int = 6,
    top_k: int = 3,
    gamma: float = 0.5,
    learn_gamma: bool = True,
    jitter: float = 0.0,
) -> list[MoGEFeedForward]:
    """Put MoGE blocks in place of the feed-forward networks of some blocks.

    The weights of the model stay as they are, and so does what it computes (without
    *jitter*), for places known or not.

    Args:
        model: A Vision Transformer of timm or TorchGeo (DOFA, Scale-MAE, ...), whose
            ``blocks`` have an ``mlp`` each. It is changed in place.
        blocks: Which blocks, counted from 0. The authors have two, "at layers 9 and 11"
            of 12: counted from 1 these are 8 and 10, the places of GMoE.
        num_experts: Number of routed experts of a block.
        top_k: Number of routed experts of an image.
        gamma: Share of the shared expert.
        learn_gamma: Whether gamma is learned, one a block.
        jitter: Noise added to the routed experts, see :class:`MoGEFeedForward`.

    Returns:
        The new parts, in the order of *blocks*.

    Raises:
        ValueError: If the model has no such blocks.
    """
    found = _blocks(model)
    if len(set(blocks)) < len(blocks) or not blocks:
        raise ValueError(f'blocks must name each block once, found {list(blocks)}')
    if outside := [index for index in blocks if not 0 <= index < len(found)]:
        raise ValueError(
            f'blocks={list(blocks)}: {type(model).__name__} has the blocks 0 to'
            f' {len(found) - 1}, found {outside[0]}'
        )
    inserted = []
    for index in blocks:
        block: Any = found[index]
        if hasattr(block.mlp, 'experts'):
            raise ValueError(f'block {index} has experts already')
        block.mlp = MoGEFeedForward(
            block.mlp, num_experts, top_k, gamma, learn_gamma, jitter
        )
        inserted.append(block.mlp)
    return inserted


def _blocks(model: Any) -> nn.ModuleList | nn.Sequential:
    blocks = getattr(model, 'blocks', None)
    if (
        isinstance(blocks, nn.ModuleList | nn.Sequential)
        and len(blocks)
        and all(hasattr(block, 'mlp') for block in blocks)
    ):
        return blocks
    raise ValueError(
        f'{type(model).__name__} has no transformer blocks with a feed-forward network'
        " 'mlp': choose a Vision Transformer, like 'vit_tiny_patch16_224'"
    )
