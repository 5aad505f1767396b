# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The runs of a suite, and what makes a run the same one."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from .arguments import Arguments, extend, merge
from .suite import Suite, folder_name


@dataclass(frozen=True, eq=False)
class Run:
    """One method, fold and seed: a training and its tests.

    Args:
        method: Label of the method.
        fold: Label of the fold.
        seed: Seed.
        configs: YAML files.
        arguments: What changes them.
        splits: What else changes them in each test.
        select: Which checkpoint is tested, 'last' or 'best'.
        folder: Folder of its own, an absolute path.
    """

    method: str
    fold: str
    seed: int
    configs: tuple[Path, ...]
    arguments: Arguments
    splits: Mapping[str, Arguments]
    select: str
    folder: Path

    @property
    def name(self) -> str:
        """Name for people."""
        return f'{self.method}, fold {self.fold}, seed {self.seed}'

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """What the files say, as of the first look."""
        return self.read()

    def read(self) -> tuple[str, ...]:
        """Read the files."""
        return tuple(path.read_text(encoding='utf-8') for path in self.configs)

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """All that the run depends on, but for data and versions of packages.

        It has the content of the files, and not their names: a file that is changed
        makes another run of it, and one that is moved does not.
        """
        found = {
            'configs': [yaml.safe_load(text) for text in self.texts],
            'arguments': self.arguments,
            'seed': self.seed,
            'splits': dict(self.splits),
            'select': self.select,
        }
        # As it will be read again: JSON knows no tuples, and no dates.
        read: dict[str, Any] = json.loads(json.dumps(found, default=str))
        return read

    @cached_property
    def hash(self) -> str:
        """Hash of the configuration."""
        text = json.dumps(self.configuration, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_runs(suite: Suite, out: Path, extra: Arguments = ()) -> list[Run]:
    """Make the runs of a suite.

    Args:
        suite: The suite.
        out: Folder of all runs.
        extra: Arguments for all runs that win over those of the suite.

    Returns:
        The runs: all methods of a seed and fold, before the next fold and the next seed,
        so that there is something to compare early.
    """
    runs = out.resolve() / 'runs'
    return [
        Run(
            method=method.label,
            fold=fold,
            seed=seed,
            configs=method.configs,
            arguments=extend(merge(suite.arguments, method.arguments, changed), extra),
            splits=suite.splits,
            select=suite.select,
            folder=runs / folder_name(method.label) / folder_name(fold) / str(seed),
        )
        for seed in suite.seeds
        for fold, changed in suite.folds.items()
        for method in suite.methods
    ]
