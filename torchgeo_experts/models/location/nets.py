# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Networks on top of fixed functions of the place."""

from typing import Any, Literal

from torch import Tensor, nn
from torchgeo.models.satclip import SirenNet

#: Names of the networks.
Net = Literal['siren', 'fcnet', 'linear']


class ResidualLayer(nn.Module):
    """Two linear layers, with what came in added: x + ReLU(W2 drop(ReLU(W1 x)))."""

    def __init__(self, width: int, dropout: float) -> None:
        """Initialize a new ResidualLayer instance.

        Args:
            width: Number of features.
            dropout: Share of the hidden features that is dropped in training.
        """
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute features.

        Args:
            x: Features, shape (B, F).

        Returns:
            Features, shape (B, F).
        """
        return x + self.layers(x)


class FCNet(nn.Sequential):
    """A linear layer with ReLU and residual layers.

    Mac Aodha et al., "Presence-Only Geographical Priors for Fine-Grained Image
    Classification", 2019, figure 2, without the layer of classes.
    """

    def __init__(
        self, in_features: int, width: int, num_layers: int, dropout: float
    ) -> None:
        """Initialize a new FCNet instance.

        Args:
            in_features: Number of input features.
            width: Number of features of all layers.
            num_layers: Number of residual layers.
            dropout: Share of the hidden features that is dropped in training.
        """
        super().__init__(
            nn.Linear(in_features, width),
            nn.ReLU(),
            *(ResidualLayer(width, dropout) for _ in range(num_layers)),
        )


def _siren(in_features: int, width: int, num_layers: int, dropout: bool) -> nn.Module:
    net = SirenNet(in_features, width, width, num_layers)
    layers: Any = net.layers
    for layer in layers:
        # TorchGeo's constructor knows no other way to turn it off.
        layer.dropout = dropout
    return net


def _fcnet(in_features: int, width: int, num_layers: int, dropout: bool) -> nn.Module:
    return FCNet(in_features, width, num_layers, 0.5 * dropout)


def _linear(in_features: int, width: int, num_layers: int, dropout: bool) -> nn.Module:
    return nn.Linear(in_features, width)


def make_net(
    net: Net, in_features: int, width: int, num_layers: int, dropout: bool
) -> nn.Module:
    """Make a network by name.

    Args:
        net: 'siren' for TorchGeo's SIREN, with a linear layer at its end, 'fcnet' for
            :class:`FCNet`, 'linear' for one linear layer.
        in_features: Number of input features.
        width: Number of hidden features, and of those that come out.
        num_layers: Number of hidden layers. One linear layer has none.
        dropout: Whether half of the hidden features are dropped in training.

    Returns:
        The network.

    Raises:
        ValueError: If there is no such network.
    """
    makers = {'siren': _siren, 'fcnet': _fcnet, 'linear': _linear}
    if net not in makers:
        raise ValueError(f'net must be one of {", ".join(makers)}, found {net!r}')
    return makers[net](in_features, width, num_layers, dropout)
