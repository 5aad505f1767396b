# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from pathlib import Path
from typing import Any

import pytest

from torchgeo_experts import demo


@pytest.mark.slow
@pytest.mark.parametrize('task', ['change'])
def test_demo_trains_tests_and_draws(
    task: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real commands on a tiny Earth."""
    original = demo.torchgeo

    def tiny(command: str, config: Path, folder: Path, *extra: str) -> None:
        small = [
            '--data.init_args.samples_per_domain',
            '1',
            *('--trainer.limit_train_batches', '1', '--trainer.limit_val_batches', '1'),
            '--trainer.max_epochs',
            '2' if 'codex' in str(config) else '1',
        ]
        if 'codex' in str(config):
            small += ['--model.init_args.expert_epochs', '1']
        original(command, config, folder, *small, *extra)

    monkeypatch.setattr(demo, 'torchgeo', tiny)
    demo.demo(Path('out'), task)
    table = capsys.readouterr().out
    for row in ('ERM', 'CoDEX', 'oracle expert', 'rule that knows the climate'):
        assert f'\n{row} ' in table
    column = demo.SCORES[task][0]
    scores = demo.read_scores(Path('out') / task / 'erm/test', column)
    assert len(scores) == 8
    assert f'{sum(scores.values()) / 8:8.1%}{min(scores.values()):8.1%}' in table
    assert (Path('out') / task / 'comparison.png').stat().st_size > 20_000
