# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""SatCLIP's location encoder."""

import math
import os
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchgeo.models import SatCLIP, SatCLIP_Weights, satclip

from ..weights import with_prefix
from .pretrained import FROM_CHECKPOINT, PretrainedEncoder, fill_whole, read_weights

#: Where a checkpoint of SatCLIP keeps its location encoder.
PREFIX = 'model.location.'
#: Its first layer, which reads the harmonics.
FIRST = 'nnet.layers.0.weight'


class SatCLIPEncoder(PretrainedEncoder):
    """SatCLIP: spherical harmonics and a SIREN, trained with images of Sentinel-2.

    Klemmer et al., "SatCLIP: Global, General-Purpose Location Embeddings with Satellite
    Imagery", 2025, as TorchGeo has it. MoGE uses it frozen to reach continents without
    training data (MoGE-SC).
    """

    periodic: ClassVar[bool] = True
    body: SatCLIP

    def __init__(
        self,
        weights: SatCLIP_Weights | str | None = 'SatCLIP_Weights.SATCLIP_VIT16_L40',
        legendre_polys: int = 40,
        frozen: bool = True,
    ) -> None:
        """Initialize a new SatCLIPEncoder instance.

        Args:
            weights: A weight enum or its name, which is downloaded, the path of a
                checkpoint of SatCLIP, or None for random weights. 'checkpoint' leaves
                them to the checkpoint of the whole model.
            legendre_polys: Number of Legendre polynomials. Weights that are read bring
                their own.
            frozen: Whether the weights stay as they are.

        Raises:
            ValueError: If the weights are neither a file nor a known name, or if a file
                is damaged or holds no weights of SatCLIP.
        """
        super().__init__()
        body, name = _make(weights, legendre_polys)
        self.legendre_polys = body.posenc.L
        self.out_features = body.nnet.last_layer.weight.shape[0]
        self._settle(body, name, frozen)

    def embed(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the network's features."""
        features: Tensor = self.body(torch.stack([lon, lat], dim=1))
        return features


def _make(
    weights: SatCLIP_Weights | str | None, legendre_polys: int
) -> tuple[SatCLIP, str | None]:
    """Make the network, and tell the name of its weights as plain text."""
    if weights is None or weights == FROM_CHECKPOINT:
        return satclip(None, legendre_polys), weights
    if isinstance(weights, str) and os.path.exists(weights):
        return _from_file(weights), weights
    members: Any = SatCLIP_Weights
    known = {str(enum): enum for enum in members}
    if str(weights) not in known:
        raise ValueError(
            f'weights={weights!r} is neither a file nor a name of SatCLIP weights'
            f' ({", ".join(known)})'
        )
    return satclip(known[str(weights)]), str(weights)


def _from_file(path: str) -> SatCLIP:
    """Make the network that a file holds: SatCLIP's checkpoint or its location encoder."""
    found = read_weights(path)
    state = found.get('state_dict', found)
    state = with_prefix(state, PREFIX) or state
    # The images' encoder and settings that a checkpoint holds are not needed.
    state = {key: value for key, value in state.items() if key.startswith('nnet.')}
    if FIRST not in state:
        raise ValueError(
            f"{path} holds no weights of SatCLIP's location encoder: expected"
            f' {PREFIX}{FIRST}'
        )
    body = satclip(None, math.isqrt(state[FIRST].shape[1]))
    fill_whole(body, state, path)
    return body
