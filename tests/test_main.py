# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from torchgeo_experts.__main__ import main
from torchgeo_experts.shipped import config_path


def test_configs_are_listed_and_located(capsys: pytest.CaptureFixture[str]) -> None:
    main(['configs'])
    assert 'codex/synthetic_earth' in capsys.readouterr().out.splitlines()
    main(['configs', 'codex/synthetic_earth'])
    path = capsys.readouterr().out.strip()
    with open(path) as file:
        assert 'CoDEXClassificationTask' in file.read()


def test_unknown_configuration_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['configs', 'codex/nothing'])
    assert "no configuration 'codex/nothing'" in capsys.readouterr().err


def test_short_names_are_known() -> None:
    command = [sys.executable, '-m', 'torchgeo_experts', 'fit', '--print_config']
    command += ['--model', 'DomainClassificationTask']
    command += ['--data', 'ImageTableDataModule']
    command += ['--data.images', 'a.zip', '--data.table', 'a.csv']
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=300
    )
    assert 'class_path: torchgeo_experts.ImageTableDataModule' in done.stdout, (
        done.stderr
    )


def test_configs_cost_no_import_of_torch() -> None:
    code = (
        'import sys; from torchgeo_experts.__main__ import main; main(["configs"]);'
        ' assert "torch" not in sys.modules'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


#: A data section that is enough for the report on domains.
DATA = """
data:
  class_path: SyntheticEarthDataModule
  init_args:
    num_train_domains: 3
    num_val_domains: 1
    num_test_domains: 2
    samples_per_domain: 6
"""


class TestDomains:
    @pytest.fixture(autouse=True)
    def forget_seed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ('PL_GLOBAL_SEED', 'PL_SEED_WORKERS'):
            monkeypatch.setenv(name, '0')

    def test_data_section_alone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / 'data.yaml').write_text(DATA)
        main(['domains', '--config', str(tmp_path / 'data.yaml')])
        shown = capsys.readouterr().out.splitlines()
        split = next(line.split() for line in shown if line.startswith('test'))
        assert split[:3] == ['test', '2', '12']
        table = pd.read_csv(tmp_path / 'domains' / 'domains.csv')
        assert table['split'].tolist() == ['train'] * 3 + ['val'] + ['test'] * 2
        assert (tmp_path / 'domains' / 'domains.png').stat().st_size > 10_000

    def test_files_and_arguments_are_merged(self, tmp_path: Path) -> None:
        config = str(config_path('codex/synthetic_earth_segmentation'))
        more = tmp_path / 'more.yaml'
        more.write_text(
            'data:\n  init_args:\n    size: 16\n    samples_per_domain: 4\n'
        )
        out = tmp_path / 'a' / 'b'
        command = [
            'domains',
            '--config',
            config,
            '--data.init_args.num_test_domains',
            '1',
        ]
        # What trains is not made: there are no such accelerators.
        command += ['--trainer.accelerator', 'tpu', '--model.init_args.lr', '1.0']
        main([*command, '-c', str(more), '--out', str(out), '--samples', '2'])
        table = pd.read_csv(out / 'domains.csv')
        assert table['split'].tolist() == ['train'] * 16 + ['val'] * 4 + ['test']
        assert (table['samples'] == 4).all()
        shares = table.filter(like='share_')
        assert shares.shape[1] == 7
        # Two masks of 16 x 16 pixels.
        counts = shares.to_numpy() * 512
        assert np.abs(counts - counts.round()).max() < 1e-2

    def test_seed_is_that_of_training(self, tmp_path: Path) -> None:
        (tmp_path / 'data.yaml').write_text(DATA)
        for seed in ('7', 'false'):
            torch.manual_seed(5)
            main(
                [
                    *('domains', '-c', str(tmp_path / 'data.yaml')),
                    *('--seed_everything', seed, '--out', str(tmp_path)),
                ]
            )
            assert torch.initial_seed() == (7 if seed == '7' else 5)

    @pytest.mark.parametrize(
        ('argv', 'message'),
        [
            ([], 'required: data'),
            (['-c', 'nothing.yaml'], 'nothing.yaml'),
            (['--data', 'SyntheticEarthDataModule', '--data.sise', '1'], 'sise'),
            (['--data', 'EuroSATDataModule'], 'DomainDataModule'),
            (['--data', 'SyntheticEarthDataModule', '--samples', '-1'], 'negative'),
            (
                ['--data', 'SyntheticEarthDataModule', '--data.size', '7'],
                'multiple of 4',
            ),
            (['--samples', 'x'], 'invalid int'),
        ],
    )
    def test_errors_are_told(
        self, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
    ) -> None:
        with pytest.raises(SystemExit) as error:
            main(['domains', *argv])
        assert error.value.code == 2
        assert message in capsys.readouterr().err
        assert not Path('domains').exists()

    def test_missing_data_are_told(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ['domains', '--data', 'ImageTableDataModule']
        command += ['--data.images', 'a.zip', '--data.table', 'a.csv']
        with pytest.raises(SystemExit):
            main(command)
        assert 'a.zip' in capsys.readouterr().err


def test_other_commands_take_no_other_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(['configs', '--data'])
    assert 'unrecognized arguments: --data' in capsys.readouterr().err
