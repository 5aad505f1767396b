# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""SyntheticEarthSeries data set."""

from typing import Any, ClassVar, Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchgeo.datasets.utils import Sample

from .figures import class_map, day, photo, show
from .synthetic_base import require
from .synthetic_maps import SyntheticMaps, days_since_2018

#: Probability that a region changes its class once.
CHANGE = 0.3

#: Months over which dates are spread: the years 2018 and 2019.
MONTHS = 24

#: Most dates of a figure.
SHOWN = 8


class SyntheticEarthSeries(SyntheticMaps):
    """Time series of the invented Earth of :class:`SyntheticEarth`, with a map a date.

    Dataset features:

    * mosaics as in :class:`SyntheticEarthSegmentation`, at several dates of two years
    * light follows the season of the place; mottles and grain are drawn anew each date
    * a region keeps its outline, and changes to another class once with probability 0.3
    * the accuracy of a rule that knows the place is known (``rule_accuracy``)

    Dataset format:

    * images of 3 or 4 bands (red, green, blue, near infrared), values 0 to 255
    * masks of classes; the ground is class 0

    A sample holds ``image`` (float32, shape (T, C, H, W)), ``mask`` (int64, shape
    (T, H, W)), ``dates`` (int64, shape (T,), days since 2018-01-01), ``domain``,
    ``group``, ``lon`` and ``lat``.
    """

    sample_keys: ClassVar[tuple[str, ...]] = ('dates', *SyntheticMaps.sample_keys)

    def __init__(
        self,
        split: Literal['train', 'val', 'test'] = 'train',
        *,
        num_dates: int = 6,
        **kwargs: Any,
    ) -> None:
        """Initialize a new SyntheticEarthSeries instance.

        Args:
            split: One of 'train', 'val' or 'test'.
            num_dates: Number of dates, 1 to 24, each the first of a month, spread evenly
                over 2018 and 2019.
            **kwargs: Further arguments of :class:`SyntheticEarthSegmentation`.

        Raises:
            ValueError: If an argument is out of its range.
        """
        right = 1 <= num_dates <= MONTHS
        require(right, f'num_dates must be 1 to {MONTHS}', num_dates)
        self.num_dates = num_dates
        super().__init__(split, **kwargs)
        #: Days since 2018-01-01, int64, shape (N, T).
        self.dates = days_since_2018(self.months)

    def _months(self, uniform: Tensor) -> Tensor:
        months = torch.arange(self.num_dates) * MONTHS // self.num_dates
        return months.expand(len(uniform), -1)

    def _history(self, order: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        classes = order.shape[1]
        chance, when, which = uniform.unbind(dim=2)
        before = order[:, : uniform.shape[1]]
        after = (before + 1 + (which * (classes - 1)).long()) % classes
        date = 1 + (when * (self.num_dates - 1)).long()
        return before, after, date.where(chance < CHANGE, self.num_dates)

    @property
    def _targets(self) -> Tensor:
        return self.land

    @property
    def rule_accuracy(self) -> float:
        """Pixel accuracy, over all dates, of the rule that knows the climate.

        The rule knows outlines and true colours too. It judges each region and date on
        its own, so who weighs them against each other can do better.
        """
        return self.rule_score()

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample: dates beside each other, at most eight.

        Args:
            sample: A sample returned by :meth:`__getitem__`, with a ``prediction``
                (classes, shape (T, H, W)) or without.
            show_titles: Flag indicating whether to show titles above each panel.
            suptitle: Optional string to use as a suptitle.

        Returns:
            A matplotlib Figure with the rendered sample.
        """
        count = len(sample['image'])
        shown = torch.linspace(0, count - 1, min(count, SHOWN)).round().long().tolist()
        rows = [[photo(day(sample['dates'][t]), sample['image'][t]) for t in shown]]
        for key in ('mask', 'prediction'):
            if key in sample:
                title = key.capitalize()
                rows.append([class_map(title, sample[key][t]) for t in shown])
        return show(rows, self.classes, show_titles, suptitle)
