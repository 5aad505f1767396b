# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""How far a benchmark is, for people."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from .files import read_json
from .grid import Run
from .states import State, state_of


class Progress:
    """Shows how far runs are: a table that stays in place, or lines where it cannot."""

    def __init__(
        self, runs: Sequence[Run], jobs: int, stream: TextIO | None = None
    ) -> None:
        """Initialize a new Progress instance.

        Args:
            runs: All runs.
            jobs: How many run at a time.
            stream: Where to write.
        """
        self.runs, self.jobs = runs, jobs
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self._seconds: dict[Run, float] = {}
        self._seen: dict[Run, float] = {}
        self._states: dict[Run, State] = {}
        self._lines = 0

    def show(self) -> None:
        """Show what has changed."""
        states = {run: state_of(run) for run in self.runs}
        now = time.time()
        for run, state in states.items():
            if state is State.RUNNING:
                self._seen.setdefault(run, now)
        left = self.seconds_left(states)
        if self.live:
            self._redraw(table(states, left))
        elif self._states:
            for run, state in states.items():
                if state is not self._states[run] and state is not State.LEFT:
                    self._write(line(run, states, left))
        self._states = states

    def close(self) -> None:
        """Show the whole table for the last time."""
        states = {run: state_of(run) for run in self.runs}
        self._redraw(table(states, None))
        self._lines = 0

    def seconds_left(self, states: dict[Run, State]) -> float | None:
        """Estimate the time that is left, from runs of the same method that are done.

        Args:
            states: State of each run.

        Returns:
            Seconds, None as long as no run is done.
        """
        for run, state in states.items():
            if state is State.DONE and run not in self._seconds:
                self._seconds[run] = seconds_of(run)
        if not self._seconds:
            return None
        overall = sum(self._seconds.values()) / len(self._seconds)
        total, now = 0.0, time.time()
        for run, state in states.items():
            if state in (State.RUNNING, State.LEFT):
                same = [s for r, s in self._seconds.items() if r.method == run.method]
                expected = sum(same) / len(same) if same else overall
                passed = now - self._seen[run] if state is State.RUNNING else 0
                total += max(0.0, expected - passed)
        return total / self.jobs

    def _redraw(self, lines: Sequence[str]) -> None:
        up = f'\x1b[{self._lines}F\x1b[J' if self.live and self._lines else ''
        self._write(up + '\n'.join(lines))
        self._lines = len(lines)

    def _write(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


def seconds_of(run: Run) -> float:
    """Tell how long a finished run took, with its tests."""
    result = read_json(run.folder / 'result.json')
    tests = sum(test['seconds'] for test in result['tests'].values())
    return float(result['fit']['seconds'] + tests)


def table(states: dict[Run, State], left: float | None) -> list[str]:
    """Write a table, one row a method.

    Args:
        states: State of each run.
        left: Seconds that are left, if known.

    Returns:
        Its lines.
    """
    methods = list(dict.fromkeys(run.method for run in states))
    width = max(len(method) for method in [*methods, 'method', 'all'])
    lines = ['  '.join([f'{"method":{width}}', *(f'{state:>7}' for state in State)])]
    for method in [*methods, 'all']:
        mine = Counter(s for r, s in states.items() if method in (r.method, 'all'))
        counts = [f'{mine[state]:7}' for state in State]
        lines.append('  '.join([f'{method:{width}}', *counts]))
    if left is not None:
        lines.append(f'about {duration(left)} left')
    return lines


def line(run: Run, states: dict[Run, State], left: float | None) -> str:
    """Write what has become of a run."""
    done = sum(state in (State.DONE, State.FAILED) for state in states.values())
    text = f'[{done}/{len(states)}] {run.name}: {states[run]}'
    if states[run] is State.DONE:
        text += f' in {duration(seconds_of(run))}'
    return text if left is None else f'{text}, about {duration(left)} left'


def duration(seconds: float) -> str:
    """Write a time.

    Args:
        seconds: Seconds.

    Returns:
        Seconds, minutes or hours.
    """
    if seconds < 120:
        return f'{seconds:.0f} s'
    if seconds < 7200:
        return f'{seconds / 60:.0f} min'
    return f'{seconds / 3600:.1f} h'
