# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What data sets of maps of an invented Earth share: regions, their history, images."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchgeo.datasets.utils import Sample

from . import earth
from .synthetic_base import GROUND_NOISE, SyntheticPlaces, draw, require

#: Most regions of an image, besides the ground.
REGIONS = 4

#: What is added to the pattern of the ground: it covers about a third.
GROUND_BIAS = 0.4

#: How many images are painted at once: it bounds the memory.
CHUNK = 256


class SyntheticMaps(SyntheticPlaces, ABC):
    """Base class of data sets whose images are mosaics of the ground and of regions.

    A region keeps its outline. Its class may change once, and then its colour is drawn
    anew. Light, mottles and grain are those of each date.
    """

    #: Maps, uint8, shape (N, ..., H, W).
    masks: Tensor

    def __init__(
        self,
        split: Literal['train', 'val', 'test'] = 'train',
        num_train_domains: int = 16,
        num_val_domains: int = 4,
        num_test_domains: int = 8,
        samples_per_domain: int = 64,
        num_classes: int = 7,
        size: int = 48,
        in_channels: int = 3,
        shift: float = 1.0,
        noise: float = 0.3,
        clue: float = 2.0,
        seed: int = 0,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new instance.

        Args:
            split: One of 'train', 'val' or 'test'.
            num_train_domains: Number of training domains.
            num_val_domains: Number of validation domains.
            num_test_domains: Number of test domains.
            samples_per_domain: Number of samples of each domain.
            num_classes: Number of classes, the ground among them, 3 to 11.
            size: Height and width of images in pixels, a multiple of 4.
            in_channels: Number of bands, 3 or 4.
            shift: How much the looks of classes change with the climate; 0: not at all.
            noise: Scatter of the colours of a class, relative to the distance of classes
                from grey. It sets how well one can do.
            clue: How plainly images show the climate: by the tint of the ground, and by
                mottles, whose strength is relative to those of :class:`SyntheticEarth`.
            seed: Seed of the Earth, its places and its images.
            transforms: A function/transform that takes an input sample and returns a
                transformed version.

        Raises:
            ValueError: If an argument is out of its range.
        """
        super().__init__(
            split,
            num_train_domains,
            num_val_domains,
            num_test_domains,
            samples_per_domain,
            size,
            in_channels,
            shift,
            noise,
            seed,
            transforms,
        )
        most = len(self.all_classes) + 1
        right = 3 <= num_classes <= most
        require(right, f'num_classes must be 3 to {most}', num_classes)
        require(clue >= 0, 'clue must not be negative', clue)
        self.clue = clue
        #: Names of the classes of ``land``. The ground is class 0.
        self.land_classes = ('ground', *self.all_classes[: num_classes - 1])
        self.classes = self.land_classes
        self._settle()
        self._paint()

    @abstractmethod
    def _months(self, uniform: Tensor) -> Tensor:
        """Choose the months of the images.

        Args:
            uniform: Uniform numbers, shape (N, 2), float64.

        Returns:
            Months since January 2018, int64, shape (N, T).
        """

    @abstractmethod
    def _history(self, order: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the classes of the regions besides the ground.

        Args:
            order: The classes but the ground, counted from 0, in random order, int64,
                shape (N, classes).
            uniform: Uniform numbers, shape (N, R - 1, 3), float64.

        Returns:
            Class of each region before and after its change, counted from 0, and the
            first date after it, int64, shape (N, R - 1) each.
        """

    @property
    @abstractmethod
    def _targets(self) -> Tensor:
        """Target of each region, int64, shape (N, maps, R)."""

    def _settle(self) -> None:
        """Place the samples, and lay out their regions with classes and colours."""
        classes, blobs = len(self.land_classes) - 1, earth.BLOB_CELLS
        count = min(REGIONS, classes)
        shapes = [(3,), (2,), (count, 2, 2), (1 + count, blobs, blobs)]
        uniform, normal = draw(self.keys, 3 + classes + 3 * count, shapes)
        radius, months, order, fate = uniform.split([1, 2, classes, 3 * count], dim=1)
        direction, soil, scatter, outlines = normal
        self._locate(radius.squeeze(1), direction)
        patterns = earth.smooth_noise(outlines, self.size)
        #: Region of each pixel, uint8, shape (N, H, W). The ground is region 0.
        self.regions = earth.mosaic(patterns, (GROUND_BIAS, *[0.0] * count)).byte()
        #: Month of each image, counted from January 2018, int64, shape (N, T).
        self.months = self._months(months)
        before, after, date = self._history(
            order.argsort(dim=1), fate.unflatten(1, (count, 3))
        )
        changed = torch.arange(self.months.shape[1])[:, None] >= date[:, None]
        ring = torch.where(changed, after[:, None], before[:, None])
        #: Class of each region at each date, int64, shape (N, T, R).
        self.land = F.pad(ring + 1, (1, 0))
        old, new = scatter[:, None].unbind(dim=-2)
        scatter = torch.where(changed[..., None], new, old)
        #: Colour of each region at each date, shape (N, T, R, 2).
        self.chroma = self._colours(ring, scatter, soil)
        self.masks = self._look_up(self._targets.byte())

    def _colours(self, ring: Tensor, scatter: Tensor, soil: Tensor) -> Tensor:
        """Colour the ground by soil and climate, other regions by class and climate."""
        typical = self._typical(self.fields[:, 0])
        rows = torch.arange(len(self))[:, None, None]
        chroma = typical[rows, ring] + self.noise * earth.RING * scatter
        ground = earth.ground_chroma(self.fields[:, 1])
        ground = ground + earth.climate_tint(self.fields[:, 0], self.clue)
        ground = ground + GROUND_NOISE * earth.RING * soil
        ground = ground[:, None, None].expand(-1, ring.shape[1], -1, -1)
        return torch.cat([ground, chroma], dim=2)

    def _typical(self, climate: Tensor) -> Tensor:
        return earth.class_chroma(climate, len(self.land_classes) - 1, self.shift)

    def _look_up(self, values: Tensor) -> Tensor:
        """Give each pixel the value of its region, (N, maps, R) to (N, maps, H, W)."""
        regions = self.regions.long().flatten(start_dim=1)[:, None]
        found = values.gather(2, regions.expand(-1, values.shape[1], -1))
        return found.unflatten(2, self.regions.shape[1:])

    def _paint(self) -> None:
        """Paint all images, some at a time."""
        dates = self.months.shape[1]
        months, chroma = self.months.flatten(), self.chroma.flatten(0, 1)
        shape = (len(months), self.in_channels, self.size, self.size)
        images = torch.empty(shape, dtype=torch.uint8)
        for rows in torch.arange(len(images)).split(CHUNK):
            samples = rows // dates
            painted = earth.render(
                self.regions[samples].long(),
                chroma[rows],
                self.fields[samples],
                months[rows] / 12,
                self._texture(samples, months[rows]),
                self.in_channels,
                self.clue,
            )
            images[rows] = painted.round().byte()
        self.images = images.unflatten(0, (len(self), dates))

    def _texture(self, samples: Tensor, months: Tensor) -> Tensor:
        """Draw mottles and grain anew for each image, whatever other dates there are."""
        pairs = zip(samples.tolist(), months.tolist(), strict=True)
        keys = [(*self.keys[sample], month) for sample, month in pairs]
        cells = self.size // 4
        _, white = draw(keys, 0, [(2, 2 * cells, 2 * cells), (1, cells, cells)])
        return torch.cat([earth.smooth_noise(w, self.size) for w in white], dim=1)

    # How well one can do --------------------------------------------------------------

    def recognize(self, naive: bool = False) -> Tensor:
        """Take for each region the class whose typical colour is nearest.

        The rule knows the outlines, the colours without mottles, the ground and the
        climate.

        Args:
            naive: Whether it believes that the climate is 0 everywhere.

        Returns:
            Class of each region at each date, int64, shape (N, T, R).
        """
        typical = self._typical(self.fields[:, 0] * (not naive))
        apart = (self.chroma[:, :, 1:, None] - typical[:, None, None]).norm(dim=-1)
        return F.pad(apart.argmin(dim=-1) + 1, (1, 0))

    @property
    def areas(self) -> Tensor:
        """Number of pixels of each region, int64, shape (N, R)."""
        return F.one_hot(self.regions.long(), self.land.shape[2]).sum(dim=(1, 2))

    def rule_score(self, naive: bool = False) -> float:
        """Compute the pixel accuracy of the rule of :meth:`recognize`.

        Args:
            naive: Whether the rule believes that the climate is 0 everywhere.

        Returns:
            The share of pixels, of all dates, that get their class.
        """
        right = (self.recognize(naive) == self.land).double().mean(dim=1)
        return float((right * self.areas).sum() / self.areas.sum())

    # Samples --------------------------------------------------------------------------

    def _sample(self, index: int) -> Sample:
        return super()._sample(index) | {'mask': self.masks[index].long()}


def days_since_2018(months: Tensor) -> Tensor:
    """Find the first day of months.

    Args:
        months: Months since January 2018, int64, any shape.

    Returns:
        Days since 2018-01-01, int64, of the same shape.
    """
    start = np.datetime64('2018-01', 'M')
    first = (start + months.numpy().astype('timedelta64[M]')).astype('datetime64[D]')
    return torch.from_numpy((first - start.astype('datetime64[D]')).astype(np.int64))
