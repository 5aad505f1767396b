# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Quiet runs, one row of a CSV file each, for benchmarks that go on where they stopped."""

import csv
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Trainer


def be_quiet() -> None:
    """Use one thread, and show no warnings."""
    torch.set_num_threads(1)
    warnings.filterwarnings('ignore')
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)


def quiet_trainer(epochs: int, folder: str) -> Trainer:
    """Make a trainer that keeps nothing but what tests report.

    Args:
        epochs: Number of epochs.
        folder: Where reports go.

    Returns:
        The trainer.
    """
    return Trainer(
        accelerator='cpu',
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def is_done(path: Path, key: Mapping[str, Any]) -> bool:
    """Tell whether a file has a row with these values.

    Args:
        path: CSV file, which need not be there.
        key: Values by column.

    Returns:
        Whether it has.
    """
    if not path.exists():
        return False
    rows = pd.read_csv(path)
    return bool((rows[list(key)] == pd.Series(key)).all(axis=1).any())


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Append a row to a CSV file, which is made if it is not there.

    Args:
        path: CSV file.
        row: Values by column.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open('a', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
