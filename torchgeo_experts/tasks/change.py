# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Change detection between two dates."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor
from torchgeo.datasets.utils import Sample
from torchvision.models._api import WeightsEnum

from ..models import Affinity, Backbone, ChangeExperts, ConvSelector
from ..models.relations import Relation
from ..objectives import Objective
from .codex import CoDEXTask
from .maps import MapModel, MapParts
from .single import SingleModelTask


class ChangeParts(MapParts):
    """Heads and targets of change detection: logits of two dates are subtracted.

    Images have the shape (B, 2, C, H, W) and masks (B, 1, H, W), as in TorchGeo.
    """

    gives = frozenset({'map'})

    def make_heads(self, backbone: Backbone, num_domains: int) -> ChangeExperts:
        """Make 3x3 convolutions on both maps of the highest resolution."""
        return ChangeExperts(
            num_domains, backbone.out_features, self.num_outputs, backbone.upsampling
        )

    def panels(self, batch: Sample, decision: Tensor) -> dict[str, Tensor]:
        """Shape mask and prediction as plots of TorchGeo's data sets expect them.

        Args:
            batch: A batch.
            decision: Predicted classes.

        Returns:
            ``mask`` and ``prediction``, shape (B, 1, H, W).
        """
        mask = self.target(batch).unsqueeze(1)
        return {'mask': mask, 'prediction': decision.view_as(mask)}

    def target_shape(self, image: Tensor) -> tuple[int, ...]:
        """Tell the shape of the masks of a batch.

        Args:
            image: Pairs of images, shape (B, 2, C, H, W).

        Returns:
            (B, H, W).

        Raises:
            ValueError: If the images are no pairs.
        """
        if image.ndim != 5 or image.shape[1] != 2:
            raise ValueError(
                'change detection needs images of two dates, of shape (B, 2, C, H, W),'
                f' found {tuple(image.shape)}'
            )
        return (image.shape[0], *image.shape[-2:])


class DomainChangeTask(ChangeParts, SingleModelTask):
    """Change detection by one model, trained by any objective."""

    def __init__(
        self,
        model: MapModel = 'unet',
        backbone: str = 'resnet50',
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 3,
        task: Literal['binary', 'multiclass', 'multilabel'] = 'binary',
        num_classes: int | None = None,
        num_labels: int | None = None,
        labels: list[str] | None = None,
        num_filters: int = 64,
        pos_weight: float | Sequence[float] | None = None,
        loss: Literal['ce', 'bce', 'focal'] = 'bce',
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
        """Initialize a new DomainChangeTask instance.

        Args:
            model: Name of the `smp
                <https://smp.readthedocs.io/en/latest/models.html>`__ network to use, or
                'multiutae', the backbone of the paper. Networks of smp read the two
                dates one by one.
            backbone: Name of the `timm
                <https://smp.readthedocs.io/en/latest/encoders_timm.html>`__ or `smp
                <https://smp.readthedocs.io/en/latest/encoders.html>`__ encoder to use
                (not for ``model='multiutae'``).
            weights: Initial weights of the encoder. Either a weight enum, the string
                representation of a weight enum, True for ImageNet weights, False
                or None for random weights, or the path of a checkpoint.
            in_channels: Number of input channels to model of one date.
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


class CoDEXChangeTask(ChangeParts, CoDEXTask):
    """Change detection by experts, one a training domain (CoDEX)."""

    def __init__(
        self,
        model: MapModel = 'unet',
        backbone: str = 'resnet50',
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 3,
        task: Literal['binary', 'multiclass', 'multilabel'] = 'binary',
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
        temperature: float = 1.0,
        checkpoint: str | None = None,
        lr: float = 1e-4,
        selector_lr: float | None = None,
        weight_decay: float = 0.01,
        patience: int = 10,
        freeze_backbone: bool = False,
        freeze_decoder: bool = False,
    ) -> None:
        """Initialize a new CoDEXChangeTask instance.

        Args:
            model: Name of the `smp
                <https://smp.readthedocs.io/en/latest/models.html>`__ network to use, or
                'multiutae', the backbone of the paper. Networks of smp read the two
                dates one by one.
            backbone: Name of the `timm
                <https://smp.readthedocs.io/en/latest/encoders_timm.html>`__ or `smp
                <https://smp.readthedocs.io/en/latest/encoders.html>`__ encoder to use
                (not for ``model='multiutae'``).
            weights: Initial weights of the encoder. Either a weight enum, the string
                representation of a weight enum, True for ImageNet weights, False
                or None for random weights, or the path of a checkpoint.
            in_channels: Number of input channels to model of one date.
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
        """Make a convolution on several blocks, pooled over space and both dates."""
        return ConvSelector(backbone.pyramid_channels, num_domains)
