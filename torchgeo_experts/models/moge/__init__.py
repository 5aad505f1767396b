# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Mixture of Geographical Experts (MoGE): experts inside a Vision Transformer."""

from .backbone import MoGEBackbone, MoGEConfig
from .block import MoGEFeedForward
from .gate import CosineGate, Route
from .surgery import insert_experts

__all__ = (
    'CosineGate',
    'MoGEBackbone',
    'MoGEConfig',
    'MoGEFeedForward',
    'Route',
    'insert_experts',
)
