# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What is known of a run from its folder."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

from .files import read_json, write_json
from .grid import Run


class State(StrEnum):
    """How far a run is."""

    DONE = 'done'
    RUNNING = 'running'
    FAILED = 'failed'
    LEFT = 'left'


def state_of(run: Run) -> State:
    """Tell how far a run is.

    Args:
        run: The run.

    Returns:
        Its state.
    """
    if (run.folder / 'result.json').exists():
        return State.DONE
    if (run.folder / 'lock').exists():
        return State.RUNNING
    failed = (run.folder / 'failure.json').exists()
    return State.FAILED if failed else State.LEFT


def refuse_changed(runs: Iterable[Run]) -> None:
    """Refuse runs whose folder has a run of another configuration.

    Args:
        runs: The runs.

    Raises:
        ValueError: If there is one; it says what differs.
    """
    for run in runs:
        kept = read_json(run.folder / 'config.json')
        if kept is not None and kept['hash'] != run.hash:
            changes = differences(kept['configuration'], run.configuration)
            raise ValueError(
                f'{run.folder} has a run of another configuration ({next(changes)}):'
                ' take another --out, or delete that folder to run it anew'
            )


def keep_configuration(run: Run) -> None:
    """Write down what a run is.

    Args:
        run: The run.
    """
    kept = {
        'method': run.method,
        'fold': run.fold,
        'seed': run.seed,
        'hash': run.hash,
        'configuration': run.configuration,
    }
    write_json(run.folder / 'config.json', kept)


def differences(old: Any, new: Any, name: str = '') -> Iterator[str]:
    """Tell where two configurations differ.

    Args:
        old: One of them.
        new: The other one.
        name: Name of the part that they are.

    Yields:
        Each difference, the first one first.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys: Iterable[Any] = dict.fromkeys([*old, *new])
        parts = [(key, old.get(key), new.get(key)) for key in keys]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = [(i, *pair) for i, pair in enumerate(zip(old, new, strict=True))]
    else:
        if old != new:
            yield f'{name} was {old!r} and is {new!r}'
        return
    for key, before, after in parts:
        yield from differences(before, after, f'{name}.{key}' if name else str(key))
