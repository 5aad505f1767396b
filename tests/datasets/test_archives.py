# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import errno
import hashlib
import io
import multiprocessing
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from torchgeo.datasets import DatasetNotFoundError

from torchgeo_experts.datasets import archives
from torchgeo_experts.datasets.archives import Archive, provide, unpack

#: What the archives of these tests hold.
FILES = {
    'labels/a.tif': b'first label' * 500,
    'planet/x/a.tif': bytes(range(256)) * 300,
    'planet/x/b.tif': b'',
    'read me.txt': 'tolérance'.encode(),
}

#: How each kind of archive is written, by its suffix.
KINDS = ('.zip', '.tar', '.tar.gz', '.tar.bz2', '.tar.xz')

needs_fork = pytest.mark.skipif(
    'fork' not in multiprocessing.get_all_start_methods(), reason='no fork here'
)


@dataclass
class Wanted:
    """What a data set tells of itself."""

    root: Path
    download: bool = False
    checksum: bool = True

    def found(self) -> bool:
        return all((self.root / name).exists() for name in FILES)


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_tar(path: Path, files: dict[str, bytes], *links: tarfile.TarInfo) -> None:
    suffix = path.suffix.removeprefix('.')
    mode = 'w:' if suffix == 'tar' else f'w:{suffix}'
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for link in links:
            archive.addfile(link)


def write(path: Path, files: dict[str, bytes]) -> Path:
    (write_zip if path.suffix == '.zip' else write_tar)(path, files)
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def content(folder: Path) -> dict[str, bytes | None]:
    """All that a folder holds, hidden or not: content of files, None for folders."""
    return {
        path.relative_to(folder).as_posix(): None
        if path.is_dir()
        else path.read_bytes()
        for path in sorted(folder.rglob('*'))
    }


def files(folder: Path) -> dict[str, bytes | None]:
    return {name: value for name, value in content(folder).items() if value is not None}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data folder that holds something already, in a folder of its own."""
    root = tmp_path / 'outer' / 'data'
    (root / 'planet' / 'x').mkdir(parents=True)
    (root / 'planet' / 'x' / 'own.tif').write_bytes(b'mine')
    (root / 'planet' / 'x' / 'a.tif').write_bytes(b'an older version')
    return root


class TestUnpack:
    @pytest.mark.parametrize('kind', KINDS)
    def test_all_files_are_there(self, tmp_path: Path, kind: str) -> None:
        archive = write(tmp_path / f'x{kind}', FILES)
        unpack(archive, tmp_path / 'new' / 'folder')
        assert files(tmp_path / 'new' / 'folder') == FILES

    @pytest.mark.parametrize('kind', KINDS)
    def test_folders_that_are_there_are_filled(
        self, tmp_path: Path, root: Path, kind: str
    ) -> None:
        archive = write(tmp_path / f'x{kind}', FILES)
        unpack(archive, root)
        assert files(root) == FILES | {'planet/x/own.tif': b'mine'}

    def test_linked_folder_is_filled(self, tmp_path: Path, root: Path) -> None:
        (tmp_path / 'elsewhere').mkdir()
        (root / 'labels').symlink_to(tmp_path / 'elsewhere')
        unpack(write(tmp_path / 'x.zip', FILES), root)
        assert files(tmp_path / 'elsewhere') == {'a.tif': FILES['labels/a.tif']}
        assert (root / 'labels').is_symlink()

    def test_kind_goes_by_content(self, tmp_path: Path) -> None:
        # The last member is a zip archive: Python would take all of it for one.
        inner = write(tmp_path / 'inner.zip', {'wrong': b'wrong'})
        packed = FILES | {'z.zip': inner.read_bytes()}
        unpack(write(tmp_path / 'x.tar', packed), tmp_path / 'data')
        assert files(tmp_path / 'data') == packed
        unpack(
            write(tmp_path / 'y.zip', FILES).rename(tmp_path / 'y.bin'),
            tmp_path / 'more',
        )
        assert files(tmp_path / 'more') == FILES

    def test_links_inside_the_folder_are_kept(self, tmp_path: Path) -> None:
        archive = tmp_path / 'x.tar.gz'
        hard = link('labels/hard.tif', 'labels/a.tif', tarfile.LNKTYPE)
        write_tar(
            archive, FILES, link('planet/y', 'x'), link('labels/l', 'a.tif'), hard
        )
        unpack(archive, tmp_path / 'data')
        assert os.readlink(tmp_path / 'data' / 'planet' / 'y') == 'x'
        # A second time the links are in the way, and are replaced, not followed.
        unpack(archive, tmp_path / 'data')
        data = tmp_path / 'data'
        assert (data / 'planet' / 'y').is_symlink()
        assert (data / 'planet' / 'y' / 'a.tif').read_bytes() == FILES['planet/x/a.tif']
        for name in ('l', 'hard.tif'):
            assert (data / 'labels' / name).read_bytes() == FILES['labels/a.tif']

    def test_files_can_be_read(self, tmp_path: Path) -> None:
        archive = tmp_path / 'x.tar'
        with tarfile.open(archive, 'w') as tar:
            member = tarfile.TarInfo('secret')
            member.mode, member.uid = 0, 12345
            tar.addfile(member)
        unpack(archive, tmp_path)
        status = (tmp_path / 'secret').stat()
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_uid == os.getuid()

    @pytest.mark.parametrize('kind', ['.zip', '.tar', '.tar.gz'])
    @pytest.mark.parametrize(
        'name',
        [
            '../x',
            'a/../../x',
            '/abs/x',
            'C:/x',
            'C:x',
            '\\\\server\\x',
            'a/../../data2/x',
        ],
    )
    def test_members_outside_are_refused(
        self, tmp_path: Path, root: Path, kind: str, name: str
    ) -> None:
        archive = write(tmp_path / f'x{kind}', FILES | {name: b'bad'})
        before = content(tmp_path)
        with pytest.raises(ValueError, match=r'outside|absolute') as error:
            unpack(archive, root)
        assert str(archive) in str(error.value)
        assert repr(name)[1:-1] in str(error.value)
        assert content(tmp_path) == before

    @pytest.mark.parametrize(
        'bad',
        [
            link('labels/l', '../../x'),
            link('labels/l', '/etc/passwd'),
            link('l', '../outer.txt', tarfile.LNKTYPE),
            link('l', '/etc/passwd', tarfile.LNKTYPE),
            link('device', '', tarfile.CHRTYPE),
            link('pipe', '', tarfile.FIFOTYPE),
        ],
        ids=lambda member: f'{member.name} {member.linkname} {member.type!r}',
    )
    def test_links_outside_are_refused(
        self, tmp_path: Path, root: Path, bad: tarfile.TarInfo
    ) -> None:
        write_tar(tmp_path / 'x.tar.gz', FILES, bad)
        before = content(tmp_path)
        with pytest.raises(ValueError, match=r'x\.tar\.gz.*nothing was unpacked'):
            unpack(tmp_path / 'x.tar.gz', root)
        assert content(tmp_path) == before

    def test_nothing_is_written_through_a_link(
        self, tmp_path: Path, root: Path
    ) -> None:
        # In a zip archive a link is a file whose content is the target.
        outside = tmp_path / 'outside'
        outside.mkdir()
        info = zipfile.ZipInfo('door')
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
            archive.writestr(info, str(outside))
            archive.writestr('door/x', b'bad')
        before = content(tmp_path)
        with pytest.raises(OSError, match=r'x\.zip'):
            unpack(tmp_path / 'x.zip', root)
        assert content(tmp_path) == before

    @pytest.mark.parametrize('kind', KINDS)
    @pytest.mark.parametrize('share', [0.0, 0.02, 0.3, 0.6, 0.9])
    def test_truncated_archives_are_refused(
        self, tmp_path: Path, root: Path, kind: str, share: float
    ) -> None:
        archive = write(tmp_path / f'x{kind}', FILES)
        whole = archive.read_bytes()
        archive.write_bytes(whole[: int(share * len(whole))])
        before = content(tmp_path)
        with pytest.raises(OSError, match=r'incomplete or damaged') as error:
            unpack(archive, root)
        assert str(archive) in str(error.value)
        assert content(tmp_path) == before

    def test_tar_cut_between_two_members_is_refused(
        self, tmp_path: Path, root: Path
    ) -> None:
        archive = write(tmp_path / 'x.tar', FILES)
        with tarfile.open(archive) as tar:
            cuts = [member.offset for member in tar]
        whole = archive.read_bytes()
        for cut in (*cuts[1:], cuts[1] + 100):
            archive.write_bytes(whole[:cut])
            before = content(tmp_path)
            with pytest.raises(OSError, match='incomplete or damaged'):
                unpack(archive, root)
            assert content(tmp_path) == before

    def test_tar_with_a_damaged_header_is_refused(
        self, tmp_path: Path, root: Path
    ) -> None:
        archive = write(tmp_path / 'x.tar', FILES)
        with tarfile.open(archive) as tar:
            second = tar.getmembers()[1].offset
        whole = bytearray(archive.read_bytes())
        whole[second + 3] ^= 0xFF
        archive.write_bytes(whole)
        before = content(tmp_path)
        with pytest.raises(OSError, match='bad checksum'):
            unpack(archive, root)
        assert content(tmp_path) == before

    @pytest.mark.parametrize('kind', ['.zip', '.tar.gz', '.tar.bz2', '.tar.xz'])
    def test_any_damage_is_noticed(self, tmp_path: Path, root: Path, kind: str) -> None:
        # Stored, so that wrong bytes would unpack to wrong files without a word.
        noise = {'a': os.urandom(3000), 'b': os.urandom(3000)}
        archive = write(tmp_path / f'x{kind}', noise)
        whole = archive.read_bytes()
        for position in range(len(whole) // 5, len(whole) * 4 // 5, 397):
            damaged = bytearray(whole)
            damaged[position] ^= 0x10
            archive.write_bytes(damaged)
            before = content(tmp_path)
            with pytest.raises(OSError, match=r'incomplete or damaged'):
                unpack(archive, root)
            assert content(tmp_path) == before

    def test_what_is_no_archive_is_refused(self, tmp_path: Path, root: Path) -> None:
        (tmp_path / 'x.zip').write_text('<html>Please log in</html>' * 100)
        before = content(tmp_path)
        with pytest.raises(OSError, match=r'x\.zip is incomplete or damaged'):
            unpack(tmp_path / 'x.zip', root)
        assert content(tmp_path) == before

    def test_missing_archive_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match=r'x\.zip'):
            unpack(tmp_path / 'x.zip', tmp_path / 'data')

    def test_encrypted_archive_is_refused(self, tmp_path: Path, root: Path) -> None:
        write_zip(tmp_path / 'x.zip', {'a': b'a'})
        whole = bytearray((tmp_path / 'x.zip').read_bytes())
        # Bit 0 of the flags, in the header of the member and in the directory.
        whole[6] |= 1
        whole[whole.index(b'PK\x01\x02') + 8] |= 1
        (tmp_path / 'x.zip').write_bytes(whole)
        with pytest.raises(OSError, match=r'x\.zip .*password'):
            unpack(tmp_path / 'x.zip', root)

    @pytest.mark.parametrize('kind', ['.zip', '.tar'])
    def test_full_disk_leaves_nothing(
        self, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        archive = write(tmp_path / f'x{kind}', FILES)
        before = content(tmp_path)

        def full(*args: object, **kwargs: object) -> None:
            raise OSError(errno.ENOSPC, 'No space left on device')

        monkeypatch.setattr(archives.shutil, 'copyfileobj', full)
        monkeypatch.setattr(tarfile, 'copyfileobj', full)
        with pytest.raises(OSError, match=r'disk is full.*No space left'):
            unpack(archive, root)
        assert content(tmp_path) == before

    def test_file_in_the_way_is_told_before_anything_moves(
        self, tmp_path: Path, root: Path
    ) -> None:
        (root / 'read me.txt').mkdir()
        before = content(root)
        with pytest.raises(FileExistsError, match=r'read me\.txt is in the way'):
            unpack(write(tmp_path / 'x.zip', FILES), root)
        assert content(root) == before
        (root / 'read me.txt').rmdir()
        (root / 'labels').write_text('a file')
        before = content(root)
        with pytest.raises(FileExistsError, match=r'labels is in the way'):
            unpack(write(tmp_path / 'x.tar', FILES), root)
        assert content(root) == before


def _killed(name: str, archive: Path, root: Path) -> None:
    """Unpack and die in the middle of it."""
    setattr(os if name == 'replace' else tarfile, name, lambda *_, **__: os._exit(9))
    unpack(archive, root)


@needs_fork
@pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
@pytest.mark.parametrize('name', ['replace', 'copyfileobj'])
def test_what_a_killed_process_left_is_removed(
    tmp_path: Path, root: Path, name: str
) -> None:
    archive = write(tmp_path / 'x.tar.gz', FILES)
    before = content(root)
    context = multiprocessing.get_context('fork')
    process = context.Process(target=_killed, args=(name, archive, root))
    process.start()
    process.join()
    assert process.exitcode == 9
    left = content(root)
    # Only aside: no file is half there.
    assert {key for key in left if not key.startswith('.')} == set(before)
    assert any(key.startswith('.x.tar.gz.unpacking/') for key in left)
    (root / '.x.tar.gz.unpacking' / 'stale').write_text('of another version')
    unpack(archive, root)
    assert files(root) == FILES | {'planet/x/own.tif': b'mine'}


def _provided(
    root: Path, archive: Archive, results: 'multiprocessing.Queue[int]'
) -> None:
    """Count how often one of several processes unpacks."""
    count = 0

    def counted(path: Path, folder: Path, own: Callable[..., None] = unpack) -> None:
        nonlocal count
        count += 1
        own(path, folder)

    archives.unpack = counted
    dataset = Wanted(root)
    provide(dataset, [archive], dataset.found)
    assert dataset.found()
    results.put(count)


class TestProvide:
    @pytest.fixture
    def wanted(self, root: Path) -> Wanted:
        return Wanted(root)

    @pytest.fixture
    def remote(self, tmp_path: Path) -> dict[str, Path]:
        """Two archives that can be downloaded, each with half of the files."""
        (tmp_path / 'remote').mkdir()
        names = sorted(FILES)
        return {
            name: write(tmp_path / 'remote' / name, {n: FILES[n] for n in half})
            for name, half in (('1.zip', names[:2]), ('2.tar.gz', names[2:]))
        }

    def test_files_that_are_there_are_left_alone(self, wanted: Wanted) -> None:
        before = content(wanted.root)
        provide(wanted, [Archive('missing.zip')], lambda: True)
        assert content(wanted.root) == before

    def test_archives_in_the_root_are_unpacked(
        self, wanted: Wanted, remote: dict[str, Path]
    ) -> None:
        for name, path in remote.items():
            path.rename(wanted.root / name)
        own = [Archive(name, md5=md5(wanted.root / name)) for name in remote]
        packed = {name: (wanted.root / name).read_bytes() for name in remote}
        provide(wanted, own, wanted.found)
        kept = {'planet/x/own.tif': b'mine'} | packed
        assert files(wanted.root) == FILES | kept

    def test_missing_archives_are_downloaded(
        self, tmp_path: Path, remote: dict[str, Path]
    ) -> None:
        wanted = Wanted(tmp_path / 'not' / 'made', download=True)
        own = [Archive(n, p.as_uri(), md5(p)) for n, p in remote.items()]
        packed = {name: path.read_bytes() for name, path in remote.items()}
        provide(wanted, own, wanted.found)
        assert files(wanted.root) == FILES | packed
        # Now they are there: nothing is looked at again.
        for path in remote.values():
            path.unlink()
        provide(wanted, own, wanted.found)

    def test_only_what_is_missing_is_downloaded(
        self, wanted: Wanted, remote: dict[str, Path]
    ) -> None:
        remote['1.zip'].rename(wanted.root / '1.zip')
        wanted.download = True
        own = [Archive('1.zip'), Archive('2.tar.gz', remote['2.tar.gz'].as_uri())]
        provide(wanted, own, wanted.found)
        assert wanted.found()

    @pytest.mark.parametrize('url', [None, 'file:///nowhere'])
    def test_without_download_it_is_not_found(
        self, wanted: Wanted, url: str | None
    ) -> None:
        before = content(wanted.root)
        with pytest.raises(DatasetNotFoundError, match='download=False') as error:
            provide(wanted, [Archive('x.zip', url)], wanted.found)
        assert str(wanted.root) in str(error.value)
        assert content(wanted.root) == before

    def test_one_of_two_archives_is_not_enough(
        self, wanted: Wanted, remote: dict[str, Path]
    ) -> None:
        remote['1.zip'].rename(wanted.root / '1.zip')
        before = content(wanted.root)
        with pytest.raises(DatasetNotFoundError):
            provide(wanted, [Archive('1.zip'), Archive('2.tar.gz')], wanted.found)
        assert content(wanted.root) == before

    def test_what_has_no_address_is_not_downloaded(
        self, wanted: Wanted, remote: dict[str, Path]
    ) -> None:
        wanted.download = True
        own = [Archive('1.zip', remote['1.zip'].as_uri()), Archive('2.tar.gz')]
        before = content(wanted.root)
        with pytest.raises(DatasetNotFoundError, match='cannot be automatically'):
            provide(wanted, own, wanted.found)
        assert content(wanted.root) == before

    def test_missing_folder_is_not_made(self, tmp_path: Path) -> None:
        wanted = Wanted(tmp_path / 'typo')
        with pytest.raises(DatasetNotFoundError, match='typo'):
            provide(wanted, [Archive('x.zip')], wanted.found)
        assert not (tmp_path / 'typo').exists()

    def test_wrong_checksum_in_the_root(self, wanted: Wanted) -> None:
        archive = write(wanted.root / 'x.zip', FILES)
        before = content(wanted.root)
        with pytest.raises(ValueError, match=r'x\.zip .*MD5 checksum 0123') as error:
            provide(wanted, [Archive('x.zip', md5='0123')], wanted.found)
        assert str(archive) in str(error.value)
        assert content(wanted.root) == before
        wanted.checksum = False
        provide(wanted, [Archive('x.zip', md5='0123')], wanted.found)
        assert wanted.found()

    def test_wrong_checksum_after_download(
        self, tmp_path: Path, wanted: Wanted
    ) -> None:
        remote = write(tmp_path / 'remote.zip', FILES)
        own = [Archive('x.zip', remote.as_uri(), '0123')]
        wanted.download = True
        before = content(wanted.root)
        with pytest.raises(RuntimeError, match=r'remote\.zip was downloaded .*0123'):
            provide(wanted, own, wanted.found)
        # Nor is the archive kept: the next run would take it for the right one.
        assert content(wanted.root) == before
        wanted.checksum = False
        provide(wanted, own, wanted.found)
        assert wanted.found()

    def test_failed_download_leaves_nothing(
        self, wanted: Wanted, remote: dict[str, Path]
    ) -> None:
        wanted.download = True
        own = [Archive('x.zip', (wanted.root / 'gone').as_uri())]
        before = content(wanted.root)
        with pytest.raises(OSError, match='gone'):
            provide(wanted, own, wanted.found)
        assert content(wanted.root) == before

    def test_damaged_second_archive_leaves_nothing_of_its_own(
        self, wanted: Wanted, remote: dict[str, Path]
    ) -> None:
        for name, path in remote.items():
            path.rename(wanted.root / name)
        second = wanted.root / '2.tar.gz'
        second.write_bytes(second.read_bytes()[:-20])
        with pytest.raises(OSError, match=r'2\.tar\.gz is incomplete'):
            provide(wanted, [Archive(name) for name in remote], wanted.found)
        assert not wanted.found()
        assert not [name for name in content(wanted.root) if 'unpacking' in name]

    def test_archive_of_something_else(self, wanted: Wanted) -> None:
        write(wanted.root / 'x.zip', {'other.txt': b'other'})
        with pytest.raises(FileNotFoundError, match=r'x\.zip .*files of Wanted'):
            provide(wanted, [Archive('x.zip')], wanted.found)

    def test_without_locks(
        self, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(archives, 'fcntl', None)
        write(wanted.root / 'x.zip', FILES)
        provide(wanted, [Archive('x.zip')], wanted.found)
        assert wanted.found()

    @needs_fork
    @pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')
    def test_one_of_several_processes_does_it(self, wanted: Wanted) -> None:
        write(wanted.root / 'x.zip', FILES)
        context = multiprocessing.get_context('fork')
        results: multiprocessing.Queue[int] = context.Queue()
        args = (wanted.root, Archive('x.zip'), results)
        processes = [context.Process(target=_provided, args=args) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 4
        assert sorted(results.get() for _ in processes) == [0, 0, 0, 1]
