# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The YAML files that come with the package."""

from pathlib import Path


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
    return [file.relative_to(folder).with_suffix('').as_posix() for file in files]


def config_path(name: str) -> Path:
    """Find a shipped configuration.

    Args:
        name: Its name, such as 'codex/synthetic_earth'.

    Returns:
        Its file.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in config_names():
        raise ValueError(
            f'no configuration {name!r}, choose one of: {", ".join(config_names())}'
        )
    return config_dir() / f'{name}.yaml'
