# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Losses: plain functions of tensors, and the criterion that tasks use."""

from .balance import (
    balance_loss,
    choice_probabilities,
    importance_loss,
    load_loss,
    router_z_loss,
    switch_loss,
)
from .cka import cka_matrix, diversity_loss, linear_cka
from .criterion import Criterion, make_criterion
from .distillation import route_distillation
from .focal import sigmoid_focal, softmax_focal
from .gather import gather_with_grad
from .group_dro import GroupDRO
from .invariance import invariance_loss, invariance_loss_outside
from .soft_group_dro import SoftGroupDRO, class_groups

__all__ = (
    'Criterion',
    'GroupDRO',
    'SoftGroupDRO',
    'balance_loss',
    'choice_probabilities',
    'cka_matrix',
    'class_groups',
    'diversity_loss',
    'gather_with_grad',
    'importance_loss',
    'invariance_loss',
    'invariance_loss_outside',
    'linear_cka',
    'load_loss',
    'make_criterion',
    'route_distillation',
    'router_z_loss',
    'sigmoid_focal',
    'softmax_focal',
    'switch_loss',
)
