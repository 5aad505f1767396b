# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""SyntheticEarth data set."""

from collections.abc import Callable
from typing import ClassVar, Literal

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torchgeo.datasets.utils import Sample

from . import earth
from .synthetic_base import GROUND_NOISE, SyntheticPlaces, draw, require

#: What is added to the pattern of the ground: it covers somewhat more than half.
GROUND_BIAS = 0.3


class SyntheticEarth(SyntheticPlaces):
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

    sample_keys: ClassVar[tuple[str, ...]] = ('label', *SyntheticPlaces.sample_keys)

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
        most = len(self.all_classes)
        right = 2 <= num_classes <= most
        require(right, f'num_classes must be 2 to {most}', num_classes)
        self.classes = self.all_classes[:num_classes]
        #: Accuracy that no classifier exceeds, whatever it knows of the place.
        self.best_accuracy = earth.best_accuracy(num_classes, noise)
        self.label = self.number % num_classes
        self._paint()

    def _paint(self) -> None:
        """Paint all images: a region of the class on the ground of the place."""
        blobs, cells = earth.BLOB_CELLS, self.size // 4
        shapes = [(7,), (2, blobs, blobs), (2, 2 * cells, 2 * cells), (1, cells, cells)]
        uniform, (jitter, *patterns) = draw(self.keys, 2, shapes)
        radius, date = uniform.unbind(dim=1)
        self._locate(radius, jitter[:, 4:])

        climate, soil = self.fields[:, 0], self.fields[:, 1]
        typical = earth.class_chroma(climate, len(self.classes), self.shift)
        scatter = earth.RING * jitter
        #: Colour of the class in each image, shape (N, 2).
        self.chroma = typical[torch.arange(len(self)), self.label]
        self.chroma = self.chroma + self.noise * scatter[:, :2]
        ground = earth.ground_chroma(soil) + GROUND_NOISE * scatter[:, 2:4]
        outline, mottles, grain = (
            earth.smooth_noise(white, self.size) for white in patterns
        )
        images = earth.render(
            earth.mosaic(outline, (GROUND_BIAS, 0)),
            torch.stack([ground, self.chroma], dim=1),
            self.fields,
            date.float(),
            torch.cat([mottles, grain], dim=1),
            self.in_channels,
        )
        self.images = images.round().byte()

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
