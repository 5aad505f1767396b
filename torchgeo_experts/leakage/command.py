# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The command: the datamodule of a YAML file, without model and trainer, looked at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile
from lightning.pytorch import seed_everything
from lightning.pytorch.cli import LightningArgumentParser
from torchgeo.datamodules import BaseDataModule

from .report import leakage_report
from .text import report_text, write_report

#: What else TorchGeo's command line takes; nothing of it is made.
IGNORED = ('trainer', 'model', 'optimizer', 'lr_scheduler', 'ckpt_path')


def show_domains(argv: Sequence[str], samples: int, folder: Path) -> None:
    """Print the report of the datamodule of YAML files, and write it.

    Args:
        argv: Arguments as for ``torchgeo fit``.
        samples: How many samples of each domain to read for the shares of classes,
            where labels are not known without reading.
        folder: Folder to write the table and the map to; it is made.

    Raises:
        SystemExit: If the arguments are wrong; the reason is printed.
        ValueError: If the samples of the datamodule have no domains.
    """
    report = leakage_report(read_datamodule(argv), samples)
    print(report_text(report))
    print('\nWritten:', *write_report(report, folder))


def read_datamodule(argv: Sequence[str]) -> BaseDataModule:
    """Make the datamodule that TorchGeo's command line would make.

    Args:
        argv: Arguments as for ``torchgeo fit``: one or more ``--config``, and whatever
            changes them. Only the ``data`` section is needed.

    Returns:
        The datamodule. Random numbers are seeded as they would be.

    Raises:
        SystemExit: If the arguments are wrong; the reason is printed.
    """
    parser = LightningArgumentParser(prog='torchgeo-experts domains')
    parser.add_argument('--config', action=ActionConfigFile)
    parser.add_argument('--seed_everything', type=bool | int, default=0)
    for section in IGNORED:
        parser.add_argument(f'--{section}', type=Any)
    parser.add_lightning_class_args(BaseDataModule, 'data', subclass_mode=True)
    config = parser.parse_args(list(argv))
    for section in IGNORED:
        config.pop(section)
    seed = config.pop('seed_everything')
    if seed is not False:
        seed_everything(None if seed is True else seed, workers=True)
    # The older name is deprecated, and the only one before jsonargparse 4.49.
    make: Any = getattr(parser, 'instantiate', None) or parser.instantiate_classes
    return make(config).data
