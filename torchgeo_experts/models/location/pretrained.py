# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What location encoders with pretrained weights share."""

import pickle
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..backbones import freeze
from ..weights import read_checkpoint
from .base import LocationEncoder

#: In a recipe, the weights are those of the checkpoint that the recipe belongs to.
FROM_CHECKPOINT = 'checkpoint'


class PretrainedEncoder(LocationEncoder):
    """A location encoder whose network was trained elsewhere.

    Frozen, it gets no gradient and never leaves evaluation mode: else dropout would
    change what it gives. :meth:`to_config` leaves the weights to the checkpoint, so that
    this is loaded where the file of weights is not.
    """

    #: The network.
    body: nn.Module
    #: Where the weights come from; random ones are None or False.
    weights: Any
    #: Whether weights of a checkpoint are still to come.
    _incomplete = False

    def _settle(self, body: nn.Module, weights: Any, frozen: bool) -> None:
        """Keep the network, with its weights, and freeze it.

        Args:
            body: The network.
            weights: Where its weights come from.
            frozen: Whether it stays as it is.
        """
        self.body = body
        self.weights = weights
        self.frozen = frozen
        self._incomplete = weights == FROM_CHECKPOINT
        freeze(body, frozen)
        self.train()

    @abstractmethod
    def embed(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the network's features.

        Args:
            lon: Longitudes in degrees, shape (B,).
            lat: Latitudes in degrees, shape (B,).

        Returns:
            Features, shape (B, F).
        """

    def encode(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the features of places that were checked.

        Raises:
            RuntimeError: If the weights were to come from a checkpoint, and none was
                loaded.
        """
        if self._incomplete:
            raise RuntimeError(
                f'{type(self).__name__} was made with weights={FROM_CHECKPOINT!r}, but no'
                ' checkpoint with its weights was loaded: load one, or tell where the'
                ' weights are'
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.embed(lon, lat)

    def train(self, mode: bool = True) -> Self:
        """Set the mode.

        Args:
            mode: True for training, unless it is frozen.

        Returns:
            The encoder.
        """
        return super().train(mode and not self.frozen)

    def to_config(self) -> dict[str, Any]:
        """Write down how to make this module, whose weights a checkpoint holds.

        Returns:
            ``class_path`` and ``init_args``, as in a YAML file.
        """
        config = super().to_config()
        if self.weights:
            config['init_args']['weights'] = FROM_CHECKPOINT
        return config

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any
    ) -> None:
        """Load from a checkpoint."""
        super()._load_from_state_dict(state_dict, prefix, *args)
        if any(key.startswith(f'{prefix}body.') for key in state_dict):
            self._incomplete = False


def read_weights(path: str) -> dict[str, Any]:
    """Read a file of weights, without running code from it.

    Args:
        path: Path of the file.

    Returns:
        Its contents. Nothing if it is no state dict.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read.
    """
    try:
        found: object = read_checkpoint(path)
    except (EOFError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f'{path} cannot be read as a file of weights') from error
    return dict(found) if isinstance(found, Mapping) else {}


def fill_whole(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load all weights of a network.

    Args:
        model: The network.
        state: Its weights by name.
        source: What they come from, for the message.

    Raises:
        ValueError: If one is missing, has another shape, or is not the network's.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f'{source} holds other weights than those of a {type(model).__name__}: {error}'
        ) from error
