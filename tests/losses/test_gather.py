# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from torchgeo_experts.losses.gather import gather_with_grad

SCRIPT = Path(__file__).with_name('run_gather.py')

RANKS = ('0', '1')

Found = dict[str, Tensor]


def test_without_process_group_nothing_is_done() -> None:
    tensor = torch.rand(3, 2, requires_grad=True)
    assert gather_with_grad(tensor) is tensor


@pytest.fixture(scope='module')
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What one process, and two together, make of the same batch."""
    folder = tmp_path_factory.mktemp('ranks')
    runs = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), rank],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in RANKS
    ]
    try:
        errors = [run.communicate(timeout=300)[1] for run in runs]
    finally:
        for run in runs:
            run.kill()
    assert [run.returncode for run in runs] == [0, 0], errors
    return {name: torch.load(folder / f'{name}.pt') for name in ('alone', *RANKS)}


@pytest.mark.slow
@pytest.mark.parametrize('name', ['inside', 'outside', 'balance', 'switch', 'dro'])
def test_two_ranks_have_loss_and_gradient_of_the_joined_batch(
    name: str, found: dict[str, Found]
) -> None:
    expected = found['alone']
    assert expected[f'{name}-grad'].norm() > 1e-3
    for rank in RANKS:
        for key in (name, f'{name}-grad'):
            torch.testing.assert_close(found[rank][key], expected[key])


@pytest.mark.slow
def test_samples_come_in_order_of_ranks(found: dict[str, Found]) -> None:
    for rank in RANKS:
        assert found[rank]['order'].equal(found['alone']['order'])


@pytest.mark.slow
def test_ranks_share_weights_of_groups(found: dict[str, Found]) -> None:
    expected = found['alone']['weights']
    assert expected.std() > 0.01
    for rank in RANKS:
        torch.testing.assert_close(found[rank]['weights'], expected)
    assert found['0']['weights'].equal(found['1']['weights'])
