# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Many feed-forward networks of one kind, with stacked parameters."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call


class FeedForwards(nn.Module):
    """Copies of a feed-forward network, whose parameters are stacked.

    A stack has a gradient whichever experts a batch uses, so that DDP misses none. The
    names of parameters are those of the network, with ``__`` in place of dots.
    """

    def __init__(self, model: nn.Module, count: int, jitter: float = 0.0) -> None:
        """Initialize a new FeedForwards instance.

        Args:
            model: The network to copy. It maps (..., N, D) to (..., N, D).
            count: Number of copies.
            jitter: Noise added to each copy's weights, as a part of the standard
                deviation of each weight tensor.

        Raises:
            ValueError: If the network has buffers: statistics of a batch would mix
                experts.
        """
        super().__init__()
        if names := [name for name, _ in model.named_buffers()]:
            raise ValueError(
                f'a feed-forward network with buffers ({", ".join(names)}) cannot become'
                ' an expert'
            )
        self.count = count
        self.names = tuple(name for name, _ in model.named_parameters())
        for name, parameter in model.named_parameters():
            stack = parameter.detach().expand(count, *parameter.shape).clone()
            if jitter and parameter.ndim > 1:
                stack += jitter * parameter.detach().std() * torch.randn_like(stack)
            self.register_parameter(_flat(name), nn.Parameter(stack))
        # What it computes, without parameters. No submodule: it has none of its own.
        self._model = (copy.deepcopy(model).to('meta'),)

    @property
    def model(self) -> nn.Module:
        """The network that all copies share, without its parameters."""
        (model,) = self._model
        return model.train(self.training)

    def stack(self, name: str) -> Tensor:
        """Tell a stacked parameter.

        Args:
            name: Name in the network, such as ``fc1.weight``.

        Returns:
            The stack, shape (E, ...).
        """
        return getattr(self, _flat(name))  # type: ignore[no-any-return]

    def parameters_of(self) -> list[dict[str, Tensor]]:
        """Tell the parameters of each copy, by their names in the network."""
        # unbind: one backward for all experts, where indexing would fill one
        # gradient as large as the stack for each.
        stacks = [self.stack(name).unbind() for name in self.names]
        return [
            dict(zip(self.names, own, strict=True)) for own in zip(*stacks, strict=True)
        ]

    def apply_one(self, parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
        """Apply one copy.

        Args:
            parameters: Its parameters.
            tokens: Tokens, shape (..., D).

        Returns:
            What it gives, shape (..., D).
        """
        return functional_call(self.model, parameters, (tokens,))  # type: ignore[no-any-return]

    def each(self, tokens: Tensor, experts: Sequence[int] | None = None) -> Tensor:
        """Apply every copy to the same tokens.

        Args:
            tokens: Tokens, shape (..., D).
            experts: Which copies. Default: all.

        Returns:
            What each gives, shape (E, ..., D).
        """
        all_parameters = self.parameters_of()
        chosen = range(self.count) if experts is None else experts
        return torch.stack([self.apply_one(all_parameters[e], tokens) for e in chosen])


def _flat(name: str) -> str:
    return name.replace('.', '__')
