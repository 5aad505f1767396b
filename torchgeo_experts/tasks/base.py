# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What all tasks with domains share: steps, metrics and tables."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchgeo.datasets.utils import Sample
from torchgeo.tasks import BaseTask

from ..losses import Criterion, make_criterion
from ..models import Backbone, ExpertBank, Features
from ..objectives import Objective, Step
from .checks import check_training_domains
from .class_counts import ClassCounts
from .figures import log_sample
from .padding import count_own
from .reports import MODEL, DomainReports
from .seeds import RepeatableSteps
from .ways import Way

Stage = Literal['train', 'val', 'test']

#: What TorchGeo's geospatial data sets tell of a patch, and what a map of it needs.
PATCH_KEYS = ('bounds', 'transform')


class DomainTask(RepeatableSteps, DomainReports, BaseTask, ABC):
    """Base class of tasks that know domains.

    A subclass says how its network is made and what a training step minimizes.
    """

    #: Risk and accuracy of each sample.
    criterion: Criterion
    #: Key of the target in a sample.
    target_key: str
    #: Ways to predict that callbacks add, by the name that their metrics get.
    ways: Mapping[str, Way] = {}
    #: Steps of the whole training, as far as they are known.
    _num_steps: float = float('inf')

    # How the network is made ---------------------------------------------------------

    @abstractmethod
    def make_backbone(self) -> Backbone:
        """Make the backbone that the arguments describe."""

    @abstractmethod
    def make_heads(self, backbone: Backbone, num_domains: int) -> ExpertBank:
        """Make a bank of heads.

        Args:
            backbone: Backbone that they read.
            num_domains: Number of heads.
        """

    @property
    @abstractmethod
    def objective(self) -> Objective:
        """What a training step minimizes now."""

    def configure_losses(self) -> None:
        """Initialize the criterion."""
        names = ('task', 'loss', 'class_weights', 'pos_weight', 'ignore_index')
        self.criterion = make_criterion(
            gamma=self.hparams['focal_gamma'],
            num_outputs=self.num_outputs,
            **{n: self.hparams[n] for n in names},
        )

    def configure_metrics(self) -> None:
        """Initialize the performance metrics."""
        super().configure_metrics()
        labels = self.hparams['task'] != 'multiclass'
        self.class_counts = ClassCounts(self.num_outputs, labels)
        modules: Iterable[Any] = self.modules()
        for metric in modules:
            # It would make a GPU wait in each step, for what criteria check on the CPU.
            if hasattr(metric, 'validate_args'):
                metric.validate_args = False

    def configure_optimizers(self) -> Any:
        """Initialize the optimizer and learning rate scheduler.

        Returns:
            AdamW and a scheduler that waits for *patience* epochs on a plateau. Without
            validation it does nothing.
        """
        optimizer = AdamW(
            self.parameter_groups(),
            lr=self.hparams['lr'],
            weight_decay=self.hparams['weight_decay'],
        )
        plateau = ReduceLROnPlateau(optimizer, patience=self.hparams['patience'])
        scheduler = {'scheduler': plateau, 'monitor': self.monitor, 'strict': False}
        return {'optimizer': optimizer, 'lr_scheduler': scheduler}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Share the parameters out to groups of the optimizer."""
        return [{'params': list(self.parameters())}]

    # What the data tell ---------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Learn the domains from the datamodule.

        Args:
            stage: Either 'fit', 'validate', 'test' or 'predict'.

        Raises:
            ValueError: If the datamodule has other numbers of classes or domains than
                the task.
        """
        datamodule = getattr(self.trainer, 'datamodule', None)
        found = getattr(datamodule, 'num_classes', None)
        expected = self.hparams['num_classes']
        if None not in (found, expected) and found != expected:
            raise ValueError(
                f'num_classes={expected}, but {type(datamodule).__name__} has {found}'
                ' classes'
            )
        self.configure_groups(datamodule, fitting=stage == 'fit')
        self._count_domains(datamodule, fitting=stage == 'fit')

    def _count_domains(self, datamodule: Any, fitting: bool) -> None:
        found = getattr(datamodule, 'num_domains', None)
        if self.hparams['num_domains'] is None:
            self.hparams['num_domains'] = found
        expected = self.hparams['num_domains']
        if fitting and None not in (found, expected) and found != expected:
            raise ValueError(
                f'num_domains={expected}, but {type(datamodule).__name__} has {found}'
                ' training domains'
            )
        if fitting and expected is None and 'domain' in self.objective.requires:
            raise ValueError(
                'num_domains is not given, and there is no datamodule with domains to'
                ' read it from'
            )

    #: What objectives may ask of the task, see ``REQUIREMENTS``.
    gives: ClassVar[frozenset[str]]

    def target(self, batch: Sample) -> Tensor:
        """Select the target.

        Args:
            batch: A batch.

        Returns:
            Labels (B,) or masks (B, ...).
        """
        return batch[self.target_key]

    def on_before_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Seed the step; refuse samples of no training domain, still on the CPU.

        Args:
            batch: A batch.
            dataloader_idx: Index of the current dataloader.

        Returns:
            The batch.

        Raises:
            ValueError: If the objective needs domains and the batch has none, or a
                domain outside the training domains.
        """
        if self.trainer.training and 'domain' in self.objective.requires:
            check_training_domains(batch, self.hparams['num_domains'])
        return super().on_before_batch_transfer(batch, dataloader_idx)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load a checkpoint, even if it does not tell how often classes occur.

        Args:
            checkpoint: Checkpoint to read.
        """
        super().on_load_checkpoint(checkpoint)
        none = torch.zeros_like(self.class_counts.counts)
        checkpoint['state_dict'].setdefault('class_counts.counts', none)

    # Steps ----------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Find out how long training will take."""
        super().on_train_start()
        self._num_steps = self.trainer.estimated_stepping_batches

    @property
    def progress(self) -> float:
        """How much of the training is over, from 0 to 1."""
        return self.trainer.global_step / max(self._num_steps, 1)

    def training_step(
        self, batch: Sample, batch_idx: int, dataloader_idx: int = 0
    ) -> Tensor:
        """Compute the training loss and additional metrics.

        Args:
            batch: The output of your DataLoader.
            batch_idx: Integer displaying index of this batch.
            dataloader_idx: Index of the current dataloader.

        Returns:
            The loss tensor.
        """
        target = self.target(batch)
        step = Step(self.model, batch, target, self.criterion, self.progress)
        logits, terms, judged, owner = self.objective(step)
        loss = torch.stack(list(terms.values())).sum()
        self.log('train_loss', loss, batch_size=len(target))
        for name, term in terms.items():
            self.log(f'train_{name}_loss', term, batch_size=len(target))

        decision = self.criterion.predict(logits.detach())
        target = target if judged is None else judged
        self.train_metrics.update(self.unshape(decision), target)
        shaped = self.criterion.shape_target(target)
        # Of what was learned from, which may be mixtures.
        self.class_counts.update(shaped, self.criterion.valid(shaped))
        group = self.group(batch)
        group = group if owner is None else group[owner]
        self.train_scores.update(decision, shaped, group)
        return loss

    def validation_step(
        self, batch: Sample, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Compute the validation loss and additional metrics.

        Args:
            batch: The output of your DataLoader.
            batch_idx: Integer displaying index of this batch.
            dataloader_idx: Index of the current dataloader.
        """
        own, _, logits = self._evaluate('val', batch, batch_idx, dataloader_idx)
        decision = self.criterion.predict(logits)
        target = self.criterion.shape_target(self.target(own))
        self.val_scores.update(decision, target, self.group(own))
        if batch_idx < 10 and len(decision):
            log_sample(self, batch, decision, batch_idx)

    def test_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Compute the test loss and additional metrics.

        Args:
            batch: The output of your DataLoader.
            batch_idx: Integer displaying index of this batch.
            dataloader_idx: Index of the current dataloader.
        """
        own, features, logits = self._evaluate('test', batch, batch_idx, dataloader_idx)
        target = self.target(own)
        shaped = self.criterion.shape_target(target)
        decisions = self.decisions(features, logits, target)
        for name, way in self.ways.items():
            decisions[name] = self.criterion.predict(way.logits(own, features))
        self.score_test(decisions, shaped, self.group(own))
        self.observe(own, features)

    def observe(self, batch: Sample, features: Features) -> None:
        """Keep what else a test batch tells.

        Args:
            batch: A test batch.
            features: What the backbone gave.
        """

    def predict_step(
        self, batch: Sample, batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Compute the predicted class probabilities.

        Args:
            batch: The output of your DataLoader.
            batch_idx: Integer displaying index of this batch.
            dataloader_idx: Index of the current dataloader.

        Returns:
            ``probabilities``, shape (B, C, ...), by the last of :attr:`ways` if there are
            any; of patches of rasters also ``bounds`` and ``transform``, where they lie.
        """
        features = self.model.backbone.read(batch)
        found = self.predictions(features)
        for way in list(self.ways.values())[-1:]:
            logits = way.logits(batch, features)
            found['probabilities'] = self.criterion.probabilities(logits)
            found |= way.told(batch)
        return found | {key: batch[key] for key in PATCH_KEYS if key in batch}

    def predictions(self, features: Features) -> dict[str, Tensor]:
        """Predict.

        Args:
            features: What the backbone gave.

        Returns:
            ``probabilities``, shape (B, C, ...).
        """
        logits = self.model.predict(features)
        return {'probabilities': self.criterion.probabilities(logits)}

    def panels(self, batch: Sample, decision: Tensor) -> dict[str, Tensor]:
        """Shape what a data set's plot shows beside the image.

        Args:
            batch: A batch.
            decision: Predicted classes.

        Returns:
            Entries of the sample to plot.
        """
        return {'prediction': decision.view_as(self.target(batch))}

    def decisions(
        self, features: Features, logits: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Decide in all the ways that a test compares.

        Args:
            features: What the backbone gave.
            logits: What the model predicts, shape (B, C, ...).
            target: Targets, for decisions that may look at them.

        Returns:
            Predicted classes a way, the model's own first.
        """
        return {MODEL: self.criterion.predict(logits)}

    def _evaluate(
        self, stage: Stage, batch: Sample, batch_idx: int, dataloader_idx: int
    ) -> tuple[Sample, Features, Tensor]:
        """Predict a batch, leave out samples that are padding, and log the risk."""
        loaders = getattr(self.trainer, f'{stage}_dataloaders')
        loader = loaders[dataloader_idx] if isinstance(loaders, Sequence) else loaders
        size = count_own(loader, batch_idx, len(batch['image']))
        features = self.model.backbone.read(batch).first(size)
        logits = self.model.predict(features)
        own = {key: values[:size] for key, values in batch.items()}

        target = self.target(own)
        risk = getattr(self, f'{stage}_risk')
        risk.update(self.criterion(logits, target), self.criterion.judged(target))
        self.log(f'{stage}_loss', risk, on_step=False, on_epoch=True)
        if size:
            decision = self.unshape(self.criterion.predict(logits))
            getattr(self, f'{stage}_metrics').update(decision, target)
        return own, features, logits

    def unshape(self, decision: Tensor) -> Tensor:
        """Give predicted classes the shape of targets in a batch.

        Args:
            decision: Predicted classes, shape (B, ...), of a binary task (B, 1, ...).

        Returns:
            Predicted classes, shape (B, ...).
        """
        return decision.squeeze(1) if self.hparams['task'] == 'binary' else decision
