# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""A procedural Earth: smooth fields, the looks of classes, and a renderer.

Three fields cover the sphere, each between -1 and 1 and each with one meaning:

* *climate* turns the colours of the classes (:func:`class_chroma`): what a colour means
  depends on the place. The ground shows the climate, see :func:`render`.
* *soil* colours the ground and sets how coarse its grain is.
* *season* says which time of the year is bright.

Colours are points of a plane of chroma, in digital numbers, at right angles to the light:
classes stand on a ring around grey, the ground lies near grey. :func:`render` paints any
map of regions at any date, so that one region on the ground makes an image to classify, a
:func:`mosaic` of classes makes one to segment, and more dates make a series.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..domains import unit_vectors

#: Names of the fields, in the order of the last axis of :meth:`Earth.fields`.
FIELDS = ('climate', 'soil', 'season')

#: Distance over which fields decorrelate, in Earth radii (6371 km).
FIELD_LENGTH = 1.0

#: Turn of the ring of classes where the climate is 1 and the shift is 1, in radians. With
#: six classes this is one class and a half: a colour means another class in dry and in
#: wet places, three classes away at most.
TURN = math.pi / 2

#: Radius of the ring of classes in the plane of chroma, in digital numbers.
RING = 36.0

#: Largest distance of the colour of the ground from grey, relative to the ring.
SOIL = 0.3

#: Largest shift of the ground's colour by the climate in images to map, relative to the
#: ring and to the clue. It stands at right angles to the shift by the soil.
TINT = 0.2

#: Mean light, and what the season, being ground, and the grain add to it, in digital
#: numbers.
LIGHT, SEASON, GROUND, GRAIN = 112.0, 14.0, 18.0, 7.0

#: Standard deviation of the mottles in the plane of chroma, in digital numbers.
MOTTLE = 9.0

#: Light, red-green and yellow-blue of each band: red, green, blue, near infrared.
BANDS = (
    (1.0, 0.5**0.5, 6**-0.5),
    (1.0, -(0.5**0.5), 6**-0.5),
    (1.0, 0.0, -2 * 6**-0.5),
    (1.1, -0.6, 0.6),
)

#: Side of the grid of random numbers from which regions are grown, in cells.
BLOB_CELLS = 4


class Earth:
    """Smooth random fields on the sphere."""

    def __init__(self, seed: int = 0, length: float = FIELD_LENGTH) -> None:
        """Initialize a new Earth instance.

        A field is a sum of plane waves in space, read off on the sphere: random Fourier
        features of a Gaussian process [1]_. It is as smooth at the dateline and the poles
        as anywhere else.

        Args:
            seed: Seed of the fields.
            length: Distance over which fields decorrelate, in Earth radii.

        .. [1] Rahimi and Recht, Random features for large-scale kernel machines, 2007,
           https://papers.nips.cc/paper/3182
        """
        rng = np.random.default_rng((seed, len(FIELDS)))
        waves = (len(FIELDS), 96)
        self._waves = torch.from_numpy(rng.standard_normal((*waves, 3)) / length)
        self._phases = torch.from_numpy(rng.uniform(0, 2 * np.pi, waves))
        # Long fields see few independent places, so each Earth is brought to mean 0 and
        # variance 1 over its own surface: the shift is then alike for all seeds.
        raw = self._raw(fibonacci_sphere(2048))
        self._mean, self._std = raw.mean(dim=0), raw.std(dim=0)

    def _raw(self, places: Tensor) -> Tensor:
        angles = torch.einsum('nc,fwc->nfw', places, self._waves)
        return torch.cos(angles + self._phases).sum(dim=-1)

    def fields(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Look up the fields at places.

        Args:
            lon: Longitudes in degrees, shape (N,).
            lat: Latitudes in degrees, shape (N,).

        Returns:
            Climate, soil and season, shape (N, 3), float32, spread about evenly
            between -1 and 1.
        """
        raw = self._raw(unit_vectors(lon, lat))
        return torch.erf((raw - self._mean) / self._std / 2**0.5).float()


def fibonacci_sphere(count: int) -> Tensor:
    """Spread points evenly over the sphere.

    Args:
        count: Number of points.

    Returns:
        Unit vectors, shape (count, 3), float64.
    """
    index = torch.arange(count, dtype=torch.float64)
    z = 1 - (2 * index + 1) / count
    angle = math.pi * (3 - 5**0.5) * index
    radius = (1 - z**2).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], dim=-1)


def class_chroma(climate: Tensor, num_classes: int, shift: float) -> Tensor:
    """Find the typical colour of each class at places.

    Args:
        climate: Climate at the places, shape (N,).
        num_classes: Number of classes.
        shift: Amount of shift; 0: classes look the same everywhere.

    Returns:
        Points on the ring in the plane of chroma, shape (N, num_classes, 2).
    """
    hue = torch.arange(num_classes) * (2 * math.pi / num_classes)
    hue = hue + shift * TURN * climate[:, None]
    return RING * torch.stack([hue.cos(), hue.sin()], dim=-1)


def best_accuracy(num_classes: int, noise: float) -> float:
    """Compute the accuracy that no classifier exceeds, whatever it knows of the place.

    Classes are equally likely and their colours a ring plus Gaussian noise, so the best
    rule takes the nearest point of the ring. This is how phase-shift keying is received,
    and its error is an integral over one angle [1]_.

    Args:
        num_classes: Number of classes.
        noise: Standard deviation of colours, relative to the radius of the ring.

    Returns:
        The accuracy, the same for every place and every shift.

    .. [1] Craig, A new, simple and exact result for calculating the probability of error
       for two-dimensional signal constellations, 1991,
       https://doi.org/10.1109/MILCOM.1991.258319
    """
    if noise == 0:
        return 1.0
    half = math.pi / num_classes
    nodes, weights = np.polynomial.legendre.leggauss(200)
    width = math.pi - half
    angles = width * (nodes + 1) / 2
    exponent = (math.sin(half) / noise / np.sin(angles)) ** 2 / 2
    return float(1 - width / 2 * (weights @ np.exp(-exponent)) / math.pi)


def smooth_noise(white: Tensor, size: int) -> Tensor:
    """Enlarge white noise to smooth patterns of mean 0 and variance 1.

    Args:
        white: Standard normal numbers, shape (N, R, cells, cells).
        size: Side of the patterns in pixels.

    Returns:
        Patterns, shape (N, R, size, size).
    """
    pattern = F.interpolate(white, (size, size), mode='bicubic')
    pattern = pattern - pattern.mean(dim=(-2, -1), keepdim=True)
    return pattern / pattern.std(dim=(-2, -1), keepdim=True)


def mosaic(patterns: Tensor, bias: Sequence[float]) -> Tensor:
    """Divide images into smooth regions.

    Args:
        patterns: Smooth patterns, one a region, shape (N, R, H, W).
        bias: What is added to the pattern of each region: larger regions need more.

    Returns:
        The region whose pattern is highest in each pixel, int64, shape (N, H, W).
    """
    return (patterns + torch.tensor(bias)[:, None, None]).argmax(dim=1)


def ground_chroma(soil: Tensor) -> Tensor:
    """Find the mean colour of the ground.

    Args:
        soil: Soil at the places, shape (N,).

    Returns:
        Points in the plane of chroma, shape (N, 2), from bluish grey to ochre.
    """
    return SOIL * RING * soil[:, None] * torch.tensor([0.5, 0.75**0.5])


def climate_tint(climate: Tensor, clue: float) -> Tensor:
    """Find by how much the climate shifts the colour of the ground.

    Args:
        climate: Climate at the places, shape (N,).
        clue: How plainly the ground shows the climate.

    Returns:
        Shifts in the plane of chroma, shape (N, 2).
    """
    return clue * TINT * RING * climate[:, None] * torch.tensor([-(0.75**0.5), 0.5])


def render(
    regions: Tensor,
    chroma: Tensor,
    fields: Tensor,
    dates: Tensor,
    texture: Tensor,
    in_channels: int = 3,
    clue: float = 1.0,
) -> Tensor:
    """Paint images from maps of regions.

    Everything is mottled in chroma, along a line whose direction is the climate: in dry
    places ground varies from sand to rock, in wet ones from soil to grass. The mean of
    the mottles is zero, so that it takes more than a mean colour to see the climate.

    Args:
        regions: Region of each pixel, int64, shape (N, H, W); 0 is the ground.
        chroma: Colour of each region, shape (N, R, 2).
        fields: Climate, soil and season at the places, shape (N, 3).
        dates: Dates in years; whole numbers are the first of January. Shape (N,).
        texture: Patterns of mean 0 and variance 1, shape (N, 3, H, W): mottles, fine
            grain, coarse grain.
        in_channels: Number of bands, of red, green, blue and near infrared.
        clue: Strength of the mottles. The stronger they are, the more easily the climate
            is read from the image.

    Returns:
        Bands in digital numbers between 0 and 255, float32, shape
        (N, in_channels, H, W).
    """
    climate, soil, season = fields[:, :, None, None].unbind(dim=1)
    mottles, fine, coarse = texture.unbind(dim=1)

    year = torch.cos(2 * math.pi * (dates[:, None, None] - season / 2))
    mix = math.pi / 4 * (1 + soil)
    light = LIGHT + SEASON * year + GROUND * (regions == 0)
    light = light + GRAIN * (mix.cos() * fine + mix.sin() * coarse)

    flat = regions.flatten(start_dim=1)[..., None].expand(-1, -1, 2)
    red_green, yellow_blue = (
        chroma.gather(1, flat).mT.unflatten(2, regions.shape[1:]).unbind(1)
    )
    line = math.pi / 4 * climate
    layers = [
        light,
        red_green + clue * MOTTLE * mottles * line.cos(),
        yellow_blue + clue * MOTTLE * mottles * line.sin(),
    ]
    bands = torch.tensor(BANDS[:in_channels])
    return torch.einsum('cl,lnhw->nchw', bands, torch.stack(layers)).clamp(0, 255)
