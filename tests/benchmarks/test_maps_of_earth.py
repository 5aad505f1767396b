# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

import synthetic_maps


@pytest.mark.slow
def test_rows_are_run_once_and_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a tiny Earth; the shipped configurations are read but for their sizes."""
    original = synthetic_maps.make
    tiny = {'samples_per_domain': 2, 'size': 16, 'num_test_domains': 2}

    def make(part: dict, **changes: object) -> object:  # type: ignore[type-arg]
        if part['class_path'].endswith('DataModule'):
            changes |= tiny
        else:
            if 'expert_epochs' in part['init_args']:
                changes['expert_epochs'] = 1
        return original(part, **changes)

    monkeypatch.setattr(synthetic_maps, 'make', make)
    trainer = synthetic_maps.Trainer
    monkeypatch.setattr(
        synthetic_maps, 'Trainer', lambda **k: trainer(**k | {'max_epochs': 2})
    )
    command = ['run', '--out', 'a.csv', '--task', 'change']
    command += ['--shift', '1', '--seed', '0']
    synthetic_maps.main(command)
    before = Path('a.csv').read_text()
    (row,) = pd.read_csv('a.csv').to_dict('records')
    assert 0 < row['rule'] <= 1 and row['seconds ERM'] > 0
    synthetic_maps.main(command)
    assert Path('a.csv').read_text() == before
    synthetic_maps.main(['report', '--out', 'a.csv'])
    line = capsys.readouterr().out.splitlines()[-1]
    difference = 100 * (row['CoDEX'] - row['ERM'])
    assert line.startswith('| change | 1 |') and f'{difference:+.1f}' in line
