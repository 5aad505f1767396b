# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What is installed, shipped and told about the package."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if path.is_file() and path.suffix != '.pyc'
    }


@pytest.fixture(scope='module')
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in the wheel, built without network."""
    folder = tmp_path_factory.mktemp('wheel')
    subprocess.run(
        [sys.executable, '-m', 'hatchling', 'build', '-t', 'wheel', '-d', folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob('*.whl')
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_wheel_has_all_modules(wheel: set[str]) -> None:
    expected = files(ROOT / 'torchgeo_experts')
    assert 'py.typed' in expected
    assert {f'torchgeo_experts/{name}' for name in expected} <= wheel


def test_wheel_has_all_configs(wheel: set[str]) -> None:
    expected = files(ROOT / 'configs')
    assert 'README.md' in expected
    assert {f'torchgeo_experts/configs/{name}' for name in expected} <= wheel


def test_wheel_has_nothing_else(wheel: set[str]) -> None:
    tops = {name.split('/')[0] for name in wheel}
    assert {top for top in tops if not top.endswith('.dist-info')} == {
        'torchgeo_experts'
    }


def test_citation(project: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    # What version 1.2.0 of the format requires, of the whole and of references.
    assert {'cff-version', 'message', 'title', 'authors'} <= citation.keys()
    for reference in citation['references']:
        assert {'type', 'title', 'authors'} <= reference.keys()
    assert citation['cff-version'] == '1.2.0'
    assert citation['title'] == project['name']
    assert citation['version'] == project['version']
    assert citation['license'] == project['license']


def test_changelog_begins_with_this_version(project: dict[str, Any]) -> None:
    lines = (ROOT / 'CHANGELOG.md').read_text().splitlines()
    newest = next(line for line in lines if line.startswith('## '))
    assert newest.startswith(('## [Unreleased]', f'## [{project["version"]}]'))


def test_import_is_light(tmp_path: Path) -> None:
    code = 'import sys, torchgeo_experts as t; print(t.__file__); print(*sys.modules)'
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    file, modules = done.stdout.splitlines()
    loaded = modules.split()
    assert Path(file) == ROOT / 'torchgeo_experts' / '__init__.py'
    assert 'torchgeo_experts' in loaded
    assert not {'torch', 'torchgeo', 'lightning', 'numpy', 'pandas'} & set(loaded)


def test_setup_explains_an_unsuitable_python(tmp_path: Path) -> None:
    script = tmp_path / 'scripts' / 'setup_env.sh'
    script.parent.mkdir()
    script.write_text((ROOT / 'scripts' / 'setup_env.sh').read_text())
    done = subprocess.run(
        ['sh', script],
        check=False,
        env={'PATH': '/usr/bin:/bin', 'PYTHON': 'false'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert 'PYTHON=false is no Python 3.12 or newer' in done.stderr
    assert not (tmp_path / '.venv').exists()


@pytest.mark.parametrize('page', ['README.md', 'docs/results.md', 'docs/quickstart.md'])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r'\]\((?!http)([^)#]+)\)', path.read_text())
    missing = [t for t in targets if not (path.parent / t).exists()]
    assert targets and not missing
