# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What tasks that predict maps share."""

from typing import Literal

import torch
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..models import Backbone, ConvExperts, MultiUTAEBackbone, SMPBackbone
from .base import DomainTask

#: Networks that predict maps.
MapModel = Literal[
    'multiutae',
    'unet',
    'unetplusplus',
    'manet',
    'linknet',
    'fpn',
    'pspnet',
    'deeplabv3',
    'deeplabv3+',
    'pan',
    'upernet',
    'segformer',
]


class MapParts(DomainTask):
    """Backbone, heads and targets of tasks that predict maps."""

    target_key = 'mask'
    gives = frozenset({'map', 'map_of_image'})

    def make_backbone(self) -> Backbone:
        """Make MultiUTAE, or a network of segmentation_models_pytorch."""
        model, in_channels = self.hparams['model'], self.hparams['in_channels']
        backbone: Backbone
        if model == 'multiutae':
            width = self.hparams['num_filters']
            backbone = MultiUTAEBackbone(self.weights, in_channels, width)
        else:
            encoder = self.hparams['backbone']
            backbone = SMPBackbone(model, encoder, self.weights, in_channels)
        if self.hparams['freeze_backbone']:
            backbone.fix(*backbone.encoder)
        if self.hparams['freeze_decoder']:
            backbone.fix(*backbone.decoder)
        return backbone

    def make_heads(self, backbone: Backbone, num_domains: int) -> ConvExperts:
        """Make 3x3 convolutions on the map of the highest resolution."""
        return ConvExperts(
            num_domains, backbone.out_features, self.num_outputs, backbone.upsampling
        )

    def target_shape(self, image: Tensor) -> tuple[int, ...]:
        """Tell the shape of the masks of a batch.

        Args:
            image: Images, shape (B, C, H, W), or series, shape (B, T, C, H, W).

        Returns:
            (B, H, W), or (B, T, H, W) for series: a map of each date.
        """
        return (*image.shape[:-3], *image.shape[-2:])

    def target(self, batch: Sample) -> Tensor:
        """Select the target.

        Args:
            batch: A batch.

        Returns:
            Masks, of the shape that :meth:`target_shape` tells; of several labels with
            these in the second dimension.
        """
        mask = super().target(batch)
        labels = self.hparams['task'] == 'multilabel'
        # TorchGeo's masks of one map keep a dimension for it.
        if mask.ndim == len(self.target_shape(batch['image'])) + 1 + labels:
            mask = mask.squeeze(1)
        return mask.long()

    def on_before_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Check masks while they are still on the CPU.

        Args:
            batch: A batch.
            dataloader_idx: Index of the current dataloader.

        Returns:
            The batch.

        Raises:
            ValueError: If masks do not fit the images, or hold unknown classes.
        """
        shape = self.target_shape(batch['image'])
        if not self.trainer.predicting:
            self._check_mask(batch, shape)
        return super().on_before_batch_transfer(batch, dataloader_idx)

    def _check_mask(self, batch: Sample, shape: tuple[int, ...]) -> None:
        if 'mask' not in batch:
            raise ValueError(
                f"the batch has no 'mask', its keys are {sorted(batch)}: use a datamodule"
                ' for maps'
            )
        mask = self.target(batch)
        if self.hparams['task'] == 'multilabel':
            shape = (shape[0], self.num_outputs, *shape[1:])
        if mask.shape != shape:
            raise ValueError(
                f'images of shape {tuple(batch["image"].shape)} need masks of shape'
                f' {shape}{", a map of each date" * (len(shape) > 3)}, found'
                f' {tuple(batch["mask"].shape)}'
            )
        least, last = torch.aminmax(mask.where(self.criterion.valid(mask), 0))
        most = self.num_outputs - 1 if self.hparams['task'] == 'multiclass' else 1
        if not 0 <= least <= last <= most:
            raise ValueError(
                f'masks hold values from {least} to {last}, expected 0 to'
                f' {most}: check num_classes, and name the value of unlabelled pixels by'
                f' ignore_index (now {self.hparams["ignore_index"]})'
            )
