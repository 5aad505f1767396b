# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What tasks tell about each domain: metrics, a table and figures."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample
from torchgeo.tasks.mixins import ClassificationMixin

from ..metrics import DomainScores, MeanRisk, Scores, worst
from ..plots import plot_domain_scores
from .figures import save_figure
from .seeds import CHECKPOINT_KEY
from .tables import write_domains

# Metrics that share their state with another one of a collection believe that they were
# never updated.
warnings.filterwarnings('ignore', 'The ``compute`` method of metric')

#: Name of the group of samples whose place is no training domain, where the datamodule
#: names no groups.
UNSEEN = 'unseen'

#: The model's own decision, among those that a test compares.
MODEL = 'Model'


class DomainReports(ClassificationMixin):
    """Mix-in that scores each evaluation group.

    It adds the worst and the mean over groups to TorchGeo's metrics, and on test writes
    ``domains.csv``, with one row a domain, and a figure of it.
    """

    #: Names of the training domains, in the order of their identifiers.
    domain_names: tuple[str, ...] = ()
    #: Names of the evaluation groups.
    group_names: tuple[str, ...] = (UNSEEN,)
    #: Which groups compete for the worst one, bool, one a group: not those that the
    #: datamodule calls ``unranked_groups``.
    _ranked: Tensor
    #: Names of the classes, in the order of the labels.
    class_names: tuple[str, ...] = ()
    #: Folder for tables and figures: that of the logger, else the default root.
    report_dir: Path

    @property
    def num_outputs(self) -> int:
        """Number of logits of a head."""
        return self.hparams['num_classes'] or self.hparams['num_labels'] or 1

    def configure_groups(self, datamodule: Any, fitting: bool) -> None:
        """Learn the names of domains and groups, and make their metrics.

        Args:
            datamodule: Datamodule, if there is one.
            fitting: Whether the training domains are those of the datamodule; else they
                are those of the checkpoint, if it names some.
        """
        if fitting or not self.domain_names:
            self.domain_names = tuple(getattr(datamodule, 'domains', ()))
        classes = tuple(getattr(datamodule, 'classes', ()))
        if not fitting:
            refuse_other('classes', self.class_names, classes)
        self.class_names = classes or self.class_names
        groups = getattr(datamodule, 'groups', self.domain_names)
        self.group_names = (*groups, UNSEEN)
        unranked = getattr(datamodule, 'unranked_groups', ())
        self._ranked = torch.tensor([name not in unranked for name in self.group_names])
        self.train_scores = self.new_scores()
        self.val_scores = self.new_scores()
        self.test_scores = nn.ModuleDict()
        # Lightning's own mean of logged values is off where ranks differ in samples.
        self.val_risk, self.test_risk = MeanRisk(), MeanRisk()

    def new_scores(self) -> DomainScores:
        """Make a metric that scores each group."""
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
            Indices into ``group_names``, int64, shape (B,). The last one is for samples
            that have neither a known ``group`` nor a training ``domain``.
        """
        last = len(self.group_names) - 1
        image = batch['image']
        none = torch.full((len(image),), -1, device=image.device)
        group = batch.get('group', batch.get('domain', none))
        return group.where((group >= 0) & (group < last), last)

    def score_test(
        self, decisions: dict[str, Tensor], target: Tensor, group: Tensor
    ) -> None:
        """Score a test batch.

        Args:
            decisions: Predicted classes of each way to decide.
            target: Targets, of the same shape.
            group: Group of each sample, int64, shape (B,).
        """
        for rule, decision in decisions.items():
            if rule not in self.test_scores:
                self.test_scores[rule] = self.new_scores().to(self.device)
            scores = cast(DomainScores, self.test_scores[rule])
            scores.update(decision, target, group)

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
        # Read on every rank: Lightning agrees with the others on it.
        self.report_dir = Path(self.trainer.log_dir or self.trainer.default_root_dir)
        if tables:
            self._write_domains(tables)

    def _log_domains(self, prefix: str, metric: DomainScores) -> Scores:
        """Log the worst and the mean of all domains that compete, and start anew."""
        scores: Scores = metric.compute().unsqueezed()
        metric.reset()
        for name, values in scores.groups.items():
            values = values.where(self._ranked.to(values.device), torch.nan)
            self.log(f'{prefix}WorstDomain{name}', worst(values))
            self.log(f'{prefix}MeanDomain{name}', values.nanmean())
        return scores

    @rank_zero_only
    def _write_domains(self, tables: dict[str, Scores]) -> None:
        path = self.report_dir / 'domains.csv'
        ranked = self._ranked.tolist()
        write_domains(path, self.group_names, self.domain_names, ranked, tables)
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the names of the training domains.

        Args:
            checkpoint: Checkpoint to add to.
        """
        super().on_save_checkpoint(checkpoint)
        entries = checkpoint.setdefault(CHECKPOINT_KEY, {})
        entries['domains'] = list(self.domain_names)
        entries['classes'] = list(self.class_names)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the names of training domains and classes.

        Args:
            checkpoint: Checkpoint to read.

        Raises:
            ValueError: If the datamodule has others, in which case experts and labels
                would mean something else.
        """
        super().on_load_checkpoint(checkpoint)
        saved = checkpoint.get(CHECKPOINT_KEY, {})
        domains, classes = (tuple(saved.get(k, ())) for k in ('domains', 'classes'))
        if self._trainer is not None and self.trainer.training:
            refuse_other('training domains', domains, self.domain_names)
        refuse_other('classes', classes, self.class_names)
        self.domain_names = domains
        self.class_names = classes or self.class_names


def refuse_other(what: str, saved: Sequence[str], found: Sequence[str]) -> None:
    """Refuse data of other domains or classes than those of a checkpoint.

    Args:
        what: What they are.
        saved: Names in the checkpoint, empty if it has none.
        found: Names in the data, empty if they have none.

    Raises:
        ValueError: If both are known and differ.
    """
    if saved and found and tuple(saved) != tuple(found):
        raise ValueError(
            f'the checkpoint has the {what} {list(saved)}, the datamodule has'
            f' {list(found)}: use the data and the split that it was trained on'
        )
