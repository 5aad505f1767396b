# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""SyntheticEarthSegmentation data set."""

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchgeo.datasets.utils import Sample

from .figures import class_map, photo, show
from .synthetic_maps import SyntheticMaps


class SyntheticEarthSegmentation(SyntheticMaps):
    """Maps of the invented Earth of :class:`SyntheticEarth`, to segment.

    Dataset features:

    * each image is a mosaic of the ground and of up to four regions of distinct classes,
      each with a colour of its own
    * what a colour means depends on the place, as in :class:`SyntheticEarth`
    * the accuracy of a rule that knows the place is known (``rule_accuracy``)

    Dataset format:

    * images of 3 or 4 bands (red, green, blue, near infrared), values 0 to 255
    * masks of classes; the ground is class 0

    A sample holds ``image`` (float32, shape (C, H, W)), ``mask`` (int64, shape (H, W)),
    ``domain``, ``group``, ``lon`` and ``lat``.
    """

    def _settle(self) -> None:
        super()._settle()
        self.masks = self.masks.squeeze(1)

    def _paint(self) -> None:
        super()._paint()
        self.images = self.images.squeeze(1)

    def _months(self, uniform: Tensor) -> Tensor:
        return (12 * uniform[:, :1]).long()

    def _history(self, order: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        classes = order[:, : uniform.shape[1]]
        return classes, classes, torch.ones_like(classes)

    @property
    def _targets(self) -> Tensor:
        return self.land

    @property
    def rule_accuracy(self) -> float:
        """Pixel accuracy of the rule that knows climate, outlines and true colours.

        It judges each region on its own. Classes in an image are distinct, so who weighs
        them against each other can do better: by default 96 instead of 93 %.
        """
        return self.rule_score()

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample.

        Args:
            sample: A sample returned by :meth:`__getitem__`, with a ``prediction``
                (classes, shape (H, W)) or without.
            show_titles: Flag indicating whether to show titles above each panel.
            suptitle: Optional string to use as a suptitle.

        Returns:
            A matplotlib Figure with the rendered sample.
        """
        row = [photo('Image', sample['image'])]
        for key in ('mask', 'prediction'):
            if key in sample:
                row.append(class_map(key.capitalize(), sample[key]))
        return show([row], self.classes, show_titles, suptitle)
