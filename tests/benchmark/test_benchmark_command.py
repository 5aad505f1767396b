# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Runs through the benchmark command, with a stand-in for what trains and tests."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from torchgeo_experts.__main__ import main
from torchgeo_experts.benchmark import processes
from torchgeo_experts.benchmark.checkpoints import best_checkpoint
from torchgeo_experts.benchmark.grid import Run, make_runs
from torchgeo_experts.benchmark.locks import RunLock, alive
from torchgeo_experts.benchmark.processes import Processes, StepError
from torchgeo_experts.benchmark.states import State, state_of
from torchgeo_experts.benchmark.suite import read_suite

#: Takes the arguments of ``torchgeo``, and leaves the files that it would leave.
STUB = r"""
import json, os, pathlib, sys, time, zipfile

command, *words = sys.argv[1:]
given = dict(w.removeprefix('--').split('=', 1) for w in words)
name, seed = given['trainer.logger.name'], int(given['seed_everything'])
folder = pathlib.Path(given['trainer.logger.save_dir']) / name
(folder / 'checkpoints').mkdir(parents=True, exist_ok=True)
calls = pathlib.Path(__file__).with_name('calls.txt')
with calls.open('a') as file:
    print(json.dumps([command, str(folder), words, os.environ['OMP_NUM_THREADS']]), file=file)
method = given['stub.method']
if method in calls.with_name('broken.txt').read_text().split():
    print('first line')
    sys.exit('this method is broken')
if command == 'fit':
    start, latest = 0, folder / 'checkpoints' / 'latest.ckpt'
    if 'ckpt_path' in given:
        with zipfile.ZipFile(given['ckpt_path']) as file:
            start = int(file.read('epoch')) + 1
    for epoch in range(start, int(given['stub.epochs'])):
        time.sleep(float(given['stub.seconds']))
        with (folder.parent / 'epochs.txt').open('a') as file:
            print(epoch, file=file)
        with zipfile.ZipFile(latest.with_suffix('.new'), 'w') as file:
            file.writestr('epoch', str(epoch))
        latest.with_suffix('.new').replace(latest)
else:
    assert zipfile.is_zipfile(given['ckpt_path'])
    score = 0.5 + 0.1 * seed + 0.01 * len(method)
    rows = f'epoch,test_OverallAccuracy,test_loss\n3,{score},0.7\n'
    (folder / 'metrics.csv').write_text(rows)
    lines = ['domain,training,samples,OverallAccuracy']
    lines += [f'{d},0,5,{score + i / 10}' for i, d in enumerate(['NA', 'b'])]
    (folder / 'domains.csv').write_text('\n'.join(lines))
"""

SUITE: dict[str, Any] = {
    'title': 'Stub',
    'configs': ['erm/synthetic_earth'],
    'overrides': {'stub.epochs': 3, 'stub.seconds': 0},
    'methods': {
        'ERM': {'overrides': {'stub.method': 'ERM'}},
        'V-REx': {'overrides': {'stub.method': 'VREx'}},
    },
    'folds': {'one': {'data.fold': 1}, 'two': {'data.fold': 2}},
    'splits': {'test': {}, 'ID test': {'data.test_split': 'id'}},
    'seeds': [0, 1],
}

#: Runs the command in a process of its own.
DRIVER = """
import sys
from torchgeo_experts.benchmark import processes
processes.COMMAND = (sys.executable, '-S', sys.argv[1])
from torchgeo_experts.__main__ import main
main(sys.argv[2:])
"""


class Place:
    """A folder with a suite and the stand-in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / 'out'
        self.stub, self.suite = folder / 'stub.py', folder / 'suite.yaml'
        self.stub.write_text(STUB)
        self.break_methods('')
        self.say()

    def say(self, **changes: Any) -> None:
        self.suite.write_text(yaml.safe_dump(SUITE | changes, sort_keys=False))

    def break_methods(self, names: str) -> None:
        (self.folder / 'broken.txt').write_text(names)

    @property
    def words(self) -> list[str]:
        return ['benchmark', str(self.suite), '--out', str(self.out), '--jobs', '2']

    def run(self, *extra: str) -> None:
        main([*self.words, *extra])

    def start(self, *extra: str) -> subprocess.Popen[str]:
        command = [sys.executable, '-c', DRIVER, str(self.stub), *self.words, *extra]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    @property
    def calls(self) -> list[Any]:
        file = self.folder / 'calls.txt'
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def runs(self) -> list[Run]:
        return make_runs(read_suite(self.suite), self.out)

    @property
    def states(self) -> Counter[State]:
        return Counter(state_of(run) for run in self.runs)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path)
    command = (sys.executable, '-S', str(place.stub))
    monkeypatch.setattr(processes, 'COMMAND', command)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    return place


def test_grid_is_run_once(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.run()
    shown = capsys.readouterr().out
    assert '[8/8]' in shown and shown.splitlines()[-2].split() == [
        *('all', '8', '0', '0', '0')
    ]
    assert Counter(c[0] for c in place.calls) == {'fit': 8, 'test': 16}
    assert {c[3] for c in place.calls} == {str(max(1, processes.len_cores() // 2))}
    frame = pd.read_csv(place.out / 'results.csv', keep_default_na=False)
    # Each run and split: two metrics, and two in each of two domains.
    assert len(frame) == 8 * 2 * (2 + 4)
    assert set(frame['domain']) == {'', 'NA', 'b'}
    assert set(frame['split']) == {'test', 'ID test'}
    one = frame.query(
        'method == "V-REx" and seed == 1 and fold == "two" and split == "test"'
        ' and metric == "OverallAccuracy"'
    ).set_index('domain')
    assert one['value'].to_dict() == pytest.approx({'': 0.64, 'NA': 0.64, 'b': 0.74})
    assert (one['selection'] == 'last').all() and (one['memory_mb'] > 1).all()
    assert (one['torch'] == torch.__version__.split('+')[0]).all()
    kept = pd.read_parquet(place.out / 'results.parquet')
    assert len(kept) == len(frame) and (kept['domain'] == frame['domain']).all()

    before = len(place.calls)
    place.run()
    assert len(place.calls) == before
    assert len(pd.read_csv(place.out / 'results.csv')) == len(frame)


def test_commands(place: Place) -> None:
    place.run('--trainer.limit_train_batches', '2')
    folder = place.out / 'runs' / 'V-REx' / 'two' / '1'
    fit = next(c[2] for c in place.calls if c[1] == str(folder / 'fit'))
    given = dict(w.removeprefix('--').split('=', 1) for w in fit)
    assert given['config'].endswith('erm/synthetic_earth.yaml')
    assert given['data.fold'] == '2' and given['seed_everything'] == '1'
    assert given['trainer.limit_train_batches'] == '2' and 'ckpt_path' not in given
    test = next(c[2] for c in place.calls if c[1] == str(folder / 'tests' / 'ID_test'))
    assert '--data.test_split=id' in test
    latest = folder / 'fit' / 'checkpoints' / 'latest.ckpt'
    assert test[-1] == f'--ckpt_path={latest}'


def test_failure_stops_no_other(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.break_methods('VREx')
    with pytest.raises(SystemExit) as error:
        place.run()
    assert error.value.code == 1
    assert place.states == {State.DONE: 4, State.FAILED: 4}
    told = capsys.readouterr().err
    assert 'fit ended with status 1:\nfirst line\nthis method is broken' in told
    assert 'V-REx, fold one, seed 0 failed' in told
    place.break_methods('')
    place.run()
    assert place.states == {State.DONE: 8}
    assert Counter(c[0] for c in place.calls)['fit'] == 4 + 4 + 4


def test_changed_configuration_is_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run()
    before = len(place.calls)
    place.say(overrides=SUITE['overrides'] | {'stub.epochs': 4})
    with pytest.raises(SystemExit) as error:
        place.run()
    assert error.value.code == 2
    told = capsys.readouterr().err
    assert 'another configuration' in told and "was '3' and is '4'" in told
    assert len(place.calls) == before
    # Arguments are told by name.
    for words, message in {
        ('--a.b', '1'): "arguments.a.b was None and is '1'",
        ('--stub.epochs', '5'): "arguments.stub.epochs was '3' and is '5'",
    }.items():
        place.say()
        with pytest.raises(SystemExit):
            place.run(*words)
        assert message in capsys.readouterr().err
    # A name that gives the same folder would leave results under the old one.
    place.say(methods={'ERM.': SUITE['methods']['ERM']})
    with pytest.raises(SystemExit):
        place.run()
    assert "method was 'ERM' and is 'ERM.'" in capsys.readouterr().err
    # Saying a value again changes nothing.
    place.say()
    place.run('--stub.epochs', '3')
    assert len(place.calls) == before
    # Another method, seed or fold is none of these runs.
    place.say(seeds=[0, 1, 2])
    place.run()
    assert place.states == {State.DONE: 12}


def test_file_edited_meanwhile(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is not run with another configuration than what is done."""
    own = place.folder / 'own.yaml'
    own.write_text('trainer: {max_epochs: 1}')
    place.say(configs=['own.yaml'], seeds=[0], folds={'a': {}}, splits={'test': {}})
    start = Processes.run

    def edit(self: Processes, *args: Any) -> Any:
        own.write_text('trainer: {max_epochs: 2}')
        return start(self, *args)

    monkeypatch.setattr(Processes, 'run', edit)
    with pytest.raises(SystemExit) as error:
        main([*place.words[:-1], '1'])
    assert error.value.code == 1
    assert 'own.yaml has been edited since' in capsys.readouterr().err
    assert [call[0] for call in place.calls] == ['fit']


@pytest.mark.parametrize('name', ['config.json', 'result.json', 'suite.json'])
def test_damaged_files_are_named(
    place: Place, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    place.say(methods={'ERM': SUITE['methods']['ERM']}, folds={'a': {}}, seeds=[0])
    place.run()
    (run,) = place.runs
    path = (place.out if name == 'suite.json' else run.folder) / name
    path.write_text('')
    command = ['report', str(place.out)] if name == 'suite.json' else place.words
    with pytest.raises(SystemExit):
        main(command)
    assert f'{path} is damaged' in capsys.readouterr().err


def test_unfinished_training_goes_on(place: Place) -> None:
    place.say(methods={'ERM': SUITE['methods']['ERM']}, folds={'a': {}}, seeds=[0])
    place.run()
    (run,) = place.runs
    for name in ('result.json', 'fit.json', 'tests/ID_test.json'):
        (run.folder / name).unlink()
    place.run()
    *_, fit, test = place.calls
    latest = run.folder / 'fit' / 'checkpoints' / 'latest.ckpt'
    assert fit[2][-1] == f'--ckpt_path={latest}'
    assert test[0] == 'test' and len(place.calls) == 3 + 2
    # A damaged checkpoint is none, and neither is one of a folder that has moved.
    (run.folder / 'result.json').unlink()
    (run.folder / 'fit.json').unlink()
    latest.write_bytes(b'PK')
    place.run()
    assert not any('ckpt_path' in word for word in place.calls[-1][2])
    (run.folder / 'result.json').unlink()
    (run.folder / 'fit.json').unlink()
    place.out.rename(place.folder / 'moved')
    place.out = place.folder / 'moved'
    place.run()
    assert not any('ckpt_path' in word for word in place.calls[-1][2])
    epochs = (place.runs[0].folder / 'epochs.txt').read_text().split()
    assert epochs == ['0', '1', '2'] * 3


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_ended_at_any_point(place: Place, number: signal.Signals) -> None:
    """SIGTERM also ends the trainings, SIGKILL cannot."""
    slow = {'stub.epochs': 4, 'stub.seconds': 0.1}
    place.say(overrides=slow, seeds=[0], splits={'test': {}})
    for delay in (0.05, 0.15):
        before = len(place.calls)
        process = place.start()
        wait_for(lambda: len(place.calls) > before or process.poll() is not None)  # noqa: B023
        time.sleep(delay)
        process.send_signal(number)
        process.communicate()
    assert place.start().wait(60) == 0
    assert place.states == {State.DONE: 4}
    for run in place.runs:
        epochs = [int(e) for e in (run.folder / 'epochs.txt').read_text().split()]
        if number == signal.SIGKILL:
            # A training that outlives its benchmark is waited for.
            assert epochs == [0, 1, 2, 3]
        # An epoch whose checkpoint was not written is run again, and none is left out.
        assert epochs[0] == 0 and epochs[-1] == 3
        assert all(b - a in (0, 1) for a, b in pairwise(epochs))
        assert not (run.folder / 'lock').exists()


def test_interrupted(place: Place) -> None:
    place.say(overrides={'stub.epochs': 1, 'stub.seconds': 60}, seeds=[0])
    process = place.start()
    wait_for(lambda: len(place.calls) == 2)
    process.send_signal(signal.SIGTERM)
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and 'Interrupted: the same command' in shown
    assert place.states == {State.LEFT: 4}
    listed = subprocess.run(
        ['ps', '-eo', 'args'], check=True, capture_output=True, text=True
    )
    assert str(place.stub) not in listed.stdout


def test_two_at_a_time_share_the_work(place: Place) -> None:
    place.say(overrides={'stub.epochs': 2, 'stub.seconds': 0.1})
    both = [place.start(), place.start()]
    shown = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], shown
    assert place.states == {State.DONE: 8}
    called = Counter((c[0], c[1]) for c in place.calls)
    assert set(called.values()) == {1} and len(called) == 8 * 3


def test_locks(place: Place) -> None:
    path = place.folder / 'lock'
    lock = RunLock(path)
    assert lock.acquire()
    assert lock.owner() == {'host': socket.gethostname(), 'pid': os.getpid()}
    assert not RunLock(path).acquire()
    lock.release()
    assert not path.exists() and RunLock(path).acquire()
    path.unlink()

    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    assert not alive(dead.pid)
    path.write_text(json.dumps({'host': socket.gethostname(), 'pid': dead.pid}))
    taken = RunLock(path)
    assert taken.acquire() and taken.owner()['pid'] == os.getpid()
    taken.release()
    # Nothing is known of processes of other hosts, and of who has just made a file.
    path.write_text(json.dumps({'host': 'another', 'pid': dead.pid}))
    assert not RunLock(path).acquire()
    path.write_text('')
    assert not RunLock(path).acquire()
    os.utime(path, (0, 0))
    assert RunLock(path).acquire()


def test_lock_is_kept_by_the_training(place: Place) -> None:
    """The benchmark is dead, and what it has started is not."""
    path = place.folder / 'lock'
    code = (
        'import subprocess, sys; from pathlib import Path;'
        ' from torchgeo_experts.benchmark.locks import RunLock;'
        f' lock = RunLock(Path({str(path)!r})); lock.acquire();'
        ' subprocess.Popen(["sleep", "1.5"], pass_fds=[lock.descriptor])'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
    start = time.monotonic()
    lock = RunLock(path)
    assert not lock._take_over()
    assert lock.acquire()
    assert 0.5 < time.monotonic() - start < 10


def test_run_of_another_host_is_left_alone(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    run = place.runs[0]
    run.folder.mkdir(parents=True)
    (run.folder / 'lock').write_text('{"host": "another", "pid": 7}')
    place.run()
    assert place.states == {State.DONE: 7, State.RUNNING: 1}
    assert 'is under way: process 7 of another' in capsys.readouterr().out


class FakeExecutor:
    """Runs at once, as if on a cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.parameters = folder, {}

    def update_parameters(self, **parameters: Any) -> None:
        assert parameters == {'slurm_partition': 'gpu', 'timeout_min': 5}

    def map_array(self, function: Any, runs: list[Run]) -> list[Any]:
        return [FakeJob(function(run)) for run in runs]


class FakeJob:
    job_id = '17'

    def __init__(self, result: str) -> None:
        assert result == 'done'


def test_cluster(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['--launcher', 'submitit', '--parameter', 'slurm_partition=gpu']
    words += ['--parameter', 'timeout_min=5']
    monkeypatch.setitem(sys.modules, 'submitit', None)
    with pytest.raises(SystemExit):
        place.run(*words)
    assert 'pip install torchgeo-experts[slurm]' in capsys.readouterr().err
    fake: Any = ModuleType('submitit')
    fake.AutoExecutor = FakeExecutor
    monkeypatch.setitem(sys.modules, 'submitit', fake)
    place.run(*words)
    assert '8 jobs, from 17 on' in capsys.readouterr().out
    assert place.states == {State.DONE: 8}
    assert len(pd.read_csv(place.out / 'results.csv')) == 8 * 2 * 6
    place.run(*words)
    shown = capsys.readouterr().out.splitlines()
    assert shown[-2].split() == ['all', '8', '0', '0', '0'] and len(shown) == 5
    # What has failed, and what seems to run on another host, is told.
    failed, other = place.runs[:2]
    for run in (failed, other):
        (run.folder / 'result.json').unlink()
        (run.folder / 'tests/test.json').unlink()
    (other.folder / 'lock').write_text('{"host": "another", "pid": 7}')
    place.break_methods('ERM')
    monkeypatch.setattr(FakeJob, '__init__', lambda *_: None)
    with pytest.raises(SystemExit) as error:
        place.run(*words)
    assert error.value.code == 1
    told = capsys.readouterr()
    assert 'this method is broken' in told.err
    assert f'delete {other.folder / "lock"}' in told.out


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--jobs', '0'], 'at least 1'),
        (['--jops', '2'], 'unrecognized argument: --jops'),
        (['--parameter', 'x', '--launcher', 'submitit'], 'expected name=value'),
    ],
)
def test_errors(
    place: Place, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as error:
        place.run(*words)
    assert error.value.code == 2 and message in capsys.readouterr().err
    assert not (place.folder / 'calls.txt').exists()


def test_best_checkpoint(tmp_path: Path) -> None:
    def key(**arguments: Any) -> str:
        return f'ModelCheckpoint{arguments!r}'

    best = tmp_path / 'epoch=3-step=9.ckpt'
    states = {
        key(monitor='val_F1', mode='max'): {
            'monitor': 'val_F1',
            'best_model_path': '/another/machine/epoch=3-step=9.ckpt',
            'best_model_score': torch.tensor(0.3),
        },
        key(monitor=None, mode='max'): {'monitor': None, 'best_model_path': 'x'},
    }
    last = tmp_path / 'latest.ckpt'
    torch.save({'callbacks': states}, last)
    with pytest.raises(StepError, match='is missing'):
        best_checkpoint(last)
    best.touch()
    found = best_checkpoint(last)
    assert (found.path, found.rule) == (best, 'highest val_F1')
    torch.save({'callbacks': {}}, last)
    with pytest.raises(StepError, match='one ModelCheckpoint with a monitor, found 0'):
        best_checkpoint(last)


def test_cost_is_measured(place: Place) -> None:
    # It also looks at the file that it is to keep open, which its lock is.
    code = (
        "import os, sys, time; data = b'x' * 300_000_000; time.sleep(0.3);"
        ' os.fstat(int(sys.argv[1]))'
    )
    script = place.folder / 'costly.py'
    script.write_text(code)
    command = (sys.executable, '-S', str(script))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, 'COMMAND', command)
        with (place.folder / 'open').open('w') as file:
            log = place.folder / 'log.txt'
            words = [str(file.fileno())]
            used = Processes().run(words, log, file.fileno())
    assert used.memory_mb > 290 and used.seconds > 0.3


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
