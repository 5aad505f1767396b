# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What a suite of runs is, read from YAML."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from ..shipped import config_names, config_path, suite_path
from .arguments import Arguments, to_arguments

#: Name of the only fold of a suite that has none.
ALL = 'all'

#: What a file may say, and what each of its methods may say.
KEYS = {
    *('title', 'configs', 'overrides', 'methods', 'seeds', 'folds', 'leave_out'),
    *('splits', 'select', 'validation', 'metric', 'baseline', 'data'),
}
METHOD_KEYS = {'base', 'configs', 'overrides', 'decisions', 'data'}

#: What stands for the name of a data set in the names of configurations.
DATA = '{data}'


@dataclass(frozen=True)
class Method:
    """One way to train.

    Args:
        label: Its name in tables.
        configs: YAML files, the first ones changed by later ones.
        arguments: What changes them, for this method.
        decisions: Further rows of a table: their names, and what stands before their
            metrics, such as 'Uniform'.
    """

    label: str
    configs: tuple[Path, ...]
    arguments: Arguments
    decisions: Mapping[str, str]


@dataclass(frozen=True)
class Suite:
    """A grid of runs.

    Args:
        title: Title of its table.
        methods: Ways to train.
        arguments: What changes the files of all methods.
        folds: Arguments of each fold.
        seeds: Seeds of the runs.
        splits: Arguments of each test.
        select: Which checkpoint is tested: the 'last' one, or the 'best' one on the
            validation split.
        validation: What the validation split is, for the table.
        metric: What is compared, unless something else is asked for.
        baseline: Label of the method that all are compared with.
    """

    title: str
    methods: tuple[Method, ...]
    arguments: Arguments
    folds: Mapping[str, Arguments]
    seeds: tuple[int, ...]
    splits: Mapping[str, Arguments]
    select: Literal['last', 'best']
    validation: str
    metric: str
    baseline: str

    def table(self) -> dict[str, Any]:
        """Tell what a table of the runs needs to know.

        Returns:
            Title, metric, baseline and the rows, in their order.
        """
        rows = []
        for method in self.methods:
            own = {method.label: ''} | dict(method.decisions)
            rows += [[label, method.label, rule] for label, rule in own.items()]
        return {
            'title': self.title,
            'validation': self.validation,
            'metric': self.metric,
            'baseline': self.baseline,
            'rows': rows,
        }


def find_suite(name: str) -> tuple[Path, str | None]:
    """Find a suite.

    Args:
        name: A file, or the name of a shipped suite, such as 'demo'; behind a colon the
            data set, if it is for several, such as 'codex-table2:muds'.

    Returns:
        Its file, and the data set.

    Raises:
        ValueError: If there is none.
    """
    given, _, data = name.partition(':')
    path = Path(given)
    if not path.is_file():
        if path.suffix in ('.yaml', '.yml'):
            raise ValueError(f'there is no file {given}')
        path = suite_path(given)
    return path, data or None


def read_suite(path: Path, data: str | None = None) -> Suite:
    """Read a suite.

    Args:
        path: The YAML file.
        data: Which data set, for a suite that is for several.

    Returns:
        The suite.

    Raises:
        ValueError: If something is missing, unknown, or said twice.
    """
    given = mapping(yaml.safe_load(path.read_text(encoding='utf-8')), path)
    check_keys(given, KEYS, str(path))
    check_data(given.get('data'), data, path)
    methods = read_methods(given, path, data)
    if given.get('select', 'last') not in ('last', 'best'):
        raise ValueError(f'{path}: select must be last or best')
    baseline = given.get('baseline', methods[0].label)
    if baseline not in (method.label for method in methods):
        raise ValueError(f'{path}: the baseline {baseline!r} is none of the methods')
    metric = given.get('metric', 'OverallAccuracy')
    title = given.get('title', path.stem)
    suite = Suite(
        title=title if data is None else f'{title}: {data}',
        methods=methods,
        arguments=to_arguments(mapping(given.get('overrides'), path)),
        folds=read_folds(given, path),
        seeds=tuple(given.get('seeds', [0])),
        splits=read_arguments(given.get('splits', {'test': {}}), path),
        select=given.get('select', 'last'),
        validation=given.get('validation', ''),
        metric=metric if isinstance(metric, str) else metric[data],
        baseline=baseline,
    )
    check_numbers(suite, path)
    for labels in ([m.label for m in methods], suite.folds, suite.splits):
        check_folders(labels, path)
    return suite


def check_data(known: list[str] | None, data: str | None, path: Path) -> None:
    """Refuse a data set that a suite is not for."""
    if known is None and data is not None:
        raise ValueError(f'{path} is for one data set only, found {data!r}')
    if known is not None and data not in known:
        raise ValueError(
            f'{path} is for several data sets: name one behind a colon, of'
            f' {", ".join(known)}'
        )


def read_methods(
    given: Mapping[str, Any], path: Path, data: str | None
) -> tuple[Method, ...]:
    """Read the methods of a suite that are for a data set."""
    methods = []
    for label, said in mapping(given.get('methods'), path).items():
        said = mapping(said, path)
        check_keys(said, METHOD_KEYS, f'{path}, method {label}')
        if data not in said.get('data', [data]):
            continue
        names = [*said.get('base', given.get('configs', [])), *said.get('configs', [])]
        if not names:
            raise ValueError(f'{path}: the method {label} has no configs')
        methods.append(
            Method(
                label=str(label),
                configs=tuple(
                    find_config(name.replace(DATA, str(data)), path.parent)
                    for name in names
                ),
                arguments=to_arguments(mapping(said.get('overrides'), path)),
                decisions=mapping(said.get('decisions'), path),
            )
        )
    if not methods:
        raise ValueError(f'{path} has no methods')
    return tuple(methods)


def find_config(name: str, folder: Path) -> Path:
    """Find a shipped configuration, or a file relative to a folder."""
    file = folder / name
    if name not in config_names() and file.is_file():
        return file.resolve()
    return config_path(name)


def read_folds(given: Mapping[str, Any], path: Path) -> dict[str, Arguments]:
    """Read the folds of a suite, or make those that leave domains out."""
    if 'folds' in given and 'leave_out' in given:
        raise ValueError(f'{path}: give either folds or leave_out')
    if 'leave_out' not in given:
        return read_arguments(given.get('folds', {ALL: {}}), path)
    said = mapping(given['leave_out'], path)
    check_keys(said, {'argument', 'domains'}, f'{path}, leave_out')
    domains = said['domains']
    if not isinstance(domains, Mapping):
        domains = {str(name): [name] for name in domains}
    argument = said['argument']
    return {fold: to_arguments({argument: left}) for fold, left in domains.items()}


def read_arguments(said: Any, path: Path) -> dict[str, Arguments]:
    """Read arguments that have a label."""
    labelled = mapping(said, path)
    if not labelled:
        raise ValueError(f'{path}: folds and splits must not be empty')
    return {str(k): to_arguments(mapping(v, path)) for k, v in labelled.items()}


def mapping(said: Any, path: Path) -> Mapping[str, Any]:
    """Take what should be a mapping, or nothing."""
    if said is None:
        return {}
    if not isinstance(said, Mapping):
        raise ValueError(f'{path}: expected "name: value", found {said!r}')  # noqa: TRY004
    return said


def check_keys(given: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse what is not known, which may be a typo."""
    if unknown := set(given) - known:
        raise ValueError(
            f'{where}: unknown {", ".join(sorted(unknown))}; known are'
            f' {", ".join(sorted(known))}'
        )


def check_numbers(suite: Suite, path: Path) -> None:
    """Refuse seeds that are none, or the same."""
    seeds = suite.seeds
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f'{path}: seeds must be different numbers, found {seeds}')
    if not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise ValueError(f'{path}: seeds must not be negative, found {seeds}')


def folder_name(label: str) -> str:
    """Make the name of a folder.

    Args:
        label: Any text.

    Returns:
        The same with '_' for what has a meaning to a shell.
    """
    return re.sub(r'[^A-Za-z0-9.+-]+', '_', label).strip('_.') or '_'


def check_folders(labels: Any, path: Path) -> None:
    """Refuse labels that would share a folder, also where cases do not differ."""
    names: dict[str, str] = {}
    for label in labels:
        other = names.setdefault(folder_name(label).lower(), label)
        if other != label:
            raise ValueError(f'{path}: {other!r} and {label!r} are too much alike')
