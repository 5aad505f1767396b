# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""No place at all."""

from typing import ClassVar

import torch
from torch import Tensor

from .base import LocationEncoder


class ConstantEncoder(LocationEncoder):
    """The same feature for all places: experts that no place can tell apart.

    With as many experts as an image gets (``num_experts=3``, ``top_k=3``) this is a dense
    network of the same cost as MoGE, and tells what routing by place is worth.
    """

    periodic: ClassVar[bool] = True
    out_features = 1

    def locate(self, lon: Tensor, lat: Tensor) -> tuple[Tensor, Tensor]:
        """Take every place for known: it makes no difference."""
        return torch.ones_like(lon)[:, None], torch.ones_like(lon, dtype=torch.bool)

    def encode(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the feature of places that were checked."""
        return torch.ones_like(lon)[:, None]
