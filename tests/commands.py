# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The command of TorchGeo, in this process."""

from collections.abc import Sequence
from unittest import mock

from lightning.pytorch.cli import LightningCLI
from torchgeo.main import main


def torchgeo(arguments: Sequence[str]) -> None:
    """Run ``torchgeo`` with arguments.

    The parser of the given subcommand alone is made. A fifth of the time of a short
    training goes into making all of them, which the command in a shell does once.
    """
    command = arguments[0]
    known = {command: LightningCLI.subcommands()[command]}
    with mock.patch.object(LightningCLI, 'subcommands', return_value=known):
        main(list(arguments))
