# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Every command of every shipped suite is one that the real command line takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ActionConfigFile, ArgumentError
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser
from torchgeo.datamodules import BaseDataModule
from torchgeo.tasks import BaseTask

from torchgeo_experts.__main__ import know_short_names
from torchgeo_experts.benchmark.arguments import as_words
from torchgeo_experts.benchmark.checkpoints import EVERY_EPOCH
from torchgeo_experts.benchmark.execute import Steps
from torchgeo_experts.benchmark.grid import Run, make_runs
from torchgeo_experts.benchmark.processes import Processes
from torchgeo_experts.benchmark.suite import Suite, read_suite
from torchgeo_experts.shipped import suite_names, suite_path

NAMED = {
    *('demo', 'codex-table2', 'codex-table3', 'codex-table4', 'codex-figure5'),
    *('moge-fmow', 'moge-lao', 'moge-iwildcam', 'eurosat-countries'),
    'eurosat-sites',
}

TARGET = {'StyleAugment', 'CORAL', 'Pseudo labels', 'AdvEnt', 'DANN', 'MaxSquare'}
#: Rows of the papers' tables.
PAPERS = {
    ('codex-table2', 'dynamicearthnet'): {
        *('Baseline', *TARGET, 'ClassMix', 'Contrastive Seg.', 'D3G', 'CoDEX', 'Oracle')
    },
    ('codex-table2', 'fmow'): {
        *('Baseline', *TARGET, 'DOFA', 'D3G', 'CoDEX', 'Oracle')
    },
    ('moge-fmow', None): {
        *('MoGE', 'ERM+LE', 'D3G', 'D3G+WRAP', 'Per Region Models', 'MoGE-SE', 'ERM'),
        *('GroupDRO', 'IRM', 'Fish', 'Mixup', 'VREx', 'RDM'),
    },
    ('moge-iwildcam', None): {
        *('MoGE', 'MoGE-SE', 'ERM', 'GroupDRO', 'IRM', 'DeepCoral')
    },
    ('moge-lao', None): {'MoGE+SatCLIP', 'ERM', 'Fish', 'VREx'},
}


@pytest.fixture(scope='module')
def parser() -> LightningArgumentParser:
    """Make the parser of ``torchgeo fit``, which makes no objects."""
    know_short_names()
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_argument('--config', action=ActionConfigFile)
    parser.add_argument('--seed_everything', type=bool | int, default=0)
    parser.add_argument('--ckpt_path', type=str)
    parser.add_lightning_class_args(Trainer, 'trainer')
    parser.add_lightning_class_args(BaseTask, 'model', subclass_mode=True)
    parser.add_lightning_class_args(BaseDataModule, 'data', subclass_mode=True)
    return parser


def all_suites() -> Iterator[Any]:
    for name in suite_names():
        given = yaml.safe_load(suite_path(name).read_text())
        for data in given.get('data', [None]):
            yield pytest.param(
                name, data, id=name if data is None else f'{name}:{data}'
            )


def commands(run: Run) -> Iterator[list[str]]:
    steps = Steps(run, Processes(), -1)
    yield [*steps.words('fit', run.folder, 'fit')[1:], *EVERY_EPOCH]
    for changed in run.splits.values():
        test = steps.words('test', run.folder / 'tests', 'a')[1:]
        yield [*test, *as_words(changed), '--ckpt_path=latest.ckpt']


def parts(run: Run) -> Iterator[tuple[str, str]]:
    """Tell the parts of the task that the last file of a run asks for."""
    said = yaml.safe_load(run.configs[-1].read_text()).get('model', {})
    for key, value in said.get('init_args', {}).items():
        if isinstance(value, dict) and 'class_path' in value:
            yield key, value['class_path'].split('.')[-1]


def different(suite: Suite) -> Iterator[Run]:
    """Each method once, and each fold once."""
    methods, folds = set(), set()
    for run in make_runs(suite, Path('out')):
        if run.method not in methods or run.fold not in folds:
            yield run
        methods.add(run.method)
        folds.add(run.fold)


@pytest.mark.parametrize(('name', 'data'), all_suites())
def test_commands_are_taken(
    name: str, data: str | None, parser: LightningArgumentParser
) -> None:
    suite = read_suite(suite_path(name), data)
    assert len(suite.methods) >= 2
    tested = set()
    for run in different(suite):
        fit, *tests = commands(run)
        # What tests add is for the data: once is enough.
        first = run.configs[0] not in tested
        tested.add(run.configs[0])
        for words in [fit, *tests] if first else [fit]:
            config = parser.parse_args(words)
            assert config.seed_everything == run.seed
            assert config.trainer.logger.class_path.endswith('CSVLogger')
            callbacks = [c.init_args for c in config.trainer.callbacks]
            monitors = [c.monitor for c in callbacks if c.get('monitor')]
            # Both rules of selection can be asked for.
            assert len(monitors) == 1
            latest = callbacks[-1].get('filename') == 'latest'
            assert latest == (config.ckpt_path is None)
            # Other files may be for another class of task, and lose what it has not.
            for key, kind in parts(run):
                found = config.model.init_args[key].class_path
                assert found.split('.')[-1] == kind


def test_all_are_there() -> None:
    assert set(suite_names()) == NAMED


@pytest.mark.parametrize(('name', 'data'), PAPERS)
def test_rows_of_the_papers(name: str, data: str | None) -> None:
    rows = read_suite(suite_path(name), data).table()['rows']
    # What we add stands in brackets.
    assert {label.split(' (')[0] for label, _, _ in rows} == PAPERS[name, data]


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ('expert_epochs', 'expert_epoch'),
        ('anneal_steps', 'anneal_step'),
        ('max_epochs: 8', 'max_epochs: eight'),
        ('samples_per_domain', 'samples_a_domain'),
    ],
)
def test_typo_is_found(
    tmp_path: Path, parser: LightningArgumentParser, before: str, after: str
) -> None:
    text = suite_path('demo').read_text()
    assert before in text
    (tmp_path / 'demo.yaml').write_text(text.replace(before, after))
    suite = read_suite(tmp_path / 'demo.yaml')
    with pytest.raises(ArgumentError, match=after.split()[-1]):
        for run in different(suite):
            for words in commands(run):
                parser.parse_args(words)
