# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""ImageTable datamodule."""

import warnings
from collections.abc import Sequence
from typing import cast

import pandas as pd
from torch import nn
from torchgeo.datasets.utils import Path

from ..datasets.image_store import ImageStore, open_store
from ..datasets.image_table import ImageTable
from ..datasets.splits import share_out
from ..datasets.table import CheckedTable, check_table
from ..datasets.table_file import Columns
from .base import PlacesDataModule, TargetSplit


class ImageTableDataModule(PlacesDataModule):
    """LightningDataModule implementation for the ImageTable data set.

    Splits are made in one of two ways:

    * by a column of the table: *train_split*, *val_split* and *test_split* say which of
      its values plays which role. Domains may then be in several splits: a sample keeps
      its training domain in validation and test.
    * by disjoint domains: *val_domains* and *test_domains* with *split_column* null.
      All other domains are for training.

    Prediction uses the test split.
    """

    def __init__(
        self,
        images: Path,
        table: Path,
        folder: str = '',
        file_column: str = 'filename',
        label_column: str = 'label',
        split_column: str | None = 'split',
        domain_column: str = 'domain',
        lon_column: str | None = 'lon',
        lat_column: str | None = 'lat',
        train_split: str = 'train',
        val_split: str = 'val',
        test_split: str = 'test',
        val_domains: Sequence[str | int] | int | None = None,
        test_domains: Sequence[str | int] | int | None = None,
        split_seed: int = 0,
        min_samples: int = 1,
        classes: Sequence[str] | None = None,
        bands: Sequence[int] | None = None,
        size: int | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        domains_per_batch: int | None = None,
        target_split: TargetSplit | None = None,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 255.0,
        augmentations: list[nn.Module] | None = None,
    ) -> None:
        """Initialize a new ImageTableDataModule instance.

        Args:
            images: Folder or zip of images.
            table: CSV or Parquet table, one row an image.
            folder: Folder inside *images* in which the files of the table lie.
            file_column: Column of files, relative to *folder*.
            label_column: Column of labels, text or integers.
            split_column: Column of splits. None: splits by domain.
            domain_column: Column of domains.
            lon_column: Column of longitudes in degrees WGS 84, None if there is none.
            lat_column: Column of latitudes in degrees WGS 84, None if there is none.
            train_split: Value of *split_column* for training.
            val_split: Value of *split_column* for validation.
            test_split: Value of *split_column* for test and prediction.
            val_domains: Names of the validation domains, or how many to draw.
            test_domains: Names of the test domains, or how many to draw.
            split_seed: Seed of the draw of domains.
            min_samples: Fewest training samples of a domain. Domains with fewer are left
                out of training, and are not drawn, with a warning. Validation and test
                domains given by name or by *split_column* are kept in any case.
            classes: Class names, in the order of the labels. Default: all labels of the
                table, sorted.
            bands: Bands to load, counted from 1, in this order. Default: all.
            size: Height and width in pixels to resize images to. Default: as stored.
            batch_size: Size of each mini-batch.
            num_workers: Number of workers for parallel data loading.
            domains_per_batch: If given, each training batch holds this many domains
                with equally many samples each. Default: plain shuffling.
            target_split: If given, training also sees the images of this split, 'val' or
                'test', without their labels: for methods that adapt to them.
            mean: Mean to subtract from images, one value or one a channel.
            std: Standard deviation to divide images by, one value or one a channel.
            augmentations: Kornia augmentations of training batches, applied after
                normalization.

        Raises:
            ValueError: If splits are asked for in both ways or in neither.
        """
        super().__init__(
            ImageTable,
            batch_size,
            num_workers,
            domains_per_batch,
            mean,
            std,
            augmentations,
            bands=bands,
            size=size,
        )
        self.target_split = target_split
        by_domain = (val_domains is not None, test_domains is not None)
        if by_domain != (split_column is None,) * 2:
            raise ValueError(
                'give either split_column, or both val_domains and test_domains with'
                f' split_column: null; found split_column={split_column!r},'
                f' val_domains={val_domains!r}, test_domains={test_domains!r}'
            )
        self.images, self.table, self.folder = images, table, folder
        self.columns = Columns(
            file_column,
            label_column,
            split_column,
            domain_column,
            lon_column,
            lat_column,
        )
        self.split_values = {'train': train_split, 'val': val_split, 'test': test_split}
        self.val_domains, self.test_domains = val_domains, test_domains
        self.split_seed, self.min_samples = split_seed, min_samples
        self.class_names = classes
        self._store: ImageStore | None = None
        self._rows: CheckedTable | None = None

    def configure_domains(self) -> None:
        """Read and check the table once, and split it."""
        if self._rows is None:
            self._store = open_store(self.images)
            rows = check_table(
                self.table, self._store, self.columns, self.folder, self.class_names
            )
            if self.val_domains is not None and self.test_domains is not None:
                rows = self._split_by_domain(rows, self.val_domains, self.test_domains)
            else:
                self._refuse_misspelt_splits(rows)
            self._rows = self._without_small_domains(rows)
        self.domains = self._rows.domains
        self.groups = self._rows.groups
        self.classes = self._rows.classes

    def make_dataset(self, split: str) -> ImageTable:
        """Make the data set of one split.

        Args:
            split: One of 'train', 'val', 'test' or 'predict'.

        Returns:
            The data set.

        Raises:
            ValueError: If no row has the split.
        """
        assert self._store is not None and self._rows is not None
        value = self.split_values['test' if split == 'predict' else split]
        dataset_class = cast(type[ImageTable], self.dataset_class)
        return dataset_class(self._store, self._rows, value, **self.kwargs)

    def _split_by_domain(
        self,
        rows: CheckedTable,
        val: Sequence[str | int] | int,
        test: Sequence[str | int] | int,
    ) -> CheckedTable:
        """Give each row the split of its domain."""
        counts = rows.frame['domain'].value_counts()
        drawn = share_out(
            sorted(counts.index),
            {'test': test, 'val': val},
            self.split_seed,
            [name for name, count in counts.items() if count < self.min_samples],
            keep=1,
        )
        splits = pd.Series(self.split_values['train'], rows.frame.index)
        for split, names in drawn.items():
            splits[rows.frame['domain'].isin(names)] = self.split_values[split]
        return rows.with_splits(splits)

    def _refuse_misspelt_splits(self, rows: CheckedTable) -> None:
        """Refuse values of the split column that are nearly one of those in use.

        Other values are fine: their rows are for other runs.
        """
        used = set(self.split_values.values())
        near = {value.strip().lower() for value in used}
        counts = rows.frame['split'].value_counts()
        for value, count in counts.items():
            name = str(value)
            if name not in used and name.strip().lower() in near:
                raise ValueError(
                    f'{self.table}: {count} rows have the split {name!r}, which is none of'
                    f' {sorted(used)} but nearly: they would be in no split'
                )

    def _without_small_domains(self, rows: CheckedTable) -> CheckedTable:
        """Leave training domains with too few samples out of training."""
        train = self.split_values['train']
        counts = rows.select(train)['domain'].value_counts().sort_index()
        small = counts[counts < self.min_samples].index.tolist()
        if len(small) == len(counts):
            raise ValueError(
                f'{self.table}: no training domain has min_samples={self.min_samples}'
                f' samples, the largest has {counts.max()}'
            )
        if small:
            warnings.warn(
                f'{len(small)} domains with fewer than min_samples={self.min_samples}'
                f' training samples are left out of training: {", ".join(small)}',
                stacklevel=2,
            )
        frame = rows.frame
        out = frame['domain'].isin(small) & (frame['split'] == train)
        return rows.with_splits(frame['split'].mask(out, '')).trained_on(train)
