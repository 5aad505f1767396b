# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from torch import Tensor
from trainers import trainer

from conftest import ToyDataModule
from torchgeo_experts import (
    CoDEXClassificationTask,
    D3GAffinity,
    Domains,
    HandcraftedAffinity,
)


def make(**kwargs: Any) -> CoDEXClassificationTask:
    seed_everything(0, verbose=False)
    arguments = {
        'model': 'test_resnet',
        'num_classes': 3,
        'expert_epochs': 2,
        'lr': 1e-3,
    }
    return CoDEXClassificationTask(**arguments | kwargs)


def state(task: CoDEXClassificationTask, part: str) -> dict[str, Tensor]:
    tensors = task.state_dict().items()
    return {k: v.clone() for k, v in tensors if k.startswith(part)}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    return [key for key in before if not before[key].equal(after[key])]


class TestStages:
    def test_first_stage_trains_all_but_the_selector(self, toy: ToyDataModule) -> None:
        task = make(num_domains=3)
        before = {k: v.clone() for k, v in task.named_parameters()}
        trainer(2).fit(task, datamodule=toy)
        same = {k for k, v in task.named_parameters() if v.equal(before[k])}
        assert same == {k for k in before if k.startswith('model.selector')}

    def test_second_stage_trains_the_selector_only(self, toy: ToyDataModule) -> None:
        first = make(expert_epochs=1)
        run = trainer(1)
        run.fit(first, datamodule=toy)
        run.save_checkpoint('stage1.ckpt')

        task = make(expert_epochs=0, checkpoint='stage1.ckpt')
        trainer(2).fit(task, datamodule=toy)
        for part in ('model.backbone', 'model.experts', 'expert_training.affinity'):
            # Batch statistics too.
            assert state(task, part) and not changed(
                state(first, part), state(task, part)
            )
        assert changed(state(first, 'model.selector'), state(task, 'model.selector'))

    def test_one_fit_is_two_runs(self, toy: ToyDataModule) -> None:
        """The second stage does not depend on how it was reached."""
        together = make(expert_epochs=1)
        trainer(2).fit(together, datamodule=toy)
        first = make(expert_epochs=1)
        run = trainer(1)
        run.fit(first, datamodule=toy)
        parts = ('model.backbone', 'model.experts')
        for part in parts:
            assert not changed(state(first, part), state(together, part))

    @pytest.mark.parametrize('stop', [1, 2, 3])
    def test_resumed_run_ends_with_the_same_weights(
        self, stop: int, toy: ToyDataModule
    ) -> None:
        """Stopped in stage 1, at the switch, and in stage 2."""
        whole = make()
        trainer(4).fit(whole, datamodule=toy)

        begun = make()
        run = trainer(stop)
        run.fit(begun, datamodule=toy)
        run.save_checkpoint('stopped.ckpt')
        torch.rand(17)  # a new process has another random state

        resumed = make()
        trainer(4).fit(resumed, datamodule=ToyDataModule(), ckpt_path='stopped.ckpt')
        assert changed(state(begun, 'model'), state(resumed, 'model'))
        assert not changed(state(whole, 'model'), state(resumed, 'model'))
        assert not changed(state(whole, 'expert'), state(resumed, 'expert'))

    def test_resumed_run_needs_no_file_of_the_first_stage(
        self, toy: ToyDataModule
    ) -> None:
        run = trainer(1)
        run.fit(make(expert_epochs=1), datamodule=toy)
        run.save_checkpoint('stage1.ckpt')
        arguments = {'expert_epochs': 0, 'checkpoint': 'stage1.ckpt'}
        whole = make(**arguments)
        run = trainer(2)
        run.fit(whole, datamodule=toy)
        run = trainer(1)
        run.fit(make(**arguments), datamodule=toy)
        run.save_checkpoint('stage2.ckpt')
        Path('stage1.ckpt').unlink()
        resumed = make(**arguments)
        trainer(2).fit(resumed, datamodule=toy, ckpt_path='stage2.ckpt')
        assert not changed(state(whole, 'model'), state(resumed, 'model'))

    def test_second_fit_trains_the_backbone_again(self, toy: ToyDataModule) -> None:
        task = make(expert_epochs=1)
        trainer(2).fit(task, datamodule=toy)
        before = state(task, 'model.backbone')
        modes = []

        class Look(Callback):
            def on_train_batch_start(self, *_: Any) -> None:
                modes.append(task.model.backbone.training)

        trainer(1, callbacks=[Look()]).fit(task, datamodule=toy)
        assert modes and all(modes)
        assert changed(before, state(task, 'model.backbone'))

    @pytest.mark.parametrize('precision', ['bf16-mixed', 'bf16-true', '64-true'])
    def test_precisions(self, precision: Any, toy: ToyDataModule) -> None:
        task = make(expert_epochs=1)
        run = trainer(2, precision=precision, logger=False)
        run.fit(task, datamodule=toy)
        (result,) = run.test(task, datamodule=toy, verbose=False)
        assert (
            result['test_OracleOverallAccuracy'] >= result['test_OverallAccuracy'] - 0.1
        )
        assert task.model.selector.linear.weight.any()

    def test_schedule_starts_anew(self, toy: ToyDataModule) -> None:
        task = make(expert_epochs=1, lr=0.5, selector_lr=0.25)
        run = trainer(2)
        run.fit_loop.max_epochs = 2
        run.fit(task, datamodule=toy)
        groups = run.optimizers[0].param_groups
        assert [group['lr'] for group in groups] == [0.5, 0.25]


class TestEvaluation:
    def test_untrained_selector_mixes_all_alike(self, toy: ToyDataModule) -> None:
        task = make(num_domains=4).eval()
        image = torch.randn(2, 3, 32, 32)
        features = task.model.backbone(image)
        torch.testing.assert_close(
            task.model.mixture(features), torch.full((2, 4), 0.25)
        )
        every = torch.cat([z for _, z in task.model.experts.chunks(features.head)], 1)
        torch.testing.assert_close(task(image), every.mean(1))

    def test_decisions_by_hand(self) -> None:
        torch.manual_seed(1)
        task = make(num_domains=5).eval()
        torch.nn.init.normal_(task.model.selector.linear.weight)
        features = task.model.backbone(torch.randn(8, 3, 32, 32))
        target = torch.arange(8) % 3
        mixture = task.model.mixture(features)
        every = torch.stack(
            [
                features.head @ w.T + b
                for w, b in zip(
                    task.model.experts.weight, task.model.experts.bias, strict=True
                )
            ],
            dim=1,
        )
        logits = (mixture[..., None] * every).sum(1)
        found = task.decisions(features, logits, target)
        right = every.argmax(-1) == target[:, None]
        assert (found['Oracle'] == target).equal(right.any(1))
        best = every[torch.arange(8), mixture.argmax(1)]
        assert found['BestWeighted'].equal(best.argmax(-1))
        assert found['Uniform'].equal(every.mean(1).argmax(-1))
        assert found['Model'].equal(logits.argmax(-1))
        top2 = (logits.argsort(1, descending=True)[:, :2] == target[:, None]).any(1)
        assert (found['Top2'] == target).equal(top2)
        assert (found['Top3'] == target).all()

    def test_report_has_a_row_a_domain(self, toy: ToyDataModule) -> None:
        task = make()
        run = trainer(3)
        run.fit(task, datamodule=toy)
        (result,) = run.test(task, datamodule=toy, verbose=False)
        folder = Path(run.log_dir)
        rows = list(csv.DictReader((folder / 'domains.csv').open()))
        assert [row['domain'] for row in rows] == ['far', 'near']
        assert [row['training'] for row in rows] == ['0', '0']
        assert [int(row['samples']) for row in rows] == [25, 25]
        for rule in ('', 'Oracle', 'Uniform', 'Top2'):
            values = [float(row[f'{rule}OverallAccuracy']) for row in rows]
            worst = result[f'test_{rule}WorstDomainOverallAccuracy']
            assert worst == pytest.approx(min(values))
            overall = result[f'test_{rule}OverallAccuracy']
            assert overall == pytest.approx(sum(values) / 2)
        weights = list(csv.DictReader((folder / 'mixture_weights.csv').open()))
        for row in weights:
            experts = [float(row[f'place {i}']) for i in range(3)]
            assert sum(experts) == pytest.approx(1, abs=1e-5)
        for name in ('domains', 'mixture_weights', 'affinity'):
            assert (folder / f'{name}.png').stat().st_size > 5000

    def test_predictions_have_weights(self, toy: ToyDataModule) -> None:
        task = make(num_domains=3)
        batches = trainer(1, logger=False).predict(task, datamodule=toy)
        assert batches is not None
        probabilities = torch.cat([b['probabilities'] for b in batches])
        weights = torch.cat([b['weights'] for b in batches])
        torch.testing.assert_close(probabilities.sum(1), torch.ones(50))
        torch.testing.assert_close(weights, torch.full((50, 3), 1 / 3))


class TestArguments:
    def test_checkpoint_needs_no_argument(self, toy: ToyDataModule) -> None:
        task = make(affinity=D3GAffinity('embedding', fixed_share=0.3))
        run = trainer(1)
        run.fit(task, datamodule=toy)
        run.save_checkpoint('run.ckpt')
        loaded = CoDEXClassificationTask.load_from_checkpoint(
            'run.ckpt', weights_only=True
        )
        assert loaded.hparams['num_domains'] == 3
        assert loaded.domain_names == ('place 0', 'place 1', 'place 2')
        assert isinstance(loaded.affinity, D3GAffinity)
        assert loaded.affinity.fixed_share == 0.3
        assert not changed(task.state_dict(), loaded.state_dict())

    def test_single_domain_has_no_consistency(self) -> None:
        task = make(expert_epochs=1)
        trainer(2).fit(task, datamodule=ToyDataModule(places=1))
        metrics = task.trainer.callback_metrics
        assert 'train_consistency_loss' not in metrics
        assert metrics['train_mixture_loss'].isfinite()

    def test_batches_of_one_domain_train_all_experts(self) -> None:
        toy = ToyDataModule(domains_per_batch=1)
        task = make(num_domains=3)
        before = state(task, 'model.experts')
        trainer(1).fit(task, datamodule=toy)
        after = task.model.experts.weight
        for expert in range(3):
            assert not after[expert].equal(before['model.experts.weight'][expert])

    def test_domain_without_samples_learns_from_consistency_alone(
        self, toy: ToyDataModule
    ) -> None:
        """Its expert serves others, but no sample calls it its own."""
        for weight, learns in ((1.0, True), (0.0, False)):
            task = make(num_domains=4, consistency_weight=weight, weight_decay=0.0)
            before = task.model.experts.weight[3].clone()
            toy.setup('fit')
            names = [*(f'place {i}' for i in range(3)), 'empty']

            def configure(module: ToyDataModule = toy, names: Any = names) -> None:
                module.domains = Domains(names)
                module.groups = (*names, 'far')
                module.classes = ('dark', 'medium', 'bright')

            toy.configure_domains = configure  # type: ignore[method-assign]
            trainer(1).fit(task, datamodule=toy)
            assert (not task.model.experts.weight[3].equal(before)) == learns

    def test_without_consistency_the_affinity_does_not_learn(
        self, toy: ToyDataModule
    ) -> None:
        task = make(consistency_weight=0.0)
        trainer(1).fit(task, datamodule=toy)
        assert not task.affinity.scores.any()

    def test_places_reach_the_affinity(self, toy: ToyDataModule) -> None:
        task = make(affinity=HandcraftedAffinity())
        trainer(1).fit(task, datamodule=toy)
        expected = toy.domains.angles().float()
        torch.testing.assert_close(task.affinity.angles, expected)

    def test_unknown_places_are_refused(self, toy: ToyDataModule) -> None:
        toy.setup('fit')
        original = toy.configure_domains

        def nowhere() -> None:
            original()
            toy.domains.lon[1] = torch.nan

        toy.configure_domains = nowhere  # type: ignore[method-assign]
        with pytest.raises(ValueError, match='HandcraftedAffinity needs the longitude'):
            trainer(1).fit(make(affinity=HandcraftedAffinity()), datamodule=toy)

    def test_sample_of_no_training_domain_is_refused(self, toy: ToyDataModule) -> None:
        toy.setup('fit')
        train = toy.make_dataset('train')
        train.domain[7] = -1
        toy.make_dataset = lambda split: train  # type: ignore[method-assign]
        with pytest.raises(
            ValueError, match=r'1 of 10 .* outside 0\.\.2 \(found \[-1\]'
        ):
            trainer(1).fit(make(), datamodule=toy)

    @pytest.mark.parametrize(
        'arguments, message',
        [
            ({'num_domains': 5}, 'num_domains=5, but ToyDataModule has 3'),
            ({'num_classes': 7}, 'num_classes=7, but ToyDataModule has 3'),
            ({'expert_epochs': -1}, 'expert_epochs must not be negative, found -1'),
            ({'temperature': 0.0}, 'temperature must be positive, found 0.0'),
            ({'expert_epochs': 0}, 'expert_epochs=0 skips the training of experts'),
            ({'expert_epochs': 0, 'checkpoint': 'no.ckpt'}, 'no checkpoint at no.ckpt'),
        ],
        ids=lambda value: value if isinstance(value, str) else '',
    )
    def test_arguments_that_do_not_fit(
        self, arguments: dict[str, Any], message: str, toy: ToyDataModule
    ) -> None:
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            trainer(1).fit(make(**arguments), datamodule=toy)

    def test_checkpoint_of_other_domains_is_refused(self, toy: ToyDataModule) -> None:
        run = trainer(1)
        run.fit(make(), datamodule=toy)
        run.save_checkpoint('stage1.ckpt')
        with pytest.raises(ValueError, match='experts for other training domains'):
            trainer(1).fit(
                make(expert_epochs=0, checkpoint='stage1.ckpt'),
                datamodule=ToyDataModule(places=4),
            )

    def test_resuming_on_other_data_is_refused(self, toy: ToyDataModule) -> None:
        run = trainer(1)
        run.fit(make(), datamodule=toy)
        run.save_checkpoint('run.ckpt')
        original = toy.configure_domains

        def other_places() -> None:
            original()
            toy.domains = Domains(['x', 'y', 'z'])

        toy.configure_domains = other_places  # type: ignore[method-assign]
        with pytest.raises(ValueError, match=r'training domains .*place 0.* has .*x'):
            trainer(2).fit(make(), datamodule=toy, ckpt_path='run.ckpt')

        def other_order() -> None:
            original()
            toy.classes = ('bright', 'medium', 'dark')

        toy.configure_domains = other_order  # type: ignore[method-assign]
        for command in ('fit', 'test'):
            with pytest.raises(ValueError, match='the checkpoint has the classes'):
                method = getattr(trainer(2), command)
                method(make(num_domains=3), datamodule=toy, ckpt_path='run.ckpt')
        loaded = CoDEXClassificationTask.load_from_checkpoint('run.ckpt')
        with pytest.raises(ValueError, match='the checkpoint has the classes'):
            trainer(1).test(loaded, datamodule=toy)

    def test_experts_start_the_same_with_every_affinity(self) -> None:
        """Arms of an ablation are paired."""
        one, other = (
            make(num_domains=4, affinity=a) for a in (None, D3GAffinity('embedding'))
        )
        assert not changed(state(one, 'model'), state(other, 'model'))

    def test_a_loss_that_is_no_number_shows(self, toy: ToyDataModule) -> None:
        task = make(num_domains=3)
        with torch.no_grad():
            task.model.experts.bias[0, 0] = torch.nan
        (result,) = trainer(1, logger=False).validate(task, toy, verbose=False)
        assert result['val_loss'] != result['val_loss']

    def test_training_that_stops_early_is_said(self, toy: ToyDataModule) -> None:
        with pytest.warns(UserWarning, match='before the second stage'):
            trainer(3, max_steps=1).fit(make(), datamodule=toy)

    def test_selector_that_learns_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match='both 0'):
            make(accuracy_weight=0.0, mixture_weight=0.0)

    def test_no_epoch_for_the_selector_is_said(self, toy: ToyDataModule) -> None:
        with pytest.warns(UserWarning, match='the mixture stays uniform'):
            trainer(1).fit(make(), datamodule=toy)

    def test_frozen_backbone_stays(self, toy: ToyDataModule) -> None:
        task = make(freeze_backbone=True, num_domains=3)
        backbone, experts = (state(task, f'model.{p}') for p in ('backbone', 'experts'))
        trainer(1).fit(task, datamodule=toy)
        assert not changed(backbone, state(task, 'model.backbone'))
        assert changed(experts, state(task, 'model.experts'))
