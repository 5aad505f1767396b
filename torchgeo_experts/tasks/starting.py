# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Starting from the weights of another run."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..models.weights import with_prefix
from .base import DomainTask


class StartingTask(DomainTask):
    """Mix-in of tasks with an argument ``checkpoint``: another run to start from.

    Its file is read when training begins, unless the run is resumed: a checkpoint of this
    task has all weights, and loads without that file.
    """

    #: Whether weights are there already: from a checkpoint of this task, or from an
    #: earlier fit. They are never replaced by those of another run.
    _resumed = False

    @abstractmethod
    def start_from(self, path: str) -> None:
        """Load weights of another run.

        Args:
            path: Path of its checkpoint.
        """

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note that a run is resumed: then its weights come from that file.

        Args:
            checkpoint: Checkpoint to read.
        """
        super().on_load_checkpoint(checkpoint)
        self._resumed = True

    def on_fit_start(self) -> None:
        """Load the weights of another run, unless this one is resumed."""
        super().on_fit_start()
        if not self._resumed and self.hparams['checkpoint'] is not None:
            self.start_from(self.hparams['checkpoint'])
            self._resumed = True

    def load_part(
        self, path: str, state: Mapping[str, Tensor], prefix: str, module: nn.Module
    ) -> None:
        """Load a part of the weights of another run.

        Args:
            path: Path of its checkpoint, for the message.
            state: All its weights.
            prefix: What the names of the part's weights begin with.
            module: The part.

        Raises:
            ValueError: If they do not fit.
        """
        try:
            module.load_state_dict(with_prefix(state, prefix))
        except RuntimeError as error:
            raise ValueError(
                f"{path} does not fit this task's {prefix[:-1]}: it must come from a"
                f' {type(self).__name__} with the same arguments ({error})'
            ) from error
