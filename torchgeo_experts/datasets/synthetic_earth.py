# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""SyntheticEarth data set."""

from collections.abc import Callable
from typing import ClassVar, Literal

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchgeo.datasets import NonGeoDataset
from torchgeo.datasets.utils import Sample

from ..domains import EARTH_RADIUS_KM, Domains, unit_vectors
from . import earth
from .places import find_places

#: Radius of a domain in kilometres.
DOMAIN_RADIUS_KM = 100.0

#: Standard deviation of the colour of the ground within a domain, relative to the ring.
GROUND_NOISE = 0.1

#: What is added to the pattern of the ground: it covers somewhat more than half.
GROUND_BIAS = 0.3


class SyntheticEarth(NonGeoDataset):
    """An invented Earth on which the looks of classes depend on the place.

    Dataset features:

    * computed from a seed in a second or two, nothing is downloaded
    * smooth fields (climate, soil, season): near places look alike, far ones differ
    * the ground in each image shows the climate, so that the image alone tells which
      expert fits
    * the best possible accuracy is known (``best_accuracy``)
    * *shift* sets how much the looks of classes change with the climate. With 0 a colour
      means the same class everywhere, and experts have nothing to win. With 1 it
      means classes up to three steps apart.

    Domains are places of 100 km radius. Those of the three splits are disjoint, and
    depend neither on each other's number nor on the number of samples.

    Dataset format:

    * images of 3 or 4 bands (red, green, blue, near infrared), values 0 to 255
    """

    all_classes: ClassVar[tuple[str, ...]] = (
        'water',
        'forest',
        'grassland',
        'cropland',
        'built-up',
        'bare',
        'wetland',
        'shrubland',
        'snow',
        'mangrove',
    )
    splits: ClassVar[tuple[str, ...]] = ('train', 'val', 'test')

    def __init__(
        self,
        split: Literal['train', 'val', 'test'] = 'train',
        num_train_domains: int = 16,
        num_val_domains: int = 4,
        num_test_domains: int = 8,
        samples_per_domain: int = 128,
        num_classes: int = 6,
        size: int = 32,
        in_channels: int = 3,
        shift: float = 1.0,
        noise: float = 0.3,
        seed: int = 0,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new SyntheticEarth instance.

        Args:
            split: One of 'train', 'val' or 'test'.
            num_train_domains: Number of training domains.
            num_val_domains: Number of validation domains.
            num_test_domains: Number of test domains.
            samples_per_domain: Number of images of each domain.
            num_classes: Number of classes, 2 to 10, equally frequent in each domain.
            size: Height and width of images in pixels, a multiple of 4.
            in_channels: Number of bands, 3 or 4.
            shift: How much the looks of classes change with the climate; 0: not at all.
            noise: Scatter of the colours of a class, relative to the distance of classes
                from grey. It sets the best possible accuracy.
            seed: Seed of the Earth, its places and its images.
            transforms: A function/transform that takes an input sample and returns a
                transformed version.

        Raises:
            ValueError: If an argument is out of its range.
        """
        counts = dict(
            zip(
                self.splits,
                (num_train_domains, num_val_domains, num_test_domains),
                strict=True,
            )
        )
        _check(split, counts, samples_per_domain, num_classes, size, in_channels, noise)
        self.split, self.transforms = split, transforms
        places = find_places(counts, seed)
        self.groups = places.names
        self.domains = Domains(
            places.names[:num_train_domains],
            places.lon[:num_train_domains],
            places.lat[:num_train_domains],
        )
        self.classes = self.all_classes[:num_classes]
        #: Accuracy that no classifier exceeds, whatever it knows of the place.
        self.best_accuracy = earth.best_accuracy(num_classes, noise)

        first = sum(list(counts.values())[: self.splits.index(split)])
        members = torch.arange(first, first + counts[split])
        self.group = members.repeat_interleave(samples_per_domain)
        self.domain = self.group.where(self.group < num_train_domains, -1)
        self.label = torch.arange(samples_per_domain).repeat(len(members)) % num_classes
        draws = Draws(seed, self.splits.index(split), self.group - first, size)
        self._place(places, draws, earth.Earth(seed))
        self._paint(draws, shift, noise, size, in_channels)

    def _place(self, places: Domains, draws: 'Draws', planet: earth.Earth) -> None:
        """Scatter samples evenly over the discs of their domains."""
        centre = unit_vectors(places.lon, places.lat)[self.group]
        aside = torch.linalg.cross(centre, draws.jitter[:, 4:].double())
        aside = aside / aside.norm(dim=1, keepdim=True)
        distance = draws.radius.sqrt() * DOMAIN_RADIUS_KM / EARTH_RADIUS_KM
        x, y, z = (centre + distance[:, None] * aside).unbind(dim=1)
        self.lon = torch.rad2deg(torch.atan2(y, x)).float()
        self.lat = torch.rad2deg(torch.atan2(z, torch.hypot(x, y))).float()
        #: Climate, soil and season at each sample, shape (N, 3).
        self.fields = planet.fields(self.lon, self.lat)

    def _paint(
        self, draws: 'Draws', shift: float, noise: float, size: int, in_channels: int
    ) -> None:
        """Paint all images: a region of the class on the ground of the place."""
        climate, soil = self.fields[:, 0], self.fields[:, 1]
        typical = earth.class_chroma(climate, len(self.classes), shift)
        rows = torch.arange(len(self.label))
        scatter = earth.RING * draws.jitter
        #: Colour of the class in each image, shape (N, 2).
        self.chroma = typical[rows, self.label] + noise * scatter[:, :2]
        ground = earth.ground_chroma(soil) + GROUND_NOISE * scatter[:, 2:4]
        outline, mottles, grain = (
            earth.smooth_noise(white, size) for white in draws.patterns
        )
        images = earth.render(
            earth.mosaic(outline, (GROUND_BIAS, 0)),
            torch.stack([ground, self.chroma], dim=1),
            self.fields,
            draws.date.float(),
            torch.cat([mottles, grain], dim=1),
            in_channels,
        )
        self.images = images.round().byte()

    def __len__(self) -> int:
        """Return the number of samples.

        Returns:
            Length of the data set.
        """
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Args:
            index: Index of the sample.

        Returns:
            ``image`` (float32, shape (C, H, W), values 0 to 255), ``label``, ``domain``
            (index into the training domains, -1 for none of them), ``group`` (index
            into ``groups``), ``lon`` and ``lat`` (degrees).
        """
        sample = {
            key: getattr(self, key)[index].clone()
            for key in ('label', 'domain', 'group', 'lon', 'lat')
        }
        sample['image'] = self.images[index].float()
        return sample if self.transforms is None else self.transforms(sample)

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample.

        Args:
            sample: A sample returned by :meth:`__getitem__`, with a ``prediction``
                (class index) or without.
            show_titles: Flag indicating whether to show the class and the place.
            suptitle: Optional string to use as a suptitle.

        Returns:
            A matplotlib Figure with the rendered sample.
        """
        figure, axes = plt.subplots(figsize=(4, 4))
        image = sample['image'][:3].permute(1, 2, 0) / 255
        axes.imshow(image.clamp(0, 1).numpy())
        axes.axis('off')
        if show_titles:
            title = [f'Label: {self.classes[int(sample["label"])]}']
            if 'prediction' in sample:
                title.append(f'Prediction: {self.classes[int(sample["prediction"])]}')
            if 'group' in sample:
                title.append(f'Place: {self.groups[int(sample["group"])]}')
            axes.set_title('\n'.join(title))
        if suptitle is not None:
            figure.suptitle(suptitle)
        return figure


class Draws:
    """Random numbers of each sample, from a generator of its own.

    So a sample depends on nothing but the seed, its split, its domain and its number.
    """

    def __init__(self, seed: int, split: int, domain: Tensor, size: int) -> None:
        """Initialize a new Draws instance.

        Args:
            seed: Seed of the Earth.
            split: Number of the split.
            domain: Number of each sample's domain in the split, sorted, shape (N,).
            size: Side of images in pixels.
        """
        cells = [(2, earth.BLOB_CELLS), (2, size // 2), (1, size // 4)]
        sizes = [7, *(count * side**2 for count, side in cells)]
        uniform = torch.empty(len(domain), 2, dtype=torch.float64)
        normal = torch.empty(len(domain), sum(sizes))
        number, last = 0, -1
        for row, place in enumerate(domain.tolist()):
            number = number + 1 if place == last else 0
            last = place
            generator = np.random.default_rng((seed, split, place, number))
            generator.random(out=uniform[row].numpy())
            generator.standard_normal(out=normal[row].numpy(), dtype=np.float32)
        #: Uniform numbers, shape (N,).
        self.radius, self.date = uniform.unbind(dim=1)
        #: Standard normal numbers: colour of the class (2), of the ground (2), direction
        #: from the centre of the domain (3).
        self.jitter, *white = normal.split(sizes, dim=1)
        #: Standard normal numbers from which patterns grow: outline, mottles, grain.
        self.patterns = [
            numbers.view(-1, count, side, side)
            for numbers, (count, side) in zip(white, cells, strict=True)
        ]


def _check(
    split: str,
    counts: dict[str, int],
    samples_per_domain: int,
    num_classes: int,
    size: int,
    in_channels: int,
    noise: float,
) -> None:
    most = len(SyntheticEarth.all_classes)
    for right, message in (
        (split in counts, f'split must be one of {list(counts)}, found {split!r}'),
        (
            min(counts.values()) > 0,
            f'every split needs at least one domain, found {counts}',
        ),
        (
            samples_per_domain > 0,
            f'samples_per_domain must be positive, found {samples_per_domain}',
        ),
        (
            2 <= num_classes <= most,
            f'num_classes must be 2 to {most}, found {num_classes}',
        ),
        (
            size >= 8 and size % 4 == 0,
            f'size must be a multiple of 4, and at least 8, found {size}',
        ),
        (in_channels in (3, 4), f'in_channels must be 3 or 4, found {in_channels}'),
        (noise >= 0, f'noise must not be negative, found {noise}'),
    ):
        if not right:
            raise ValueError(message)
