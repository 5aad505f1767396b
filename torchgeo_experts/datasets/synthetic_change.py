# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""SyntheticEarthChange data set."""

from typing import Any, ClassVar, Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchgeo.datasets.utils import Sample

from .figures import class_map, day, photo, show
from .synthetic_maps import SyntheticMaps, days_since_2018

#: Probabilities of what happens to a region: it is built up, changes between two other
#: classes, is built-up at both dates; otherwise it stays what else it was.
FATES = (0.25, 0.25, 0.15)

#: Classes but the ground, as many as there are by default in classification.
LAND_CLASSES = 6


class SyntheticEarthChange(SyntheticMaps):
    """Pairs of images of the invented Earth of :class:`SyntheticEarth`: what is built up.

    Dataset features:

    * mosaics as in :class:`SyntheticEarthSegmentation`, at one date in 2018 and one in
      2020, months at random, so that light and mottles differ everywhere
    * half of the changes are changes to built-up. What misleads: changes between other
      classes, and regions that are built-up at both dates
    * the F1 score of a rule that knows the place is known (``rule_f1``)

    Dataset format:

    * images of 3 or 4 bands (red, green, blue, near infrared), values 0 to 255
    * masks, 1 where land became built-up between the dates, 0 elsewhere

    A sample holds ``image`` (float32, shape (2, C, H, W)), ``mask`` (int64, shape
    (1, H, W)), ``dates`` (int64, shape (2,), days since 2018-01-01), ``domain``,
    ``group``, ``lon`` and ``lat``.
    """

    sample_keys: ClassVar[tuple[str, ...]] = ('dates', *SyntheticMaps.sample_keys)

    def __init__(
        self, split: Literal['train', 'val', 'test'] = 'train', **kwargs: Any
    ) -> None:
        """Initialize a new SyntheticEarthChange instance.

        Args:
            split: One of 'train', 'val' or 'test'.
            **kwargs: Further arguments of :class:`SyntheticEarthSegmentation`, except
                *num_classes*: the land has the ground and six classes.

        Raises:
            ValueError: If an argument is out of its range.
        """
        super().__init__(split, num_classes=1 + LAND_CLASSES, **kwargs)
        self.classes = ('no change', 'change')
        #: Days since 2018-01-01, int64, shape (N, 2).
        self.dates = days_since_2018(self.months)

    def _months(self, uniform: Tensor) -> Tensor:
        return (12 * uniform).long() + torch.tensor([0, 24])

    def _history(self, order: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        built, others = self.all_classes.index('built-up'), LAND_CLASSES - 1
        fate = (uniform[..., :1] >= torch.tensor(FATES).cumsum(0)).sum(dim=-1)
        one = (uniform[..., 1] * others).long()
        two = (one + 1 + (uniform[..., 2] * (others - 1)).long()) % others
        # Skip built-up.
        one, two = one + (one >= built), two + (two >= built)
        before = one.where(fate != 2, built)
        after = torch.where(fate == 0, built, two)
        return before, after, torch.where(fate < 2, 1, 2)

    @property
    def _targets(self) -> Tensor:
        return self._built_up(self.land)[:, None].long()

    def _built_up(self, land: Tensor) -> Tensor:
        """Find the regions that become built-up, bool, shape (N, R)."""
        built = self.land_classes.index('built-up')
        return (land[:, 1] == built) & (land[:, 0] != built)

    def rule_score(self, naive: bool = False) -> float:
        """Compute the F1 score of the rule of :meth:`recognize`.

        Args:
            naive: Whether the rule believes that the climate is 0 everywhere.

        Returns:
            The F1 score of changed pixels, over all pixels.
        """
        found = self._built_up(self.recognize(naive)) * self.areas
        true = self._built_up(self.land) * self.areas
        return float(2 * torch.minimum(found, true).sum() / (found + true).sum())

    @property
    def rule_f1(self) -> float:
        """F1 score of the rule that knows climate, outlines and true colours."""
        return self.rule_score()

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample.

        Args:
            sample: A sample returned by :meth:`__getitem__`, with a ``prediction``
                (0 or 1, shape (1, H, W) or (H, W)) or without.
            show_titles: Flag indicating whether to show titles above each panel.
            suptitle: Optional string to use as a suptitle.

        Returns:
            A matplotlib Figure with the rendered sample.
        """
        pairs = zip(sample['dates'], sample['image'], strict=True)
        row = [photo(day(date), image) for date, image in pairs]
        for key in ('mask', 'prediction'):
            if key in sample:
                row.append(class_map(key.capitalize(), sample[key].squeeze(0)))
        return show([row], self.classes, show_titles, suptitle)
