# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Arguments of TorchGeo's command line, from mappings and from a command line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

#: Arguments in the order in which they are given: name with dots, value as text.
Arguments = tuple[tuple[str, str], ...]


def to_arguments(overrides: Mapping[str, Any]) -> Arguments:
    """Write the values of a mapping as on a command line.

    Args:
        overrides: Values of names such as 'model.init_args.lr'.

    Returns:
        The same as text; what is no text becomes JSON, which YAML parsers read.
    """
    return tuple(
        # Dates, which YAML knows and JSON does not, become text.
        (str(name), value if isinstance(value, str) else json.dumps(value, default=str))
        for name, value in overrides.items()
    )


def merge(*parts: Arguments) -> Arguments:
    """Put arguments together.

    Args:
        *parts: Arguments; later ones win.

    Returns:
        One value of each name. One that is given another value goes to the end, since the
        class of an object has to stand before its arguments.
    """
    merged: dict[str, str] = {}
    for name, value in (pair for part in parts for pair in part):
        if merged.get(name) != value:
            merged.pop(name, None)
            merged[name] = value
    return tuple(merged.items())


def extend(arguments: Arguments, extra: Arguments) -> Arguments:
    """Put arguments of a command line behind others.

    Args:
        arguments: The others.
        extra: Those of a command line. They win, and one with a name such as
            'trainer.callbacks+' adds to a list.

    Returns:
        All arguments.
    """
    added = tuple(pair for pair in extra if pair[0].endswith('+'))
    return (*merge(arguments, tuple(p for p in extra if p not in added)), *added)


def from_command_line(words: Sequence[str]) -> Arguments:
    """Read ``--name value`` and ``--name=value``.

    Args:
        words: Words of a command line.

    Returns:
        The arguments.

    Raises:
        ValueError: If a name or a value is missing.
    """
    found, left = [], list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.removeprefix('--').partition('=')
        if not word.startswith('--') or '.' not in name:
            raise ValueError(
                f'unrecognized argument: {word} (those of all runs have dots, such as'
                ' --trainer.max_epochs 1)'
            )
        if not equals and not left:
            raise ValueError(f'{word} has no value')
        found.append((name, value if equals else left.pop(0)))
    return tuple(found)


def as_words(arguments: Arguments) -> list[str]:
    """Write arguments as words of a command.

    Args:
        arguments: Arguments.

    Returns:
        The words. Name and value are one word, as a value may begin with a dash.
    """
    return [f'--{name}={value}' for name, value in arguments]
