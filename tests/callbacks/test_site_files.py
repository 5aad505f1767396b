# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The shipped files for sites, through the real command line."""

from pathlib import Path

import pandas as pd
import pytest
from commands import torchgeo

from torchgeo_experts.shipped import config_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'name', 'ways'),
    [
        ('erm', 'prior_adaptation', ['PriorAdapted']),
        ('codex', 'site_selection', ['PriorAdapted', 'SiteSelectedPriorAdapted']),
    ],
)
def test_files(method: str, name: str, ways: list[str], tmp_path: Path) -> None:
    command = [
        *('--config', str(config_path(f'{method}/synthetic_earth'))),
        *('--config', str(config_path(f'sites/{name}'))),
        *('--trainer.accelerator', 'cpu', '--trainer.default_root_dir', str(tmp_path)),
        *('--trainer.enable_progress_bar', 'false', '--trainer.logger', 'false'),
        *('--model.init_args.model', 'test_resnet', '--trainer.max_epochs', '1'),
        *('--data.init_args.samples_per_domain', '2'),
        *('--data.init_args.batch_size', '8'),
    ]
    torchgeo(['fit', *command])
    last = tmp_path / 'checkpoints/last.ckpt'
    assert last.is_file()  # the callbacks of both files are there
    torchgeo(['test', *command, '--ckpt_path', str(last)])
    table = pd.read_csv(tmp_path / 'domains.csv')
    for way in ways:
        assert table[f'{way}OverallAccuracy'].between(0, 1).all()
