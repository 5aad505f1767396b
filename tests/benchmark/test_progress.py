# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""How far a benchmark is."""

import io
import json
from pathlib import Path

import pytest

from torchgeo_experts.benchmark.grid import Run
from torchgeo_experts.benchmark.progress import Progress, duration, table
from torchgeo_experts.benchmark.states import State, state_of


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make_run(method: str, seed: int, folder: Path) -> Run:
    own = folder / method / str(seed)
    own.mkdir(parents=True)
    return Run(method, 'all', seed, (), (), {'test': ()}, 'last', own)


def finish(run: Run, seconds: float) -> None:
    result = {'fit': {'seconds': seconds - 1}, 'tests': {'test': {'seconds': 1}}}
    (run.folder / 'result.json').write_text(json.dumps(result))


def test_states(tmp_path: Path) -> None:
    run = make_run('ERM', 0, tmp_path)
    assert state_of(run) is State.LEFT
    (run.folder / 'failure.json').touch()
    assert state_of(run) is State.FAILED
    (run.folder / 'lock').touch()
    assert state_of(run) is State.RUNNING
    (run.folder / 'result.json').touch()
    assert state_of(run) is State.DONE


def test_time_left(tmp_path: Path) -> None:
    runs = [make_run(m, s, tmp_path) for m in ('ERM', 'CoDEX') for s in range(3)]
    progress = Progress(runs, 2, io.StringIO())
    states = {run: state_of(run) for run in runs}
    assert progress.seconds_left(states) is None
    finish(runs[0], 100)
    states = {run: state_of(run) for run in runs}
    # Nothing is known of CoDEX yet.
    assert progress.seconds_left(states) == pytest.approx(5 * 100 / 2)
    finish(runs[3], 400)
    states = {run: state_of(run) for run in runs}
    assert progress.seconds_left(states) == pytest.approx((2 * 100 + 2 * 400) / 2)


def test_table(tmp_path: Path) -> None:
    runs = [make_run(m, 0, tmp_path) for m in ('ERM', 'CoDEX')]
    lines = table({runs[0]: State.DONE, runs[1]: State.FAILED}, 7000)
    assert [line.split() for line in lines] == [
        ['method', 'done', 'running', 'failed', 'left'],
        ['ERM', '1', '0', '0', '0'],
        ['CoDEX', '0', '0', '1', '0'],
        ['all', '1', '0', '1', '0'],
        ['about', '117', 'min', 'left'],
    ]
    assert len({len(line) for line in lines[:4]}) == 1


def test_terminal_and_file(tmp_path: Path) -> None:
    run = make_run('ERM', 0, tmp_path)
    terminal, file = Terminal(), io.StringIO()
    both = [Progress([run], 1, stream) for stream in (terminal, file)]
    for progress in both:
        progress.show()
    finish(run, 30)
    for progress in both:
        progress.show()
        progress.show()
    # The table is drawn over itself; a file gets a line when something changes.
    assert terminal.getvalue().count('\x1b[3F\x1b[J') == 1
    assert terminal.getvalue().count('\x1b[4F\x1b[J') == 1
    assert (
        file.getvalue() == '[1/1] ERM, fold all, seed 0: done in 30 s, about 0 s left\n'
    )


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0.4, '0 s'), (119, '119 s'), (600, '10 min'), (9000, '2.5 h')],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
