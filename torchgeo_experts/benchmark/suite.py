# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What a suite of runs is, read from YAML."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..shipped import config_names, config_path, suite_path
from .arguments import Arguments, to_arguments
from .yaml_file import check_keys, mapping, names, one_line, read_yaml

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
            own = [(method.label, ''), *method.decisions.items()]
            rows += [[label, method.label, rule] for label, rule in own]
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
        ValueError: If something is missing, unknown, of a wrong kind, or said twice.
    """
    given = read_yaml(path)
    check_keys(given, KEYS, str(path))
    check_data(given.get('data'), data, path)
    methods = read_methods(given, path, data)
    if given.get('select', 'last') not in ('last', 'best'):
        raise ValueError(f'{path}: select must be last or best')
    baseline = str(given.get('baseline', methods[0].label))
    if baseline not in (method.label for method in methods):
        raise ValueError(f'{path}: the baseline {baseline!r} is none of the methods')
    title = str(given.get('title', path.stem))
    suite = Suite(
        title=title if data is None else f'{title}: {data}',
        methods=methods,
        arguments=read_overrides(given, str(path)),
        folds=read_folds(given, path),
        seeds=read_seeds(given.get('seeds', [0]), path),
        splits=read_arguments(given.get('splits', {'test': {}}), f'{path}, splits'),
        select=given.get('select', 'last'),
        validation=str(given.get('validation', '')),
        metric=read_metric(given.get('metric', 'OverallAccuracy'), path, data),
        baseline=baseline,
    )
    check_labels([row[0] for row in suite.table()['rows']], path)
    for labels in ([m.label for m in methods], suite.folds, suite.splits):
        check_folders(labels, path)
    return suite


def check_data(known: Any, data: str | None, path: Path) -> None:
    """Refuse a data set that a suite is not for."""
    if known is None and data is not None:
        raise ValueError(f'{path} is for one data set only, found {data!r}')
    if known is not None and data not in names(known, f'{path}, data'):
        raise ValueError(
            f'{path} is for several data sets: name one behind a colon, of'
            f' {", ".join(known)}'
        )


def read_methods(
    given: Mapping[str, Any], path: Path, data: str | None
) -> tuple[Method, ...]:
    """Read the methods of a suite that are for a data set."""
    methods = []
    for name, said in mapping(given.get('methods'), f'{path}, methods').items():
        label = one_line(name, f'{path}, methods')
        where = f'{path}, method {label}'
        said = mapping(said, where)
        check_keys(said, METHOD_KEYS, where)
        if is_for(said, given.get('data', []), data, where):
            methods.append(
                read_method(label, said, given.get('configs', []), data, path)
            )
    if not methods:
        raise ValueError(f'{path} has no methods')
    return tuple(methods)


def is_for(
    said: Mapping[str, Any], known: Sequence[str], data: str | None, where: str
) -> bool:
    """Tell whether a method is for a data set."""
    if 'data' not in said:
        return True
    own = names(said['data'], f'{where}, data')
    if unknown := set(own) - set(known):
        raise ValueError(
            f'{where}: the suite is not for the data set {", ".join(sorted(unknown))}'
        )
    return data in own


def read_method(
    label: str, said: Mapping[str, Any], shared: Any, data: str | None, path: Path
) -> Method:
    """Read one method."""
    where = f'{path}, method {label}'
    base = names(said.get('base', shared), f'{where}, base or configs of all')
    found = [*base, *names(said.get('configs', []), f'{where}, configs')]
    if not found:
        raise ValueError(f'{path}: the method {label} has no configs')
    decisions = mapping(said.get('decisions'), f'{where}, decisions').items()
    return Method(
        label=label,
        configs=tuple(
            find_config(name.replace(DATA, str(data)), path.parent) for name in found
        ),
        arguments=read_overrides(said, where),
        decisions={
            one_line(row, f'{where}, decisions'): one_line(rule, f'{where}, {row}')
            for row, rule in decisions
        },
    )


def find_config(name: str, folder: Path) -> Path:
    """Find a shipped configuration, or a file relative to a folder."""
    file = folder / name
    if name not in config_names() and file.is_file():
        return file.resolve()
    return config_path(name)


def read_overrides(said: Mapping[str, Any], where: str) -> Arguments:
    """Read arguments that change the files."""
    return to_arguments(mapping(said.get('overrides'), f'{where}, overrides'))


def read_folds(given: Mapping[str, Any], path: Path) -> dict[str, Arguments]:
    """Read the folds of a suite, or make those that leave domains out."""
    if 'folds' in given and 'leave_out' in given:
        raise ValueError(f'{path}: give either folds or leave_out')
    if 'leave_out' not in given:
        return read_arguments(given.get('folds', {ALL: {}}), f'{path}, folds')
    where = f'{path}, leave_out'
    said = mapping(given['leave_out'], where)
    check_keys(said, {'argument', 'domains'}, where)
    if set(said) != {'argument', 'domains'}:
        raise ValueError(f'{where}: give both argument and domains')
    domains = said['domains']
    if isinstance(domains, list):
        domains = {one_line(name, f'{where}, domains'): [name] for name in domains}
    if not isinstance(domains, Mapping) or not domains:
        raise ValueError(f'{where}, domains: expected a list, found {domains!r}')
    folds = {}
    for name, left in domains.items():
        fold = one_line(name, f'{where}, domains')
        if not isinstance(left, list):
            raise ValueError(f'{where}, {fold}: expected a list, found {left!r}')  # noqa: TRY004
        folds[fold] = to_arguments({said['argument']: left})
    return folds


def read_arguments(said: Any, where: str) -> dict[str, Arguments]:
    """Read arguments that have a label."""
    labelled = mapping(said, where)
    if not labelled:
        raise ValueError(f'{where} must not be empty')
    return {
        one_line(label, where): to_arguments(mapping(each, f'{where}, {label}'))
        for label, each in labelled.items()
    }


def read_seeds(said: Any, path: Path) -> tuple[int, ...]:
    """Read seeds: different whole numbers."""
    seeds = said if isinstance(said, list) else []
    whole = all(type(seed) is int and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise ValueError(
            f'{path}: seeds must be different numbers from 0 on, [0, 1], found {said!r}'
        )
    return tuple(seeds)


def read_metric(said: Any, path: Path, data: str | None) -> str:
    """Read the name of a metric, which may be another one for each data set."""
    found = said.get(data) if isinstance(said, Mapping) else said
    if not isinstance(found, str):
        raise ValueError(f'{path}: metric must be a name, found {said!r}')  # noqa: TRY004
    return found


def check_labels(labels: Sequence[str], path: Path) -> None:
    """Refuse rows of a table that have the same name."""
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ValueError(
            f'{path}: methods and decisions must have different names, found'
            f' {", ".join(map(repr, twice))} more than once'
        )


def folder_name(label: str) -> str:
    """Make the name of a folder.

    Args:
        label: Any text.

    Returns:
        The same with '_' for what has a meaning to a shell. Letters of all languages
        stay.
    """
    return re.sub(r'[^\w.+-]+', '_', label).strip('_.') or '_'


def check_folders(labels: Any, path: Path) -> None:
    """Refuse labels that would share a folder, also where cases do not differ."""
    names: dict[str, str] = {}
    for label in labels:
        other = names.setdefault(folder_name(label).lower(), label)
        if other != label:
            raise ValueError(f'{path}: {other!r} and {label!r} are too much alike')
