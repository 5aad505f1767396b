# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler
from torchgeo.tasks import Classification
from trainers import trainer

from conftest import ToyDataModule, ToyDataset
from torchgeo_experts import ERM, RDM, DomainClassificationTask
from torchgeo_experts.objectives import Outcome, Step
from torchgeo_experts.tasks.padding import count_own


def make(**kwargs: Any) -> DomainClassificationTask:
    seed_everything(0, verbose=False)
    arguments = {'model': 'test_resnet', 'num_classes': 3, 'lr': 1e-3}
    return DomainClassificationTask(**arguments | kwargs)


def test_metrics_are_those_of_torchgeo(toy: ToyDataModule) -> None:
    """The same network in TorchGeo's own task scores the same under the same names."""
    ours = make()
    theirs = Classification(model='test_resnet', num_classes=3)
    body = {k: v for k, v in ours.model.backbone.body.state_dict().items()}
    _, unexpected = theirs.model.load_state_dict(body, strict=False)
    assert not unexpected
    classifier = theirs.model.get_classifier()
    assert isinstance(classifier, nn.Linear)
    classifier.weight.data = ours.model.head.weight.data[0]
    classifier.bias.data = ours.model.head.bias.data[0]
    (found,) = trainer(1, logger=False).test(ours, datamodule=toy, verbose=False)
    (expected,) = trainer(1, logger=False).test(theirs, datamodule=toy, verbose=False)
    assert {k: found[k] for k in expected} == pytest.approx(expected, nan_ok=True)


def test_binary_and_multilabel_run() -> None:
    class Labels(ToyDataset):
        def __init__(self, split: str) -> None:
            super().__init__(split)
            self.label = torch.stack([self.label > 0, self.label > 1], dim=1).long()

    class Binary(ToyDataset):
        def __init__(self, split: str) -> None:
            super().__init__(split)
            self.label = (self.label > 0).long()

    for kind, arguments in (
        (Labels, {'task': 'multilabel', 'num_labels': 2}),
        (Binary, {'task': 'binary'}),
    ):
        task = make(num_classes=None, loss='bce', **arguments)
        loaders = [DataLoader(kind(s), 10) for s in ('train', 'val', 'test')]
        run = trainer(8, logger=False)
        run.fit(task, *loaders[:2])
        (result,) = run.test(task, loaders[2], verbose=False)
        assert result['test_OverallAccuracy'] > 0.75
        worst = result['test_WorstDomainOverallAccuracy']
        # Plain loaders have no groups: all samples are of one.
        assert worst == pytest.approx(result['test_OverallAccuracy'])


def test_checkpoint_needs_no_argument(toy: ToyDataModule) -> None:
    task = make(objective=ERM())
    run = trainer(1)
    run.fit(task, datamodule=toy)
    run.save_checkpoint('run.ckpt')
    loaded = DomainClassificationTask.load_from_checkpoint(
        'run.ckpt', weights_only=True
    )
    assert isinstance(loaded.objective, ERM)
    for key, value in task.state_dict().items():
        assert loaded.state_dict()[key].equal(value)


def test_backbone_of_a_checkpoint_is_taken_over(toy: ToyDataModule) -> None:
    task = make()
    run = trainer(1)
    run.fit(task, datamodule=toy)
    run.save_checkpoint('run.ckpt')
    other = make(weights='run.ckpt')
    for key, value in task.model.backbone.state_dict().items():
        assert other.model.backbone.state_dict()[key].equal(value)
    assert not other.model.head.weight.equal(task.model.head.weight)


def test_resumed_run_ends_with_the_same_weights(toy: ToyDataModule) -> None:
    whole = make()
    trainer(3).fit(whole, datamodule=toy)
    begun = make()
    run = trainer(1)
    run.fit(begun, datamodule=toy)
    run.save_checkpoint('stopped.ckpt')
    resumed = make()
    # The seed of the first run counts, not that of the new process.
    seed_everything(99, verbose=False)
    trainer(3).fit(resumed, datamodule=ToyDataModule(), ckpt_path='stopped.ckpt')
    for key, value in whole.state_dict().items():
        assert resumed.state_dict()[key].equal(value), key


class OneRiskADomain(ERM):
    """Mean over domains of their mean risks."""

    requires = frozenset({'domain'})

    def forward(self, step: Step) -> Outcome:
        logits = step.net(step.batch['image'])
        risk = step.criterion(logits, step.target)
        means = [risk[step.domain == d].mean() for d in step.domain.unique()]
        return Outcome(logits, {'risk': torch.stack(means).mean()})


def test_objective_that_needs_domains(toy: ToyDataModule) -> None:
    task = make(objective=OneRiskADomain())
    trainer(1).fit(task, datamodule=toy)
    assert task.hparams['num_domains'] == 3

    plain = [{'image': torch.zeros(3, 32, 32), 'label': torch.tensor(0)}] * 10
    with pytest.raises(ValueError, match='num_domains is not given'):
        trainer(1).fit(make(objective=OneRiskADomain()), DataLoader(plain, 5))
    with pytest.raises(ValueError, match="the training batch has no 'domain'"):
        other = make(objective=OneRiskADomain(), num_domains=2)
        trainer(1).fit(other, DataLoader(plain, 5))


@pytest.mark.parametrize('total', [1, 7, 8, 9, 16])
@pytest.mark.parametrize('replicas', [1, 2, 3, 5])
def test_padding_is_never_counted(total: int, replicas: int) -> None:
    """Over all ranks and batches each sample is counted once, in any order."""
    counted: list[int] = []
    for rank in range(replicas):
        sampler = DistributedSampler(range(total), replicas, rank, shuffle=True)
        loader = DataLoader(range(total), batch_size=2, sampler=sampler)
        for index, batch in enumerate(loader):
            counted += batch[: count_own(loader, index, len(batch))].tolist()
    assert sorted(counted) == list(range(total))


def test_loader_without_padding_counts_all() -> None:
    loader = DataLoader(range(5), batch_size=2)
    assert [count_own(loader, i, len(b)) for i, b in enumerate(loader)] == [2, 2, 1]


class Mirrored(ERM):
    """Learns from the targets of the batch in reverse order."""

    def forward(self, step: Step) -> Outcome:
        order = torch.arange(len(step.target)).flip(0)
        logits = step.net.predict(step.net.backbone.read(step.batch))
        risk = step.criterion(logits, step.target[order]).mean()
        return Outcome(logits, {'risk': risk}, 0 * step.target, order)


def test_what_an_objective_has_judged(toy: ToyDataModule) -> None:
    """Shares of classes and scores of domains are those of the targets that it tells."""
    task = DomainClassificationTask(
        'test_resnet', num_classes=3, num_domains=3, objective=Mirrored()
    )
    groups: list[Any] = []
    batches: list[Any] = []

    class Look(Callback):
        def on_train_start(self, *_: Any) -> None:
            update = task.train_scores.update

            def look(decision: Any, target: Any, group: torch.Tensor) -> None:
                groups.append(group)
                update(decision, target, group)

            task.train_scores.update = look  # type: ignore[method-assign]

        def on_train_batch_start(self, *args: Any) -> None:
            batches.append(args[2]['domain'])

    trainer(1, limit_val_batches=0, callbacks=[Look()]).fit(task, datamodule=toy)
    assert task.class_counts.counts.tolist() == [50, 0, 0]
    assert len(groups) == len(batches) == 5
    for group, domain in zip(groups, batches, strict=True):
        assert torch.equal(group, domain.flip(0))


def test_penalty_that_never_sets_in(toy: ToyDataModule) -> None:
    with pytest.warns(UserWarning, match='RDM sets in after anneal_steps=1500'):
        trainer(1, limit_val_batches=0).fit(
            DomainClassificationTask('test_resnet', num_classes=3, objective=RDM()),
            datamodule=toy,
        )
