# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""CoDEX: two stages in one fit."""

import warnings
from abc import abstractmethod
from typing import Any, cast

from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ..configurable import from_config
from ..metrics import GroupMeans
from ..models import Affinity, ExpertNet, LearnedAffinity
from ..models.affinity import positive
from ..models.backbones import Backbone, freeze
from ..models.weights import read_checkpoint
from ..objectives import ExpertTraining, Objective, SelectorTraining
from .expert_reports import ExpertReports
from .seeds import CHECKPOINT_KEY
from .starting import StartingTask


class CoDEXTask(StartingTask, ExpertReports):
    """Base class of CoDEX tasks.

    The first *expert_epochs* epochs train backbone, experts and affinity; the others
    train the selector, with all these frozen. There is one optimizer, whose groups never
    change, so that a run resumes from a checkpoint of either stage. A selector that has
    not been trained mixes all experts alike, so that what is logged in the first stage
    are scores of the uniform mixture.
    """

    ignore = ('weights', 'affinity')

    _given_affinity: Any = None
    #: Whether the experts have been built.
    _configured = False

    def __init__(self) -> None:
        """Initialize a new CoDEXTask instance."""
        super().__init__()
        if self.hparams['expert_epochs'] < 0:
            raise ValueError(
                f'expert_epochs must not be negative, found {self.hparams["expert_epochs"]}'
            )
        positive('temperature', self.hparams['temperature'])
        self.hparams['affinity'] = self.affinity.to_config()

    # How the network is made ----------------------------------------------------------

    @abstractmethod
    def make_selector(self, backbone: Backbone, num_domains: int) -> nn.Module:
        """Make the selector.

        Args:
            backbone: Backbone that it reads.
            num_domains: Number of experts.
        """

    def configure_models(self) -> None:
        """Initialize the model, as far as the number of domains allows."""
        (given,) = self._given_affinity or (None,)
        affinity = LearnedAffinity() if given is None else from_config(given, Affinity)
        self.expert_training = ExpertTraining(
            affinity, self.hparams['domain_weight'], self.hparams['consistency_weight']
        )
        self.selector_training = SelectorTraining(
            self.hparams['accuracy_weight'],
            self.hparams['mixture_weight'],
            self.hparams['accuracy_reduction'],
            self.hparams['accuracy_experts'],
        )
        self._backbone = self.make_backbone()
        if self.hparams['num_domains'] is not None:
            self._configure_experts(self.hparams['num_domains'])

    def _configure_experts(self, num_domains: int) -> None:
        """Build what depends on the number of training domains."""
        backbone = self._backbone
        del self._backbone
        self.model = ExpertNet(
            backbone,
            self.make_heads(backbone, num_domains),
            self.make_selector(backbone, num_domains),
            self.hparams['temperature'],
        )
        # Last, as some affinities draw random numbers: experts start the same with all.
        self.affinity.build(num_domains)
        self._configured = True

    @property
    def affinity(self) -> Affinity:
        """Affinity between the training domains."""
        return self.expert_training.affinity

    # What the data tell ---------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Build the experts, one for each training domain of the datamodule.

        Args:
            stage: Either 'fit', 'validate', 'test' or 'predict'.
        """
        super().setup(stage)
        num_domains = self.hparams['num_domains']
        if num_domains is None:
            raise ValueError(
                'num_domains is not given, and there is no datamodule with domains to'
                ' read it from'
            )
        if not self._configured:
            self._configure_experts(num_domains)
        if stage == 'fit':
            # DDP wraps the model next, and reduces no gradient but of what requires one.
            self.model.unfreeze()
            freeze(self.affinity, False)
            self._locate_affinity()
            self._check_epochs()
        self.group_weights = GroupMeans(len(self.group_names), num_domains)

    def _locate_affinity(self) -> None:
        if not self.affinity.needs_places:
            return
        domains = getattr(getattr(self.trainer, 'datamodule', None), 'domains', None)
        if domains is None or not domains.located:
            raise ValueError(
                f'{type(self.affinity).__name__} needs the longitude and latitude of'
                ' every training domain, and the datamodule does not know them all: use'
                ' LearnedAffinity'
            )
        self.affinity.locate(domains.angles().float())

    def _check_epochs(self) -> None:
        epochs, switch = self.trainer.max_epochs, self.hparams['expert_epochs']
        if epochs is not None and 0 < epochs <= switch:
            warnings.warn(
                f'max_epochs={epochs} leaves no epoch after expert_epochs={switch} to'
                ' train the selector: the mixture stays uniform'
            )

    def start_from(self, path: str) -> None:
        """Load backbone, experts and affinity of another run.

        Args:
            path: Path of its checkpoint.

        Raises:
            ValueError: If it has other training domains, or other experts.
        """
        checkpoint = read_checkpoint(path)
        names = checkpoint.get(CHECKPOINT_KEY, {}).get('domains')
        if names and self.domain_names and tuple(names) != self.domain_names:
            raise ValueError(
                f'{path} has experts for other training domains: {names}, but the'
                f' datamodule has {list(self.domain_names)}'
            )
        for prefix, module in {
            'model.backbone.': self.model.backbone,
            'model.experts.': self.model.experts,
            'expert_training.affinity.': self.affinity,
        }.items():
            self.load_part(path, checkpoint['state_dict'], prefix, module)

    # Two stages -----------------------------------------------------------------------

    @property
    def objective(self) -> Objective:
        """What a training step minimizes now."""
        selecting = self._configured and self.model.selecting
        return self.selector_training if selecting else self.expert_training

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Share the parameters out: first stage, second stage."""
        selector = list(self.model.selector.parameters())
        ids = {id(parameter) for parameter in selector}
        first = [p for p in self.parameters() if id(p) not in ids]
        lr = self.hparams['selector_lr'] or self.hparams['lr']
        return [{'params': first}, {'params': selector, 'lr': lr}]

    def _enter_stage(self) -> None:
        # Not before training starts: DDP only ever reduces the gradients of parameters
        # that required one when it wrapped the model.
        selecting = self.current_epoch >= self.hparams['expert_epochs']
        self.model.select(selecting)
        freeze(self.affinity, selecting)

    def on_fit_start(self) -> None:
        """Check that experts can be trained, or are there.

        Raises:
            MisconfigurationException: If the strategy does not bear parameters that
                wait for their stage.
            ValueError: If there are no experts to select from.
        """
        super().on_fit_start()
        self._check_strategy()
        given = self._resumed or self.hparams['checkpoint'] is not None
        if not given and not self.hparams['expert_epochs']:
            raise ValueError(
                'expert_epochs=0 skips the training of experts: give the checkpoint of a'
                ' run that has trained them'
            )

    def _check_strategy(self) -> None:
        strategy = self.trainer.strategy
        if isinstance(strategy, DDPStrategy) and not strategy._ddp_kwargs.get(
            'find_unused_parameters'
        ):
            raise MisconfigurationException(
                'CoDEX trains experts and selector in turn, so that each step leaves some'
                " parameters unused: set trainer.strategy to 'ddp_find_unused_parameters_true'"
            )

    def on_train_start(self) -> None:
        """Enter the stage of the epoch, also in the middle of a resumed one."""
        super().on_train_start()
        self._enter_stage()

    def on_train_epoch_start(self) -> None:
        """Enter the stage of the epoch."""
        super().on_train_epoch_start()
        self._enter_stage()
        if self.current_epoch == self.hparams['expert_epochs']:
            self._restart_schedule()

    def _restart_schedule(self) -> None:
        """Forget the plateaus of the first stage: its loss is another one."""
        optimizer = cast(Optimizer, self.optimizers())
        # A top-level optimizer of the command line has groups of its own.
        initial = self.parameter_groups()
        if len(optimizer.param_groups) == len(initial):
            for group, given in zip(optimizer.param_groups, initial, strict=True):
                group['lr'] = given.get('lr', self.hparams['lr'])
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler._reset()

    def on_fit_end(self) -> None:
        """Say so if the selector was never trained, as when training stopped early."""
        super().on_fit_end()
        if not self.model.selecting:
            rank_zero_warn(
                'training ended before the second stage: the selector was not trained'
                ' and the mixture is uniform'
            )
