# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""One process at a time works on a run, on whatever machine."""

import errno
import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any, Self

from .files import read_json

#: Seconds between two looks at a training whose benchmark was killed.
PERIOD = 0.5

#: Seconds that a process gets to sign a file that it has made.
UNSIGNED = 60.0


class RunLock:
    """A file that says who works on a run.

    It is made with ``O_EXCL``, which holds between machines, and names host and process.
    On its own host it is also locked by ``flock``, and the descriptor is handed down to
    the process that trains: the lock of the system ends with the last of both, so that a
    killed benchmark leaves a file that can be taken over, but not while its training
    still goes on.
    """

    def __init__(self, path: Path) -> None:
        """Initialize a new RunLock instance.

        Args:
            path: The file.
        """
        self.path = path
        self.descriptor = -1

    def acquire(self, stopped: threading.Event | None = None) -> bool:
        """Try to get the lock.

        A training whose benchmark is dead, on this host, is waited for.

        Args:
            stopped: Ends the waiting.

        Returns:
            Whether this process has it now.
        """
        stopped = stopped or threading.Event()
        while not stopped.is_set():
            if self._create() or self._take_over():
                return True
            if not self._orphaned():
                return False
            stopped.wait(PERIOD)
        return False

    def release(self) -> None:
        """Give the lock back."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)
        self.descriptor = -1

    def owner(self) -> dict[str, Any]:
        """Tell who has the lock.

        Returns:
            Host and process number, empty if nobody has it, or has not said so yet.
        """
        try:
            return read_json(self.path) or {}
        except ValueError:
            return {}

    def __enter__(self) -> Self:
        """Return the lock, which must have been acquired."""
        return self

    def __exit__(self, *error: object) -> None:
        """Give the lock back."""
        self.release()

    def _create(self) -> bool:
        """Make the file, if there is none."""
        try:
            found = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        except FileExistsError:
            return False
        return self._keep(found)

    def _take_over(self) -> bool:
        """Take the file of a dead process of this host."""
        owner = self.owner()
        try:
            if not owner and time.time() - self.path.stat().st_mtime < UNSIGNED:
                return False
            if owner and owner['host'] != socket.gethostname():
                return False
            found = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return False
        return self._keep(found)

    def _keep(self, found: int) -> bool:
        """Lock an open file, if it is still the one of this name, and sign it."""
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(found)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise OSError(
                f'{self.path} cannot be locked: its file system has no flock'
            ) from error
        if not self._still_there(found):
            os.close(found)
            return False
        signature = {'host': socket.gethostname(), 'pid': os.getpid()}
        os.ftruncate(found, 0)
        os.pwrite(found, json.dumps(signature).encode(), 0)
        self.descriptor = found
        return True

    def _still_there(self, found: int) -> bool:
        """Tell whether an open file still has its name: another one may have let go."""
        try:
            return os.path.samestat(os.fstat(found), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _orphaned(self) -> bool:
        """Tell whether the benchmark that had the lock is dead, and its training not."""
        owner = self.owner()
        if not owner:
            # Let go of, or made just now.
            return not self.path.exists()
        return owner['host'] == socket.gethostname() and not alive(owner['pid'])


def alive(pid: int) -> bool:
    """Tell whether there is a process of this host.

    Args:
        pid: Its number.

    Returns:
        Whether it is there.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
