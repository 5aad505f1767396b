# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What all tasks with domains share: steps, metrics and tables."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchgeo.datasets.utils import Sample
from torchgeo.tasks import BaseTask
from torchgeo.tasks.mixins import ClassificationMixin

from ..domains import Domains
from ..losses import Criterion, make_criterion
from ..metrics import DomainScores, Scores, worst
from ..models import Features
from ..models.backbones import Backbone
from ..models.experts import ExpertBank
from ..objectives import Objective, Step
from ..plots import plot_domain_scores
from .epochs import CHECKPOINT_KEY, RepeatableEpochs
from .figures import log_sample, save_figure
from .padding import count_own
from .tables import write_domains

Stage = Literal['train', 'val', 'test']

#: Name of the group of samples whose place is no training domain, where the datamodule
#: names no groups.
UNSEEN = 'unseen'

#: The model's own decision, among those that a test compares.
MODEL = 'Model'


class DomainTask(RepeatableEpochs, ClassificationMixin, BaseTask, ABC):
    """Base class of tasks that know domains.

    A subclass says how its network is made and what a training step minimizes. It logs
    TorchGeo's metrics, their worst and mean over domains, and on test writes
    ``domains.csv``, with one row a domain.
    """

    #: Names of the training domains, in the order of their identifiers.
    domain_names: tuple[str, ...] = ()
    #: Names of the evaluation groups.
    group_names: tuple[str, ...] = (UNSEEN,)
    #: Risk and accuracy of each sample.
    criterion: Criterion
    #: Key of the target in a sample.
    target_key: str

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

    @property
    def num_outputs(self) -> int:
        """Number of logits of a head."""
        return self.hparams['num_classes'] or self.hparams['num_labels'] or 1

    def configure_losses(self) -> None:
        """Initialize the criterion."""
        names = ('task', 'loss', 'class_weights', 'pos_weight', 'ignore_index')
        self.criterion = make_criterion(
            gamma=self.hparams['focal_gamma'], **{n: self.hparams[n] for n in names}
        )

    def configure_optimizers(self) -> Any:
        """Initialize the optimizer and learning rate scheduler.

        Returns:
            AdamW and a scheduler that waits for *patience* epochs on a plateau.
        """
        optimizer = AdamW(
            self.parameter_groups(),
            lr=self.hparams['lr'],
            weight_decay=self.hparams['weight_decay'],
        )
        scheduler = ReduceLROnPlateau(optimizer, patience=self.hparams['patience'])
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': scheduler, 'monitor': self.monitor},
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Share the parameters out to groups of the optimizer."""
        return [{'params': list(self.parameters())}]

    # What the data tell ---------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Learn the domains from the datamodule.

        Args:
            stage: Either 'fit', 'validate', 'test' or 'predict'.

        Raises:
            ValueError: If the datamodule has other classes than the task.
        """
        datamodule = getattr(self.trainer, 'datamodule', None)
        found = getattr(datamodule, 'num_classes', None)
        expected = self.hparams['num_classes']
        if None not in (found, expected) and found != expected:
            raise ValueError(
                f'num_classes={expected}, but {type(datamodule).__name__} has {found}'
                ' classes'
            )
        domains: Domains | None = getattr(datamodule, 'domains', None)
        if stage == 'fit' or not self.domain_names:
            self.domain_names = tuple(domains or ())
        self.group_names = (*getattr(datamodule, 'groups', self.domain_names), UNSEEN)
        self.train_scores = self._new_scores()
        self.val_scores = self._new_scores()
        self.test_scores = nn.ModuleDict()

    def _new_scores(self) -> DomainScores:
        return DomainScores(
            len(self.group_names),
            self.num_outputs,
            self.hparams['task'],
            self.hparams['ignore_index'],
        )

    def group(self, batch: Sample) -> Tensor:
        """Tell the evaluation group of each sample.

        Args:
            batch: A batch.

        Returns:
            Indices into ``group_names``, int64, shape (B,).
        """
        last = len(self.group_names) - 1
        if 'group' in batch:
            group = batch['group']
        else:
            size = len(batch['image'])
            device = batch['image'].device
            group = batch.get('domain', torch.full((size,), -1, device=device))
        return group.where((group >= 0) & (group < last), last)

    def target(self, batch: Sample) -> Tensor:
        """Select the target.

        Args:
            batch: A batch.

        Returns:
            Labels (B,) or masks (B, ...).
        """
        return batch[self.target_key]

    def on_before_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Refuse training samples of no training domain, while they are on the CPU.

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
        return batch

    # Steps ----------------------------------------------------------------------------

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
        step = Step(self.model, batch, target, self.criterion)
        logits, terms = self.objective(step)
        loss = torch.stack(list(terms.values())).sum()
        self.log('train_loss', loss, batch_size=len(target))
        for name, term in terms.items():
            self.log(f'train_{name}_loss', term, batch_size=len(target))

        logits = logits.detach()
        self.train_metrics.update(self._scores(logits), target)
        shaped = self.criterion.shape_target(target)
        prediction = self.criterion.predict(logits)
        self.train_scores.update(prediction, shaped, self.group(batch))
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
        for rule, decision in self.decisions(features, logits, target).items():
            if rule not in self.test_scores:
                self.test_scores[rule] = self._new_scores().to(self.device)
            scores = cast(DomainScores, self.test_scores[rule])
            scores.update(decision, shaped, self.group(own))
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
            ``probabilities``, shape (B, C, ...).
        """
        return {'probabilities': self.criterion.probabilities(self(batch['image']))}

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
        """Predict a batch and log its risk, without samples that are padding."""
        loaders = getattr(self.trainer, f'{stage}_dataloaders')
        loader = loaders[dataloader_idx] if isinstance(loaders, Sequence) else loaders
        size = count_own(loader, batch_idx, len(batch['image']))
        own = {k: v[:size] for k, v in batch.items()} if size else batch

        features = self.model.backbone(own['image'])
        logits = self.model.predict(features)
        target = self.target(own)
        risk = self.criterion(logits, target)
        # A batch of padding alone weighs nothing.
        self.log(f'{stage}_loss', risk.mean(), batch_size=size, sync_dist=True)
        if not size:
            own = {k: v[:0] for k, v in own.items()}
            logits, target = logits[:0], target[:0]
            features = Features(features.head[:0], [p[:0] for p in features.pyramid])
        if size:
            getattr(self, f'{stage}_metrics').update(self._scores(logits), target)
        return own, features, logits

    def _scores(self, logits: Tensor) -> Tensor:
        """Shape logits as TorchGeo's metrics expect them."""
        return logits.squeeze(1) if self.hparams['task'] == 'binary' else logits

    # Ends of epochs -------------------------------------------------------------------

    def on_train_epoch_end(self) -> None:
        """Log train metrics."""
        super().on_train_epoch_end()
        self._log_domains('train_', self.train_scores)

    def on_validation_epoch_end(self) -> None:
        """Log validation metrics."""
        super().on_validation_epoch_end()
        self._log_domains('val_', self.val_scores)

    def on_test_epoch_end(self) -> None:
        """Log test metrics and write the table of domains."""
        super().on_test_epoch_end()
        tables = {}
        for rule, metric in self.test_scores.items():
            # The model's own decision has TorchGeo's names, with nothing before them.
            prefix = '' if rule == MODEL else rule
            scores = self._log_domains(f'test_{prefix}', cast(DomainScores, metric))
            if prefix:
                overall = scores.overall.items()
                self.log_dict({f'test_{prefix}{name}': v for name, v in overall})
            tables[prefix] = scores
        self._write_domains(tables)

    def _log_domains(self, prefix: str, metric: DomainScores) -> Scores:
        """Log the worst and the mean of all domains, and start anew."""
        scores = metric.compute()
        metric.reset()
        for name, values in scores.groups.items():
            self.log(f'{prefix}WorstDomain{name}', worst(values))
            self.log(f'{prefix}MeanDomain{name}', values.nanmean())
        return scores

    @property
    def report_dir(self) -> Path:
        """Folder for tables and figures: that of the logger, else the default root."""
        return Path(self.trainer.log_dir or self.trainer.default_root_dir)

    @rank_zero_only
    def _write_domains(self, tables: dict[str, Scores]) -> None:
        if not tables:
            return
        path = self.report_dir / 'domains.csv'
        write_domains(path, self.group_names, self.domain_names, tables)
        samples = tables[''].samples.cpu()
        rows = samples.nonzero().flatten()
        accuracies = {
            rule: table.groups['OverallAccuracy'].cpu()[rows]
            for rule, table in tables.items()
        }
        own = accuracies.pop('')
        names = [self.group_names[i] for i in rows.tolist()]
        figure = plot_domain_scores(names, samples[rows], own, accuracies)
        save_figure(self, figure, 'domains')

    # Checkpoints ----------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the names of the training domains.

        Args:
            checkpoint: Checkpoint to add to.
        """
        super().on_save_checkpoint(checkpoint)
        checkpoint[CHECKPOINT_KEY]['domains'] = list(self.domain_names)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the names of the training domains.

        Args:
            checkpoint: Checkpoint to read.
        """
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint.get(CHECKPOINT_KEY, {}).get('domains', ())
        self.domain_names = tuple(saved)


def check_training_domains(batch: Sample, num_domains: int) -> None:
    """Refuse a training batch without domains, or with others than training domains.

    Args:
        batch: A batch on the CPU.
        num_domains: Number of training domains.

    Raises:
        ValueError: If it is so.
    """
    if 'domain' not in batch:
        raise ValueError(
            "the training batch has no 'domain', which this method needs; its keys are"
            f' {sorted(batch)}. Use a datamodule with domains'
        )
    domain = batch['domain']
    wrong = domain[(domain < 0) | (domain >= num_domains)]
    if len(wrong):
        raise ValueError(
            f'{len(wrong)} of {len(domain)} training samples have a domain outside'
            f' 0..{num_domains - 1} (found {sorted(set(wrong.tolist()))}; -1 stands for a'
            ' place that is no training domain): each needs the expert of its domain'
        )
