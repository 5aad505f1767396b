# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Processes that train and test, and what they cost."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: The command line of this package.
COMMAND = (sys.executable, '-m', 'torchgeo_experts')

#: Lines of a log that are kept of a process that failed.
LINES = 20


class StepError(Exception):
    """A training or a test that failed."""


class StoppedError(Exception):
    """The benchmark is to end; what was running goes on the next time."""


@dataclass(frozen=True)
class Usage:
    """What a process has cost.

    Args:
        seconds: Time by the clock.
        memory_mb: Largest resident memory of it, or of one of its children, in MB.
    """

    seconds: float
    memory_mb: float


class Processes:
    """Processes that can be stopped all at once."""

    def __init__(self, jobs: int = 1) -> None:
        """Initialize a new Processes instance.

        Args:
            jobs: How many there will be at a time. They share the cores.
        """
        threads = max(1, len_cores() // jobs)
        # What the user has set counts.
        self.environment = {'OMP_NUM_THREADS': str(threads), **os.environ}
        self.stopped = threading.Event()
        self._live: set[int] = set()
        self._guard = threading.Lock()

    def run(self, words: Sequence[str], log: Path, descriptor: int) -> Usage:
        """Run this package's command line and wait for it.

        Args:
            words: Its arguments.
            log: File for what it prints.
            descriptor: An open file that stays open as long as the process lives.

        Returns:
            What it has cost.

        Raises:
            StepError: If it fails, with the end of the log.
            StoppedError: If it was stopped.
        """
        start = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open('w', encoding='utf-8') as file:
            process = self._start([*COMMAND, *words], file.fileno(), descriptor)
            # Not ``process.wait``, which does not tell what was used.
            _, status, used = os.wait4(process.pid, 0)
            with self._guard:
                self._live.discard(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        if self.stopped.is_set():
            raise StoppedError
        if process.returncode:
            raise StepError(
                f'{words[0]} ended with status {process.returncode}:\n{tail(log)}'
            )
        unit = 1 if sys.platform == 'darwin' else 1024  # bytes there, KiB elsewhere
        return Usage(time.monotonic() - start, used.ru_maxrss * unit / 1e6)

    def stop(self) -> None:
        """Kill all processes, and start no more.

        A checkpoint is written as a whole or not at all, so that there is nothing to be
        gained from a gentle end.
        """
        with self._guard:
            self.stopped.set()
            for pid in self._live:
                os.killpg(pid, signal.SIGKILL)

    def _start(
        self, words: Sequence[str], output: int, descriptor: int
    ) -> subprocess.Popen[bytes]:
        with self._guard:
            if self.stopped.is_set():
                raise StoppedError
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                pass_fds=(descriptor,),
                # A group of its own, with its workers, that Ctrl-C does not reach.
                start_new_session=True,
            )
            self._live.add(process.pid)
        return process


def len_cores() -> int:
    """Count the cores that this process may use.

    Returns:
        Their number.
    """
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def tail(log: Path, lines: int = LINES) -> str:
    """Read the end of a file.

    Args:
        log: The file.
        lines: How many lines.

    Returns:
        The lines.
    """
    text = log.read_text(encoding='utf-8', errors='replace')
    return '\n'.join(text.splitlines()[-lines:])
