# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from pathlib import Path

import pytest
import timm
import torch
from lightning.pytorch import Trainer
from torch import nn
from torchgeo.models import ResNet18_Weights
from torchgeo.tasks import Classification

from torchgeo_experts.models import TimmBackbone
from torchgeo_experts.models.backbones import spread_blocks
from torchgeo_experts.models.pooling import pooled_pyramid


@pytest.mark.parametrize('name', ['resnet18', 'resnet10t', 'test_convnext'])
def test_features_are_those_of_timm(name: str) -> None:
    """The same weights in timm's own feature extractor and pooled model."""
    torch.manual_seed(0)
    backbone = TimmBackbone(name).eval()
    image = torch.randn(2, 3, 64, 64)
    features = backbone(image)
    torch.testing.assert_close(features.head, backbone.body(image))
    assert features.head.shape == (2, backbone.out_features)

    extractor = timm.create_model(name, features_only=True).eval()
    state = backbone.body.state_dict()
    flat = {key.replace('.', '_', 1) for key in extractor.state_dict()}
    if {key.replace('.', '_', 1) for key in state} >= flat:
        extractor.load_state_dict(state, strict=False)
        for found, expected in zip(features.pyramid, extractor(image), strict=True):
            torch.testing.assert_close(found, expected)
    channels = tuple(maps.shape[1] for maps in features.pyramid)
    assert channels == backbone.pyramid_channels


def test_transformers_have_a_pyramid() -> None:
    backbone = TimmBackbone('test_vit').eval()
    image = torch.randn(2, 3, 160, 160)
    features = backbone(image)
    assert len(features.pyramid) == 4
    channels = tuple(maps.shape[1] for maps in features.pyramid)
    assert channels == backbone.pyramid_channels
    torch.testing.assert_close(features.head, backbone.body(image))


def test_blocks_are_spread() -> None:
    assert spread_blocks(5) == [0, 1, 2, 3, 4]
    assert spread_blocks(12) == [2, 5, 8, 11]
    assert spread_blocks(6)[-1] == 5


def test_pooled_pyramid_concatenates_channels() -> None:
    backbone = TimmBackbone('test_resnet')
    features = backbone(torch.randn(2, 3, 32, 32))
    found = pooled_pyramid(features)
    assert found.shape == (2, sum(backbone.pyramid_channels))
    first = features.pyramid[0]
    torch.testing.assert_close(found[:, : first.shape[1]], first.mean((2, 3)))


def test_checkpoint_of_torchgeo_is_read(tmp_path: Path) -> None:
    task = Classification(model='test_resnet', num_classes=3)
    trainer = Trainer(accelerator='cpu', logger=False, enable_checkpointing=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(tmp_path / 'torchgeo.ckpt')
    backbone = TimmBackbone('test_resnet', weights=str(tmp_path / 'torchgeo.ckpt'))
    expected = task.model.state_dict()
    for key, value in backbone.body.state_dict().items():
        assert value.equal(expected[key]), key


def test_weights_of_torchgeo_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By enum and by name, without a download."""
    torch.manual_seed(3)
    source = timm.create_model('resnet18', in_chans=3)
    weights = ResNet18_Weights.SENTINEL2_RGB_MOCO
    monkeypatch.setattr(
        type(weights), 'get_state_dict', lambda self, **_: dict(source.state_dict())
    )
    for given in (weights, str(weights)):
        backbone = TimmBackbone('resnet18', weights=given)
        for key, value in backbone.body.state_dict().items():
            assert value.equal(source.state_dict()[key]), key


def test_weights_of_other_bands_keep_a_new_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = timm.create_model('resnet18', in_chans=13)
    weights = ResNet18_Weights.SENTINEL2_ALL_MOCO
    monkeypatch.setattr(
        type(weights), 'get_state_dict', lambda self, **_: dict(source.state_dict())
    )
    with pytest.warns(UserWarning, match='input channels'):
        backbone = TimmBackbone('resnet18', weights=weights)
    assert backbone.body.conv1.weight.shape[1] == 3
    assert backbone.body.layer1[0].conv1.weight.equal(source.layer1[0].conv1.weight)


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="'nothing' is neither a file nor the name"):
        TimmBackbone('test_resnet', weights='nothing')


def test_frozen_backbone_stays_in_evaluation_mode() -> None:
    backbone = TimmBackbone('test_resnet')
    backbone.freeze(True)
    parent = nn.Sequential(backbone)
    parent.train()
    assert not any(module.training for module in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    backbone.freeze(False)
    parent.train()
    assert all(module.training for module in backbone.modules())


def test_fixed_parts_stay_in_evaluation_mode_for_good() -> None:
    backbone = TimmBackbone('test_resnet')
    part = backbone.body.layer1
    backbone.fix(part)
    for frozen in (True, False):
        backbone.freeze(frozen)
        nn.Sequential(backbone).train()
        assert not any(module.training for module in part.modules())
        assert not any(p.requires_grad for p in part.parameters())
    others = [p for p in backbone.parameters() if p.requires_grad]
    inside = len(list(part.parameters()))
    assert len(others) == len(list(backbone.parameters())) - inside
    assert backbone.body.layer2.training
