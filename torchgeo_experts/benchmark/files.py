# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Small JSON files that are there as a whole or not at all."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file such that others never see a part of it.

    Args:
        path: The file.
        write: Writes to the path that it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of the same folder, as a file can only be moved at once within one file system.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix='.', suffix=path.suffix)
    os.close(handle)
    unfinished = Path(name)
    try:
        write(unfinished)
        with unfinished.open('rb+') as file:
            os.fsync(file.fileno())  # or a power cut may leave it empty
        unfinished.chmod(0o644)  # others may work on the folder
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file.

    Args:
        path: The file.
        content: What it shall hold.
    """
    text = json.dumps(content, indent=1)
    replace(path, lambda file: file.write_text(text, encoding='utf-8'))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file.

    Returns:
        What it holds, None if there is none.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f'{path} is damaged ({error}): delete it') from error
