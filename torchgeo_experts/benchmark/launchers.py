# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Where runs are carried out: processes of this machine, or jobs of a cluster."""

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from .execute import execute, execute_alone
from .grid import Run
from .processes import Processes
from .progress import Progress
from .states import State

#: Seconds between two looks at the state of the runs.
PERIOD = 1.0


def run_locally(runs: Sequence[Run], jobs: int, progress: Progress) -> None:
    """Carry out runs in processes of this machine.

    Args:
        runs: The runs.
        jobs: How many at a time.
        progress: Shows how far they are.

    Raises:
        ValueError: If a folder has a run of another configuration.
    """
    processes = Processes(jobs)
    with ThreadPoolExecutor(jobs) as pool:
        try:
            waiting: set[Future[State]] = {
                pool.submit(execute, run, processes) for run in runs
            }
            while waiting:
                progress.show()
                done, waiting = wait(waiting, PERIOD, FIRST_COMPLETED)
                for future in done:
                    future.result()
            progress.show()
        except BaseException:
            # Also for Ctrl-C: threads are waited for when the pool ends.
            processes.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_with_submitit(
    runs: Sequence[Run], folder: Path, parameters: Mapping[str, Any]
) -> list[Any]:
    """Carry out runs as jobs of a cluster, one job a run.

    Args:
        runs: The runs.
        folder: Folder for the files of the launcher, seen by all machines.
        parameters: Parameters of submitit's executor, such as ``timeout_min`` and
            ``slurm_partition``.

    Returns:
        The jobs, as submitit has them. They go on if this process ends.

    Raises:
        ValueError: If submitit is not installed.
    """
    try:
        import submitit
    except ImportError as error:
        raise ValueError(
            'the launcher submitit is not installed: pip install'
            ' torchgeo-experts[slurm]'
        ) from error
    executor = submitit.AutoExecutor(folder=folder)
    executor.update_parameters(**parameters)
    jobs: list[Any] = executor.map_array(execute_alone, list(runs))
    return jobs
