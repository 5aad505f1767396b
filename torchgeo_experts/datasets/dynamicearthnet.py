# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""DynamicEarthNet data set."""

import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from torchgeo.datasets import DatasetNotFoundError
from torchgeo.datasets.utils import Path, Sample

from .archives import alone, unpack
from .dynamicearthnet_places import SPLITS, read_splits
from .dynamicearthnet_processed import ProcessedReader
from .dynamicearthnet_raw import RawReader, folders
from .dynamicearthnet_reader import CubeReader
from .place_series import PlaceSeries, check_split

#: Classes, in the order of the bands and values of labels.
CLASSES = (
    'impervious surface',
    'agriculture',
    'forest & other vegetation',
    'wetlands',
    'soil',
    'water',
    'snow & ice',
)

#: Mean and standard deviation of red, green, blue and near infrared in each form, as in
#: the published code: of all images of the raw form (dynnet), of the training images of
#: the processed one (SitsSCD).
STATISTICS = {
    'raw': ((1042.59, 915.62, 671.26, 2605.21), (957.96, 715.55, 596.94, 1059.90)),
    'processed': (
        (83.1029, 80.7615, 69.3328, 133.8648),
        (33.2714, 25.5288, 23.9868, 30.5591),
    ),
}

#: Width on the ground of a cube, 1024 pixels of 3 m.
METRES = 3072.0

#: Endings of archives.
ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz')

WHERE = (
    'images and the labels for training are at https://mediatum.ub.tum.de/1650201,'
    ' labels of validation and test cubes at https://mediatum.ub.tum.de/1738088'
)


class DynamicEarthNet(PlaceSeries):
    """DynamicEarthNet: land cover of each month of two years in 75 places.

    Each of the 75 *cubes* is a place of 3 km x 3 km with an image of every day of 2018
    and 2019 by Planet, at 3 m, in red, green, blue and near infrared. The first day of
    each month is labelled: these 24 images make a series. A domain is a cube.

    Two forms are read, and told apart by their files, in ``root`` or in
    ``root/DynamicEarthNet``:

    * 'raw', the GeoTIFF files of the authors: folders ``planet`` (or ``planet.10N``,
      ``planet.11N``, ...) and ``labels``. Values are reflectances times 10,000.
    * 'processed', the JPEG files and arrays of SitsSCD and CoDEX: folders ``train``,
      ``val``, ``test`` and ``labels``, with ``split.json``. Values are 0 to 255.

    Labels are seven classes, the last one snow and ice, which the published code of
    CoDEX ignores, while its table 1 counts seven. Here it is ignored too by default.

    If you use this data set, cite Toker et al., *DynamicEarthNet: Daily Multi-Spectral
    Satellite Dataset for Semantic Change Segmentation*, CVPR 2022.
    """

    def __init__(
        self,
        root: Path = 'data',
        split: Literal['train', 'val', 'test'] = 'train',
        num_classes: Literal[6, 7] = 6,
        cache: Path | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new DynamicEarthNet instance.

        Args:
            root: Folder of the data set. Archives in it are unpacked if need be.
            split: One of 'train' (55 cubes), 'val' (10) or 'test' (10).
            num_classes: 6, with snow and ice ignored, or 7. In the processed form, 6
                stands for snow and ice and for what has no label: with 7 classes both
                are snow and ice.
            cache: Folder for decoded images of the processed form, 100 MB a cube.
                Default: JPEG files are decoded for each patch.
            transforms: A function/transform that takes an input sample and returns a
                transformed version.

        Raises:
            DatasetNotFoundError: If there are no images.
            OSError: If an archive or ``split.json`` cannot be read.
            ValueError: If *split* or *num_classes* is unknown, a split has no cube with
                images and labels, ``split.json`` is wrong, or a cube is there twice.
        """
        check_split(split, SPLITS)
        if num_classes not in (6, 7):
            raise ValueError(f'num_classes must be 6 or 7, found {num_classes!r}')
        self.root, self.classes = root, CLASSES[:num_classes]
        form, folder = self._find()
        #: 'raw' or 'processed'.
        self.form: Literal['raw', 'processed'] = form
        reader: CubeReader
        if form == 'raw':
            reader, splits = RawReader(folder, num_classes), SPLITS
        else:
            reader = ProcessedReader(folder, num_classes, cache)
            splits = read_splits(folder)
        places = reader.places
        there = {s: [n for n in splits[s] if n in places] for s in SPLITS}
        for needed in dict.fromkeys(('train', split)):
            if not there[needed]:
                lack = _lack(reader, splits[needed])
                raise ValueError(
                    f'{folder}: the {needed} split is empty: {lack}. {WHERE}'
                )
        super().__init__(reader, there, split, METRES, transforms)
        _warn(reader, splits[split], split)

    def _find(self) -> tuple[Literal['raw', 'processed'], str]:
        """Find the form of the files and their folder, and unpack archives."""
        tops = (os.fspath(self.root), os.path.join(self.root, 'DynamicEarthNet'))
        if os.path.isdir(self.root):
            with alone(self.root):
                _unpack(tops)
        found: list[tuple[Literal['raw', 'processed'], str]] = []
        found += [('processed', top) for top in tops if ProcessedReader.is_in(top)]
        found += [('raw', top) for top in tops if RawReader.is_in(top)]
        if not found:
            raise DatasetNotFoundError(self)
        if len(found) > 1:
            listed = ' and '.join(f'the {form} form in {top}' for form, top in found)
            raise ValueError(
                f'found {listed}: set root to the folder of one of them, which must not'
                ' hold the other'
            )
        return found[0]


def _unpack(tops: tuple[str, str]) -> None:
    """Unpack archives in the root and in its folder DynamicEarthNet, if need be."""
    archive = f'{tops[1]}.zip'
    if os.path.exists(archive) and not any(map(ProcessedReader.is_in, tops)):
        unpack(archive, tops[0])
    for top in tops:
        if not ProcessedReader.is_in(top):
            _unpack_raw(top)


def _unpack_raw(folder: str) -> None:
    """Unpack archives such as planet.10N.zip, each to a folder of its name.

    Where images or labels lie in other folders, they were unpacked by hand: then their
    archives are left alone.
    """
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    stems = {
        name.removesuffix(end): name
        for name in names
        for end in ARCHIVES
        if name.endswith(end) and name.startswith(('planet', 'labels'))
    }
    if not folders(folder, 'planet') and not any(s.startswith('planet') for s in stems):
        return
    for start in ('planet', 'labels'):
        there = {os.path.basename(path) for path in folders(folder, start)}
        if there <= set(stems):
            for stem in sorted(set(stems) - there):
                if stem.startswith(start):
                    _unpack_to(os.path.join(folder, stems[stem]), folder, stem)


def _unpack_to(archive: str, folder: str, name: str) -> None:
    """Unpack an archive to a new folder, which is there when all of it is."""
    aside = os.path.join(folder, f'.{name}.unpacking')
    try:
        unpack(archive, aside)
        os.replace(aside, os.path.join(folder, name))
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _lack(reader: CubeReader, names: Sequence[str]) -> str:
    """Tell which cubes are without images or labels."""
    lacks: Mapping[str, list[str]] = {
        'images': [name for name in names if name not in reader.images],
        'labels': [name for name in names if name not in reader.labels],
    }
    told = (
        f'no {what} of {", ".join(cubes)}' for what, cubes in lacks.items() if cubes
    )
    return '; '.join(told)


def _warn(reader: CubeReader, names: Sequence[str], split: str) -> None:
    """Warn of cubes and of months that are not there."""
    if lack := _lack(reader, names):
        warnings.warn(
            f'{reader.folder}: cubes are left out of the {split} split: {lack}',
            stacklevel=3,
        )
    places = reader.places
    for what, files in (('image', reader.images), ('label', reader.labels)):
        gaps = [
            f'{name} ({sum(not month for month in files[name])})'
            for name in names
            if name in places and not all(files[name])
        ]
        if gaps:
            warnings.warn(
                f'{reader.folder}: cubes with months without {what} (how many), which'
                f' are ignored: {", ".join(gaps)}',
                stacklevel=3,
            )
