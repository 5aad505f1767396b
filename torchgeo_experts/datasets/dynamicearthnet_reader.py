# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What the readers of both forms of DynamicEarthNet share."""

import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torchgeo.datasets.utils import Path

from .place_series import FIRST_DAYS, IGNORED, SeriesReader, Window

#: Number of months.
MONTHS = len(FIRST_DAYS)


class CubeReader(SeriesReader):
    """Reads DynamicEarthNet from files that were listed once."""

    def __init__(
        self,
        folder: Path,
        images: Mapping[str, Sequence[tuple[str, ...]]],
        labels: Mapping[str, Sequence[tuple[str, ...]]],
        num_classes: int,
    ) -> None:
        """Initialize a new CubeReader instance.

        Args:
            folder: Where the files lie, for messages.
            images: For each cube the paths of the image of each month, () for none.
            labels: For each cube the paths of the labels of each month, () for none.
            num_classes: Number of classes. Labels from this one on have none.
        """
        self.folder, self.num_classes = os.fspath(folder), num_classes
        self.images, self.labels = dict(images), dict(labels)
        self._valid = {
            cube: torch.tensor([bool(files) for files in self.images[cube]])
            for cube in self.images.keys() & self.labels.keys()
        }

    @staticmethod
    @abstractmethod
    def is_in(folder: Path) -> bool:
        """Tell whether a folder holds images in this form.

        Args:
            folder: Path of the folder, which need not be there.

        Returns:
            Whether it does.
        """

    def read_masks(self, place: str, window: Window) -> Tensor:
        """Read a part of all masks.

        Args:
            place: Name of the cube.
            window: The part.

        Returns:
            Classes, int64, shape (24, size, size), 255 where a pixel has none and in
            months without an image.

        Raises:
            OSError: If a file cannot be read; the message names it.
            ValueError: If a file is not what it should be; the message names it.
        """
        masks = self.read_labels(place, window)
        masks[masks >= self.num_classes] = IGNORED
        masks[~self._valid[place].numpy()] = IGNORED
        return torch.from_numpy(masks)

    @abstractmethod
    def read_labels(self, place: str, window: Window) -> np.ndarray:
        """Read a part of all labels.

        Args:
            place: Name of the cube.
            window: The part.

        Returns:
            Labels from 0 to 6, more where there is none, int64, shape
            (24, size, size), a copy that may be changed.
        """
