# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Pretrained weights, by TorchGeo's rules."""

import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchgeo.models import get_weight
from torchgeo.tasks import utils
from torchvision.models._api import WeightsEnum

#: Where this package's checkpoints keep the backbone: by itself, or inside another one.
BACKBONE_PREFIXES = ('model.backbone.body.', 'model.backbone.inner.body.')


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


def backbone_states(path: str) -> Iterator[dict[str, Tensor]]:
    """Read what may be a backbone out of a checkpoint.

    Args:
        path: Path of a checkpoint of this package, or of a TorchGeo task.

    Yields:
        Whole backbones and encoders of networks that predict maps.
    """
    state = read_checkpoint(path)['state_dict']
    own = (with_prefix(state, prefix) for prefix in BACKBONE_PREFIXES)
    whole = next(filter(None, own), None) or utils.extract_backbone(path)[1]
    yield whole
    yield with_prefix(whole, 'encoder.')


def load_weights(model: nn.Module, weights: WeightsEnum | str | bool | None) -> None:
    """Load weights into a backbone.

    Args:
        model: Backbone, as timm makes it, or encoder of a network that predicts maps.
        weights: A weight enum or its name, or the path of a checkpoint of a TorchGeo
            task or of one of this package. True, False and None do nothing: ImageNet
            weights are loaded where the backbone is made.

    Raises:
        ValueError: If the weights are neither a file nor a known name, or hold nothing
            of the backbone.
    """
    if weights is None or isinstance(weights, bool):
        return
    own = model.state_dict().keys()
    if isinstance(weights, WeightsEnum):
        state = weights.get_state_dict(
            progress=True, check_hash=True, weights_only=True
        )
    elif os.path.exists(weights):
        state = max(backbone_states(weights), key=lambda s: len(own & s.keys()))
    else:
        try:
            enum = get_weight(weights)
        except ValueError as error:
            raise ValueError(
                f'weights={weights!r} is neither a file nor the name of a weight'
            ) from error
        state = enum.get_state_dict(progress=True, check_hash=True, weights_only=True)

    if not own & state.keys():
        raise ValueError(
            f'weights={weights!r} hold nothing of a {type(model).__name__}'
        )
    fill(model, state)


def fill(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the weights that fit; warn of all others that the model has.

    Args:
        model: Model.
        state: Weights by name. Those that the model does not have, such as a
            classifier's, are left out.
    """
    own = model.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    model.load_state_dict(fitting, strict=False)
    if other := [k for k in own if k in state and k not in fitting]:
        warnings.warn(
            f'the weights of {", ".join(other)} have another shape (another number of'
            ' input channels, another size of images?) and were not loaded'
        )
    if missing := [k for k in own if k not in state and 'num_batches' not in k]:
        warnings.warn(
            f'{len(missing)} of {len(own)} weights of the {type(model).__name__} were not'
            f' found and stay random: {", ".join(missing[:5])}, ...'
        )
