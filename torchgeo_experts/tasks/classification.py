# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Classification of images."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor
from torchvision.models._api import WeightsEnum

from ..configurable import from_config
from ..metrics import DomainScores, Scores
from ..models import (
    Affinity,
    Backbone,
    Features,
    LinearExperts,
    LinearSelector,
    LocatedBackbone,
    LocationFusion,
    PooledMultiUTAEBackbone,
    make_image_backbone,
)
from ..models.relations import Relation
from ..objectives import Objective
from .base import DomainTask
from .codex import CoDEXTask
from .single import SingleModelTask


class ClassificationParts(DomainTask):
    """Backbone, heads and decisions of classification."""

    target_key = 'label'
    gives = frozenset({'label'})

    def make_network(self) -> Backbone:
        """Make MultiUTAE, or a network for single images."""
        in_channels = self.hparams['in_channels']
        if self.hparams['model'] == 'multiutae':
            width = self.hparams['num_filters']
            return PooledMultiUTAEBackbone(self.weights, in_channels, width)
        return make_image_backbone(
            self.hparams['model'], self.weights, in_channels, self.hparams['model_args']
        )

    def make_backbone(self) -> Backbone:
        """Make the backbone, frozen if that is wished."""
        backbone = self.make_network()
        if self.hparams['freeze_backbone']:
            backbone.fix(backbone.body)
        return backbone

    def make_heads(self, backbone: Backbone, num_domains: int) -> LinearExperts:
        """Make linear heads on pooled features."""
        return LinearExperts(num_domains, backbone.out_features, self.num_outputs)

    def decisions(
        self, features: Features, logits: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Decide in all the ways that a test compares.

        Args:
            features: What the backbone gave.
            logits: What the model predicts, shape (B, C).
            target: Targets, shape (B,).

        Returns:
            Predicted classes a way. ``Top2`` and ``Top3`` are right where the target is
            among so many highest scores: an oracle that may choose among experts is to
            be compared with these, not with a single guess.
        """
        found = super().decisions(features, logits, target)
        if self.hparams['task'] != 'multiclass':
            return found
        guesses = logits.topk(min(3, logits.shape[1]), dim=1).indices
        for count in range(2, guesses.shape[1] + 1):
            hit = (guesses[:, :count] == target[:, None]).any(dim=1)
            found[f'Top{count}'] = target.where(hit, guesses[:, 0])
        return found

    def _log_domains(self, prefix: str, metric: DomainScores) -> Scores:
        """Also log means over the classes that the targets have, as WILDS does.

        TorchGeo's averages also count, as 0, a class that is predicted and that no target
        has: of the 182 classes of iWildCam, other cameras see some only.
        """
        scores = super()._log_domains(prefix, metric)
        if self.hparams['task'] == 'multiclass' and prefix.endswith('_'):
            self.log(f'{prefix}PresentF1Score', scores.overall['AverageF1Score'])
            self.log(f'{prefix}PresentRecall', scores.overall['AverageAccuracy'])
        return scores


class DomainClassificationTask(ClassificationParts, SingleModelTask):
    """Image classification by one model, trained by any objective."""

    ignore = ('weights', 'objective', 'relation', 'location')

    _given_location: Any = None

    def __init__(
        self,
        model: str = 'resnet50',
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 3,
        task: Literal['binary', 'multiclass', 'multilabel'] = 'multiclass',
        num_classes: int | None = None,
        num_labels: int | None = None,
        labels: list[str] | None = None,
        num_filters: int = 224,
        model_args: dict[str, Any] | None = None,
        location: LocationFusion | None = None,
        pos_weight: float | Sequence[float] | None = None,
        loss: Literal['ce', 'bce', 'focal'] = 'ce',
        focal_gamma: float = 2.0,
        class_weights: Sequence[float] | None = None,
        ignore_index: int | None = None,
        objective: Objective | None = None,
        relation: Relation | None = None,
        num_domains: int | None = None,
        lr: float = 1e-4,
        weight_decay: float = 0.01,
        patience: int = 10,
        freeze_backbone: bool = False,
    ) -> None:
        """Initialize a new DomainClassificationTask instance.

        Args:
            model: Name of the `timm
                <https://huggingface.co/docs/timm/reference/models>`__ model to use, of
                one of TorchGeo's DOFA and Scale-MAE models, or 'multiutae'.
            weights: Initial model weights. Either a weight enum, the string
                representation of a weight enum, True for ImageNet weights, False
                or None for random weights, or the path of a checkpoint.
            in_channels: Number of input channels to model.
            task: One of 'binary', 'multiclass', or 'multilabel'.
            num_classes: Number of prediction classes (only for ``task='multiclass'``).
            num_labels: Number of prediction labels (only for ``task='multilabel'``).
            labels: List of class names.
            num_filters: Width of MultiUTAE (only for ``model='multiutae'``).
            model_args: Further arguments of the model, such as ``img_size`` and
                ``patch_size`` of a Vision Transformer, ``wavelengths`` of DOFA, or
                ``res`` of Scale-MAE.
            location: How longitude and latitude become an input beside the image.
                Default: they do not.
            pos_weight: Weight of positives, one value or one a label ('bce' and
                'focal' losses of binary and multilabel tasks).
            loss: One of 'ce', 'bce', or 'focal'. The focal loss is the softmax focal
                loss for classes, unlike that of TorchGeo's tasks.
            focal_gamma: Exponent of the focal loss.
            class_weights: Weight of each class ('ce' and 'focal' losses of multiclass
                tasks).
            ignore_index: Target value to ignore in the loss and metrics.
            objective: Training method. Default: empirical risk minimization.
            relation: What mixes experts of the training domains, one head each, by the
                domain or the place of a sample. Default: one head for all.
            num_domains: Number of training domains. Default: read from the datamodule.
            lr: Learning rate for optimizer.
            weight_decay: Weight decay for optimizer.
            patience: Patience for learning rate scheduler, in epochs.
            freeze_backbone: Freeze the backbone, to train the head alone.
        """
        self.weights = weights
        self._given_objective, self._given_relation = (objective,), (relation,)
        self._given_location = (location,)
        super().__init__()

    def make_backbone(self) -> Backbone:
        """Make the backbone, with the place beside its features if that is wished."""
        backbone = super().make_backbone()
        (given,) = self._given_location or (None,)
        self.hparams['location'] = None
        if given is None:
            return backbone
        fusion: LocationFusion = from_config(given, LocationFusion)  # type: ignore[type-abstract]
        self.hparams['location'] = fusion.to_config()
        return LocatedBackbone(backbone, fusion)


class CoDEXClassificationTask(ClassificationParts, CoDEXTask):
    """Image classification by experts, one a training domain (CoDEX)."""

    def __init__(
        self,
        model: str = 'resnet50',
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 3,
        task: Literal['binary', 'multiclass', 'multilabel'] = 'multiclass',
        num_classes: int | None = None,
        num_labels: int | None = None,
        labels: list[str] | None = None,
        num_filters: int = 224,
        model_args: dict[str, Any] | None = None,
        pos_weight: float | Sequence[float] | None = None,
        loss: Literal['ce', 'bce', 'focal'] = 'focal',
        focal_gamma: float = 2.0,
        class_weights: Sequence[float] | None = None,
        ignore_index: int | None = None,
        num_domains: int | None = None,
        expert_epochs: int = 50,
        affinity: Affinity | None = None,
        domain_weight: float = 1.0,
        consistency_weight: float = 1.0,
        accuracy_weight: float = 1.0,
        mixture_weight: float = 1.0,
        accuracy_reduction: Literal['sum', 'mean'] = 'sum',
        accuracy_experts: int | None = None,
        temperature: float = 1.0,
        checkpoint: str | None = None,
        lr: float = 1e-4,
        selector_lr: float | None = None,
        weight_decay: float = 0.01,
        patience: int = 10,
        freeze_backbone: bool = False,
    ) -> None:
        """Initialize a new CoDEXClassificationTask instance.

        Args:
            model: Name of the `timm
                <https://huggingface.co/docs/timm/reference/models>`__ model to use, of
                one of TorchGeo's DOFA and Scale-MAE models, or 'multiutae'.
            weights: Initial model weights. Either a weight enum, the string
                representation of a weight enum, True for ImageNet weights, False
                or None for random weights, or the path of a checkpoint.
            in_channels: Number of input channels to model.
            task: One of 'binary', 'multiclass', or 'multilabel'.
            num_classes: Number of prediction classes (only for ``task='multiclass'``).
            num_labels: Number of prediction labels (only for ``task='multilabel'``).
            labels: List of class names.
            num_filters: Width of MultiUTAE (only for ``model='multiutae'``).
            model_args: Further arguments of the model, such as ``img_size`` and
                ``patch_size`` of a Vision Transformer, ``wavelengths`` of DOFA, or
                ``res`` of Scale-MAE.
            pos_weight: Weight of positives, one value or one a label ('bce' and
                'focal' losses of binary and multilabel tasks).
            loss: One of 'ce', 'bce', or 'focal'. The paper has the focal loss, its
                published code the cross-entropy. It is the softmax focal loss, unlike
                that of TorchGeo's tasks.
            focal_gamma: Exponent of the focal loss. The paper does not give it; its
                published code has 0. We take that of the paper it cites (Lin et al.).
            class_weights: Weight of each class ('ce' and 'focal' losses of multiclass
                tasks).
            ignore_index: Target value to ignore in the loss and metrics.
            num_domains: Number of training domains, each of which gets an expert.
                Default: read from the datamodule.
            expert_epochs: Epochs of the first stage. All further epochs, up to the
                trainer's ``max_epochs``, train the selector.
            affinity: Affinity between domains. Default: the learned one of the paper.
            domain_weight: Weight of the domain loss (equation 1).
            consistency_weight: Weight of the consistency loss (equation 2). With 0 it is
                not computed, and experts learn their own domain only.
            accuracy_weight: Weight of the accuracy prediction loss (equation 3).
            mixture_weight: Weight of the mixture supervision loss (equation 4). The
                paper has 1, its published code 0.9.
            accuracy_reduction: Over experts, the accuracy prediction loss is a 'sum'
                (equation 3) or a 'mean' (published code).
            accuracy_experts: How many experts, drawn anew each step, the accuracy
                prediction loss looks at. For thousands of domains. Default: all.
            temperature: Temperature of the softmax that turns predicted accuracies
                into mixture weights.
            checkpoint: Checkpoint of another run of this task, from which backbone,
                experts and affinity are taken. With ``expert_epochs=0`` only the
                selector is trained.
            lr: Learning rate for optimizer.
            selector_lr: Learning rate of the second stage. Default: *lr*, as in the
                paper; its published code has ten times as much.
            weight_decay: Weight decay for optimizer.
            patience: Patience for learning rate scheduler, in epochs.
            freeze_backbone: Freeze the backbone in the first stage too.
        """
        self.weights = weights
        self._given_affinity = (affinity,)
        super().__init__()

    def make_selector(self, backbone: Backbone, num_domains: int) -> LinearSelector:
        """Make a linear selector on features pooled from several blocks."""
        return LinearSelector(backbone.pyramid_channels, num_domains)
