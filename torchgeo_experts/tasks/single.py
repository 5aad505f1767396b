# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Tasks with one model for all domains."""

from typing import Any

from ..configurable import from_config
from ..models import SingleNet
from ..objectives import ERM, Objective
from .base import DomainTask


class SingleModelTask(DomainTask):
    """Base class of tasks with one model, trained by any objective."""

    ignore: tuple[str, ...] = ('weights', 'objective')

    #: What the objective was made from, until :meth:`configure_models`.
    _given_objective: Any = None

    def __init__(self) -> None:
        """Initialize a new SingleModelTask instance."""
        super().__init__()
        # Its recipe, since a checkpoint cannot hold the module.
        self.hparams['objective'] = self.objective.to_config()

    def configure_models(self) -> None:
        """Initialize the model."""
        (given,) = self._given_objective or (None,)
        self.method = ERM() if given is None else from_config(given, Objective)
        backbone = self.make_backbone()
        self.model = SingleNet(backbone, self.make_heads(backbone, 1))

    @property
    def objective(self) -> Objective:
        """What a training step minimizes."""
        return self.method
