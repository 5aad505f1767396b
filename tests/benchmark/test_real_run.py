# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""One tiny run with the real commands, killed in the middle of its training."""

import threading
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from torchgeo_experts.__main__ import main
from torchgeo_experts.benchmark.execute import execute
from torchgeo_experts.benchmark.files import read_json
from torchgeo_experts.benchmark.grid import make_runs
from torchgeo_experts.benchmark.processes import Processes, StoppedError
from torchgeo_experts.benchmark.suite import read_suite

EPOCHS = 12
SUITE = {
    'configs': ['erm/synthetic_earth'],
    'select': 'best',
    'methods': {'V-REx': {'configs': ['objectives/vrex']}},
    'overrides': {
        'trainer.max_epochs': EPOCHS,
        'trainer.accelerator': 'cpu',
        'data.init_args.samples_per_domain': 4,
        'data.init_args.batch_size': 32,
        'data.init_args.num_test_domains': 3,
    },
}


@pytest.mark.slow
def test_killed_resumed_tested_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    suite = tmp_path / 'suite.yaml'
    suite.write_text(yaml.safe_dump(SUITE))
    (run,) = make_runs(read_suite(suite), tmp_path / 'out')
    latest = run.folder / 'fit' / 'checkpoints' / 'latest.ckpt'
    processes = Processes()

    def kill() -> None:
        while not latest.exists():
            time.sleep(0.02)
        processes.stop()

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(StoppedError):
        execute(run, processes)
    reached = torch.load(latest, weights_only=True)['epoch']
    assert reached < EPOCHS - 1

    main(['benchmark', str(suite), '--out', str(tmp_path / 'out')])
    log = (run.folder / 'logs' / 'fit.txt').read_text()
    assert f'Restored all states from the checkpoint at {latest}' in log
    saved = torch.load(latest, weights_only=True)
    assert saved['epoch'] == EPOCHS - 1 and saved['global_step'] == 2 * EPOCHS
    # The curves of both parts are there.
    first, second = (
        pd.read_csv(run.folder / 'fit' / f'metrics{part}.csv')['epoch']
        for part in ('-1', '')
    )
    assert first.min() == 0 and first.max() >= reached
    assert (second.min(), second.max()) == (reached + 1, EPOCHS - 1)

    result = read_json(run.folder / 'result.json')
    assert result['selection'] == 'lowest val_loss'
    frame = pd.read_csv(tmp_path / 'out' / 'results.csv', keep_default_na=False)
    scores = frame[frame['metric'] == 'OverallAccuracy'].set_index('domain')['value']
    assert len(scores) == 4 and scores.between(0, 1).all()
    # Domains have equally many samples.
    assert scores.drop('').astype(float).mean() == pytest.approx(float(scores['']))
    assert (frame['memory_mb'] > 100).all() and (frame['seconds'] > 1).all()

    capsys.readouterr()
    main(['report', str(tmp_path / 'out'), '--metric', 'AverageF1Score'])
    assert '| V-REx | **' in capsys.readouterr().out
