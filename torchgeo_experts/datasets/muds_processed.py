# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The processed form of MUDS: JPEG images and masks in arrays."""

import os

import torch
from torch import Tensor
from torchgeo.datasets.utils import Path

from .decoded import DecodedImages
from .label_arrays import read_labels
from .muds_spacenet7 import MONTHS
from .muds_splits import SHARES
from .place_series import IGNORED, SeriesReader, Window

#: Value of pixels without a class in the files.
MISSING = 2


def find_folder(root: Path) -> str | None:
    """Find the folder of the processed form.

    Args:
        root: Root of the data set.

    Returns:
        ``Muds`` in the root, or the root itself if it holds ``labels``; None if there is
        neither.
    """
    folder = os.path.join(root, 'Muds')
    if os.path.isdir(folder):
        return folder
    return os.fspath(root) if os.path.isdir(os.path.join(root, 'labels')) else None


class ProcessedReader(SeriesReader):
    """Reads the form that SitsSCD and CoDEX use.

    ::

        split.json
        labels/<place>.npy  int8, (24, 1024, 1024): 0 no building, 1 building, 2 none
        <split>/<place>/<place>_<yyyy>_<mm>.jpg  red, green, blue

    Months without an image have no file, and a mask of 2.
    """

    def __init__(self, folder: str, cache: Path | None = None) -> None:
        """Initialize a new ProcessedReader instance.

        Args:
            folder: Folder that holds ``labels``.
            cache: Folder in which decoded images are kept. Default: none.

        Raises:
            ValueError: If there are no places, one is there twice, or a file of one is
                missing.
        """
        self.labels = os.path.join(folder, 'labels')
        self.folders: dict[str, str] = {}
        for split in SHARES:
            self._add(os.path.join(folder, split))
        if not self.folders:
            raise ValueError(
                f'{folder} holds no places, expected folders of them in'
                f' {", ".join(SHARES)}: extract the data set anew'
            )
        self.folders = dict(sorted(self.folders.items()))
        self.images = DecodedImages(('RGB',), cache)
        self._valid = {place: self._list(place) for place in self.folders}

    def read_images(self, place: str, window: Window) -> Tensor:
        """Read a part of all images.

        Args:
            place: Name of the place.
            window: The part.

        Returns:
            Red, green and blue, float32, shape (24, 3, size, size), zeros in months
            without an image.

        Raises:
            OSError: If a file cannot be read, or decoded images cannot be kept.
            ValueError: If an image has another size or mode.
        """
        valid = self._valid[place]
        paths = [self._path(place, m) for m in valid.nonzero().flatten().tolist()]
        images = torch.zeros(len(MONTHS), 3, window.size, window.size)
        pixels = self.images.read(place, [[p] for p in paths], window)
        images[valid] = torch.from_numpy(pixels).float()
        return images

    def read_masks(self, place: str, window: Window) -> Tensor:
        """Read a part of all masks.

        Args:
            place: Name of the place.
            window: The part.

        Returns:
            0 no building, 1 building, 255 where it is not known; int64, shape
            (24, size, size).

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it holds something else, or the image of a labelled month is
                missing.
        """
        path = self._mask_path(place)
        masks = torch.from_numpy(read_labels(path, window, MISSING))
        labelled = (masks != MISSING).flatten(1).any(dim=1)
        for month in (labelled & ~self._valid[place]).nonzero().flatten().tolist():
            raise ValueError(
                f'{self._path(place, month)} is missing: {path} has labels of this month.'
                ' Extract the data set anew'
            )
        return masks.masked_fill(masks == MISSING, IGNORED)

    def _add(self, folder: str) -> None:
        """Add the places of a split."""
        names = os.listdir(folder) if os.path.isdir(folder) else []
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.startswith('.') or not os.path.isdir(path):
                continue
            if name in self.folders:
                raise ValueError(
                    f'the place {name} is there twice, in {self.folders[name]} and in'
                    f' {path}: every place belongs to one split'
                )
            self.folders[name] = path

    def _list(self, place: str) -> Tensor:
        """Look which months have an image, and whether there are labels."""
        files = set(os.listdir(self.folders[place]))
        paths = [self._path(place, month) for month in range(len(MONTHS))]
        valid = torch.tensor([os.path.basename(path) in files for path in paths])
        if not valid.any():
            raise ValueError(
                f'{self.folders[place]} holds no images of 2018 and 2019, expected files'
                f' such as {os.path.basename(paths[0])}'
            )
        if not os.path.isfile(self._mask_path(place)):
            raise ValueError(
                f'{self._mask_path(place)} is missing: each place has labels. Extract the'
                ' data set anew'
            )
        return valid

    def _path(self, place: str, month: int) -> str:
        return os.path.join(self.folders[place], f'{place}_{MONTHS[month]}.jpg')

    def _mask_path(self, place: str) -> str:
        return os.path.join(self.labels, f'{place}.npy')
