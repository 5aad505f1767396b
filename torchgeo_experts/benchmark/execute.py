# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""One run: train, or go on training, then test, and write down what came out."""

import csv
import importlib.metadata
import shutil
import socket
import time
from pathlib import Path
from pickle import PickleError
from typing import Any

from .arguments import as_words
from .checkpoints import EVERY_EPOCH, Selection, last_checkpoint, select_checkpoint
from .files import read_json, write_json
from .grid import Run
from .locks import RunLock
from .processes import Processes, StepError, StoppedError, Usage
from .states import State, keep_configuration, refuse_changed, refuse_edited, state_of
from .suite import folder_name

#: Packages whose versions are written down.
PACKAGES = ('torch', 'torchgeo', 'lightning', 'torchgeo-experts')

#: Columns of ``domains.csv`` that are no metric.
NO_METRIC = ('domain', 'training', 'ranked')

#: Errors that make a run a failed one; the other runs go on.
FAILURES = (StepError, OSError, ValueError, LookupError, RuntimeError, PickleError)


def execute(run: Run, processes: Processes) -> State:
    """Do what is left of a run, unless another process does.

    Args:
        run: The run.
        processes: Starts its processes.

    Returns:
        How far it is then.

    Raises:
        ValueError: If its folder has a run of another configuration.
        StoppedError: If the benchmark is to end.
    """
    if state_of(run) is State.DONE:
        return State.DONE
    run.folder.mkdir(parents=True, exist_ok=True)
    lock = RunLock(run.folder / 'lock')
    if not lock.acquire(processes.stopped):
        if processes.stopped.is_set():
            raise StoppedError
        return state_of(run)
    with lock:
        refuse_changed([run])
        # It may have been finished since it was last looked at.
        if (run.folder / 'result.json').exists():
            return State.DONE
        keep_configuration(run)
        (run.folder / 'failure.json').unlink(missing_ok=True)
        try:
            Steps(run, processes, lock.descriptor).all()
        except FAILURES as error:
            told = str(error) if isinstance(error, StepError) else repr(error)
            write_json(run.folder / 'failure.json', {'error': told})
            return State.FAILED
        return State.DONE


class Steps:
    """Training and tests of a run. Each leaves a file when it is done."""

    def __init__(self, run: Run, processes: Processes, descriptor: int) -> None:
        """Initialize a new Steps instance.

        Args:
            run: The run.
            processes: Starts processes.
            descriptor: An open file that they keep open.
        """
        self.run, self.processes, self.descriptor = run, processes, descriptor
        self.folder = run.folder
        self.checkpoints = run.folder / 'fit' / 'checkpoints'

    def all(self) -> None:
        """Do what is not done yet, and write the result."""
        self.fit()
        selection = select_checkpoint(self.checkpoints, self.run.select)
        for split in self.run.splits:
            self.test(split, selection)
        write_json(self.folder / 'result.json', self.result(selection))

    def fit(self) -> None:
        """Train, from the last checkpoint on if there is one."""
        if (self.folder / 'fit.json').exists():
            return
        last, seconds, memory = self.earlier()
        attempt = {'folder': str(self.folder), 'started': time.time()}
        attempt |= {'seconds': seconds, 'memory_mb': memory}
        write_json(self.folder / 'attempt.json', attempt)
        words = [*self.words('fit', self.folder, 'fit'), *EVERY_EPOCH]
        words += [] if last is None else [f'--ckpt_path={last}']
        used = self.processes.run(words, self.log('fit'), self.descriptor)
        total = Usage(used.seconds + seconds, max(used.memory_mb, memory))
        write_json(self.folder / 'fit.json', vars(total))

    def earlier(self) -> tuple[Path | None, float, float]:
        """Find what an interrupted training has left.

        Returns:
            Its last checkpoint, the seconds that led to it, and the largest memory
            known.
        """
        attempt = read_json(self.folder / 'attempt.json')
        last = last_checkpoint(self.checkpoints)
        # Lightning only remembers its best checkpoints if their folder has not moved.
        if last is None or attempt is None or attempt['folder'] != str(self.folder):
            shutil.rmtree(self.folder / 'fit', ignore_errors=True)
            return None, 0.0, 0.0
        # Lightning starts its table anew.
        metrics = self.folder / 'fit' / 'metrics.csv'
        if metrics.exists():
            number = 1 + len(list(metrics.parent.glob('metrics-*.csv')))
            metrics.rename(metrics.with_name(f'metrics-{number}.csv'))
        seconds = max(0.0, last.stat().st_mtime - attempt['started'])
        return last, attempt['seconds'] + seconds, attempt['memory_mb']

    def test(self, split: str, selection: Selection) -> None:
        """Test on one split."""
        if self.tested(split).exists():
            return
        folder, name = self.folder / 'tests', folder_name(split)
        shutil.rmtree(folder / name, ignore_errors=True)
        words = self.words('test', folder, name) + as_words(self.run.splits[split])
        words += [f'--ckpt_path={selection.path}']
        used = self.processes.run(words, self.log(f'test {name}'), self.descriptor)
        found = {'seconds': used.seconds} | read_test(folder / name)
        write_json(self.tested(split), found)

    def words(self, command: str, folder: Path, name: str) -> list[str]:
        """Write a command as for ``torchgeo``."""
        refuse_edited(self.run)
        return [
            command,
            *(f'--config={path}' for path in self.run.configs),
            *as_words(self.run.arguments),
            f'--seed_everything={self.run.seed}',
            f'--trainer.default_root_dir={folder}',
            '--trainer.enable_progress_bar=false',
            '--trainer.logger=CSVLogger',
            f'--trainer.logger.save_dir={folder}',
            f'--trainer.logger.name={name}',
            '--trainer.logger.version=',
        ]

    def tested(self, split: str) -> Path:
        """Name the file for what a test gave."""
        return self.folder / 'tests' / f'{folder_name(split)}.json'

    def log(self, name: str) -> Path:
        """Name the file for what a process prints."""
        return self.folder / 'logs' / f'{name}.txt'

    def result(self, selection: Selection) -> dict[str, Any]:
        """Put together what came out."""
        tests = {split: read_json(self.tested(split)) for split in self.run.splits}
        return {
            'method': self.run.method,
            'fold': self.run.fold,
            'seed': self.run.seed,
            'hash': self.run.hash,
            'selection': selection.rule,
            'checkpoint': str(selection.path.relative_to(self.folder)),
            'fit': read_json(self.folder / 'fit.json'),
            'tests': tests,
            'versions': {name: importlib.metadata.version(name) for name in PACKAGES},
            'host': socket.gethostname(),
        }


def read_test(folder: Path) -> dict[str, Any]:
    """Read what a test has written.

    Args:
        folder: Its folder.

    Returns:
        Metrics of the whole split, those of each domain, and which domains do not
        compete with others.

    Raises:
        StepError: If it has written nothing.
    """
    if not (folder / 'metrics.csv').exists():
        raise StepError(f'the test has written no {folder / "metrics.csv"}')
    metrics: dict[str, float] = {}
    for row in read_rows(folder / 'metrics.csv'):
        whole = {k: v for k, v in row.items() if k.startswith('test_') and v}
        metrics |= {k.removeprefix('test_'): float(v) for k, v in whole.items()}
    # Tasks that are not of this package write none.
    table = folder / 'domains.csv'
    rows = read_rows(table) if table.exists() else []
    domains = {
        row['domain']: {k: float(v) for k, v in row.items() if k not in NO_METRIC and v}
        for row in rows
    }
    unranked = [row['domain'] for row in rows if row.get('ranked') == '0']
    return {'metrics': metrics, 'domains': domains, 'unranked': unranked}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def execute_alone(run: Run) -> str:
    """Do what is left of a run, in a process of its own, such as a job of a cluster.

    Args:
        run: The run.

    Returns:
        How far it is then.
    """
    return execute(run, Processes(jobs=1))
