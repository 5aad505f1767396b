# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""FMoW data set."""

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Literal

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchgeo.datasets import NonGeoDataset
from torchgeo.datasets.utils import Path, Sample

from .archives import Archive, provide
from .figures import photo
from .fmow_classes import CLASSES
from .fmow_domains import ByCountry, ByTime, ByTimeAndRegion, FewOfRegion, Splitter
from .fmow_images import read_square
from .fmow_original import OriginalFMoW
from .fmow_rows import FMoWReader
from .fmow_table import make_table
from .fmow_wilds import WildsFMoW

DomainName = Literal['country', 'region', 'year']
SplitName = Literal['time', 'region', 'few', 'countries']


class FMoW(NonGeoDataset):
    """Functional Map of the World: what buildings and land are used for, in 62 classes.

    Two forms on disk are read, and told apart by their files: that of WILDS [2]_
    (images of 224 x 224 pixels with a table), and fMoW-rgb [1]_ as its authors
    distribute it (JPEG images of any size with JSON files).

    A sample holds ``image`` (float32, shape (3, size, size), red, green and blue from 0
    to 255), ``label``, ``domain`` (index of the training domain, -1 for none of them),
    ``group`` (index of the evaluation group), ``lon`` and ``lat`` (float32, degrees, NaN
    where unknown).

    .. [1] Christie, Fendley, Wilson and Mukherjee, Functional Map of the World, CVPR
       2018, https://arxiv.org/abs/1711.07846
    .. [2] Koh et al., WILDS: A benchmark of in-the-wild distribution shifts, ICML 2021,
       https://arxiv.org/abs/2012.07421
    """

    #: Class names, in the order of the labels.
    classes = CLASSES

    #: What can be downloaded: version 1.1 of WILDS, about 54 GB. No checksum of it is
    #: published; that of gzip inside the file is checked while it is unpacked.
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            'fmow_v1.1.tar.gz',
            'https://worksheets.codalab.org/rest/bundles/'
            '0xaec91eb7c9d548ebb15e1b5e60f966ab/contents/blob/',
        ),
    )

    def __init__(
        self,
        root: Path = 'data',
        split: str = 'train',
        split_by: SplitName = 'time',
        domain_by: DomainName = 'region',
        group_by: DomainName = 'region',
        left_out: str = 'Asia',
        few_samples: int = 150,
        train_countries: Sequence[str] | int = 100,
        val_countries: Sequence[str] | int = 50,
        test_countries: Sequence[str] | int = 50,
        split_seed: int = 0,
        min_samples: int = 1,
        size: int = 224,
        transforms: Callable[[Sample], Sample] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new FMoW instance.

        Args:
            root: Folder of the data set, or the one in which its folder ``fmow_v1.1``
                (WILDS) or ``fmow-rgb`` lies.
            split: One of 'train', 'val', 'test'; also 'id_val' or 'id_test' (images of
                the time of training), unless countries are split.
            split_by: How images are split. 'time': the official split of WILDS. 'region':
                that one, with one region for testing alone. 'few': that region alone, with
                few images for training. 'countries': by countries.
            domain_by: What the training domains are: 'country', 'region' or 'year'.
            group_by: What the evaluation groups are, like *domain_by*.
            left_out: The region for testing alone, for ``split_by='region'`` and 'few'.
            few_samples: Number of training images, for ``split_by='few'``.
            train_countries: Countries for training (ISO 3166-1 alpha-3), or how many to
                draw, for ``split_by='countries'``.
            val_countries: Those for validation.
            test_countries: Those for testing.
            split_seed: Seed of the draw of countries or of few images.
            min_samples: Fewest training images of a domain; those with fewer are left out
                of training with a warning. Also the fewest images of a country that is
                drawn.
            size: Height and width of images in pixels.
            transforms: A function/transform that takes an input sample and returns a
                transformed version.
            download: If True, download the form of WILDS if nothing is there.
            checksum: If True, check the MD5 of the downloaded files (none is published,
                so this makes no difference).

        Raises:
            DatasetNotFoundError: If nothing is found and *download* is False.
            FileNotFoundError: If files are missing; the message names the first.
            ValueError: If a table is damaged or an argument is wrong.
        """
        self.root, self.download, self.checksum = root, download, checksum
        self.size, self.transforms = size, transforms
        ways: dict[str, Splitter] = {
            'time': ByTime(),
            'region': ByTimeAndRegion(left_out),
            'few': FewOfRegion(left_out, few_samples, split_seed),
            'countries': ByCountry(
                train_countries, val_countries, test_countries, min_samples, split_seed
            ),
        }
        if split_by not in ways:
            raise ValueError(
                f'split_by must be one of {list(ways)}, found {split_by!r}'
            )
        self.split_by = split_by
        self._table = make_table(
            self._reader(), ways[split_by], domain_by, group_by, min_samples
        )
        self.domains, self.groups = self._table.domains, self._table.groups
        #: Groups that do not compete for the worst one.
        self.unranked_groups = self._table.unranked_groups
        #: Images and domains of each split.
        self.sizes = self._table.sizes
        self._take(split)

    def _reader(self) -> FMoWReader:
        """Find out which form is there."""
        provide(self, self.archives, lambda: any(self._forms()))
        return next(self._forms())

    def _forms(self) -> Iterator[FMoWReader]:
        for form in (WildsFMoW, OriginalFMoW):
            folder = form.find(self.root)
            if folder is not None:
                yield form(folder)

    def with_split(self, split: str) -> 'FMoW':
        """Make the data set of another split, without reading files again.

        Args:
            split: The split.

        Returns:
            The data set.

        Raises:
            ValueError: If there is no such split, or it is empty.
        """
        other = copy.copy(self)
        other._take(split)
        return other

    def _take(self, split: str) -> None:
        """Take the rows of a split."""
        table = self._table
        if split not in table.splits:
            raise ValueError(
                f'with split_by={self.split_by!r} split is one of {list(table.splits)},'
                f' found {split!r}'
            )
        index = table.splits[split]
        rows = table.rows.take(index)
        if not len(rows):
            raise ValueError(
                f'{rows.folder}: no image is in the split {split!r}'
                f' (split_by={self.split_by!r}). Images for testing have labels only if'
                ' the ground truth is there'
            )
        self.split, self.folder, self.files = split, rows.folder, rows.file
        self.label, self.domain, self.group = (
            torch.from_numpy(values.astype(np.int64))
            for values in (rows.label, table.domain[index], table.group[index])
        )
        self.lon, self.lat = torch.from_numpy(rows.lon), torch.from_numpy(rows.lat)
        #: Region of each sample, index into ``regions``, which are numbered as in WILDS.
        self.region, self.regions = torch.from_numpy(rows.region).long(), rows.regions
        #: Country of each sample, index into ``countries``.
        self.country = torch.from_numpy(rows.country).long()
        self.countries = rows.countries
        #: Year in which each image was taken, UTC.
        self.year = torch.from_numpy(rows.year)

    def __len__(self) -> int:
        """Return the number of samples.

        Returns:
            Length of the data set.
        """
        return len(self.label)

    def path(self, index: int) -> str:
        """Tell the file of a sample.

        Args:
            index: Index of the sample.

        Returns:
            Path of the image.
        """
        return os.path.join(self.folder, self.files[index].decode())

    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Args:
            index: Index of the sample.

        Returns:
            The image, its class and its place.

        Raises:
            IndexError: If *index* is out of range.
            OSError: If the image cannot be read; the message names it.
        """
        label: Tensor = self.label[index]
        sample: Sample = {
            'image': read_square(self.path(index), self.size),
            'label': label.clone(),
        }
        for key in ('domain', 'group', 'lon', 'lat'):
            sample[key] = getattr(self, key)[index].clone()
        return sample if self.transforms is None else self.transforms(sample)

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample.

        Args:
            sample: A sample returned by :meth:`__getitem__`, with a ``prediction``
                (class index) or without.
            show_titles: Flag indicating whether to show class, group and place.
            suptitle: Optional string to use as a suptitle.

        Returns:
            A matplotlib Figure with the rendered sample.
        """
        title = f'Label: {CLASSES[int(sample["label"])]}'
        if 'prediction' in sample:
            title += f'\nPrediction: {CLASSES[int(sample["prediction"])]}'
        lon, lat = float(sample['lon']), float(sample['lat'])
        place = '' if np.isnan(lon) else f' (lat {lat:.2f}, lon {lon:.2f})'
        title += f'\n{self.groups[int(sample["group"])]}{place}'
        figure, axes = plt.subplots(figsize=(4, 4.6), layout='constrained')
        axes.imshow(photo('', sample['image']).values.cpu().numpy())
        axes.axis('off')
        if show_titles:
            axes.set_title(title, fontsize='medium')
        if suptitle is not None:
            figure.suptitle(suptitle)
        return figure
