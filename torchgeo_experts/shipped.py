# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The YAML files that come with the package."""

from pathlib import Path

#: Folder of suites, which are no configurations.
SUITES = 'suites'


def config_dir() -> Path:
    """Find the folder of shipped configurations.

    Returns:
        ``configs`` inside the installed package, or beside it in a source tree.

    Raises:
        FileNotFoundError: If the installation is incomplete.
    """
    package = Path(__file__).parent
    for folder in (package / 'configs', package.parent / 'configs'):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f'{package} was installed without its configs: reinstall it'
    )


def config_names() -> list[str]:
    """List the shipped configurations.

    Returns:
        Names such as 'codex/synthetic_earth'.
    """
    folder = config_dir()
    files = sorted(folder.glob('*/*.yaml'))
    names = [file.relative_to(folder).with_suffix('').as_posix() for file in files]
    return [name for name in names if not name.startswith(f'{SUITES}/')]


def config_path(name: str) -> Path:
    """Find a shipped configuration.

    Args:
        name: Its name, such as 'codex/synthetic_earth'.

    Returns:
        Its file.

    Raises:
        ValueError: If there is none of this name.
    """
    _check('configuration', name, config_names())
    return config_dir() / f'{name}.yaml'


def suite_names() -> list[str]:
    """List the shipped suites of benchmarks.

    Returns:
        Names such as 'demo'.
    """
    return sorted(file.stem for file in (config_dir() / SUITES).glob('*.yaml'))


def suite_path(name: str) -> Path:
    """Find a shipped suite.

    Args:
        name: Its name, such as 'demo'.

    Returns:
        Its file.

    Raises:
        ValueError: If there is none of this name.
    """
    _check('suite', name, suite_names())
    return config_dir() / SUITES / f'{name}.yaml'


def _check(kind: str, name: str, names: list[str]) -> None:
    """Refuse a name that is not among those there are."""
    if name not in names:
        raise ValueError(f'no {kind} {name!r}, choose one of: {", ".join(names)}')
