# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The interface of training methods."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchgeo.datasets.utils import Sample

from ..configurable import Configurable
from ..losses import Criterion
from ..models import Features
from ..targets import target_of

#: What an objective may need, and what to do where it is missing.
REQUIREMENTS = {
    'target': 'unlabelled images of the target domains: set target_split of the datamodule,'
    " to 'test' or 'val'",
    'map': 'maps as targets: use DomainSegmentationTask or DomainChangeTask',
    'map_of_image': 'a map of each image as target: use DomainSegmentationTask',
    'own_domain': 'one expert a training domain: give the task relation='
    'torchgeo_experts.OwnDomain',
    'place_relation': 'experts mixed by place: give the task relation='
    'torchgeo_experts.PlaceRelation',
    'progress': 'to know how long training takes: set max_epochs or max_steps of the'
    ' trainer',
    'label': 'classes of whole images: use DomainClassificationTask',
    'exclusive': "classes that exclude each other: use task='multiclass' or 'binary'",
}


@dataclass(frozen=True)
class Spec:
    """What an objective knows of the network before it is trained."""

    #: Number of features that heads read.
    num_features: int
    #: Number of logits.
    num_outputs: int
    #: Whether logits are of labels that do not exclude each other, or of a single one.
    labels: bool = False
    #: Whether logits are maps.
    maps: bool = False
    #: Number of training domains; None if it is not known and not needed.
    num_domains: int | None = None


@dataclass(frozen=True)
class Step:
    """What an objective sees of one training step."""

    #: The network, a :class:`~torchgeo_experts.models.SingleNet` or
    #: :class:`~torchgeo_experts.models.ExpertNet`.
    net: Any
    #: The batch, with its image and metadata.
    batch: Sample
    #: Targets: labels (B,) or masks (B, ...).
    target: Tensor
    #: Risk and accuracy of each sample.
    criterion: Criterion
    #: How much of the training is over, from 0 to 1.
    progress: float = 0.0

    def risk(self, logits: Tensor) -> Tensor:
        """Average the risk over samples.

        Args:
            logits: Logits, shape (B, C, ...).

        Returns:
            The mean over samples that have a target, a scalar.
        """
        return self.criterion.mean(self.criterion(logits, self.target), self.target)

    @property
    def domain(self) -> Tensor:
        """Training domain of each sample, int64, shape (B,)."""
        return self.batch['domain']

    @property
    def judged(self) -> Tensor:
        """Which samples have anything that counts, boolean, shape (B,)."""
        return self.criterion.judged(self.target)

    @property
    def unlabelled(self) -> Sample:
        """Batch of images of the target domains, without labels."""
        return target_of(self.batch)

    def read_both(self) -> tuple[Features, Features]:
        """Compute the features of labelled images and of targets, in one pass.

        Statistics of a batch, such as those of batch normalization, are then those of
        both together (WILDS); by themselves they would hide the shift between the two.

        Returns:
            Features of the labelled batch, and of the targets.
        """
        target, size = self.unlabelled, len(self.batch['image'])
        if 'domain' in self.batch:  # targets belong to no training domain
            count = len(target['image'])
            target['domain'] = self.batch['domain'].new_full((count,), -1)
        both = {
            key: torch.cat([self.batch[key], value])
            for key, value in target.items()
            if key in self.batch
        }
        features = self.net.backbone.read(both)
        return features.part(0, size), features.part(size, None)


class Outcome(NamedTuple):
    """What an objective makes of a step."""

    #: Logits that training metrics judge, shape (B, C, ...).
    logits: Tensor
    #: Weighted terms of the loss by name, scalars; the loss is their sum.
    terms: dict[str, Tensor]
    #: Targets that training metrics compare them with. None: those of the batch.
    target: Tensor | None = None
    #: Samples whose domains these targets are from, int64, shape (B,). None: their own.
    owner: Tensor | None = None


class Objective(Configurable, ABC):
    """A training method: what one step minimizes.

    A method is one small class, and works for classification, segmentation and change
    detection alike, as it sees risks a sample and never the shape of a target.
    """

    #: What it needs beyond images and targets: 'domain' (of each sample), or one of
    #: :data:`REQUIREMENTS`.
    requires: ClassVar[frozenset[str]] = frozenset()
    #: Learning rate of parameters of its own, relative to that of the network.
    lr_scale: float = 1.0

    def build(self, spec: Spec) -> None:
        """Make what depends on the network or on the number of domains.

        Args:
            spec: What is known of them.
        """

    def after_step(self, net: nn.Module, optimizer: Optimizer) -> None:
        """Do what is to be done after a step of the optimizer.

        Args:
            net: The network.
            optimizer: The optimizer.
        """

    def before_use(self, net: nn.Module) -> None:
        """Do what is to be done before a validation, and at the end of an epoch.

        Args:
            net: The network.
        """

    @abstractmethod
    def forward(self, step: Step) -> Outcome:
        """Compute the loss of one step.

        Args:
            step: What the step has.

        Returns:
            Logits, and the terms of the loss.
        """
