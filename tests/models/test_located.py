# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Location as a further input of a classifier."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from conftest import ToyDataModule
from torchgeo_experts import (
    ConcatFusion,
    DomainClassificationTask,
    FiLMFusion,
    FourierEncoder,
    SatCLIPEncoder,
)

FUSIONS = [ConcatFusion, FiLMFusion]


def test_concatenation() -> None:
    fusion = ConcatFusion(FourierEncoder()).eval()
    assert fusion.build(5) == 5 + 256
    with torch.no_grad():
        fusion.unknown.fill_(7)
    features = torch.randn(3, 5)
    lon, lat = torch.tensor([[1.0, torch.nan, 3.0], [4.0, 5.0, 6.0]])
    found = fusion(features, lon, lat)
    known = fusion.location(lon[[0, 2]], lat[[0, 2]])
    assert torch.equal(found[:, :5], features)
    torch.testing.assert_close(found[[0, 2], 5:], known)
    assert (found[1, 5:] == 7).all()


def test_modulation() -> None:
    fusion = FiLMFusion(FourierEncoder()).eval()
    assert fusion.build(5) == 5
    features = torch.randn(2, 5)
    lon, lat = torch.tensor([[1.0, torch.nan], [4.0, torch.nan]])
    torch.testing.assert_close(fusion(features, lon, lat), features)
    torch.nn.init.normal_(fusion.layer.weight)
    embedding = fusion.location(lon[:1], lat[:1])[0]
    scale = 1 + fusion.layer.weight[:5] @ embedding
    shift = fusion.layer.weight[5:] @ embedding
    found = fusion(features, lon, lat)
    torch.testing.assert_close(found[0], scale * features[0] + shift)
    assert torch.equal(found[1], features[1])


def test_frozen_network_stays_frozen_beside_a_frozen_encoder() -> None:
    seed_everything(0, verbose=False)
    encoder = SatCLIPEncoder(weights=None, legendre_polys=4)
    task = DomainClassificationTask(
        'test_resnet',
        num_classes=3,
        location=ConcatFusion(encoder),
        freeze_backbone=True,
    )
    learned = {name for name, p in task.named_parameters() if p.requires_grad}
    assert learned == {
        'model.backbone.fusion.unknown',
        'model.head.weight',
        'model.head.bias',
    }
    task.train()
    assert not task.model.backbone.body.training


def test_weights_of_a_network_with_location(toy: ToyDataModule, tmp_path: Path) -> None:
    """Another task starts from the network inside."""
    location = ConcatFusion(FourierEncoder(num_frequencies=16))
    task = DomainClassificationTask('test_resnet', num_classes=3, location=location)
    quiet = {'enable_progress_bar': False, 'enable_model_summary': False}
    trainer = Trainer(accelerator='cpu', max_epochs=1, **quiet)
    trainer.fit(task, datamodule=toy)
    trainer.save_checkpoint('some.ckpt')
    other = DomainClassificationTask('test_resnet', weights='some.ckpt', num_classes=3)
    expected = task.model.backbone.body.state_dict()
    for name, value in other.model.backbone.body.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize('fusion', FUSIONS)
def test_fit_and_reload(
    fusion: type[ConcatFusion], toy: ToyDataModule, tmp_path: Path
) -> None:
    seed_everything(0, verbose=False)
    location = fusion(FourierEncoder(num_frequencies=16))
    task = DomainClassificationTask(
        'test_resnet', num_classes=3, location=location, lr=1e-3
    )
    quiet = {'enable_progress_bar': False, 'enable_model_summary': False}
    trainer = Trainer(accelerator='cpu', max_epochs=1, **quiet)
    before = task.model.backbone.fusion.location.net.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    trainer.fit(task, datamodule=toy)
    after = task.model.backbone.fusion.location.net.state_dict()
    # Modulation starts at zero: its layer learns first, then what it reads.
    assert any(not torch.equal(after[name], before[name]) for name in before)
    trainer.save_checkpoint('some.ckpt')
    loaded = DomainClassificationTask.load_from_checkpoint(
        'some.ckpt', weights_only=True
    )
    assert loaded.model.backbone.fusion.location.num_frequencies == 16
    (first,) = trainer.test(task, datamodule=toy, verbose=False)
    (second,) = trainer.test(loaded, datamodule=toy, verbose=False)
    assert first == pytest.approx(second, nan_ok=True)
