# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The commands ``benchmark`` and ``report``."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .arguments import from_command_line
from .files import read_json, write_json
from .grid import Run, make_runs
from .launchers import run_locally, run_with_submitit
from .locks import RunLock
from .progress import Progress
from .states import State, refuse_changed, state_of
from .suite import find_suite, read_suite

if TYPE_CHECKING:
    import pandas as pd


def benchmark(
    name: str,
    out: Path,
    jobs: int = 1,
    launcher: str = 'local',
    parameters: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> None:
    """Carry out what is left of a suite.

    Args:
        name: Name or file of the suite.
        out: Folder to write.
        jobs: How many runs at a time, on this machine.
        launcher: 'local' or 'submitit'.
        parameters: Parameters of the launcher, as 'name=value'.
        extra: Arguments of all runs, as on a command line.

    Raises:
        SystemExit: If a run has failed, or the benchmark was interrupted.
        ValueError: If the suite is wrong, or a run in the folder has another
            configuration.
    """
    if jobs < 1:
        raise ValueError(f'--jobs must be at least 1, found {jobs}')
    suite = read_suite(*find_suite(name))
    runs = make_runs(suite, out, from_command_line(extra))
    refuse_changed(runs)
    write_json(out / 'suite.json', suite.table())
    if launcher == 'submitit':
        submit(runs, out, read_parameters(parameters))
        finish(runs, out)
        return
    interrupted = carry_out(runs, jobs)
    finish(runs, out)
    if interrupted:
        raise SystemExit(130)


def submit(runs: Sequence[Run], out: Path, parameters: dict[str, Any]) -> None:
    """Hand what is left to a cluster, and show how far all is."""
    left = [run for run in runs if state_of(run) is not State.DONE]
    if left:
        # A job of a run that another job works on, or has finished, ends at once.
        jobs = run_with_submitit(left, out / 'jobs', parameters)
        print(f'{len(jobs)} jobs, from {jobs[0].job_id} on: {out / "jobs"}')
        print(
            'The same command shows later how far they are, and submits what is left.'
        )
    Progress(runs, 1).close()


def carry_out(runs: Sequence[Run], jobs: int) -> bool:
    """Carry out runs on this machine, and show how far they are.

    Returns:
        Whether it was interrupted.
    """
    progress = Progress(runs, jobs)
    # Trainings end with this process also when a batch system asks it to end.
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_locally(runs, jobs, progress)
    except KeyboardInterrupt:
        print('\nInterrupted: the same command goes on from here.')
        return True
    finally:
        signal.signal(signal.SIGTERM, former)
        progress.close()
    return False


def finish(runs: Sequence[Run], out: Path) -> None:
    """Write the table of results, and say what is not done.

    Raises:
        SystemExit: If a run has failed.
    """
    from .results import write_results

    write_results(out)
    print(f'Results: {out / "results.csv"}')
    for run in runs:
        if state_of(run) is State.RUNNING:
            owner = RunLock(run.folder / 'lock').owner()
            print(
                f'{run.name} is under way: process {owner.get("pid")} of'
                f' {owner.get("host")}. If that one is dead, delete'
                f' {run.folder / "lock"}'
            )
    failed = [run for run in runs if state_of(run) is State.FAILED]
    for run in failed:
        error = read_json(run.folder / 'failure.json')['error']
        print(f'\n{run.name} failed ({run.folder / "logs"}):\n{error}', file=sys.stderr)
    if failed:
        raise SystemExit(1)


def read_parameters(given: Sequence[str]) -> dict[str, Any]:
    """Read parameters of a launcher, which tells numbers from text."""
    for parameter in given:
        if '=' not in parameter:
            raise ValueError(f'expected name=value, found {parameter!r}')
    parts = [parameter.partition('=') for parameter in given]
    return {name: yaml.safe_load(value) for name, _, value in parts}


def report(out: Path, metric: str | None = None, baseline: str | None = None) -> None:
    """Print the tables of a benchmark, and write them with their figure.

    Args:
        out: Folder of the benchmark. It gets ``report.md``, ``.tex`` and ``.png``.
        metric: Name of the metric. Default: that of the suite.
        baseline: Label of the baseline. Default: that of the suite.

    Raises:
        ValueError: If there are no results, or not those asked for.
    """
    from .compare import Row
    from .figure import draw
    from .results import read_results
    from .tables import make_table
    from .text import to_latex, to_markdown

    frame = read_results(out)
    known: dict[str, Any] = {'title': out.name, 'validation': '', 'rows': []}
    known |= {'metric': 'OverallAccuracy', 'baseline': frame['method'].iloc[0]}
    known |= read_json(out / 'suite.json') or {}
    rows = [Row(*row) for row in known['rows']]
    metric, baseline = metric or known['metric'], baseline or known['baseline']
    tables = [
        make_table(frame, split, rows, baseline, metric)
        for split in frame['split'].unique()
    ]
    texts = [to_markdown(table, known['validation']) for table in tables]
    text = '\n\n'.join([f'## {known["title"]}', *texts, *mixed_versions(frame)])
    print(text)
    (out / 'report.md').write_text(text + '\n', encoding='utf-8')
    latex = '\n\n'.join(to_latex(table, known['validation']) for table in tables)
    (out / 'report.tex').write_text(latex + '\n', encoding='utf-8')
    draw(tables).savefig(out / 'report.png', dpi=150)


def mixed_versions(frame: 'pd.DataFrame') -> list[str]:
    """Warn of runs that were made with several versions of a package."""
    from .execute import PACKAGES

    notes = []
    for name in PACKAGES:
        versions = frame[name.replace('-', '_')].unique()
        if len(versions) > 1:
            listed = ', '.join(sorted(map(str, versions)))
            notes.append(f'Runs were made with several versions of {name}: {listed}.')
    return notes
