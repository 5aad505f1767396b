# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Segmentation of images and of time series."""

from collections.abc import Sequence
from typing import Literal

from torchvision.models._api import WeightsEnum

from ..models import Affinity, Backbone, ConvSelector, DatewiseSelector
from ..models.relations import Relation
from ..objectives import Objective
from .codex import CoDEXTask
from .maps import MapModel, MapParts
from .single import SingleModelTask


class DomainSegmentationTask(MapParts, SingleModelTask):
    """Segmentation of images or series by one model, trained by any objective."""

    def __init__(
        self,
        model: MapModel = 'unet',
        backbone: str = 'resnet50',
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 3,
        task: Literal['binary', 'multiclass', 'multilabel'] = 'multiclass',
        num_classes: int | None = None,
        num_labels: int | None = None,
        labels: list[str] | None = None,
        num_filters: int = 64,
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
        freeze_decoder: bool = False,
    ) -> None:
        """Initialize a new DomainSegmentationTask instance.

        Args:
            model: Name of the `smp
                <https://smp.readthedocs.io/en/latest/models.html>`__ network to use, or
                'multiutae', the backbone of the paper. Networks of smp read series image by
                image.
            backbone: Name of the `timm
                <https://smp.readthedocs.io/en/latest/encoders_timm.html>`__ or `smp
                <https://smp.readthedocs.io/en/latest/encoders.html>`__ encoder to use
                (not for ``model='multiutae'``).
            weights: Initial weights of the encoder. Either a weight enum, the string
                representation of a weight enum, True for ImageNet weights, False
                or None for random weights, or the path of a checkpoint.
            in_channels: Number of input channels to model.
            task: One of 'binary', 'multiclass', or 'multilabel'.
            num_classes: Number of prediction classes (only for ``task='multiclass'``).
            num_labels: Number of prediction labels (only for ``task='multilabel'``).
            labels: List of class names.
            num_filters: Width of MultiUTAE (only for ``model='multiutae'``).
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
            freeze_backbone: Freeze the encoder, to train decoder and head.
            freeze_decoder: Freeze the decoder, to train encoder and head.
        """
        self.weights = weights
        self._given_objective, self._given_relation = (objective,), (relation,)
        super().__init__()


class CoDEXSegmentationTask(MapParts, CoDEXTask):
    """Segmentation of images or series by experts, one a training domain (CoDEX)."""

    def __init__(
        self,
        model: MapModel = 'unet',
        backbone: str = 'resnet50',
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 3,
        task: Literal['binary', 'multiclass', 'multilabel'] = 'multiclass',
        num_classes: int | None = None,
        num_labels: int | None = None,
        labels: list[str] | None = None,
        num_filters: int = 64,
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
        temporal_pooling: bool = True,
        temperature: float = 1.0,
        checkpoint: str | None = None,
        lr: float = 1e-4,
        selector_lr: float | None = None,
        weight_decay: float = 0.01,
        patience: int = 10,
        freeze_backbone: bool = False,
        freeze_decoder: bool = False,
    ) -> None:
        """Initialize a new CoDEXSegmentationTask instance.

        Args:
            model: Name of the `smp
                <https://smp.readthedocs.io/en/latest/models.html>`__ network to use, or
                'multiutae', the backbone of the paper. Networks of smp read series image by
                image.
            backbone: Name of the `timm
                <https://smp.readthedocs.io/en/latest/encoders_timm.html>`__ or `smp
                <https://smp.readthedocs.io/en/latest/encoders.html>`__ encoder to use
                (not for ``model='multiutae'``).
            weights: Initial weights of the encoder. Either a weight enum, the string
                representation of a weight enum, True for ImageNet weights, False
                or None for random weights, or the path of a checkpoint.
            in_channels: Number of input channels to model.
            task: One of 'binary', 'multiclass', or 'multilabel'.
            num_classes: Number of prediction classes (only for ``task='multiclass'``).
            num_labels: Number of prediction labels (only for ``task='multilabel'``).
            labels: List of class names.
            num_filters: Width of MultiUTAE (only for ``model='multiutae'``).
            pos_weight: Weight of positives, one value or one a label ('bce' and
                'focal' losses of binary and multilabel tasks).
            loss: One of 'ce', 'bce', or 'focal'. The focal loss is the softmax focal
                loss for classes, unlike that of TorchGeo's tasks.
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
            accuracy_weight: Weight of the accuracy prediction loss (equation 3), which
                predicts the share of right pixels.
            mixture_weight: Weight of the mixture supervision loss (equation 4). The
                paper has 1, its published code 0.9.
            accuracy_reduction: Over experts, the accuracy prediction loss is a 'sum'
                (equation 3) or a 'mean' (published code).
            accuracy_experts: How many experts, drawn anew each step, the accuracy
                prediction loss looks at. For thousands of domains. Default: all.
            temporal_pooling: Choose experts once a series. False chooses for each date,
                the ablation of table 3.
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
            freeze_backbone: Freeze the encoder in the first stage too.
            freeze_decoder: Freeze the decoder in the first stage too.
        """
        self.weights = weights
        self._given_affinity = (affinity,)
        super().__init__()

    def make_selector(self, backbone: Backbone, num_domains: int) -> ConvSelector:
        """Make a convolution on several blocks, pooled over space and time."""
        kind = ConvSelector if self.hparams['temporal_pooling'] else DatewiseSelector
        return kind(backbone.pyramid_channels, num_domains)
