# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Pretrained weights, by TorchGeo's rules."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchgeo.models import get_weight
from torchgeo.tasks import utils
from torchvision.models._api import WeightsEnum

#: Where this package's checkpoints keep the backbone.
BACKBONE_PREFIX = 'model.backbone.body.'


def read_checkpoint(path: str) -> dict[str, Any]:
    """Read a checkpoint file, on the CPU and without running code from it.

    Args:
        path: Path of the file.

    Returns:
        Its contents.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no checkpoint at {path}')
    checkpoint: dict[str, Any] = torch.load(path, map_location='cpu', weights_only=True)
    return checkpoint


def with_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the entries of a state dict below a prefix.

    Args:
        state: State dict.
        prefix: Beginning of the keys, which is taken off.

    Returns:
        The entries.
    """
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def load_weights(model: nn.Module, weights: WeightsEnum | str | bool | None) -> None:
    """Load weights into a backbone.

    Args:
        model: Backbone, as timm or SMP makes it.
        weights: A weight enum or its name, or the path of a checkpoint of a TorchGeo
            task or of one of this package. True, False and None do nothing: ImageNet
            weights are loaded where the backbone is made.

    Raises:
        ValueError: If the weights are neither a file nor a known name, or hold nothing
            of the backbone.
    """
    if weights is None or isinstance(weights, bool):
        return
    if isinstance(weights, WeightsEnum):
        state = weights.get_state_dict(
            progress=True, check_hash=True, weights_only=True
        )
    elif os.path.exists(weights):
        state = with_prefix(read_checkpoint(weights)['state_dict'], BACKBONE_PREFIX)
        if not state:
            _, state = utils.extract_backbone(weights)
    else:
        try:
            enum = get_weight(weights)
        except ValueError as error:
            raise ValueError(
                f'weights={weights!r} is neither a file nor the name of a weight'
            ) from error
        state = enum.get_state_dict(progress=True, check_hash=True, weights_only=True)

    missing, _ = utils.load_state_dict(model, state)
    if len(missing) == len(model.state_dict()):
        raise ValueError(
            f'weights={weights!r} hold nothing of a {type(model).__name__}'
        )
