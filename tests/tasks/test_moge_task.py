# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""MoGE as a task: fit, test, resume, reload."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything
from trainers import trainer

from conftest import ToyDataModule
from torchgeo_experts import (
    ERM,
    DomainClassificationTask,
    FourierEncoder,
    MoGE,
    MoGEClassificationTask,
)


def make(**kwargs: Any) -> MoGEClassificationTask:
    seed_everything(0, verbose=False)
    arguments = {
        'model': 'test_vit',
        'model_args': {'img_size': 32},
        'num_classes': 3,
        'blocks': (3, 5),
        'num_experts': 4,
        'top_k': 2,
        'lr': 1e-3,
    }
    return MoGEClassificationTask(**arguments | kwargs)


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_learns(toy: ToyDataModule, tmp_path: Path) -> None:
    task = make()
    run = trainer(12)
    run.fit(task, datamodule=toy)
    assert run.callback_metrics['train_OverallAccuracy'] > 0.7
    names = {f'train_{n}_loss' for n in ('risk', 'balance', 'cka', 'invariance')}
    assert names <= run.callback_metrics.keys()
    terms = sum(run.callback_metrics[name] for name in names)
    assert float(terms) == pytest.approx(float(run.callback_metrics['train_loss']))


def test_reports(toy: ToyDataModule, tmp_path: Path) -> None:
    """Tables at test time are what one finds by asking the network, sample by sample."""
    task = make(jitter=2.0).eval()
    run = trainer(1)
    (scores,) = run.test(task, datamodule=toy, verbose=False)
    (folder,) = tmp_path.glob('lightning_logs/version_0')
    dataset = toy.test_dataset
    image = torch.stack([dataset[i]['image'] for i in range(len(dataset))])
    image = (image - 100) / 50
    batch = {
        'image': image,
        'lon': torch.full((len(dataset),), 5.0),
        'lat': torch.full((len(dataset),), 50.0),
    }
    backbone = task.backbone
    with torch.no_grad():
        backbone.read(batch)
        weights = backbone.routes[-1].weights
        hits = []
        for mode in ('shared', 0, 1, 2, 3):
            backbone.mode = mode
            decided = task.model.predict(backbone.read(batch)).argmax(dim=1)
            hits.append((decided == dataset.label).float())
    shared, *forced = (hit.mean().item() for hit in hits)
    assert scores['test_SharedExpertOverallAccuracy'] == pytest.approx(shared)

    table = read(folder / 'expert_domains.csv')
    top = int(weights[0].argmax())
    # All images lie at one place: the first choice is the same for all.
    assert [int(row['samples']) for row in table] == [
        len(dataset) if e == top else 0 for e in range(5)
    ]
    assert [float(table[top][str(e)]) for e in range(4)] == pytest.approx(forced)

    routes = read(folder / 'routes.csv')
    assert {row['domain'] for row in routes} == {'far', 'near'}
    for row in routes:
        assert [float(row[str(e)]) for e in range(4)] == pytest.approx(
            weights[0].tolist(), abs=1e-6
        )
    usage = read(folder / 'expert_usage.csv')
    assert float(usage[0]['effective number of experts']) == pytest.approx(1.0)
    cka = read(folder / 'cka.csv')
    assert float(cka[1]['1']) == pytest.approx(1.0, abs=1e-4)
    assert float(cka[0]['1']) < 0.99
    # The cell of the toy's place says what the gate says there.
    backbone.mode = 'routed'
    grid = {(r['lon'], r['lat']): r for r in read(folder / 'routing.csv')}
    route = backbone.route(torch.tensor([5.0]), torch.tensor([51.0]))[-1]
    row = grid['5.0', '51.0']
    assert row['distance_km'] == 'inf'  # it was never trained
    found = [float(row[str(e)]) for e in range(4)]
    assert found == pytest.approx(route.weights[0].tolist(), abs=1e-5)
    for name in ('routing', 'routes', 'cka', 'expert_domains', 'domains'):
        assert (folder / f'{name}.png').stat().st_size > 5000


def test_unknown_places(toy: ToyDataModule, tmp_path: Path) -> None:
    """All images of unknown place: the model is the shared expert, in every table."""

    class Nowhere(ToyDataModule):
        def make_dataset(self, split: str) -> Any:
            dataset = super().make_dataset(split)
            read_sample = dataset.__getitem__

            class Unknown(type(dataset)):  # type: ignore[misc]
                def __getitem__(self, index: int) -> Any:
                    nan = torch.tensor(torch.nan)
                    return read_sample(index) | {'lon': nan, 'lat': nan}

            dataset.__class__ = Unknown
            return dataset

    task = make(jitter=2.0)
    run = trainer(1)
    run.fit(task, datamodule=Nowhere())
    assert run.callback_metrics['train_loss'].isfinite()
    (scores,) = run.test(task, datamodule=Nowhere(), verbose=False)
    name = 'OverallAccuracy'
    assert scores[f'test_{name}'] == scores[f'test_SharedExpert{name}']
    (folder,) = tmp_path.glob('lightning_logs/version_0')
    table = read(folder / 'expert_domains.csv')
    assert int(table[-1]['samples']) == 50


def test_resume_is_exact(toy: ToyDataModule, tmp_path: Path) -> None:
    whole = make()
    trainer(2).fit(whole, datamodule=ToyDataModule())
    first = trainer(1)
    first.fit(make(), datamodule=ToyDataModule())
    first.save_checkpoint('half.ckpt')
    rest = make()
    trainer(2).fit(
        rest, datamodule=ToyDataModule(), ckpt_path='half.ckpt', weights_only=True
    )
    expected, found = whole.state_dict(), rest.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


def test_reload(toy: ToyDataModule, tmp_path: Path) -> None:
    task = make(
        location=FourierEncoder(),
        objective=MoGE(cka_estimator='unbiased', cka_weight=0.5),
        unknown='mean',
    )
    run = trainer(1)
    run.fit(task, datamodule=toy)
    run.save_checkpoint('some.ckpt')
    loaded = MoGEClassificationTask.load_from_checkpoint('some.ckpt', weights_only=True)
    assert isinstance(loaded.backbone.location, FourierEncoder)
    assert loaded.objective.cka_weight == 0.5
    (first,) = run.validate(task, datamodule=toy, verbose=False)
    (second,) = trainer(1).validate(loaded, datamodule=toy, verbose=False)
    assert first == pytest.approx(second, nan_ok=True)


def test_conversion_of_a_trained_model(toy: ToyDataModule, tmp_path: Path) -> None:
    """A checkpoint of ERM becomes MoGE, and predicts the same before it is trained."""
    seed_everything(0, verbose=False)
    erm = DomainClassificationTask(
        'test_vit', num_classes=3, model_args={'img_size': 32}, lr=1e-3
    )
    run = trainer(1)
    run.fit(erm, datamodule=toy)
    run.save_checkpoint('erm.ckpt')
    task = make(weights='erm.ckpt', jitter=0.0)
    image = torch.randn(2, 3, 32, 32)
    batch = {'image': image, 'lon': torch.zeros(2), 'lat': torch.zeros(2)}
    erm.eval()
    task.eval()
    torch.testing.assert_close(
        task.backbone.read(batch).head, erm.model.backbone.read(batch).head
    )


def test_frozen_backbone(toy: ToyDataModule) -> None:
    task = make(freeze_backbone=True, objective=ERM())
    before = {name: p.clone() for name, p in task.named_parameters()}
    trainer(1).fit(task, datamodule=toy)
    new = ('.experts.', 'gamma', 'gates', 'location', 'head')
    for name, parameter in task.named_parameters():
        kept = torch.equal(parameter, before[name])
        assert kept != any(part in name for part in new), name


def test_a_convolutional_network_is_refused() -> None:
    with pytest.raises(ValueError, match='choose a Vision Transformer'):
        make(model='test_resnet', model_args=None)


def state(task: MoGEClassificationTask) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in task.model.state_dict().items()}


def changed(
    before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]
) -> set[str]:
    """Name the parts that training changed, but for what is counted."""
    names = {
        k for k in after if k not in before or not torch.equal(before[k], after[k])
    }
    counted = ('running_route', 'coverage')
    return {
        '.'.join(k.split('.')[:2]) for k in names if not any(c in k for c in counted)
    }


def test_gate_finetuning(toy: ToyDataModule, tmp_path: Path) -> None:
    """From a checkpoint, with the gates alone; the file is not needed afterwards."""
    run = trainer(1, default_root_dir=tmp_path)
    first = make()
    run.fit(first, datamodule=toy)
    file = tmp_path / 'first.ckpt'
    run.save_checkpoint(file)

    task = make(checkpoint=str(file), tune='gate')
    run = trainer(2, default_root_dir=tmp_path)
    run.fit(task, datamodule=toy)
    assert changed(state(first), state(task)) == {'backbone.location', 'backbone.gates'}
    assert not any(p.requires_grad for p in task.model.head.parameters())
    run.save_checkpoint(tmp_path / 'second.ckpt')
    tuned = state(task)

    file.unlink()
    again = MoGEClassificationTask.load_from_checkpoint(
        tmp_path / 'second.ckpt', weights_only=True
    )
    assert not changed(tuned, state(again))
    # A resumed run does not start over.
    run = trainer(3, default_root_dir=tmp_path)
    resumed = make(checkpoint=str(file), tune='gate')
    run.fit(resumed, datamodule=toy, ckpt_path=tmp_path / 'second.ckpt')
    assert changed(tuned, state(resumed)) == {'backbone.location', 'backbone.gates'}


def test_router_of_a_trained_model(toy: ToyDataModule, tmp_path: Path) -> None:
    run = trainer(1, default_root_dir=tmp_path)
    first = make()
    run.fit(first, datamodule=toy)
    file = tmp_path / 'first.ckpt'
    run.save_checkpoint(file)
    task = make(checkpoint=str(file), tune='router', unknown='image', lr=1e-2)
    run = trainer(4, default_root_dir=tmp_path)
    run.fit(task, datamodule=toy)
    assert changed(state(first), state(task)) == {'backbone.router'}
    # The toy's training places look different, and have routes of their own.
    assert run.callback_metrics['train_distillation_loss'] < 0.1
    (scores,) = run.test(task, datamodule=toy, verbose=False)
    assert 'test_ImageRouterOverallAccuracy' in scores


def test_start_from_another_model(toy: ToyDataModule, tmp_path: Path) -> None:
    run = trainer(1, default_root_dir=tmp_path)
    run.fit(make(num_experts=3), datamodule=toy)
    run.save_checkpoint(tmp_path / 'first.ckpt')
    task = make(checkpoint=str(tmp_path / 'first.ckpt'))
    with pytest.raises(ValueError, match='the same arguments'):
        trainer(1, default_root_dir=tmp_path).fit(task, datamodule=toy)
    with pytest.raises(ValueError, match='give the checkpoint'):
        make(tune='gate')


def test_image_router_learns_with_the_model(toy: ToyDataModule, tmp_path: Path) -> None:
    run = trainer(1, default_root_dir=tmp_path)
    run.fit(make(unknown='image'), datamodule=toy)
    terms = {k for k in run.callback_metrics if k.endswith('_loss')}
    assert 'train_distillation_loss' in terms


def test_router_needs_what_trains_it() -> None:
    with pytest.raises(ValueError, match='only the objectives MoGE and RobustMoGE'):
        make(unknown='image', objective=ERM())


def test_faded_images_have_no_first_choice(toy: ToyDataModule, tmp_path: Path) -> None:
    """Trained nowhere: all places are too far away."""
    run = trainer(1, default_root_dir=tmp_path)
    run.test(make(fade_km=100.0), datamodule=toy, verbose=False)
    (folder,) = tmp_path.glob('lightning_logs/version_*')
    usage = read(folder / 'expert_usage.csv')
    assert [int(row['first choice of']) for row in usage] == [0, 0, 0, 0]
    assert int(read(folder / 'expert_domains.csv')[-1]['samples']) == 50


def test_a_tuned_model_is_not_replaced(toy: ToyDataModule, tmp_path: Path) -> None:
    """By the one it started from, when it is trained further."""
    run = trainer(1, default_root_dir=tmp_path)
    run.fit(make(), datamodule=toy)
    run.save_checkpoint(tmp_path / 'first.ckpt')
    run = trainer(1, default_root_dir=tmp_path)
    run.fit(make(checkpoint=str(tmp_path / 'first.ckpt'), tune='gate'), datamodule=toy)
    run.save_checkpoint(tmp_path / 'second.ckpt')
    loaded = MoGEClassificationTask.load_from_checkpoint(
        tmp_path / 'second.ckpt', weights_only=True
    )
    tuned = state(loaded)
    (tmp_path / 'first.ckpt').unlink()
    run = trainer(1, default_root_dir=tmp_path, limit_train_batches=0)
    run.fit(loaded, datamodule=toy)
    assert not changed(tuned, state(loaded))
