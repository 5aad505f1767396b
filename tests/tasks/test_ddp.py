# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from run_ddp import KINDS, callbacks, strategy
from torchgeo_experts import CoDEXClassificationTask

SCRIPT = Path(__file__).with_name('run_ddp.py')


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    """One start of two processes for all kinds: it takes longer than their training."""
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    for kind in KINDS:
        check(kind, tmp_path / kind)


def check(kind: str, folder: Path) -> None:
    def read(name: str, rank: int) -> dict[str, float]:
        text = (folder / f'{name}-{rank}.json').read_text()
        found: dict[str, float] = json.loads(text)
        return found

    # Gradients were shared: of both stages of CoDEX, the selector's too.
    assert read('weights', 0) == read('weights', 1)
    assert read('val', 0) == read('val', 1)
    if kind == 'moge':  # each epoch sees 48 of 50 places, each rank 24 of them
        assert read('weights', 0)['seen'] >= 48
    task, _, data = KINDS[kind]
    loaded = task.load_from_checkpoint(folder / 'last.ckpt')
    if strategy(kind) != 'ddp':  # the second stage too
        assert loaded.model.selector.linear.weight.any()
    quiet = {'enable_progress_bar': False, 'logger': False}
    one = Trainer(accelerator='cpu', callbacks=callbacks(kind), **quiet)
    (expected,) = one.test(loaded, datamodule=data())
    assert ('test_PriorAdaptedOverallAccuracy' in expected) == (kind == 'group_dro')
    assert read('test', 0) == pytest.approx(expected, nan_ok=True, abs=1e-6)
    (expected,) = one.validate(loaded, datamodule=data())
    found = read('val', 0)
    assert {k: found[k] for k in expected} == pytest.approx(expected, abs=1e-5)


def test_other_strategies_are_refused_with_the_remedy() -> None:
    task = CoDEXClassificationTask('test_resnet', num_classes=3, num_domains=3)
    task.trainer = Trainer(accelerator='cpu', devices=2, strategy='ddp', logger=False)
    remedy = "set trainer.strategy to 'ddp_find_unused_parameters_true'"
    with pytest.raises(MisconfigurationException, match=remedy):
        task.on_fit_start()
