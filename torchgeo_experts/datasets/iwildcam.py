# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""iWildCam in the form of WILDS, with the places of cameras."""

import copy
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchgeo.datasets import DatasetNotFoundError, NonGeoDataset
from torchgeo.datasets.utils import Path, Sample

from .archives import Archive, provide
from .figures import photo
from .image_store import FolderStore
from .iwildcam_domains import PlaceNames, assign_domains
from .iwildcam_images import decode_square
from .iwildcam_places import find_cameras
from .iwildcam_table import SPLITS, read_classes, read_images

#: Folder of the data set, and what it holds. Names are those of WILDS.
FOLDER = 'iwildcam_v2.0'
PARTS = ('metadata.csv', 'categories.csv', 'train')
GPS = 'gps_locations.json'


@dataclass
class IWildCamFolder:
    """The folder into which the archive is unpacked.

    Args:
        root: Path of the folder.
        download: If True, download what is not there.
        checksum: If True, check the MD5 of files that have one.
    """

    root: Path
    download: bool
    checksum: bool


class IWildCam(NonGeoDataset):
    """iWildCam-WILDS 2.0: camera trap images of 182 species (or none), 323 cameras.

    A label is a species, 'empty' if there is no animal. A domain is a camera, or cameras
    put together by place. WILDS does not tell where cameras are: that comes from
    ``gps_locations.json`` of the iWildCam 2021 or 2022 competition, within 1 km, and not
    for the cameras of one country.

    Splits are the official ones. Cameras of 'val' and 'test' are no training cameras;
    'id_val' and 'id_test' are other days of training cameras.

    Source: `WILDS <https://arxiv.org/abs/2012.07421>`__, made from `iWildCam 2021
    <https://arxiv.org/abs/2105.03494>`__.
    """

    archive = Archive(
        'archive.tar.gz',
        'https://worksheets.codalab.org/rest/bundles/'
        '0x6313da2b204647e79a14b468131fcd64/contents/blob/',
    )

    def __init__(
        self,
        root: Path = 'data',
        split: str = 'train',
        gps: Path | None = None,
        domains: PlaceNames | None = None,
        size: int = 448,
        transforms: Callable[[Sample], Sample] | None = None,
        download: bool = False,
        checksum: bool = True,
    ) -> None:
        """Initialize a new IWildCam instance.

        Args:
            root: Folder that holds (or is to hold) ``iwildcam_v2.0/``.
            split: One of 'train', 'val' (out-of-distribution), 'test'
                (out-of-distribution), 'id_val' or 'id_test'.
            gps: Path of ``gps_locations.json``. Default: that in ``iwildcam_v2.0/`` or
                in *root*; if there is none, all places are unknown, with a warning.
            domains: What puts cameras together by place, such as
                :class:`~torchgeo_experts.datamodules.rules.ClusterDomains`. Default:
                each camera is a domain.
            size: Height and width in pixels to resize images to.
            transforms: A function/transform that takes an input sample and returns a
                transformed version.
            download: If True, download the data set (12 GB) and unpack it (25 GB), unless
                it is there.
            checksum: If True, check the MD5 of the archive. There is none published, so
                that it makes no difference.

        Raises:
            DatasetNotFoundError: If the data set is not there and not to be downloaded.
            FileNotFoundError: If *gps* or a part of the data set is missing.
            ValueError: If *split* is unknown or empty, or a table is wrong: the message
                names the file and the row.
        """
        _check_split(split)
        self.root, self.size, self.transforms = root, size, transforms
        self.download, self.checksum = download, checksum
        folder = self._provide()
        self.store = FolderStore(os.path.join(folder, 'train'))
        self.classes = read_classes(os.path.join(folder, 'categories.csv'))
        self.gps = self._find_gps(folder) if gps is None else os.fspath(gps)
        self._cut_off: set[str] = set()
        self.table = os.path.join(folder, 'metadata.csv')
        self._images = read_images(self.table, self.classes, self.store)
        self._refuse_empty('train')  # the training cameras tell the domains
        self._cameras = find_cameras(self._images, self.gps)
        self._assigned = assign_domains(self._cameras, domains)
        self.domains, self.groups = self._assigned.domains, self._assigned.groups
        self._take(split)

    def _provide(self) -> str:
        """Find the files, which the archive may hold inside a folder or not."""
        home = os.path.join(self.root, FOLDER)

        def find() -> str | None:
            """Look for a folder that has all parts."""
            inside = os.listdir(home) if os.path.isdir(home) else []
            folders = [home, *(os.path.join(home, name) for name in sorted(inside))]
            whole = (f for f in folders if len(_parts(f)) == len(PARTS))
            # What a killed process left behind is hidden.
            return next((f for f in whole if os.path.basename(f)[0] != '.'), None)

        archived = os.path.exists(os.path.join(home, self.archive.name))
        if find() is None and not (self.download or archived):
            if found := _parts(home):
                lacking = ', '.join(part for part in PARTS if part not in found)
                raise FileNotFoundError(
                    f'{home} has {", ".join(found)}, but no {lacking}: it was only partly'
                    ' unpacked or copied. Unpack the archive again, or set download: true'
                )
            raise DatasetNotFoundError(self)
        target = IWildCamFolder(home, self.download, self.checksum)
        provide(target, [self.archive], lambda: find() is not None)
        folder = find()
        assert folder is not None
        return folder

    def _find_gps(self, folder: str) -> str | None:
        """Find the places of cameras where they are usually put."""
        for place in (folder, os.path.join(self.root, FOLDER), self.root):
            if os.path.isfile(path := os.path.join(place, GPS)):
                return path
        warnings.warn(
            f'no {GPS} in {os.path.join(self.root, FOLDER)} or {os.fspath(self.root)}:'
            ' the places of all cameras are unknown. Methods that go by place need them:'
            ' MoGE, D3G, location encoders, and domains by clusters, grid or polygons',
            stacklevel=3,
        )
        return None

    def with_split(self, split: str) -> 'IWildCam':
        """Make the data set of another split, without reading files again.

        Args:
            split: The split.

        Returns:
            The data set.

        Raises:
            ValueError: If there is no such split, or it is empty.
        """
        _check_split(split)
        other = copy.copy(self)
        other._take(split)
        return other

    def _refuse_empty(self, split: str) -> None:
        """Refuse a split without rows."""
        if not (self._images.split == SPLITS.index(split)).any():
            raise ValueError(f'{self.table}: no row has the split {split!r}')

    def _take(self, split: str) -> None:
        """Keep what samples need as tensors and arrays: cheap to index and to fork."""
        self._refuse_empty(split)
        self.split = split
        table, cameras, found = self._images, self._cameras, self._assigned
        chosen = (table.split == SPLITS.index(split)).nonzero()[0]
        camera = torch.from_numpy(np.searchsorted(cameras.number, table.camera[chosen]))
        if split == 'train':
            kept = found.domain[camera] >= 0
            if not kept.all():
                warnings.warn(
                    f'{(~kept).sum()} of {len(kept)} training images are of cameras in no'
                    ' domain, and left out of training',
                    stacklevel=3,
                )
            chosen, camera = chosen[kept.numpy()], camera[kept]
        self.row_numbers = table.row[chosen]
        self.files, self.datetimes = table.file[chosen], table.datetime[chosen]
        self.label = torch.from_numpy(table.label[chosen])
        #: Number of the camera of each sample (column ``location_remapped``).
        self.camera = torch.from_numpy(table.camera[chosen])
        self.domain, self.group = found.domain[camera], found.group[camera]
        self.lon, self.lat = cameras.lon[camera].float(), cameras.lat[camera].float()

    def __len__(self) -> int:
        """Return the number of samples.

        Returns:
            Length of the data set.
        """
        return len(self.label)

    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Args:
            index: Index of the sample.

        Returns:
            ``image`` (float32, shape (3, size, size), 0 to 255), ``label``, ``domain``
            (index into the training domains, -1 for none of them), ``group`` (index into
            ``groups``), ``lon`` and ``lat`` (degrees, NaN where unknown).

        Raises:
            IndexError: If *index* is out of range.
            OSError: If the image cannot be decoded at all; the message names its row.
        """
        sample: Sample = {'image': self._load_image(index)}
        for key in ('label', 'domain', 'group', 'lon', 'lat'):
            sample[key] = getattr(self, key)[index].clone()
        return sample if self.transforms is None else self.transforms(sample)

    def _load_image(self, index: int) -> Tensor:
        file = self.files[index].decode('utf-8')
        try:
            image, lost = decode_square(self.store.read(file), self.size)
        except Exception as error:  # decoders raise whatever they please
            raise OSError(
                f'{self.table}, row {self.row_numbers[index]}: cannot read {file!r} in'
                f' {self.store.path}: {error}'
            ) from error
        if lost is not None and file not in self._cut_off:
            self._cut_off.add(file)
            warnings.warn(
                f'{os.path.join(self.store.path, file)} is cut off ({lost}): what is lost'
                ' of the image is grey',
                stacklevel=3,
            )
        return image

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> Figure:
        """Plot a sample.

        Args:
            sample: A sample returned by :meth:`__getitem__`, with a ``prediction``
                (class index) or without.
            show_titles: Flag indicating whether to show class, domain and place.
            suptitle: Optional string to use as a suptitle.

        Returns:
            A matplotlib Figure with the rendered sample.
        """
        figure, ax = plt.subplots(figsize=(4, 4.6), layout='constrained')
        ax.imshow(photo('', sample['image'].detach().cpu().float()).values.numpy())
        ax.axis('off')
        if show_titles:
            title = [f'Label: {self.classes[int(sample["label"])]}']
            if 'prediction' in sample:
                title.append(f'Prediction: {self.classes[int(sample["prediction"])]}')
            place = [self.groups[int(sample['group'])]]
            if not sample['lon'].isnan():
                place.append(f'lon {sample["lon"]:.2f}, lat {sample["lat"]:.2f}')
            ax.set_title('\n'.join([*title, ', '.join(place)]), fontsize='medium')
        if suptitle is not None:
            figure.suptitle(suptitle)
        return figure


def _check_split(split: str) -> None:
    """Refuse a split that there is not."""
    if split not in SPLITS:
        raise ValueError(f'split must be one of {list(SPLITS)}, found {split!r}')


def _parts(folder: str) -> list[str]:
    """List which parts of the data set a folder has."""
    return [part for part in PARTS if os.path.exists(os.path.join(folder, part))]
