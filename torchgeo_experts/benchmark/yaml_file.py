# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Files that people write: read such that a slip of the pen is told."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """YAML in which nothing is said twice."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, Any]:
        """Read a mapping, and refuse one that has a key twice."""
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise yaml.MarkedYAMLError(
                    problem=f'{name!r} is said twice', problem_mark=key.start_mark
                )
            # What is merged from elsewhere ("<<") is there to be changed.
            if name is not None and key.tag != 'tag:yaml.org,2002:merge':
                seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read a file that holds a mapping.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        ValueError: If it is no YAML, no mapping, or has a name twice.
    """
    try:
        said = yaml.load(path.read_text(encoding='utf-8'), Loader)
    except yaml.YAMLError as error:
        raise ValueError(
            f'{path} cannot be read as YAML: {error}\n(Text with braces or colons needs'
            ' quotes.)'
        ) from error
    return mapping(said, str(path))


def mapping(said: Any, where: str) -> Mapping[str, Any]:
    """Take what should be a mapping, or nothing."""
    if said is None:
        return {}
    if not isinstance(said, Mapping):
        raise ValueError(f'{where}: expected "name: value", found {said!r}')  # noqa: TRY004
    return said


def names(said: Any, where: str) -> list[str]:
    """Take what should be a list of texts."""
    if not isinstance(said, list) or not all(isinstance(x, str) for x in said):
        raise ValueError(f'{where}: expected a list of names, [a, b], found {said!r}')
    return said


def one_line(said: Any, where: str) -> str:
    """Take what should be a name: text of one line, or a number."""
    # YAML takes NO, on and the like for false and true.
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        raise ValueError(  # noqa: TRY004
            f'{where}: expected a name, found {said!r}: put it in quotes'
        )
    if len(str(said).splitlines()) != 1:
        raise ValueError(f'{where}: a name must be one line, found {said!r}')
    return str(said)


def check_keys(given: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse what is not known, which may be a typo."""
    if unknown := set(given) - known:
        raise ValueError(
            f'{where}: unknown {", ".join(sorted(map(str, unknown)))}; known are'
            f' {", ".join(sorted(known))}'
        )
