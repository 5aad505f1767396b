# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Experts that a relation mixes in test, against each of them by itself."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from torch import Tensor

from conftest import ToyDataModule
from torchgeo_experts import (
    DomainChangeTask,
    DomainClassificationTask,
    DomainSegmentationTask,
)
from torchgeo_experts.models import OwnDomain, PlaceRelation, Relation

UNET = {'model': 'unet', 'backbone': 'tu-test_resnet'}
KINDS: dict[str, tuple[Any, dict[str, Any], tuple[int, ...]]] = {
    'classification': (
        DomainClassificationTask,
        {'model': 'test_resnet', 'num_classes': 4},
        (3, 32, 32),
    ),
    'segmentation': (DomainSegmentationTask, {**UNET, 'num_classes': 4}, (3, 32, 32)),
    'change': (DomainChangeTask, UNET, (2, 3, 32, 32)),
}


def make(kind: str, relation: Relation | None) -> Any:
    torch.manual_seed(0)
    task, given, _ = KINDS[kind]
    made = task(**given, relation=relation, num_domains=5).eval()
    if relation is not None:
        lon, lat = torch.linspace(-100, 100, 5), torch.linspace(-50, 60, 5)
        made.model.relation.locate(lon, lat)
    return made


def batch(kind: str) -> dict[str, Tensor]:
    """Images in a training domain, in another one, elsewhere, and of unknown place."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(4, *KINDS[kind][2], generator=generator)
    shape = (4,) if kind == 'classification' else (4, 32, 32)
    classes = 2 if kind == 'change' else 4
    return {
        'image': image,
        'target': torch.randint(0, classes, shape, generator=generator),
        'domain': torch.tensor([1, 3, -1, -1]),
        'lon': torch.tensor([-50.0, 52.0, 10.0, torch.nan]),
        'lat': torch.tensor([-20.0, 30.0, 5.0, torch.nan]),
    }


def predict_each(task: Any, features: Tensor) -> Tensor:
    """Let each expert predict by itself, shape (D, B, C, ...)."""
    heads = zip(task.model.experts.weight, task.model.experts.bias, strict=True)
    if features.ndim == 2:
        return torch.stack([F.linear(features, w, b) for w, b in heads])
    if features.ndim == 5:  # two dates
        features = features[:, 1] - features[:, 0]
    return torch.stack([F.conv2d(features, w, b, padding=1) for w, b in heads])


@pytest.mark.parametrize('relation', [OwnDomain, PlaceRelation])
@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_other_uses_of_the_experts(kind: str, relation: Any) -> None:
    task, given = make(kind, relation()), batch(kind)
    features = task.model.backbone.read(given)
    logits = task.model.predict(features)
    found = task.decisions(features, logits, given['target'])
    each = predict_each(task, features.head)
    weights = task.model.relation(given)
    mixed = torch.einsum('bd,db...->b...', weights, each)
    torch.testing.assert_close(logits, mixed, atol=1e-5, rtol=1e-4)

    def decide(scores: Tensor) -> Tensor:
        return (scores >= 0).long() if kind == 'change' else scores.argmax(1)

    assert next(iter(found)) == 'Model' and found['Model'].equal(decide(logits))
    uniform = found['Uniform'] == decide(each.mean(0))
    assert uniform.double().mean() > 0.999
    every = torch.stack([decide(scores) for scores in each])
    for row, expert in enumerate(weights.argmax(1)):
        same = found['BestWeighted'][row] == every[expert, row]
        assert same.double().mean() > 0.999
    target = task.criterion.shape_target(given['target'])
    right = (every == target).double()
    oracle = (found['Oracle'] == target).double()
    if kind == 'classification':
        # Any expert is right.
        assert oracle.equal(right.amax(0))
    else:
        best = right.flatten(2).mean(2).amax(0)
        torch.testing.assert_close(oracle.flatten(1).mean(1), best)


@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_predictions_have_weights(kind: str) -> None:
    task, given = make(kind, PlaceRelation()), batch(kind)
    found = task.predictions(task.model.backbone.read(given))
    assert found['weights'].equal(task.model.relation(given))
    assert found['weights'][3].tolist() == pytest.approx([0.2] * 5)
    logits = task(given['image'], **{k: given[k] for k in ('lon', 'lat')})
    expected = task.criterion.probabilities(logits)
    torch.testing.assert_close(found['probabilities'], expected)


@torch.no_grad()
def test_one_head_has_no_other_uses() -> None:
    task, given = make('classification', None), batch('classification')
    features = task.model.backbone.read(given)
    found = task.decisions(features, task.model.predict(features), given['target'])
    assert set(found) == {'Model', 'Top2', 'Top3'}
    assert set(task.predictions(features)) == {'probabilities'}


def test_report(toy: ToyDataModule, tmp_path: Path) -> None:
    """What a whole test leaves: metrics, and the weights at the only place of the toy."""
    torch.manual_seed(0)
    task: Any = DomainClassificationTask(
        'test_resnet', num_classes=3, relation=PlaceRelation(), num_domains=3
    )
    task.model.relation.locate(torch.tensor([0.0, 30, 60]), torch.zeros(3))
    run = Trainer(
        accelerator='cpu',
        logger=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    (metrics,) = run.test(task, datamodule=toy, verbose=False)
    with (tmp_path / 'domains.csv').open() as file:
        rows = list(csv.DictReader(file))
    for rule in ('Uniform', 'BestWeighted', 'Oracle'):
        values = [float(row[f'{rule}OverallAccuracy']) for row in rows]
        # Both places have as many samples.
        overall = metrics[f'test_{rule}OverallAccuracy']
        assert overall == pytest.approx(sum(values) / 2)
    place = {'lon': torch.tensor([5.0]), 'lat': torch.tensor([50.0])}
    expected = task.model.relation(place)[0].tolist()
    with (tmp_path / 'mixture_weights.csv').open() as file:
        told = list(csv.DictReader(file))
    assert [row['domain'] for row in told] == ['far', 'near']
    for row in told:
        weights = [float(row[f'place {i}']) for i in range(3)]
        assert weights == pytest.approx(expected, abs=1e-6)
    assert (tmp_path / 'mixture_weights.png').stat().st_size > 5000


def test_experts_without_places_are_refused() -> None:
    """Unless the datamodule knows them, or a checkpoint."""
    torch.manual_seed(0)
    task = DomainClassificationTask(
        'test_resnet', num_classes=3, num_domains=3, relation=PlaceRelation()
    )
    run = Trainer(accelerator='cpu', logger=False, enable_progress_bar=False)
    data = ToyDataModule()
    data.setup('test')
    for use in (run.validate, run.test, run.predict):
        with pytest.raises(ValueError, match='PlaceRelation does not know where'):
            use(task, data.test_dataloader())
    (found,) = run.test(task, datamodule=data)
    assert 0 < found['test_loss'] < 10
    assert torch.equal(task.model.relation.lon, data.domains.lon.float())
    # Those of a training are not replaced by those of other data.
    lon, lat = torch.tensor([-9.0, 1.0, 4.0]), torch.tensor([7.0, 8.0, 9.0])
    task.model.relation.locate(lon, lat)
    run.test(task, datamodule=data)
    assert torch.equal(task.model.relation.lon, lon)
