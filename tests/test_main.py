# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import subprocess
import sys

import pytest

from torchgeo_experts.__main__ import main


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
