# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Labelled images listed in a table."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F
from torchgeo.datasets import NonGeoDataset
from torchgeo.datasets.utils import Path, Sample

from .image_store import ImageStore, decode_image, open_store
from .table import CheckedTable, check_table
from .table_file import Columns


class ImageTable(NonGeoDataset):
    """Your own labelled images: a table beside a folder or a zip of images.

    The table is a CSV or Parquet file with one row an image:

    ========================  ========  ======  ==========  =======  ========
    filename                  label     split   domain      lon      lat
    ========================  ========  ======  ==========  =======  ========
    ``Forest/Forest_1.jpg``   Forest    train   Spain       -1.8297  39.0858
    ``River/River_7.jpg``     River     test    Romania     28.5590  44.0352
    ========================  ========  ======  ==========  =======  ========

    Other column names are fine, other columns are ignored, and so are the columns of
    places (``lon``, ``lat``) if the table has none. Images are read straight from the
    zip: GeoTIFF with all bands, PNG and JPEG as RGB.

    Every row is checked first. Messages name the row: as a spreadsheet counts rows in
    a CSV file (the header is row 1), from 0 in a Parquet file.
    """

    def __init__(
        self,
        images: Path | ImageStore,
        table: Path | CheckedTable,
        split: str | None = None,
        folder: str = '',
        file_column: str = 'filename',
        label_column: str = 'label',
        split_column: str = 'split',
        domain_column: str = 'domain',
        lon_column: str | None = 'lon',
        lat_column: str | None = 'lat',
        train_split: str = 'train',
        classes: Sequence[str] | None = None,
        bands: Sequence[int] | None = None,
        size: int | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new ImageTable instance.

        Args:
            images: Folder or zip of images.
            table: CSV or Parquet table. Or one that was checked already: then *folder*,
                the columns, *train_split* and *classes* are those it was checked with.
            split: Value of the split column whose rows to take. Default: all rows.
            folder: Folder inside *images* in which the files of the table lie.
            file_column: Column of files, relative to *folder*.
            label_column: Column of labels, text or integers.
            split_column: Column of splits, only needed with *split*.
            domain_column: Column of domains.
            lon_column: Column of longitudes in degrees WGS 84, None if there is none.
            lat_column: Column of latitudes in degrees WGS 84, None if there is none.
            train_split: Value of the split column whose domains are the training
                domains. Without *split*, all domains are.
            classes: Class names, in the order of the labels. Default: all labels of the
                table (of every split), sorted.
            bands: Bands to load, counted from 1, in this order. Default: all.
            size: Height and width in pixels to resize images to. Needed where images
                differ in size. Default: as stored.
            transforms: A function/transform that takes an input sample and returns a
                transformed version.

        Raises:
            FileNotFoundError: If *images* or *table* does not exist.
            ValueError: If the table lacks a column, a row is wrong, or no row has the
                split. The message names the row and its file.
        """
        self.store = images if isinstance(images, ImageStore) else open_store(images)
        if not isinstance(table, CheckedTable):
            columns = Columns(
                file_column,
                label_column,
                None if split is None else split_column,
                domain_column,
                lon_column,
                lat_column,
            )
            table = check_table(table, self.store, columns, folder, classes)
            table = table.trained_on(None if split is None else train_split)
        self.split, self.bands, self.size = split, bands, size
        self.transforms = transforms
        self._take_rows(table, split)

    def _take_rows(self, table: CheckedTable, split: str | None) -> None:
        """Keep what samples need as tensors and lists: cheap to index and to fork."""
        self.table, rows = table.path, table.select(split)
        self.classes: Sequence[str] = table.classes
        self.domains = table.domains
        self.groups = table.groups
        self.row_numbers: list[int] = rows.index.tolist()
        self.files: list[str] = rows['name'].tolist()
        labels = {name: index for index, name in enumerate(self.classes)}
        groups = {name: index for index, name in enumerate(self.groups)}
        names = rows['domain'].tolist()
        self.label = torch.tensor([labels[name] for name in rows['label']])
        self.domain = self.domains.ids(names)
        self.group = torch.tensor([groups[name] for name in names])
        self.lon, self.lat = (
            torch.tensor(rows[axis].tolist(), dtype=torch.float32)
            for axis in ('lon', 'lat')
        )

    def __len__(self) -> int:
        """Return the number of samples.

        Returns:
            Length of the data set.
        """
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Args:
            index: Index of the sample.

        Returns:
            ``image`` (float32, shape (C, H, W)), ``label``, ``domain`` (index into the
            training domains, -1 for none of them), ``group`` (index into ``groups``),
            ``lon`` and ``lat`` (degrees, NaN where unknown).

        Raises:
            IndexError: If *index* is out of range.
            OSError: If the image cannot be read; the message names its row.
        """
        sample: Sample = {'image': self._load_image(index)}
        for key in ('label', 'domain', 'group', 'lon', 'lat'):
            sample[key] = getattr(self, key)[index].clone()
        return sample if self.transforms is None else self.transforms(sample)

    def _load_image(self, index: int) -> Tensor:
        file = self.files[index]
        try:
            image = decode_image(self.store.read(file), file, self.bands)
        except Exception as error:  # decoders raise whatever they please
            raise OSError(
                f'{self.table}, row {self.row_numbers[index]}: cannot read {file!r} in'
                f' {self.store.path}: {error}'
            ) from error
        if self.size is None or image.shape[1:] == (self.size, self.size):
            return image
        size = (self.size, self.size)
        return F.interpolate(image[None], size, mode='bilinear', antialias=True)[0]

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample.

        The first three channels are shown as red, green and blue (or the first one as
        gray). Values that are not 0 to 255 are stretched between their percentiles 2
        and 98.

        Args:
            sample: A sample returned by :meth:`__getitem__`, with a ``prediction``
                (class index) or without.
            show_titles: Flag indicating whether to show the class and the domain.
            suptitle: Optional string to use as a suptitle.

        Returns:
            A matplotlib Figure with the rendered sample.
        """
        fig, ax = plt.subplots(figsize=(4, 4))
        ax.imshow(_displayed(sample['image']))
        ax.axis('off')
        if show_titles:
            title = [f'Label: {self.classes[int(sample["label"])]}']
            if 'prediction' in sample:
                title.append(f'Prediction: {self.classes[int(sample["prediction"])]}')
            if 'group' in sample:
                title.append(f'Domain: {self.groups[int(sample["group"])]}')
            ax.set_title('\n'.join(title))
        if suptitle is not None:
            fig.suptitle(suptitle)
        return fig


def _displayed(image: Tensor) -> np.ndarray:
    """Turn an image into what is shown: shape (H, W, 3), values 0 to 1."""
    pixels = image.detach().cpu().float().numpy()
    pixels = pixels[[0, 1, 2] if len(pixels) >= 3 else [0, 0, 0]].transpose(1, 2, 0)
    low, high = 0.0, 255.0
    # Half a step of room: images may come back from a normalization.
    if not (np.nanmin(pixels) >= -0.5 and 1 < np.nanmax(pixels) <= 255.5):
        low, high = np.nanpercentile(pixels, [2, 98])
    return np.nan_to_num(np.clip((pixels - low) / max(high - low, 1e-6), 0, 1))
