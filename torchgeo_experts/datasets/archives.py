# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Archives of data sets: downloaded, checked, and unpacked as a whole or not at all."""

import os
import posixpath
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from lzma import LZMAError
from typing import Protocol, Self

from torchgeo.datasets import DatasetNotFoundError
from torchgeo.datasets.utils import Path, check_integrity, download_url

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: What readers of archives raise when a file is cut off or damaged, or needs a password
#: (RuntimeError) or an unknown method (NotImplementedError, one of these).
UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    OSError,
    RuntimeError,
)


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
    unpacked; missing ones are downloaded first, if that is wished. Of several processes
    of a machine one does it, and the others wait.

    Args:
        dataset: The data set.
        archives: What it is distributed as.
        found: Tells whether the unpacked files are there.

    Raises:
        DatasetNotFoundError: If neither the files nor all archives are there, and they
            are not to be downloaded or have no public address.
        FileNotFoundError: If the archives hold other files than those of the data set.
        RuntimeError: If a downloaded file has a wrong checksum. It is not kept.
        ValueError: If an archive in the root has a wrong checksum, or a member that
            would leave the folder.
        OSError: If an archive is incomplete or damaged.
    """
    if found():
        return
    missing = [a for a in archives if not os.path.exists(_path(dataset, a))]
    if missing and not (dataset.download and all(a.url for a in missing)):
        raise DatasetNotFoundError(dataset)  # type: ignore[arg-type]
    os.makedirs(dataset.root, exist_ok=True)
    with alone(dataset.root):
        if not found():
            _download_and_unpack(dataset, archives)
            if not found():
                names = ', '.join(archive.name for archive in archives)
                raise FileNotFoundError(
                    f'{dataset.root}: {names} was unpacked, but does not hold the files'
                    f' of {type(dataset).__name__}: is it another version?'
                )


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
        FileExistsError: If a folder stands where a file is to be, or the other way
            round. Nothing is unpacked.
        OSError: If the archive is incomplete or damaged. Nothing is unpacked.
    """
    path, folder = os.fspath(path), os.fspath(folder)
    aside = os.path.join(folder, f'.{os.path.basename(path)}.unpacking')
    shutil.rmtree(aside, ignore_errors=True)
    try:
        os.makedirs(aside)
        try:
            _unpack_aside(path, aside)
        except tarfile.FilterError as error:
            raise ValueError(f'{path}: {error}: nothing was unpacked') from error
        except UNREADABLE as error:
            # Of several lines the first one tells what happened.
            reason = str(error).split('\n')[0].rstrip(':') or type(error).__name__
            raise OSError(
                f'{path} is incomplete or damaged, or the disk is full ({reason}):'
                ' nothing was unpacked'
            ) from error
        # All moves are known to be possible before the first one is made.
        for old, new in list(_moves(path, aside, folder)):
            os.replace(old, new)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process of this machine at a time work on a folder.

    A system may have no such locks, and then all of them do the same work.

    Args:
        folder: Path of the folder.

    Yields:
        Nothing, when it is this process's turn.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _path(dataset: Downloadable, archive: Archive) -> str:
    """Tell where an archive lies, or is to lie."""
    return os.path.join(dataset.root, archive.name)


def _download_and_unpack(dataset: Downloadable, archives: Sequence[Archive]) -> None:
    """Download archives that are not there, and unpack all."""
    for archive in archives:
        if not os.path.exists(_path(dataset, archive)):
            _download(dataset, archive)
    for archive in archives:
        path = _path(dataset, archive)
        if dataset.checksum and not check_integrity(path, archive.md5):
            raise ValueError(
                f'{path} has not the MD5 checksum {archive.md5}: it is incomplete, damaged'
                ' or another version. Delete it and download it again, or set'
                ' checksum: false to use it as it is'
            )
        unpack(path, dataset.root)


def _download(dataset: Downloadable, archive: Archive) -> None:
    """Download an archive, and keep it if it is the right one."""
    assert archive.url is not None
    path = os.path.abspath(_path(dataset, archive))
    folder, name = os.path.split(path)
    aside = os.path.join(folder, f'.{name}.downloading')
    try:
        download_url(archive.url, folder, os.path.basename(aside))
        if dataset.checksum and not check_integrity(aside, archive.md5):
            raise RuntimeError(
                f'{archive.url} was downloaded and has not the MD5 checksum'
                f' {archive.md5}: it is damaged or another version, and was not kept.'
                ' Try again, or set checksum: false to use it as it is'
            )
        os.replace(aside, path)
    finally:
        with suppress(FileNotFoundError):
            os.remove(aside)


def _unpack_aside(path: str, folder: str) -> None:
    """Unpack an archive, and leave what came of it when it turns out to be damaged."""
    with open(path, 'rb') as file:
        # By its beginning: a tar archive may end with a zip archive, as a member.
        zipped = file.read(2) == b'PK'
    if zipped:
        with zipfile.ZipFile(path) as archive:
            _refuse_outside(path, archive.namelist())
            archive.extractall(folder)
        return
    # Members are checked one by one as they come: listing them first would read tens of
    # gigabytes twice.
    with tarfile.open(path, tarinfo=_Member) as tar:
        tar.extractall(folder, filter=_checked)
        # The checksum of a compressed file stands at its very end.
        while tar.fileobj is not None and tar.fileobj.read(1 << 20):
            pass


class _Member(tarfile.TarInfo):
    """A member of a tar archive that may not be followed by anything but another one.

    Python takes whatever is no header for the end.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _checked(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Refuse absolute paths too, which Python's filter would only shorten."""
    if _absolute(member.name):
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, folder)


def _refuse_outside(path: str, names: Iterable[str]) -> None:
    """Refuse members that would lie elsewhere; Python would put them inside."""
    for name in names:
        clean = posixpath.normpath(name.replace('\\', '/'))
        if _absolute(clean) or clean.split('/')[0] == '..':
            raise ValueError(
                f'{path}: the member {name!r} would lie outside the folder: nothing was'
                ' unpacked'
            )


def _absolute(name: str) -> bool:
    """Tell whether a path is absolute, on any system."""
    return name.startswith(('/', '\\')) or name[1:2] == ':'


def _moves(path: str, source: str, target: str) -> Iterator[tuple[str, str]]:
    """Tell what to move where, into the folders that are there already."""
    for entry in sorted(os.listdir(source)):
        old, new = os.path.join(source, entry), os.path.join(target, entry)
        into = os.path.isdir(new)
        if os.path.isdir(old) and not os.path.islink(old):
            if into and os.stat(new).st_dev == os.stat(old).st_dev:
                yield from _moves(path, old, new)
                continue
            wrong = os.path.lexists(new)
        else:
            wrong = into and not os.path.islink(new)
        if wrong:
            raise FileExistsError(
                f'{path}: {new} is in the way: one of a file and a folder, or a folder on'
                ' another disk. Move it away; nothing was unpacked'
            )
        yield old, new
