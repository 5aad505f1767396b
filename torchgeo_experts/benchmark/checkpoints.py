# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Checkpoints of a run: the one to go on from, and the one to test."""

import ast
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .processes import StepError

#: Name of the checkpoint that each training writes after each epoch.
LATEST = 'latest'

#: What makes it do so. With ``save_top_k: 0`` and ``save_last: true`` recent versions of
#: Lightning write last.ckpt at the end of training only, from which nothing can go on.
EVERY_EPOCH = (
    '--trainer.callbacks+=ModelCheckpoint',
    f'--trainer.callbacks.filename={LATEST}',
    '--trainer.callbacks.save_on_train_epoch_end=true',
    '--trainer.callbacks.enable_version_counter=false',
    # Nothing is monitored, so that the mode means nothing, but the states of callbacks of
    # one class are told apart by it.
    '--trainer.callbacks.mode=max',
)


@dataclass(frozen=True)
class Selection:
    """A checkpoint to test.

    Args:
        path: Its file.
        rule: Why this one, for the table.
    """

    path: Path
    rule: str


def last_checkpoint(folder: Path) -> Path | None:
    """Find the checkpoint to go on from.

    Args:
        folder: Folder of checkpoints.

    Returns:
        That of the last whole epoch, None if there is none. A damaged file does not
        count.
    """
    path = folder / f'{LATEST}.ckpt'
    return path if zipfile.is_zipfile(path) else None


def select_checkpoint(folder: Path, select: str) -> Selection:
    """Find the checkpoint to test.

    Args:
        folder: Folder of checkpoints.
        select: 'last', or 'best' by what the training monitored.

    Returns:
        The checkpoint.

    Raises:
        StepError: If there is none.
    """
    last = last_checkpoint(folder)
    if last is None:
        raise StepError(f'the training has left no checkpoint in {folder}')
    return Selection(last, 'last') if select == 'last' else best_checkpoint(last)


def best_checkpoint(last: Path) -> Selection:
    """Find the best checkpoint by what the last one remembers.

    File names would not tell: one of them may be from before an interruption.

    Args:
        last: The last checkpoint.

    Returns:
        The best one.

    Raises:
        StepError: If there is none, or more than one rule.
    """
    import torch

    states = torch.load(last, map_location='cpu', mmap=True, weights_only=True)
    found = [
        (arguments_of(key), state)
        for key, state in states['callbacks'].items()
        if key.startswith('ModelCheckpoint') and state.get('monitor')
    ]
    if len(found) != 1:
        raise StepError(
            f'select: best needs one ModelCheckpoint with a monitor, found {len(found)}'
        )
    ((arguments, state),) = found
    # Its folder may have another name on the machine that has trained.
    best = last.parent / Path(state['best_model_path']).name
    if not best.is_file():
        raise StepError(
            f'the best checkpoint {best} is missing: delete the folder of the run'
        )
    extreme = 'highest' if arguments.get('mode') == 'max' else 'lowest'
    return Selection(best, f'{extreme} {state["monitor"]}')


def arguments_of(key: str) -> dict[str, Any]:
    """Read the arguments in the name under which Lightning keeps a callback's state."""
    arguments: dict[str, Any] = ast.literal_eval(key.removeprefix('ModelCheckpoint'))
    return arguments
