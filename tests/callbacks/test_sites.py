# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Predictions that know all images of a site, against sample by sample and by hand."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.nn.functional import softmax
from torch.utils.data import DataLoader
from torchgeo.tasks import Classification

from conftest import ToyDataModule, ToyDataset
from torchgeo_experts import (
    CoDEXClassificationTask,
    DomainClassificationTask,
    PriorAdaptation,
    SiteSelection,
)
from torchgeo_experts.adaptation import adapt_prior
from torchgeo_experts.callbacks.prior_adaptation import draw, spread
from torchgeo_experts.callbacks.sites import Looked, Looks, SiteTable
from torchgeo_experts.losses import make_criterion
from torchgeo_experts.models import Features
from torchgeo_experts.tasks.class_counts import ClassCounts

COUNTS = torch.tensor([60, 30, 10])


class Halves(ToyDataset):
    """Samples that know in which half of the data they are."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return super().__getitem__(index) | {'half': self.half[index]}

    @property
    def half(self) -> Tensor:
        return 7 - (torch.arange(len(self)) < len(self) / 2).long()


class HalvesDataModule(ToyDataModule):
    def make_dataset(self, split: str) -> ToyDataset:
        return Halves(split)


def trainer(*callbacks: Any, precision: Any = '32-true') -> Trainer:
    return Trainer(
        accelerator='cpu',
        precision=precision,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )


def single() -> DomainClassificationTask:
    torch.manual_seed(0)
    task = DomainClassificationTask('test_resnet', num_classes=3)
    task.class_counts.counts.copy_(COUNTS)
    return task.eval()


def experts() -> CoDEXClassificationTask:
    torch.manual_seed(0)
    task = CoDEXClassificationTask('test_resnet', num_classes=3, num_domains=3)
    linear: Any = task.model.selector.linear
    torch.nn.init.normal_(linear.weight)
    task.class_counts.counts.copy_(COUNTS)
    return task.eval()


def features(task: Any, data: ToyDataset) -> Features:
    with torch.no_grad():
        found: Features = task.model.backbone.read({'image': (data.image - 100) / 50})
        return found


def logits(task: Any, data: ToyDataset) -> Tensor:
    with torch.no_grad():
        return task.model.predict(features(task, data))  # type: ignore[no-any-return]


def adapted(scores: Tensor, site: Tensor, **given: Any) -> Tensor:
    """Probabilities, site by site."""
    found = torch.empty_like(scores)
    for number in site.unique():
        rows = site == number
        found[rows] = adapt_prior(scores[rows], COUNTS, **given).probabilities
    return found


def selected(task: CoDEXClassificationTask, data: ToyDataset) -> tuple[Tensor, Tensor]:
    """Weights and logits, site by site and expert by expert."""
    found = features(task, data)
    with torch.no_grad():
        scores = task.model.selector(found)
        each = torch.stack(
            [
                task.model.experts(found.head, torch.full((len(scores),), d))
                for d in range(3)
            ],
            dim=1,
        )
    weights = torch.empty_like(scores)
    for number in data.group.unique():
        rows = data.group == number
        weights[rows] = softmax(scores[rows].mean(dim=0) / 0.1, dim=0)
    return weights, (weights[:, :, None] * each).sum(dim=1)


def predict(task: Any, callbacks: list[Any], data: Any = None) -> dict[str, Tensor]:
    batches = trainer(*callbacks).predict(task, datamodule=data or ToyDataModule())
    assert batches is not None
    rows: list[Any] = batches
    return {k: torch.cat([row[k] for row in rows]) for k in rows[0]}


def test_prior_adaptation() -> None:
    task, data = single(), ToyDataset('test')
    expected = adapted(logits(task, data), data.group)
    assert (expected.argmax(1) != logits(task, data).argmax(1)).any()
    found = predict(task, [PriorAdaptation()])['probabilities']
    torch.testing.assert_close(found, expected)
    # Afterwards the task is as it was.
    found = predict(task, [])['probabilities']
    torch.testing.assert_close(found, logits(task, data).softmax(dim=1))


def test_its_report(tmp_path: Path) -> None:
    task, data = single(), ToyDataset('test')
    (found,) = trainer(PriorAdaptation(5.0, 3)).test(task, datamodule=ToyDataModule())
    scores = logits(task, data)
    decision = adapted(scores, data.group, pseudo_count=5.0, iterations=3).argmax(1)
    right = (decision == data.label).float()
    assert found['test_PriorAdaptedOverallAccuracy'] == pytest.approx(
        right.mean().item()
    )
    own = (scores.argmax(1) == data.label).float().mean()
    assert found['test_OverallAccuracy'] == pytest.approx(own.item())
    table = pd.read_csv(tmp_path / 'domains.csv', index_col='domain')
    for group, name in ((3, 'far'), (4, 'near')):
        accuracy = table.loc[name, 'PriorAdaptedOverallAccuracy']
        assert accuracy == pytest.approx(right[data.group == group].mean().item())


def test_site_of_samples() -> None:
    task, data = single(), Halves('test')
    expected = adapted(logits(task, data), data.half)
    given = [PriorAdaptation(site='half')]
    found = predict(task, given, HalvesDataModule())['probabilities']
    torch.testing.assert_close(found, expected)


def test_site_selection_and_both() -> None:
    task, data = experts(), ToyDataset('test')
    weights, scores = selected(task, data)
    found = predict(task, [SiteSelection()])
    torch.testing.assert_close(found['weights'], weights)
    torch.testing.assert_close(found['probabilities'], scores.softmax(dim=1))
    found = predict(task, [SiteSelection(), PriorAdaptation()])
    torch.testing.assert_close(found['weights'], weights)
    torch.testing.assert_close(found['probabilities'], adapted(scores, data.group))

    given = [SiteSelection(), PriorAdaptation()]
    (report,) = trainer(*given).test(task, datamodule=ToyDataModule())
    for name, decision in {
        '': logits(task, data).argmax(1),
        'SiteSelected': scores.argmax(1),
        'PriorAdapted': adapted(logits(task, data), data.group).argmax(1),
        'SiteSelectedPriorAdapted': adapted(scores, data.group).argmax(1),
    }.items():
        accuracy = (decision == data.label).float().mean()
        assert report[f'test_{name}OverallAccuracy'] == pytest.approx(accuracy.item())


@pytest.mark.parametrize('precision', ['bf16-mixed', 'bf16-true', '64-true'])
def test_precisions(precision: Any) -> None:
    """Near single precision, in a test and in a prediction."""
    given = [SiteSelection(), PriorAdaptation()]
    expected = predict(experts(), given)['probabilities']
    task = experts()
    run = trainer(SiteSelection(), PriorAdaptation(), precision=precision)
    (report,) = run.test(task, datamodule=ToyDataModule(), verbose=False)
    assert 0 <= report['test_SiteSelectedPriorAdaptedOverallAccuracy'] <= 1
    batches: Any = run.predict(task, datamodule=ToyDataModule())
    found = torch.cat([batch['probabilities'] for batch in batches]).float()
    assert (found - expected).abs().mean() < 0.05


def test_several_loaders() -> None:
    """Groups are the same places in all of them; scenes of each are others."""
    data = ToyDataModule()
    data.setup('predict')
    loaders = {name: data.predict_dataloader() for name in 'ab'}
    task = single()
    batches: Any = trainer(PriorAdaptation()).predict(task, loaders)
    alone: Any = trainer(PriorAdaptation(pseudo_count=25)).predict(task, loaders['a'])
    # Twice the same images, with twice the images of training beside them.
    found, expected = (
        torch.cat([batch['probabilities'] for batch in each])
        for each in (batches[0], alone)
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)

    def with_scenes(samples: Any) -> Any:
        batch = torch.utils.data.default_collate(samples)
        return batch | {'scene': torch.zeros(len(batch['image'])).long()}

    scenes = [
        DataLoader(ToyDataset('predict'), 10, collate_fn=with_scenes) for _ in 'ab'
    ]
    with pytest.raises(ValueError, match='one loader at a time'):
        trainer(PriorAdaptation()).predict(task, scenes)


def test_counts_of_training() -> None:
    task = DomainClassificationTask('test_resnet', num_classes=3)
    fit = Trainer(
        accelerator='cpu',
        max_epochs=2,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    fit.fit(task, datamodule=ToyDataModule())
    expected = 2 * ToyDataset('train').label.bincount()
    assert torch.equal(task.class_counts.counts, expected)
    fit.save_checkpoint('last.ckpt')
    kept = DomainClassificationTask.load_from_checkpoint('last.ckpt')
    assert torch.equal(kept.class_counts.counts, expected)


@pytest.mark.parametrize('shape', [(6,), (6, 4, 5), (6, 2, 4, 5)])
def test_class_counts(shape: tuple[int, ...]) -> None:
    target, valid = torch.randint(0, 3, shape), torch.rand(shape) < 0.7
    counts = ClassCounts(3, labels=False)
    counts.update(target.where(valid, 255), valid)
    counts.update(target.where(valid, 255), valid)
    expected = [2 * int(((target == c) & valid).sum()) for c in range(3)]
    assert counts.counts.tolist() == expected


@pytest.mark.parametrize('shape', [(6, 3), (6, 3, 4, 5)])
def test_class_counts_of_labels(shape: tuple[int, ...]) -> None:
    target, valid = torch.randint(0, 2, shape), torch.rand(shape) < 0.7
    counts = ClassCounts(3, labels=True)
    counts.update(target.where(valid, 255), valid)
    for label in range(3):
        t, v = target[:, label], valid[:, label]
        expected = [int(((t == kind) & v).sum()) for kind in (0, 1)]
        assert counts.counts[:, label].tolist() == expected


def test_labels_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 2, generator=generator) - 1
    counts = torch.tensor([[20, 60], [80, 40]])  # absent, present
    site = torch.zeros(40, dtype=torch.long)
    look = Looked({}, Features(scores, []), site)
    criterion = make_criterion('multilabel', 'bce', num_outputs=2)
    drawn = draw(criterion, scores, look, 256)
    (shift,) = PriorAdaptation().shifts(drawn, counts)[1]
    for label in range(2):
        z = scores[:, label]
        pair = torch.stack([torch.zeros_like(z), z], dim=1)
        expected = adapt_prior(pair, counts[:, label]).probabilities[:, 1]
        torch.testing.assert_close((z + shift[label]).sigmoid(), expected)


def test_maps_and_missing_dates() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 4, 2, 5, 6, generator=generator)  # B, C, T, H, W
    valid = torch.tensor([[True, True], [True, False], [False, False]])
    look = Looked({}, Features(scores, [], valid), torch.tensor([4, 4, 9]))
    criterion = make_criterion('multiclass', 'ce', num_outputs=4)
    drawn = draw(criterion, scores, look, 60)
    rows = scores.movedim(1, -1).reshape(3, 60, 4)
    assert torch.equal(drawn.logits.view(3, 60, 4), rows)
    assert torch.equal(drawn.site.view(3, 60)[:, 0], torch.tensor([4, 4, 9]))
    # Each image counts as one, whatever the number of its dates; one without none.
    weight = drawn.weight.view(3, 2, 30)
    torch.testing.assert_close(weight[0], torch.full((2, 30), 1 / 60))
    torch.testing.assert_close(weight[1, 0], torch.full((30,), 1 / 30))
    assert not weight[1, 1].any() and not weight[2].any()
    # Fewer pixels are the same ones of each image.
    some = draw(criterion, scores, look, 7)
    assert torch.equal(some.logits.view(3, 7, 4), rows[:, spread(60, 7)])


@pytest.mark.parametrize('count', [256 * 256, 512 * 512, 5 * 2**22 + 1])
def test_pixels_lie_anywhere(count: int) -> None:
    chosen = spread(count, 256)
    assert len(chosen.unique()) == 256
    assert 0 <= chosen.min() and chosen.max() < count
    side = 2 ** (count.bit_length() // 2)
    rows, columns = chosen // side, chosen % side
    pairs = torch.stack([rows, columns]).double()
    assert pairs.corrcoef()[0, 1].abs() < 0.2
    shares = (chosen * 4 // count).bincount() / 256  # in each quarter of the map
    assert (shares - 0.25).abs().max() < 0.1


def test_classes_that_training_lacks() -> None:
    scores = torch.randn(30, 3)
    look = Looked({}, Features(scores, []), torch.zeros(30, dtype=torch.long))
    criterion = make_criterion('multiclass', 'ce', num_outputs=3)
    drawn = draw(criterion, scores, look, 256)
    (shift,) = PriorAdaptation().shifts(drawn, torch.tensor([5, 0, 15]))[1]
    expected = adapt_prior(scores[:, [0, 2]], torch.tensor([5, 15])).prior
    torch.testing.assert_close(
        shift,
        torch.stack([expected[0] * 4, torch.tensor(1.0), expected[1] * 4 / 3]).log(),
    )


@pytest.mark.parametrize('limit', [2, 0.5])
def test_as_many_batches_as_the_test(limit: float) -> None:
    task, data = single(), ToyDataset('test')
    given = Trainer(
        accelerator='cpu',
        logger=False,
        enable_progress_bar=False,
        limit_test_batches=limit,
        callbacks=[PriorAdaptation()],
    )
    (report,) = given.test(task, datamodule=ToyDataModule())
    seen = slice(0, 20)  # two of five batches
    scores, label = logits(task, data)[seen], data.label[seen]
    right = adapted(scores, data.group[seen]).argmax(1) == label
    found = report['test_PriorAdaptedOverallAccuracy']
    assert found == pytest.approx(right.float().mean().item())


def test_loaders_without_a_datamodule() -> None:
    data = ToyDataModule(num_workers=1)  # its workers stay
    data.setup('predict')
    loader = data.predict_dataloader()
    image = torch.cat([batch['image'] for batch in loader])
    task = single()
    scores = task(image).detach()
    # Groups have no names without a datamodule: all are one site.
    expected = adapted(scores, torch.zeros(50))
    for _ in range(2):
        batches: Any = trainer(PriorAdaptation()).predict(task, loader)
        found = torch.cat([batch['probabilities'] for batch in batches])
        torch.testing.assert_close(found, expected)


def test_scene_of_a_prediction() -> None:
    batch = {
        'image': torch.zeros(3, 1),
        'scene': torch.tensor([4, 4, -1]),
        'domain': torch.tensor([0, -1, 1]),
    }
    task = single()
    task.group_names = ('a', 'b', 'unseen')
    for stage, site in {'predict': [4, 4, -1], 'test': [0, 2, 1]}.items():
        looks = Looks(Trainer(accelerator='cpu'), task, None, stage)
        assert looks.site(batch).tolist() == site


def test_weights_of_classes() -> None:
    counts = ClassCounts(3, labels=False)
    counts.counts.copy_(COUNTS)
    shares = counts.shares(torch.tensor([1.0, 2.0, 6.0]))
    assert shares.tolist() == [60, 60, 60]
    assert counts.shares(None).tolist() == COUNTS.tolist()
    counts = ClassCounts(2, labels=True)
    counts.counts.copy_(torch.tensor([[8, 6], [2, 4]]))
    assert counts.shares(torch.tensor([4.0])).tolist() == [[8, 6], [8, 16]]


def test_checkpoints_that_do_not_tell() -> None:
    task = single()
    trained = trainer()
    trained.strategy.connect(task)
    trained.save_checkpoint('new.ckpt')
    kept = torch.load('new.ckpt', weights_only=True)
    del kept['state_dict']['class_counts.counts']
    torch.save(kept, 'old.ckpt')
    found = DomainClassificationTask.load_from_checkpoint('old.ckpt')
    assert not found.class_counts.counts.any()
    for name, value in found.model.state_dict().items():
        assert torch.equal(value, task.model.state_dict()[name])


def test_nothing_stays_after_an_error() -> None:
    class Broken(PriorAdaptation):
        def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError('full disk')

    task = single()
    with pytest.raises(RuntimeError, match='full disk'):
        trainer(Broken()).test(task, datamodule=ToyDataModule())
    assert not task.ways


class TestErrors:
    def test_other_tasks(self) -> None:
        task = Classification('test_resnet', num_classes=3)
        with pytest.raises(TypeError, match='for tasks of torchgeo_experts'):
            trainer(PriorAdaptation()).test(task, datamodule=ToyDataModule())

    def test_no_counts(self) -> None:
        task = DomainClassificationTask('test_resnet', num_classes=3)
        with pytest.raises(ValueError, match='give a checkpoint of its training'):
            trainer(PriorAdaptation()).test(task, datamodule=ToyDataModule())

    def test_no_selector(self) -> None:
        with pytest.raises(TypeError, match='only CoDEX tasks have'):
            trainer(SiteSelection()).test(single(), datamodule=ToyDataModule())

    def test_order(self) -> None:
        given = [PriorAdaptation(), SiteSelection()]
        with pytest.raises(ValueError, match='name it before PriorAdaptation'):
            trainer(*given).test(experts(), datamodule=ToyDataModule())

    def test_twice(self) -> None:
        given = [PriorAdaptation(), PriorAdaptation(site='group')]
        with pytest.raises(ValueError, match='name PriorAdaptation twice'):
            trainer(*given).test(single(), datamodule=ToyDataModule())

    def test_fractions_of_sites(self) -> None:
        with pytest.raises(ValueError, match="site='lon' must be a whole number"):
            trainer(PriorAdaptation(site='lon')).test(
                single(), datamodule=ToyDataModule()
            )

    @pytest.mark.parametrize('name', ['pseudo_count', 'iterations', 'elements'])
    def test_arguments(self, name: str) -> None:
        with pytest.raises(ValueError, match=f'{name} must be positive, found 0'):
            PriorAdaptation(**{name: 0})

    @pytest.mark.parametrize('site', [1, 5, 9])
    def test_site_of_no_image(self, site: int) -> None:
        table = SiteTable(torch.tensor([3, 7]), torch.tensor([[1.0], [2.0]]))
        assert table.of(torch.tensor([7, 3, 7])).flatten().tolist() == [2, 1, 2]
        with pytest.raises(ValueError, match=f'no image of site {site}'):
            table.of(torch.tensor([3, site]))

    def test_unknown_site(self) -> None:
        given = PriorAdaptation(site='camera')
        with pytest.raises(ValueError, match=r"site='camera' must be a whole number"):
            trainer(given).test(single(), datamodule=ToyDataModule())
