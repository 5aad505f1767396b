# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Archives of data sets: downloaded, checked, and unpacked as a whole or not at all."""

import os
import posixpath
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torchgeo.datasets import DatasetNotFoundError
from torchgeo.datasets.utils import Path, check_integrity, download_url

#: What readers of archives raise when a file is cut off or damaged.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError)


@dataclass(frozen=True)
class Archive:
    """A file of a data set as it is distributed.

    Args:
        name: File name, relative to the root of the data set.
        url: Public address, None if there is none.
        md5: MD5 checksum, None if none is published.
    """

    name: str
    url: str | None = None
    md5: str | None = None


class Downloadable(Protocol):
    """A data set that lies in a folder and may be downloaded into it."""

    root: Path
    download: bool
    checksum: bool


def provide(
    dataset: Downloadable, archives: Sequence[Archive], found: Callable[[], bool]
) -> None:
    """See to it that the files of a data set are there.

    Files that were unpacked already are left alone. Archives that lie in the root are
    unpacked; missing ones are downloaded first, if that is wished.

    Args:
        dataset: The data set.
        archives: What it is distributed as.
        found: Tells whether the unpacked files are there.

    Raises:
        DatasetNotFoundError: If neither the files nor all archives are there, and they
            are not to be downloaded or have no public address.
        RuntimeError: If a downloaded file has a wrong checksum.
        ValueError: If an archive in the root has a wrong checksum, or a member that
            would leave the folder.
        OSError: If an archive is incomplete or damaged.
    """
    if found():
        return
    missing = [a for a in archives if not os.path.exists(_path(dataset, a))]
    if missing and not (dataset.download and all(a.url for a in missing)):
        raise DatasetNotFoundError(dataset)  # type: ignore[arg-type]
    for archive in missing:
        assert archive.url is not None
        md5 = archive.md5 if dataset.checksum else None
        download_url(archive.url, dataset.root, archive.name, md5=md5)
    for archive in archives:
        path = _path(dataset, archive)
        if dataset.checksum and not check_integrity(path, archive.md5):
            raise ValueError(
                f'{path} has not the MD5 checksum {archive.md5}: it is incomplete, damaged'
                ' or another version. Delete it and download it again, or set'
                ' checksum: false to use it as it is'
            )
        unpack(path, dataset.root)


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip or tar archive, all of it or nothing.

    Members are written beside their final place, and moved there when all of them are
    whole. What a killed process left behind is removed.

    Args:
        path: Path of the archive.
        folder: Folder to unpack to; what is there already stays, or is replaced by
            members of the same name.

    Raises:
        ValueError: If a member would lie outside the folder. Nothing is unpacked.
        OSError: If the archive is incomplete or damaged. Nothing is unpacked.
    """
    path, folder = os.fspath(path), os.fspath(folder)
    aside = os.path.join(folder, f'.{os.path.basename(path)}.unpacking')
    shutil.rmtree(aside, ignore_errors=True)
    try:
        if zipfile.is_zipfile(path):
            _unpack_zip(path, aside)
        else:
            _unpack_tar(path, aside)
        _move(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _path(dataset: Downloadable, archive: Archive) -> str:
    return os.path.join(dataset.root, archive.name)


def _unpack_zip(path: str, folder: str) -> None:
    with zipfile.ZipFile(path) as archive:
        _refuse_outside(path, archive.namelist())
        try:
            archive.extractall(folder)
        except DAMAGED as error:
            raise _damaged(path, error) from error


def _unpack_tar(path: str, folder: str) -> None:
    try:
        # Members are checked one by one as they come: listing them first would read
        # tens of gigabytes twice.
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter=_checked)
    except tarfile.FilterError as error:
        raise ValueError(f'{path}: {error}: nothing was unpacked') from error
    except DAMAGED as error:
        raise _damaged(path, error) from error


def _checked(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Refuse absolute paths too, which Python's filter would only shorten."""
    if member.name.startswith('/'):
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, folder)


def _refuse_outside(path: str, names: Iterable[str]) -> None:
    for name in names:
        clean = posixpath.normpath(name.replace('\\', '/'))
        if clean.split('/')[0] in ('', '..') or clean[1:2] == ':':
            raise ValueError(
                f'{path}: the member {name!r} would lie outside the folder: nothing was'
                ' unpacked'
            )


def _damaged(path: str, error: Exception) -> OSError:
    return OSError(
        f'{path} is incomplete or damaged, or the disk is full ({error}): nothing was'
        ' unpacked'
    )


def _move(source: str, target: str) -> None:
    """Move what a folder holds, into the folders that are there already."""
    for entry in sorted(os.listdir(source)):
        old, new = os.path.join(source, entry), os.path.join(target, entry)
        if os.path.isdir(old) and os.path.isdir(new):
            _move(old, new)
        else:
            os.replace(old, new)
