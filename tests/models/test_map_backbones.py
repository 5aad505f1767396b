# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from lightning.pytorch import Trainer
from torch import nn
from torchgeo.models import ResNet18_Weights
from torchgeo.tasks import SemanticSegmentation

from torchgeo_experts import DomainClassificationTask, DomainSegmentationTask
from torchgeo_experts.models import (
    ConvExperts,
    MultiUTAEBackbone,
    PooledMultiUTAEBackbone,
    SMPBackbone,
)
from torchgeo_experts.models.backbones import Backbone

NETWORKS = [
    ('unet', 'tu-test_resnet'),
    ('unetplusplus', 'resnet18'),
    ('manet', 'resnet18'),
    ('linknet', 'resnet18'),
    ('fpn', 'resnet18'),
    ('pspnet', 'resnet18'),
    ('deeplabv3', 'resnet18'),
    ('deeplabv3+', 'tu-resnet10t'),
    ('pan', 'resnet18'),
    ('upernet', 'tu-test_convnext'),
    ('segformer', 'mit_b0'),
]


@pytest.mark.parametrize('model, encoder', NETWORKS)
def test_smp_networks(model: str, encoder: str) -> None:
    """Heads on the last map, enlarged, are the library's own with 3x3 convolutions."""
    torch.manual_seed(0)
    backbone = SMPBackbone(model, encoder, in_channels=4).eval()
    image = torch.randn(2, 4, 128, 128)
    features = backbone(image)
    channels = tuple(maps.shape[1] for maps in features.pyramid)
    assert channels == backbone.pyramid_channels and 0 not in channels
    sides = [maps.shape[-1] for maps in features.pyramid]
    assert sides == sorted(sides, reverse=True)

    experts = ConvExperts(2, backbone.out_features, 5, backbone.upsampling)
    head = smp.base.SegmentationHead(
        backbone.out_features, 5, kernel_size=3, upsampling=backbone.upsampling
    )
    head[0].weight.data, head[0].bias.data = experts.weight[1], experts.bias[1]
    backbone.body.segmentation_head = head
    expected = backbone.body(image)
    assert expected.shape == (2, 5, 128, 128)
    found = experts(features.head, torch.tensor([1, 1]))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_smp_reads_series_image_by_image() -> None:
    backbone = SMPBackbone('fpn', 'tu-test_resnet').eval()
    series = torch.randn(2, 3, 3, 64, 64)
    features = backbone(series)
    for b, t in ((0, 0), (1, 2)):
        alone = backbone(series[b, t][None])
        torch.testing.assert_close(features.head[b, t], alone.head[0])
        for maps, expected in zip(features.pyramid, alone.pyramid, strict=True):
            torch.testing.assert_close(maps[b, t], expected[0])


def test_smp_says_which_sizes_fit() -> None:
    with pytest.raises(RuntimeError, match='divisible by 32'):
        SMPBackbone('fpn', 'tu-test_resnet')(torch.randn(1, 3, 75, 75))
    # Its U-Net takes any size.
    maps = SMPBackbone('unet', 'tu-test_resnet')(torch.randn(1, 3, 75, 70))
    assert maps.head.shape == (1, 16, 75, 70)


def test_weights_of_torchgeo_fill_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    source = smp.Unet('resnet18', encoder_weights=None).encoder.state_dict()
    weights = ResNet18_Weights.SENTINEL2_RGB_MOCO
    monkeypatch.setattr(type(weights), 'get_state_dict', lambda self, **_: dict(source))
    backbone = SMPBackbone('fpn', 'resnet18', weights)
    for key, value in backbone.body.encoder.state_dict().items():
        assert value.equal(source[key]), key


def test_checkpoints_fill_the_encoder(tmp_path: Path) -> None:
    """Of TorchGeo's task and of this package's, whatever the decoder."""
    for task in (
        SemanticSegmentation('unet', 'resnet18', num_classes=3),
        DomainSegmentationTask('fpn', 'resnet18', num_classes=3),
    ):
        trainer = Trainer(accelerator='cpu', logger=False, enable_checkpointing=False)
        trainer.strategy.connect(task)
        trainer.save_checkpoint(tmp_path / 'run.ckpt')
        body = getattr(task.model, 'backbone', task.model)
        expected = getattr(body, 'body', body).encoder.state_dict()
        backbone = SMPBackbone('unet', 'resnet18', str(tmp_path / 'run.ckpt'))
        for key, value in backbone.body.encoder.state_dict().items():
            assert value.equal(expected[key]), key


def test_weights_of_other_bands_keep_a_new_input(tmp_path: Path) -> None:
    task = DomainSegmentationTask('unet', 'resnet18', in_channels=4, num_classes=3)
    trainer = Trainer(accelerator='cpu', logger=False, enable_checkpointing=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(tmp_path / 'run.ckpt')
    with pytest.warns(UserWarning, match=r'conv1.weight have another shape .*input'):
        backbone = SMPBackbone('unet', 'resnet18', str(tmp_path / 'run.ckpt'))
    expected = task.model.backbone.body.encoder.layer1[0].conv1.weight
    assert backbone.body.encoder.layer1[0].conv1.weight.equal(expected)


class TestMultiUTAE:
    def test_an_image_is_a_series_of_one(self) -> None:
        backbone = MultiUTAEBackbone(in_channels=3, width=32).eval()
        image = torch.randn(2, 3, 16, 24)
        features, series = backbone(image), backbone(image[:, None])
        torch.testing.assert_close(features.head, series.head[:, 0])
        for maps, expected in zip(features.pyramid, series.pyramid, strict=True):
            torch.testing.assert_close(maps, expected[:, 0])

    def test_other_sizes_are_reflected_and_cut(self) -> None:
        backbone = MultiUTAEBackbone(in_channels=3, width=32).eval()
        image = torch.randn(2, 2, 3, 21, 30)
        # The rows before the last, backwards, without the last.
        padded = torch.cat([image, image[..., [19, 18, 17], :]], dim=-2)
        padded = torch.cat([padded, padded[..., [28, 27]]], dim=-1)
        found, expected = backbone(image).head, backbone(padded).head
        torch.testing.assert_close(found, expected[..., :21, :30])

    def test_metadata_are_read_from_the_batch(self) -> None:
        backbone = MultiUTAEBackbone(in_channels=3, width=32).eval()
        batch = {
            'image': torch.randn(2, 3, 3, 16, 16),
            'dates': torch.tensor([[0, 400, 600]] * 2),
            'valid': torch.tensor([[True, False, True]] * 2),
        }
        features = backbone.read(batch)
        expected = backbone(*(batch[key] for key in ('image', 'dates', 'valid')))
        torch.testing.assert_close(features.head, expected.head)
        assert features.valid is batch['valid']
        assert features.first(1).valid.shape == (1, 3)  # type: ignore[union-attr]
        assert (features.head - backbone(batch['image']).head).abs().max() > 1e-3

    def test_pooled_for_classification(self) -> None:
        backbone = PooledMultiUTAEBackbone(in_channels=3, width=32).eval()
        image = torch.randn(2, 3, 16, 24)
        maps = MultiUTAEBackbone.forward(backbone, image).head
        torch.testing.assert_close(backbone(image).head, maps.mean((-2, -1)))

    def test_the_papers_larger_network_classifies(self) -> None:
        task = DomainClassificationTask('multiutae', num_classes=62)
        assert sum(p.numel() for p in task.model.backbone.parameters()) == 3_087_408
        assert task.model.head.weight.shape == (1, 62, 56)

    def test_imagenet_weights_are_refused(self) -> None:
        with pytest.raises(ValueError, match='no ImageNet weights'):
            MultiUTAEBackbone(weights=True)


@pytest.mark.parametrize(
    'backbone', [SMPBackbone('unet', 'tu-test_resnet'), MultiUTAEBackbone(width=32)]
)
def test_encoder_and_decoder_are_all_of_it(backbone: Backbone) -> None:
    parts = nn.ModuleList([*backbone.encoder, *backbone.decoder])
    found = {id(p) for p in parts.parameters()}
    assert found == {id(p) for p in backbone.parameters()}
