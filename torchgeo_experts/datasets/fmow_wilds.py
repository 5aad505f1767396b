# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""FMoW as WILDS distributes it."""

import os

from torchgeo.datasets.utils import Path

from .fmow_countries import OTHER
from .fmow_rows import COLUMNS, FMoWReader, FMoWRows, make_rows, read_table
from .image_store import FolderStore

#: Folder of the images.
IMAGES = 'images'


class WildsFMoW(FMoWReader):
    """Reads version 1.1 of WILDS: a table, and images of 224 x 224 pixels.

    The number of an image is that of its row in ``rgb_metadata.csv``, counted from 0 with
    rows of the split ``seq``, which are then dropped. The column ``region`` is ignored:
    a region is what ``country_code_mapping.csv`` says of the code of the country, 'Other'
    if it says nothing. (It knows nothing of the codes KO- and CA-, so these are 'Other'.)
    """

    table, mapping = 'rgb_metadata.csv', 'country_code_mapping.csv'

    def __init__(self, folder: Path) -> None:
        """Initialize a new WildsFMoW instance.

        Args:
            folder: Folder of the table.
        """
        self.folder = os.fspath(folder)
        self.path = os.path.join(self.folder, self.table)
        self.total = 0

    @classmethod
    def find(cls, root: Path) -> str | None:
        """Look for the files.

        Args:
            root: Folder of the data set.

        Returns:
            Folder of the table, None if there is none.
        """
        for folder in (root, os.path.join(root, 'fmow_v1.1')):
            if os.path.isfile(os.path.join(folder, cls.table)):
                return os.fspath(folder)
        return None

    def read(self) -> FMoWRows:
        """Read what is known of the images, and no image.

        Returns:
            All labelled images.

        Raises:
            FileNotFoundError: If a table is missing.
            ValueError: If a table is damaged.
        """
        frame = read_table(self.path, COLUMNS)
        self.total = len(frame)
        frame['file'] = [_name(number) for number in range(self.total)]
        path = os.path.join(self.folder, self.mapping)
        mapping = read_table(path, ('alpha-3', 'region'))
        # Codes that are there without a region (Antarctica) have none either.
        known = {
            code: region or OTHER
            for code, region in zip(mapping['alpha-3'], mapping['region'], strict=True)
        }
        images = os.path.join(self.folder, IMAGES)
        return make_rows(self.path, images, frame, lambda code: known.get(code, OTHER))

    def check(self, rows: FMoWRows) -> None:
        """Refuse rows whose images are missing, and a table that is too short.

        Args:
            rows: The rows that are needed.

        Raises:
            FileNotFoundError: If images are missing.
            ValueError: If there are images without a row.
        """
        if not os.path.isdir(rows.folder):
            raise FileNotFoundError(
                f'no folder {rows.folder}: unpack the whole archive of version 1.1'
                ' (version 1.0 has arrays in place of images)'
            )
        names = rows.file.astype(str).tolist()
        later, *held = FolderStore(rows.folder).holds([_name(self.total), *names])
        if later:
            raise ValueError(
                f'{self.path} has {self.total} rows, but there is an image'
                f' {_name(self.total)} of a later row: the table is cut off'
            )
        if missing := [n for n, there in zip(names, held, strict=True) if not there]:
            raise FileNotFoundError(
                f'{rows.folder}: {len(missing)} of {len(names)} images are missing, first'
                f' {missing[0]} (row {_number(missing[0]) + 2} of {self.path}): unpack'
                ' the whole archive again'
            )


def _name(number: int) -> str:
    return f'rgb_img_{number}.png'


def _number(name: str) -> int:
    return int(name.removeprefix('rgb_img_').removesuffix('.png'))
