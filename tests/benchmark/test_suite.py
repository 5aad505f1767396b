# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What a suite may say, and the runs that come of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from torchgeo_experts.benchmark.arguments import (
    as_words,
    extend,
    from_command_line,
    merge,
    to_arguments,
)
from torchgeo_experts.benchmark.grid import make_runs
from torchgeo_experts.benchmark.states import differences
from torchgeo_experts.benchmark.suite import find_suite, folder_name, read_suite
from torchgeo_experts.shipped import config_names, config_path

SUITE = {
    'configs': ['erm/synthetic_earth'],
    'overrides': {'trainer.max_epochs': 2, 'data.init_args.shift': 0.5},
    'methods': {
        'ERM': None,
        'V-REx': {
            'configs': ['objectives/vrex'],
            'overrides': {'trainer.max_epochs': 3},
        },
        'CoDEX': {
            'base': ['codex/synthetic_earth'],
            'decisions': {'uniform': 'Uniform'},
        },
    },
    'seeds': [0, 3],
    'leave_out': {'argument': 'data.init_args.test_domains', 'domains': ['a', 'b']},
}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / 'suite.yaml'
    given = {k: v for k, v in (SUITE | changes).items() if v is not None}
    path.write_text(yaml.safe_dump(given, sort_keys=False))
    return path


def test_grid(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path))
    runs = make_runs(suite, tmp_path, (('data.init_args.shift', '1'),))
    assert len(runs) == 3 * 2 * 2
    # What can be compared is there early.
    assert [(r.method, r.fold, r.seed) for r in runs[:4]] == [
        ('ERM', 'a', 0),
        ('V-REx', 'a', 0),
        ('CoDEX', 'a', 0),
        ('ERM', 'b', 0),
    ]
    vrex = runs[1]
    assert vrex.configs == tuple(
        map(config_path, ('erm/synthetic_earth', 'objectives/vrex'))
    )
    assert dict(vrex.arguments) == {
        'trainer.max_epochs': '3',
        'data.init_args.test_domains': '["a"]',
        'data.init_args.shift': '1',
    }
    assert runs[2].configs == (config_path('codex/synthetic_earth'),)
    assert vrex.folder == tmp_path / 'runs/V-REx/a/0'
    assert len({run.hash for run in runs}) == len(runs)
    assert suite.table()['rows'] == [
        ['ERM', 'ERM', ''],
        ['V-REx', 'V-REx', ''],
        ['CoDEX', 'CoDEX', ''],
        ['uniform', 'CoDEX', 'Uniform'],
    ]


def test_hash_is_of_what_files_say(tmp_path: Path) -> None:
    own = tmp_path / 'own.yaml'
    own.write_text('model: {init_args: {lr: 0.1}}\n')
    path = write(tmp_path, methods={'A': {'configs': ['own.yaml']}})
    first = make_runs(read_suite(path), tmp_path)[0]
    assert first.configs[1] == own
    own.write_text('# The same.\nmodel:\n  init_args:\n    lr: 0.1\n')
    same = make_runs(read_suite(path), tmp_path / 'elsewhere')[0]
    assert same.hash == first.hash
    own.write_text('model: {init_args: {lr: 0.2}}\n')
    other = make_runs(read_suite(path), tmp_path)[0]
    assert other.hash != first.hash
    found = list(differences(first.configuration, other.configuration))
    assert found == ['configs.1.model.init_args.lr was 0.1 and is 0.2']


@pytest.mark.parametrize(
    'changes', [{'select': 'best'}, {'splits': {'test': {'a.b': 1}}}, {'seeds': [1, 3]}]
)
def test_hash_is_of_all_that_matters(tmp_path: Path, changes: dict[str, Any]) -> None:
    before = make_runs(read_suite(write(tmp_path)), tmp_path)
    after = make_runs(read_suite(write(tmp_path, **changes)), tmp_path)
    assert before[0].hash != after[0].hash


def test_groups_of_domains_and_folds_by_hand(tmp_path: Path) -> None:
    groups = {'argument': 'data.test', 'domains': {'north': ['a', 'b'], 'south': ['c']}}
    suite = read_suite(write(tmp_path, leave_out=groups))
    assert suite.folds['north'] == (('data.test', '["a", "b"]'),)
    folds = {'one': {'data.x': 1}, 'two': {'data.x': None}}
    suite = read_suite(write(tmp_path, leave_out=None, folds=folds))
    assert dict(suite.folds) == {
        'one': (('data.x', '1'),),
        'two': (('data.x', 'null'),),
    }
    assert list(read_suite(write(tmp_path, leave_out=None)).folds) == ['all']


def test_several_data_sets(tmp_path: Path) -> None:
    methods = {
        'ERM': {},
        'CoDEX': {'base': ['codex/{data}']},
        'ClassMix': {'configs': ['objectives/class_mix'], 'data': ['muds']},
    }
    path = write(
        tmp_path,
        data=['muds', 'fmow'],
        configs=['erm/{data}'],
        methods=methods,
        metric={'muds': 'AverageJaccardIndex', 'fmow': 'OverallAccuracy'},
    )
    muds, fmow = (read_suite(path, data) for data in ('muds', 'fmow'))
    assert [m.label for m in muds.methods] == ['ERM', 'CoDEX', 'ClassMix']
    assert [m.label for m in fmow.methods] == ['ERM', 'CoDEX']
    assert fmow.methods[1].configs == (config_path('codex/fmow'),)
    assert (muds.metric, fmow.metric) == ('AverageJaccardIndex', 'OverallAccuracy')
    for data in (None, 'oscd'):
        with pytest.raises(ValueError, match='behind a colon, of muds, fmow'):
            read_suite(path, data)


def left_out(domains: Any) -> dict[str, Any]:
    return {'argument': 'data.test', 'domains': domains}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'method': {}}, 'unknown method; known are'),
        ({'methods': {'A': {'config': []}}}, 'method A: unknown config'),
        (
            {'methods': {'A': {'configs': ['erm/nothing']}}},
            "no configuration 'erm/noth",
        ),
        ({'methods': {'A': ['erm/fmow']}}, 'expected "name: value"'),
        ({'methods': {}}, 'no methods'),
        ({'configs': []}, 'the method ERM has no configs'),
        ({'methods': {'a b': {}, 'a/b': {}}}, 'too much alike'),
        ({'methods': {'erm': {}, 'ERM': {}}}, 'too much alike'),
        ({'seeds': []}, 'seeds must be different'),
        ({'seeds': [1, 1]}, 'seeds must be different'),
        ({'seeds': [-1]}, 'seeds must be different numbers from 0'),
        ({'seeds': ['one']}, 'seeds must be different numbers from 0'),
        ({'seeds': 3}, 'seeds must be different numbers from 0'),
        ({'select': 'first'}, 'select must be last or best'),
        ({'folds': {'a': {}}}, 'either folds or leave_out'),
        ({'leave_out': None, 'folds': {}}, 'must not be empty'),
        ({'splits': {}}, 'must not be empty'),
        ({'baseline': 'SVM'}, "baseline 'SVM' is none"),
        ({'leave_out': {'arguments': 1}}, 'leave_out: unknown arguments'),
        ({'leave_out': {'argument': 'a.b'}}, 'give both argument and domains'),
        ({'leave_out': left_out('France')}, "expected a list, found 'France'"),
        ({'leave_out': left_out([])}, 'expected a list'),
        ({'leave_out': left_out({'north': 'Norway'})}, "north: .* found 'Norway'"),
        # As YAML reads NO, for Norway.
        ({'leave_out': left_out([False])}, 'found False: put it in quotes'),
        ({'configs': 'erm/fmow'}, 'a list of names'),
        ({'methods': {'A': {'base': None}}}, 'a list of names'),
        ({'methods': {'A': {'data': ['muds']}}}, 'not for the data set muds'),
        ({'methods': {'two\nlines': {}}}, 'must be one line'),
        ({'metric': 3}, 'metric must be a name'),
        (
            {'methods': {'A': {'decisions': {'A': 'Uniform'}}}},
            "different names, found 'A' more than once",
        ),
        (
            {'methods': {m: {'decisions': {'both': 'Uniform'}} for m in 'AB'}},
            "'both' more than once",
        ),
    ],
)
def test_errors(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_suite(write(tmp_path, **changes))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('methods: {ERM: {}}\nmethods: {CoDEX: {}}', "'methods' is said twice"),
        ('methods:\n  ERM: {}\n  ERM: {}', "'ERM' is said twice"),
        ('configs: [erm/{data}]', 'cannot be read as YAML'),
        ('- ERM', 'expected "name: value"'),
        ('5: {}', 'unknown 5; known are'),
    ],
)
def test_errors_of_yaml(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / 'suite.yaml'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_suite(path)


def test_merged_values_may_be_changed(tmp_path: Path) -> None:
    path = tmp_path / 'suite.yaml'
    path.write_text("""
configs: [erm/synthetic_earth]
methods:
  A: {overrides: &both {a.b: 1, a.c: 2020-01-31}}
  B: {overrides: {<<: *both, a.b: 2}}
""")
    one, other = read_suite(path).methods
    assert dict(one.arguments) == {'a.b': '1', 'a.c': '"2020-01-31"'}
    assert dict(other.arguments) == {'a.b': '2', 'a.c': '"2020-01-31"'}


def test_finding(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert find_suite(str(path)) == (path, None)
    shipped, data = find_suite('codex-table2:muds')
    assert shipped.stem == 'codex-table2' and data == 'muds'
    with pytest.raises(ValueError, match="no suite 'nothing', choose one of: codex-"):
        find_suite('nothing')
    with pytest.raises(ValueError, match='no file'):
        find_suite('nothing.yaml')
    with pytest.raises(ValueError, match='one data set only'):
        read_suite(path, 'muds')
    assert not any(name.startswith('suites/') for name in config_names())


def test_arguments() -> None:
    given = {'a.b': 'text', 'a.c': [1, 'x'], 'a.d': None, 'a.e': True, 'a.f': -1e-3}
    found = to_arguments(given)
    values = ['text', '[1, "x"]', 'null', 'true', '-0.001']
    assert [value for _, value in found] == values
    assert as_words(found)[-1] == '--a.f=-0.001'
    # A class stands before its arguments, also where both are given anew.
    first, second = {'m.o': 'A', 'm.o.x': 1}, {'m.o': 'B', 'm.o.y': 2}
    merged = merge(to_arguments(first), to_arguments(second))
    assert merged == (('m.o.x', '1'), ('m.o', 'B'), ('m.o.y', '2'))
    # What says the same anew changes nothing.
    assert merge(found, found[:2]) == found
    # Lists grow, and what stands in a suite stays.
    given = (('t.callbacks+', 'A'), ('t.epochs', '2'))
    more = (('t.callbacks+', 'B'), ('t.epochs', '3'))
    assert extend(given, more) == (*given[:1], *more[::-1])


def test_command_line() -> None:
    words = ['--a.b', '-1', '--a.c=x=y', '--a.d=']
    assert from_command_line(words) == (('a.b', '-1'), ('a.c', 'x=y'), ('a.d', ''))
    for wrong in (['a.b', '1'], ['--jops', '2'], ['--a.b']):
        with pytest.raises(ValueError, match=r'unrecognized argument|has no value'):
            from_command_line(wrong)


def test_folder_names() -> None:
    assert folder_name('V-REx (target), 0.1') == 'V-REx_target_0.1'
    assert folder_name('../..') == '_'
    assert folder_name('北京') != folder_name('上海')
