# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Classification by a Mixture of Geographical Experts (MoGE)."""

from collections.abc import Sequence
from typing import Any, Literal

from torchvision.models._api import WeightsEnum

from ..configurable import from_config
from ..models import Backbone, LinearExperts, make_image_backbone
from ..models.backbones import freeze
from ..models.location import LocationEncoder, WrapEncoder
from ..models.moge import MoGEBackbone, MoGEConfig
from ..models.moge.backbone import Tuned, Unknown
from ..models.weights import read_checkpoint
from ..objectives import MoGE, Objective
from .classification import ClassificationParts
from .moge_reports import MoGEReports
from .single import SingleModelTask
from .starting import StartingTask


class MoGEClassificationTask(
    MoGEReports, StartingTask, ClassificationParts, SingleModelTask
):
    """Image classification by experts inside a Vision Transformer, routed by place.

    Rangzan et al., "Mixture of Geographical Experts: Disentangling Earth", 2025. Batches
    need ``lon`` and ``lat``; images of unknown place (NaN) are for the shared expert.
    """

    ignore = ('weights', 'objective', 'location')

    def __init__(
        self,
        model: str = 'vit_tiny_patch16_224',
        weights: WeightsEnum | str | bool | None = None,
        in_channels: int = 3,
        task: Literal['binary', 'multiclass', 'multilabel'] = 'multiclass',
        num_classes: int | None = None,
        num_labels: int | None = None,
        labels: list[str] | None = None,
        model_args: dict[str, Any] | None = None,
        location: LocationEncoder | None = None,
        blocks: Sequence[int] = (8, 10),
        num_experts: int = 6,
        top_k: int = 3,
        gamma: float = 0.5,
        learn_gamma: bool = True,
        jitter: float = 0.01,
        codebook_dim: int = 256,
        noise: float = 1.0,
        unknown: Unknown = 'shared',
        shared_only: float = 0.0,
        fade_km: float | None = None,
        pos_weight: float | Sequence[float] | None = None,
        loss: Literal['ce', 'bce', 'focal'] = 'ce',
        focal_gamma: float = 2.0,
        class_weights: Sequence[float] | None = None,
        ignore_index: int | None = None,
        objective: Objective | None = None,
        num_domains: int | None = None,
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        patience: int = 10,
        freeze_backbone: bool = False,
        checkpoint: str | None = None,
        tune: Tuned = 'all',
    ) -> None:
        """Initialize a new MoGEClassificationTask instance.

        Args:
            model: Name of a Vision Transformer of `timm
                <https://huggingface.co/docs/timm/reference/models>`__, or one of
                TorchGeo's DOFA and Scale-MAE models.
            weights: Initial model weights. Either a weight enum, the string
                representation of a weight enum, True for ImageNet weights, False
                or None for random weights, or the path of a checkpoint.
            in_channels: Number of input channels to model.
            task: One of 'binary', 'multiclass', or 'multilabel'.
            num_classes: Number of prediction classes (only for ``task='multiclass'``).
            num_labels: Number of prediction labels (only for ``task='multilabel'``).
            labels: List of class names.
            model_args: Further arguments of the model, such as ``img_size`` and
                ``patch_size``, ``wavelengths`` of DOFA, or ``res`` of Scale-MAE.
            location: Location encoder, one for all blocks. Default: WRAP.
            blocks: Blocks whose feed-forward networks get experts, counted from 0. The
                authors' "layers 9 and 11", counted from 1.
            num_experts: Number of routed experts of a block. The poster has 6.
            top_k: Number of routed experts of an image. The poster has 3.
            gamma: Share of the shared expert, at the start. Not in the poster.
            learn_gamma: Whether gamma is learned, one a block.
            jitter: Noise added to the routed experts, which start as copies of the
                network that they replace, as a part of the standard deviation of each
                weight tensor. Without any, the diversity loss has no gradient.
            codebook_dim: Number of features of a code of the gate.
            noise: Standard deviation, times *num_experts*, of the noise added to the
                gate's logits in training.
            unknown: What an image of unknown place gets: the 'shared' expert alone, the
                'mean' route of the training images, or what a router that learns to
                imitate the gates tells from the 'image'. The last is future work of the
                poster.
            shared_only: Part of the training images that the shared expert sees alone,
                so that it learns to do without the others. Not in the poster.
            fade_km: Distance to the places of training, in km, up to which gates are
                trusted. Farther away the routed experts fade, and from twice as far on
                the shared one is alone. Default: gates are trusted everywhere, as in
                the poster.
            pos_weight: Weight of positives, one value or one a label ('bce' and
                'focal' losses of binary and multilabel tasks).
            loss: One of 'ce', 'bce', or 'focal'. The focal loss is the softmax focal
                loss for classes, unlike that of TorchGeo's tasks.
            focal_gamma: Exponent of the focal loss.
            class_weights: Weight of each class ('ce' and 'focal' losses of multiclass
                tasks).
            ignore_index: Target value to ignore in the loss and metrics.
            objective: Training method. Default: the losses of MoGE.
            num_domains: Number of training domains. Experts do not depend on it.
                Default: read from the datamodule.
            lr: Learning rate for optimizer.
            weight_decay: Weight decay for optimizer.
            patience: Patience for learning rate scheduler, in epochs.
            freeze_backbone: Freeze what was there before the experts, the shared one
                too.
            checkpoint: Checkpoint of another run of this task, with the same arguments,
                to start from. Only the image router may be missing in it.
            tune: What is trained: 'all', the 'gate' alone (location encoder, projections
                and codebooks), which needs few labelled images of a new region, or the
                'router' of images of unknown place alone. The last two need a
                *checkpoint*. Both are future work of the poster.

        Raises:
            ValueError: If there is nothing to tune, or nothing trains a router.
        """
        if tune != 'all' and checkpoint is None:
            raise ValueError(
                f'tune={tune!r} trains a small part of a model that is there: give the'
                ' checkpoint of a run that has trained it'
            )
        self.weights = weights
        self._given_location = (location,)
        self._given_objective = (MoGE() if objective is None else objective,)
        super().__init__()
        self.hparams['location'] = self.backbone.location.to_config()
        if unknown == 'image' and not isinstance(self.objective, MoGE):
            raise ValueError(
                "unknown='image' needs a router, which only the objectives MoGE and"
                f' RobustMoGE train, found {type(self.objective).__name__}'
            )

    def make_backbone(self) -> Backbone:
        """Make a Vision Transformer with experts."""
        # First of all, to start like a model without experts from the same seed.
        vit = make_image_backbone(
            self.hparams['model'],
            self.weights,
            self.hparams['in_channels'],
            self.hparams['model_args'],
        )
        (given,) = self._given_location or (None,)
        kind: Any = LocationEncoder  # an abstract class, which mypy refuses as a type
        location = WrapEncoder() if given is None else from_config(given, kind)
        names = MoGEConfig.__dataclass_fields__
        config = MoGEConfig(**{name: self.hparams[name] for name in names})
        backbone = MoGEBackbone(vit, location, config)
        if self.hparams['freeze_backbone']:
            backbone.fix_body()
        backbone.tune(self.hparams['tune'])
        return backbone

    def make_heads(self, backbone: Backbone, num_domains: int) -> LinearExperts:
        """Make a linear head on pooled features, which is not tuned with a gate."""
        heads = super().make_heads(backbone, num_domains)
        freeze(heads, self.hparams['tune'] != 'all')
        return heads

    def start_from(self, path: str) -> None:
        """Load the network of another run.

        Args:
            path: Path of its checkpoint.
        """
        state = read_checkpoint(path)['state_dict']
        router = {
            f'model.{name}': value
            for name, value in self.model.state_dict().items()
            if name.startswith('backbone.router.')
        }
        self.load_part(path, router | state, 'model.', self.model)
