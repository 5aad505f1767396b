# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Tasks with one model for all domains."""

from typing import Any

from torchgeo.datasets.utils import Sample

from ..configurable import from_config
from ..models import SingleNet
from ..objectives import ERM, Objective, Spec
from ..objectives.base import REQUIREMENTS, TARGET_PREFIX
from .base import DomainTask


class SingleModelTask(DomainTask):
    """Base class of tasks with one model, trained by any objective."""

    ignore: tuple[str, ...] = ('weights', 'objective')

    #: What the objective was made from, until :meth:`configure_models`.
    _given_objective: Any = None
    #: Whether the objective has what depends on the number of domains.
    _built = False

    def __init__(self) -> None:
        """Initialize a new SingleModelTask instance.

        Raises:
            ValueError: If the objective is for other tasks.
        """
        super().__init__()
        # Its recipe, since a checkpoint cannot hold the module.
        self.hparams['objective'] = self.objective.to_config()
        given = {self.target_kind}
        if self.hparams['task'] != 'multilabel':
            given.add('exclusive')
        missing = self.objective.requires & {'map', 'label', 'exclusive'} - given
        for need in sorted(missing):
            name = type(self.objective).__name__
            raise ValueError(f'{name} needs {REQUIREMENTS[need]}')

    def configure_models(self) -> None:
        """Initialize the model, and the objective as far as domains are known."""
        (given,) = self._given_objective or (None,)
        self.method = ERM() if given is None else from_config(given, Objective)
        backbone = self.make_backbone()
        self.model = SingleNet(backbone, self.make_heads(backbone, 1))
        known = self.hparams['num_domains'] is not None
        if known or 'domain' not in self.method.requires:
            self._build()

    def _build(self) -> None:
        spec = Spec(
            num_features=self.model.backbone.out_features,
            num_outputs=self.num_outputs,
            maps=self.target_kind == 'map',
            num_domains=self.hparams['num_domains'],
        )
        self.method.build(spec)
        self._built = True

    def setup(self, stage: str) -> None:
        """Learn the domains from the datamodule.

        Args:
            stage: Either 'fit', 'validate', 'test' or 'predict'.
        """
        super().setup(stage)
        if not self._built and self.hparams['num_domains'] is not None:
            self._build()

    @property
    def objective(self) -> Objective:
        """What a training step minimizes."""
        return self.method

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Share the parameters out: the network, and those of the objective."""
        own = list(self.objective.parameters())
        if not own:
            return super().parameter_groups()
        lr = self.objective.lr_scale * self.hparams['lr']
        return [{'params': list(self.model.parameters())}, {'params': own, 'lr': lr}]

    def on_before_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Refuse a training batch without targets to adapt to.

        Args:
            batch: A batch.
            dataloader_idx: Index of the current dataloader.

        Returns:
            The batch.

        Raises:
            ValueError: If the objective needs them and the batch has none.
        """
        needed = self.trainer.training and 'target' in self.objective.requires
        if needed and f'{TARGET_PREFIX}image' not in batch:
            raise ValueError(
                f'{type(self.objective).__name__} needs {REQUIREMENTS["target"]}'
            )
        return super().on_before_batch_transfer(batch, dataloader_idx)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step, and do what the objective does after it.

        Args:
            *args: Epoch, number of the batch, optimizer, closure.
            **kwargs: More of them.
        """
        super().optimizer_step(*args, **kwargs)
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        self.objective.after_step(self.model, optimizer)
