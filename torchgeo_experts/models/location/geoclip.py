# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""GeoCLIP's location encoder."""

import importlib.util
import math
import os
import re
from typing import ClassVar

import torch
from torch import Tensor, nn

from .pretrained import FROM_CHECKPOINT, PretrainedEncoder, fill_whole, read_weights

#: Where the package ``geoclip`` keeps the weights.
PACKAGED = ('model', 'weights', 'location_encoder_weights.pth')
#: Standard deviations of the frequencies of the three capsules.
SIGMAS = (2.0**0, 2.0**4, 2.0**8)
#: Coefficients of the Equal Earth projection.
EQUAL_EARTH = (1.340264, -0.081106, 0.000893, 0.003796)
#: Scale of the projection: the equator spans [-1, 1].
SCALE = 66.50336 / 180


class GeoCLIPEncoder(PretrainedEncoder):
    """GeoCLIP: random Fourier features of three scales, trained with photographs.

    Vivanco Cepeda et al., "GeoCLIP: Clip-Inspired Alignment between Locations and Images
    for Effective Worldwide Geo-localization", 2023, section 3.1: an Equal Earth map of
    the place, and the sum of three networks that each read it at one scale. Unlike
    GeoCLIP itself it takes longitude before latitude. The map has edges: places left and
    right of the 180th meridian have different features, and so have those of a pole.

    Its weights come with the package ``geoclip``, whose code is not run.
    """

    periodic: ClassVar[bool] = False
    out_features = 512

    def __init__(self, weights: bool | str = True, frozen: bool = True) -> None:
        """Initialize a new GeoCLIPEncoder instance.

        Args:
            weights: True for those in the installed package ``geoclip``, the path of its
                ``location_encoder_weights.pth``, or False for random weights.
                'checkpoint' leaves them to the checkpoint of the whole model.
            frozen: Whether the weights stay as they are. The random frequencies always
                do.

        Raises:
            FileNotFoundError: If the file of weights does not exist.
            ModuleNotFoundError: If the package ``geoclip`` is needed and not installed.
            ValueError: If the file is damaged or holds other weights.
        """
        super().__init__()
        body = GeoCLIPNet()
        if weights and weights != FROM_CHECKPOINT:
            path = find_weights() if weights is True else str(weights)
            state = {rename(k): v for k, v in read_weights(path).items()}
            fill_whole(body, state, path)
        self._settle(body, weights, frozen)

    def embed(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the network's features."""
        features: Tensor = self.body(equal_earth(lon, lat))
        return features


class RandomFourier(nn.Module):
    """Cosines and sines of fixed random frequencies of a point on the map."""

    b: Tensor

    def __init__(self, sigma: float, num_frequencies: int) -> None:
        """Initialize a new RandomFourier instance.

        Args:
            sigma: Standard deviation of the frequencies, in cycles a unit of the map.
            num_frequencies: Number of frequencies.
        """
        super().__init__()
        self.register_buffer('b', sigma * torch.randn(num_frequencies, 2))

    def forward(self, point: Tensor) -> Tensor:
        """Compute features.

        Args:
            point: Points on the map, shape (B, 2).

        Returns:
            Cosines, then sines, shape (B, 2 * num_frequencies).
        """
        angles = 2 * math.pi * point @ self.b.T
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class GeoCLIPNet(nn.Module):
    """GeoCLIP's three capsules, whose features are added."""

    def __init__(self) -> None:
        """Initialize a new GeoCLIPNet instance."""
        super().__init__()
        self.capsules = nn.ModuleList(
            nn.Sequential(
                RandomFourier(sigma, 256),
                nn.Linear(512, 1024),
                nn.ReLU(),
                nn.Linear(1024, 1024),
                nn.ReLU(),
                nn.Linear(1024, 1024),
                nn.ReLU(),
                nn.Linear(1024, 512),
            )
            for sigma in SIGMAS
        )

    def forward(self, point: Tensor) -> Tensor:
        """Compute features.

        Args:
            point: Points on the map, shape (B, 2).

        Returns:
            Features, shape (B, 512).
        """
        return torch.stack([capsule(point) for capsule in self.capsules]).sum(dim=0)


def equal_earth(lon: Tensor, lat: Tensor) -> Tensor:
    """Draw places on GeoCLIP's map.

    Savric et al., "The Equal Earth map projection", 2019, for a sphere.

    Args:
        lon: Longitudes in degrees, shape (B,).
        lat: Latitudes in degrees, shape (B,).

    Returns:
        Points on the map, east and north, shape (B, 2).
    """
    a1, a2, a3, a4 = EQUAL_EARTH
    lon, lat = torch.deg2rad(lon), torch.deg2rad(lat)
    t = torch.asin(math.sqrt(3) / 2 * lat.sin())
    slope = 9 * a4 * t**8 + 7 * a3 * t**6 + 3 * a2 * t**2 + a1
    x = 2 / math.sqrt(3) * lon * t.cos() / slope
    y = a4 * t**9 + a3 * t**7 + a2 * t**3 + a1 * t
    return SCALE * torch.stack([x, y], dim=1)


def find_weights() -> str:
    """Find the weights in the installed package ``geoclip``.

    The package is not imported (as ``importlib.resources`` would), since that loads all
    of CLIP's code.

    Returns:
        Path of the file.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """
    spec = importlib.util.find_spec('geoclip')
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "GeoCLIP's weights come with the package geoclip, which is not installed:"
            " pip install 'torchgeo-experts[geoclip]', or give weights=False for random"
            ' weights, or the path of a file'
        )
    return os.path.join(spec.submodule_search_locations[0], *PACKAGED)


def rename(key: str) -> str:
    """Translate the name of a weight.

    Args:
        key: GeoCLIP's name, like ``LocEnc0.capsule.1.weight`` or ``LocEnc0.head.0.bias``.

    Returns:
        The name in :class:`GeoCLIPNet`.
    """
    key = re.sub(r'^LocEnc(\d+)\.capsule\.', r'capsules.\1.', key)
    return re.sub(r'^LocEnc(\d+)\.head\.0\.', r'capsules.\1.7.', key)
