# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""MUDS: monthly series of growing towns, with their buildings."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from torchgeo.datasets.utils import Path, Sample

from .archives import Archive, provide
from .muds_processed import ProcessedReader, find_folder
from .muds_spacenet7 import SpaceNet7Reader, find_places
from .muds_splits import SHARES, draw_splits
from .place_series import PlaceSeries, SeriesReader, check_split, check_splits
from .split_file import read_split_file

#: SpaceNet 7 as it is distributed; checksum of TorchGeo.
ORIGINAL = Archive(
    'SN7_buildings_train.tar.gz',
    'https://spacenet-dataset.s3.amazonaws.com/spacenet/SN7_buildings/tarballs/'
    'SN7_buildings_train.tar.gz',
    '6eda13b9c28f6f5cdf00a7e8e218c1b1',
)

#: The processed form; no checksum is published.
PROCESSED = Archive('Muds.zip')


class MUDS(PlaceSeries):
    """MUDS, the data set of SpaceNet 7: 60 places, monthly images, buildings.

    Van Etten et al., The Multi-Temporal Urban Development SpaceNet Dataset, 2021,
    https://arxiv.org/abs/2102.04420. Images are those of Planet, red, green and blue,
    0 to 255, about 4 m a pixel.

    Two forms are read, whichever the root holds: SpaceNet 7 as it is distributed (see
    :class:`~torchgeo_experts.datasets.muds_spacenet7.SpaceNet7Reader`) and the processed
    form of SitsSCD and CoDEX (see
    :class:`~torchgeo_experts.datasets.muds_processed.ProcessedReader`).

    Masks hold 255 where a pixel has no class: no image in that month, no such row, or
    unusable, as under clouds. (The processed form has 2 for it.) Only labelled places are
    read: those of ``test_public`` have no labels.

    CoDEX has splits of its own (Table 1: 40, 10 and 10 places), which are published only
    inside the processed form. Where there is no ``split.json``, splits of the same shares
    are drawn, in which places nearer than 60 km to each other stay together.
    """

    classes = ('no building', 'building')

    def __init__(
        self,
        root: Path = 'data',
        split: Literal['train', 'val', 'test'] = 'train',
        images: Literal['images', 'images_masked'] = 'images',
        split_seed: int = 0,
        cache: Path | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new MUDS instance.

        Args:
            root: Root directory where the data set can be found.
            split: One of 'train', 'val' or 'test'.
            images: Folder of images of SpaceNet 7. In 'images_masked' unusable pixels
                are blank. (The processed form has one kind.)
            split_seed: Seed of the draw of splits, where there is no ``split.json``.
            cache: Folder for what takes long to make: drawn masks of SpaceNet 7 (1.4 GB
                in all), or decoded images of the processed form (4.3 GB). Default: those
                of the last place only are kept, in memory.
            transforms: A function/transform that takes an input sample and returns a
                transformed version.
            download: If True, download SpaceNet 7 and store it in the root directory.
                The processed form cannot be downloaded.
            checksum: If True, check the MD5 of the downloaded file.

        Raises:
            DatasetNotFoundError: If the data set is not there.
            FileNotFoundError: If an archive holds something else.
            RuntimeError: If the downloaded file has a wrong checksum.
            ValueError: If an argument is none of those listed, or files are missing,
                there twice or do not fit.
            OSError: If an archive is incomplete or damaged.
        """
        # Before anything is downloaded.
        check_split(split, SHARES)
        self.root, self.download, self.checksum = root, download, checksum
        archive = ORIGINAL
        if os.path.exists(os.path.join(root, PROCESSED.name)):
            archive = PROCESSED
        provide(self, [archive], self._found)
        reader, splits = self._open(images, split_seed, cache)
        super().__init__(reader, splits, split, transforms=transforms)

    def _found(self) -> bool:
        """Tell whether one of the forms is there."""
        return bool(find_folder(self.root) or find_places(self.root))

    def _open(
        self, images: str, split_seed: int, cache: Path | None
    ) -> tuple[SeriesReader, Mapping[str, Sequence[str]]]:
        """Find out the form, and its splits."""
        folder, places = find_folder(self.root), find_places(self.root)
        if folder and places:
            first = next(iter(places.values()))
            raise ValueError(
                f'{self.root} holds both forms of MUDS, the processed one in {folder} and'
                f' SpaceNet 7 in {os.path.dirname(first)}: give them a root each'
            )
        reader: SeriesReader
        if folder is None:
            reader = SpaceNet7Reader(places, images, cache)
            return reader, draw_splits(reader.places, split_seed)
        reader = ProcessedReader(folder, cache)
        path = os.path.join(folder, 'split.json')
        if not os.path.exists(path):
            return reader, draw_splits(reader.places, split_seed)
        splits = read_split_file(path)
        check_splits(splits, reader.places, path)
        return reader, splits
