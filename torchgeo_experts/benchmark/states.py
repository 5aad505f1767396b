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
    """Refuse runs whose folder has a run of another name or configuration.

    Args:
        runs: The runs.

    Raises:
        ValueError: If there is one; it says what differs.
    """
    for run in runs:
        now = description(run)
        kept = read_json(run.folder / 'config.json')
        if kept is None or kept == now:
            continue
        changes = differences(by_name(kept), by_name(now))
        raise ValueError(
            f'{run.folder} has a run of another configuration'
            f' ({next(changes, "arguments in another order")}): take another --out, or'
            ' delete that folder to run it anew'
        )


def refuse_edited(run: Run) -> None:
    """Refuse to go on with files that have changed since the command was given.

    Args:
        run: The run.

    Raises:
        ValueError: If one has.
    """
    for path, before, now in zip(run.configs, run.texts, run.read(), strict=True):
        if now != before:
            raise ValueError(
                f'{path} has been edited since the benchmark was started: undo it, or'
                ' take another --out'
            )


def keep_configuration(run: Run) -> None:
    """Write down what a run is.

    Args:
        run: The run.
    """
    write_json(run.folder / 'config.json', description(run))


def description(run: Run) -> dict[str, Any]:
    """Say what a run is: what ``config.json`` holds."""
    return {
        'method': run.method,
        'fold': run.fold,
        'seed': run.seed,
        'hash': run.hash,
        'configuration': run.configuration,
    }


def by_name(described: dict[str, Any]) -> dict[str, Any]:
    """Take what may differ between two runs, with arguments by name."""
    configuration = described['configuration']
    found = {key: described[key] for key in ('method', 'fold')}
    return found | configuration | {'arguments': dict(configuration['arguments'])}


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
