# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import torchgeo

from torchgeo_experts import demo


def test_a_failed_command_ends_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, len(calls) - 1)

    monkeypatch.setattr(subprocess, 'run', run)
    demo.torchgeo('fit', Path('a.yaml'), Path('out'), '--trainer.max_epochs', '1')
    shown = capsys.readouterr().out.strip('\n')
    assert shown.startswith('$ torchgeo fit --config a.yaml')
    assert calls == [[sys.executable, '-m', *shown[2:].split(' ')]]
    with pytest.raises(SystemExit, match='torchgeo test failed'):
        demo.torchgeo('test', Path('a.yaml'), Path('out'))


@pytest.mark.slow
@pytest.mark.parametrize('task', ['change'])
def test_demo_trains_tests_and_draws(
    task: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real commands on a tiny Earth, in this process: it has torch already."""

    def tiny(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        small = [
            *('--data.init_args.samples_per_domain', '1'),
            *('--trainer.limit_train_batches', '1', '--trainer.limit_val_batches', '1'),
        ]
        if 'CoDEX' in Path(command[command.index('--config') + 1]).read_text():
            small += [
                '--trainer.max_epochs',
                '2',
                '--model.init_args.expert_epochs',
                '1',
            ]
        else:
            small += ['--trainer.max_epochs', '1']
        assert command[:3] == [sys.executable, '-m', 'torchgeo']
        torchgeo([*command[3:], *small])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, 'run', tiny)
    demo.demo(Path('out'), task)
    table = capsys.readouterr().out
    for row in ('ERM', 'CoDEX', 'oracle expert', 'rule that knows the climate'):
        assert f'\n{row} ' in table
    column = demo.SCORES[task][0]
    scores = demo.read_scores(Path('out') / task / 'erm/test', column)
    assert len(scores) == 8
    assert f'{sum(scores.values()) / 8:8.1%}{min(scores.values()):8.1%}' in table
    assert (Path('out') / task / 'comparison.png').stat().st_size > 20_000
