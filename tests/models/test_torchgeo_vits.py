# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""TorchGeo's own Vision Transformers as backbones."""

from pathlib import Path
from typing import Any

import pytest
import torch

from torchgeo_experts.models import (
    Backbone,
    DOFABackbone,
    MoGEBackbone,
    MoGEConfig,
    ScaleMAEBackbone,
    TimmBackbone,
    WrapEncoder,
    make_image_backbone,
)

SMALL = {'img_size': 32, 'patch_size': 8, 'embed_dim': 48, 'depth': 4, 'num_heads': 3}
BANDS = [0.665, 0.56, 0.49, 0.842]
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    'dofa': ('dofa_small_patch16_224', {'wavelengths': BANDS}),
    'scale-mae': ('scalemae_large_patch16', {'res': 10.0}),
}


@pytest.fixture(params=KINDS)
def backbone(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Backbone:
    """Make a small one: TorchGeo's functions fix the size of theirs."""
    from torchgeo.models import DOFA, ScaleMAE

    monkeypatch.setattr('torchgeo.models.dofa_small_patch16_224', DOFA)
    monkeypatch.setattr('torchgeo.models.scalemae_large_patch16', ScaleMAE)
    torch.manual_seed(0)
    model, given = KINDS[request.param]
    return make_image_backbone(model, None, 4, SMALL | given)


def images() -> torch.Tensor:
    return torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(1))


def test_features_are_those_of_the_network(backbone: Backbone) -> None:
    backbone.eval()
    found = backbone(images())
    if isinstance(backbone, DOFABackbone):
        expected = backbone.body(images(), BANDS)
    else:
        assert isinstance(backbone, ScaleMAEBackbone)
        assert backbone.body.res == 10
        expected = backbone.body(images())
    torch.testing.assert_close(found.head, expected)
    shapes = [tuple(m.shape) for m in found.pyramid]
    assert shapes == [(2, c, 4, 4) for c in backbone.pyramid_channels]
    # The last map holds the patches that pooling reads.
    if isinstance(backbone, DOFABackbone):
        pooled = backbone.body.fc_norm(found.pyramid[-1].mean(dim=(2, 3)))
        torch.testing.assert_close(found.head, pooled)
    assert not any(block._forward_hooks for block in backbone.body.blocks)


def test_constants_stay_constant(backbone: Backbone) -> None:
    """Tables of positions are no weights, also after all of it was thawed."""
    backbone.freeze(True)
    backbone.freeze(False)
    trained = {n for n, p in backbone.named_parameters() if p.requires_grad}
    assert 'body.pos_embed' not in trained
    assert any(n.startswith('body.blocks') for n in trained)
    moge = MoGEBackbone(backbone, WrapEncoder(16, 1), MoGEConfig(blocks=(1, 3)))
    moge.freeze(True)
    moge.freeze(False)
    assert not moge.body.pos_embed.requires_grad


def test_every_trained_parameter_is_used(backbone: Backbone) -> None:
    moge = MoGEBackbone(backbone, WrapEncoder(16, 1), MoGEConfig(blocks=(1, 3))).train()
    place = {'lon': torch.tensor([5.0, 90.0]), 'lat': torch.tensor([51.0, -20.0])}
    moge.read({'image': images(), **place}).head.square().sum().backward()
    unused = {
        n for n, p in moge.named_parameters() if p.requires_grad and p.grad is None
    }
    assert not unused


def test_conversion_keeps_features(backbone: Backbone) -> None:
    backbone.eval()
    before = backbone(images()).head
    config = MoGEConfig(blocks=(1, 3), jitter=0.0)
    moge = MoGEBackbone(backbone, WrapEncoder(16, 1), config).eval()
    place = {'lon': torch.tensor([5.0, 90.0]), 'lat': torch.tensor([51.0, -20.0])}
    after = moge.read({'image': images(), **place}).head
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)


def test_weights_from_a_file(backbone: Backbone, tmp_path: Path) -> None:
    state = {
        f'model.backbone.body.{k}': v for k, v in backbone.body.state_dict().items()
    }
    torch.save({'state_dict': state, 'hyper_parameters': {}}, tmp_path / 'a.ckpt')
    model, given = KINDS['dofa' if isinstance(backbone, DOFABackbone) else 'scale-mae']
    again = make_image_backbone(
        model, str(tmp_path / 'a.ckpt'), 4, SMALL | given
    ).eval()
    torch.testing.assert_close(again(images()).head, backbone.eval()(images()).head)


def test_messages() -> None:
    with pytest.raises(ValueError, match='wavelength of each of the 3 bands'):
        make_image_backbone('dofa_small_patch16_224')
    with pytest.raises(ValueError, match='no ImageNet weights'):
        args = {'wavelengths': BANDS}
        make_image_backbone('dofa_small_patch16_224', True, 4, args)
    with pytest.raises(ValueError, match='no ImageNet weights'):
        make_image_backbone('scalemae_large_patch16', True)
    assert isinstance(make_image_backbone('test_vit'), TimmBackbone)
