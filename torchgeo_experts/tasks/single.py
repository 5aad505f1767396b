# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Tasks with one model for all domains."""

from inspect import signature
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torchgeo.datasets.utils import Sample

from ..configurable import from_config
from ..metrics import GroupMeans
from ..models import RelatedNet, SingleNet
from ..models.relations import OwnDomain, PlaceRelation, Relation
from ..objectives import ERM, Objective, Spec
from ..objectives.base import REQUIREMENTS
from ..targets import TARGET_PREFIX
from .related_reports import RelatedReports


class SingleModelTask(RelatedReports):
    """Base class of tasks with one model, trained by any objective."""

    ignore: tuple[str, ...] = ('weights', 'objective', 'relation')

    #: What objective and relation were made from, until :meth:`configure_models`.
    _given_objective: Any = None
    _given_relation: Any = None
    #: A :class:`SingleNet`, or a :class:`RelatedNet` if there is a relation.
    model: Any
    #: Whether all is there that depends on the number of domains.
    _built = False

    def __init__(self) -> None:
        """Initialize a new SingleModelTask instance.

        Raises:
            ValueError: If the objective is for other tasks.
        """
        super().__init__()
        # Their recipes, since a checkpoint cannot hold the modules.
        self.hparams['objective'] = self.objective.to_config()
        relation = None if self._relation is None else self._relation.to_config()
        if 'relation' in signature(type(self)).parameters:
            self.hparams['relation'] = relation
        self._check_requirements()

    def _check_requirements(self) -> None:
        given = {*self.gives, 'domain', 'target', 'progress'}
        if self.hparams['task'] != 'multilabel':
            given.add('exclusive')
        kinds = {OwnDomain: 'own_domain', PlaceRelation: 'place_relation'}
        given |= {
            name for kind, name in kinds.items() if isinstance(self._relation, kind)
        }
        for need in sorted(self.objective.requires - given):
            name = type(self.objective).__name__
            raise ValueError(f'{name} needs {REQUIREMENTS[need]}')

    def configure_models(self) -> None:
        """Initialize the model and the objective, as far as domains are known."""
        (given,) = self._given_objective or (None,)
        self.method = ERM() if given is None else from_config(given, Objective)
        (given,) = self._given_relation or (None,)
        kind: Any = Relation  # an abstract class, which mypy refuses as a type
        # In a list: it becomes a part of the network.
        self._kept = [None if given is None else from_config(given, kind)]
        self._backbone = self.make_backbone()
        waits = self._relation is not None or 'domain' in self.method.requires
        if self.hparams['num_domains'] is not None or not waits:
            self._build()
        elif self._relation is None:
            self._build_net()

    @property
    def _relation(self) -> Relation | None:
        """What mixes experts of domains, if there are any."""
        return self._kept[0]  # type: ignore[no-any-return]

    def _build_net(self) -> None:
        """Build the network: with one head, or with one a training domain."""
        backbone, relation = self._backbone, self._relation
        del self._backbone
        if relation is None:
            self.model = SingleNet(backbone, self.make_heads(backbone, 1))
            return
        count = self.hparams['num_domains']
        heads = self.make_heads(backbone, count)
        relation.build(count)
        self.model = RelatedNet(backbone, heads, relation)

    def _build(self) -> None:
        """Build what depends on the number of domains."""
        if not hasattr(self, 'model'):
            self._build_net()
        spec = Spec(
            num_features=self.model.backbone.out_features,
            num_outputs=self.num_outputs,
            labels=self.hparams['task'] != 'multiclass',
            maps='map' in self.gives,
            num_domains=self.hparams['num_domains'],
        )
        self.method.build(spec)
        self._built = True

    def setup(self, stage: str) -> None:
        """Learn the domains from the datamodule.

        Args:
            stage: Either 'fit', 'validate', 'test' or 'predict'.

        Raises:
            ValueError: If there are no domains, or their places are needed and unknown.
        """
        super().setup(stage)
        if not self._built and self.hparams['num_domains'] is not None:
            self._build()
        if self._relation is None:
            return
        if not self._built:
            raise ValueError(
                'relation needs experts of training domains, but num_domains is not given,'
                ' and there is no datamodule with domains to read it from'
            )
        num_domains = self.hparams['num_domains']
        self.group_weights = GroupMeans(len(self.group_names), num_domains)
        if self._relation.needs_places:
            self._locate(self._relation, fitting=stage == 'fit')

    def _locate(self, relation: Relation, fitting: bool) -> None:
        """Tell the relation the places of the training domains.

        What a training has told stays; a checkpoint that is tested brings its own, later.
        """
        datamodule = getattr(self.trainer, 'datamodule', None)
        domains: Any = getattr(datamodule, 'domains', None)
        known = domains is not None and domains.located
        if fitting and not known:
            raise ValueError(
                f'{type(relation).__name__} needs the longitude and latitude of every'
                ' training domain, and the datamodule does not know them all'
            )
        fits = known and len(domains) == self.hparams['num_domains']
        if fitting or (fits and not relation.located):
            relation.locate(domains.lon, domains.lat)

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

    def on_train_epoch_end(self) -> None:
        """Have the network ready to be saved, and log train metrics."""
        self.objective.before_use(self.model)
        super().on_train_epoch_end()

    def on_validation_start(self) -> None:
        """Have the network ready, in the middle of a training too."""
        super().on_validation_start()
        if not self.trainer.sanity_checking:
            self.objective.before_use(self.model)
        self._check_places()

    def on_test_start(self) -> None:
        """Refuse experts without places."""
        super().on_test_start()
        self._check_places()

    def on_predict_start(self) -> None:
        """Refuse experts without places."""
        super().on_predict_start()
        self._check_places()

    def _check_places(self) -> None:
        """Refuse to mix experts by places that nobody has told.

        Raises:
            ValueError: If the relation needs them.
        """
        if self._relation is not None and not self._relation.located:
            raise ValueError(
                f'{type(self._relation).__name__} does not know where the training domains'
                ' are: give a checkpoint of a training'
            )

    def on_train_start(self) -> None:
        """Refuse a training without end, where the objective has to know it.

        Warn if a penalty would never set in.

        Raises:
            ValueError: If it is so.
        """
        super().on_train_start()
        endless = self._num_steps == float('inf')
        if endless and 'progress' in self.objective.requires:
            name = type(self.objective).__name__
            raise ValueError(f'{name} needs {REQUIREMENTS["progress"]}')
        waits = getattr(self.objective, 'anneal_steps', 0)
        if waits >= self._num_steps:
            rank_zero_warn(
                f'the penalty of {type(self.objective).__name__} sets in after'
                f' anneal_steps={waits}, and training has {self._num_steps:g} steps: give'
                ' fewer, or train for longer'
            )
