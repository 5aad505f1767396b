# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Segmentation of images and series, and change detection, on the invented Earth."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.loggers.logger import DummyLogger
from sklearn.metrics import f1_score, jaccard_score
from torch import Tensor
from torch.utils.data import DataLoader
from trainers import trainer

import torchgeo_experts
from torchgeo_experts import SyntheticEarthDataModule
from torchgeo_experts.tasks.base import DomainTask

#: Data, network, and what else the task needs.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    'image unet': (
        'segmentation',
        {'model': 'unet', 'backbone': 'tu-test_resnet', 'num_classes': 7},
    ),
    'image fpn': (
        'segmentation',
        {'model': 'fpn', 'backbone': 'tu-test_resnet', 'num_classes': 7},
    ),
    'image multiutae': (
        'segmentation',
        {'model': 'multiutae', 'num_filters': 32, 'num_classes': 7},
    ),
    'series unet': (
        'series',
        {'model': 'unet', 'backbone': 'tu-test_resnet', 'num_classes': 7},
    ),
    'series multiutae': (
        'series',
        {'model': 'multiutae', 'num_filters': 32, 'num_classes': 7},
    ),
    'change unet': ('change', {'model': 'unet', 'backbone': 'tu-test_resnet'}),
    'change multiutae': ('change', {'model': 'multiutae', 'num_filters': 32}),
}


def data(kind: str, **kwargs: Any) -> SyntheticEarthDataModule:
    small = {
        'num_train_domains': 4,
        'num_val_domains': 2,
        'num_test_domains': 2,
        'samples_per_domain': 4,
        'size': 32,
        'batch_size': 4,
    }
    if KINDS[kind][0] == 'series':
        small['num_dates'] = 3
    return SyntheticEarthDataModule(task=KINDS[kind][0], **small | kwargs)  # type: ignore[arg-type]


def make(method: str, kind: str, **kwargs: Any) -> DomainTask:
    seed_everything(0, verbose=False)
    suffix = 'ChangeTask' if kind.startswith('change') else 'SegmentationTask'
    two_stages = {'expert_epochs': 2} if method == 'CoDEX' else {}
    arguments = {'lr': 1e-3, **two_stages, **KINDS[kind][1]}
    task: DomainTask = getattr(torchgeo_experts, method + suffix)(**arguments | kwargs)
    return task


def state(task: DomainTask) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in task.state_dict().items()}


def predictions(task: DomainTask, module: SyntheticEarthDataModule) -> Any:
    """Probabilities, targets and groups of the test split."""
    module.setup('test')
    batches = trainer(logger=False).predict(
        task,
        DataLoader(
            module.test_dataset,  # type: ignore[arg-type]
            batch_size=4,
            collate_fn=lambda samples: module.aug(module.collate_fn(samples)),
        ),
    )
    samples = [module.test_dataset[i] for i in range(len(module.test_dataset))]  # type: ignore[arg-type, index]
    return (
        torch.cat([batch['probabilities'] for batch in batches or []]),
        torch.stack([sample['mask'] for sample in samples]),
        torch.stack([sample['group'] for sample in samples]),
    )


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('method', ['CoDEX', 'Domain'])
def test_metrics_are_those_of_the_predictions(method: str, kind: str) -> None:
    stages = {'expert_epochs': 1} if method == 'CoDEX' else {}
    task, module = make(method, kind, **stages), data(kind)
    run = trainer(1 + len(stages))
    run.fit(task, datamodule=module)
    (result,) = run.test(task, datamodule=module, verbose=False)
    probabilities, mask, group = predictions(task, module)
    binary = kind.startswith('change')
    found = (probabilities >= 0.5).long() if binary else probabilities.argmax(1)
    assert found.shape == mask.shape
    expected = (found == mask).double().mean().item()
    assert result['test_OverallAccuracy'] == pytest.approx(expected, abs=1e-6)
    score = f1_score if binary else jaccard_score
    name = 'test_AverageF1Score' if binary else 'test_AverageJaccardIndex'
    average = 'binary' if binary else 'macro'
    overall = score(mask.flatten(), found.flatten(), average=average, zero_division=0)
    assert result[name] == pytest.approx(overall, abs=1e-5)

    rows = list(csv.DictReader((Path(run.log_dir or '') / 'domains.csv').open()))
    assert len(rows) == 2
    for row, number in zip(rows, group.unique(), strict=True):
        own = group == number
        right = (found[own] == mask[own]).double().mean().item()
        assert float(row['OverallAccuracy']) == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_other_uses_of_the_experts(kind: str) -> None:
    """Oracle, best-weighted and uniform, expert by expert."""
    module = data(kind)
    module.setup('test')
    task: Any = make('CoDEX', kind, num_domains=5).eval()
    torch.nn.init.normal_(task.model.selector.linear.weight, std=0.1)
    batch = module.collate_fn([module.test_dataset[i] for i in range(3)])  # type: ignore[index]
    target = task.target(batch)
    batch = module.aug(batch)
    with torch.no_grad():
        features = task.model.backbone.read(batch)
        found = task.decisions(features, task.model.predict(features), target)
        experts = [
            task.model.experts(features.head, torch.full((3,), d)) for d in range(5)
        ]
        mixture = task.model.mixture(features)
    decide = task.criterion.predict
    every = torch.stack([decide(logits) for logits in experts])
    right = (every == task.criterion.shape_target(target)).double().flatten(2).mean(2)
    oracle = (found['Oracle'] == task.criterion.shape_target(target)).double()
    torch.testing.assert_close(oracle.flatten(1).mean(1), right.max(0).values)
    for sample, expert in enumerate(mixture.argmax(1)):
        assert found['BestWeighted'][sample].equal(every[expert, sample])
    assert found['Uniform'].equal(decide(torch.stack(experts).mean(0)))
    mixed = sum(
        mixture[:, d].view(3, *[1] * (experts[0].ndim - 1)) * experts[d]
        for d in range(5)
    )
    agree = (found['Model'] == decide(mixed)).double().mean()
    assert agree > 0.999


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['image unet', 'series multiutae', 'change unet'])
def test_resumed_run_ends_with_the_same_weights(kind: str) -> None:
    """Stopped in either stage; MultiUTAE has dropout, U-Net batch statistics."""
    whole = make('CoDEX', kind)
    trainer(4).fit(whole, datamodule=data(kind))
    expected = state(whole)
    for stop in (1, 3):
        run = trainer(stop)
        run.fit(make('CoDEX', kind), datamodule=data(kind))
        run.save_checkpoint('stopped.ckpt')
        torch.rand(17)
        resumed = make('CoDEX', kind)
        trainer(4).fit(resumed, datamodule=data(kind), ckpt_path='stopped.ckpt')
        for key, value in state(resumed).items():
            if not key.startswith(('train_', 'val_', 'test_')):
                assert value.equal(expected[key]), (stop, key)


@pytest.mark.parametrize('kind', ['image unet', 'series multiutae', 'change multiutae'])
def test_second_stage_trains_the_selector_only(kind: str) -> None:
    task: Any = make('CoDEX', kind, expert_epochs=1)
    run = trainer(1)
    run.fit(task, datamodule=data(kind))
    run.save_checkpoint('stage1.ckpt')
    second: Any = make('CoDEX', kind, expert_epochs=0, checkpoint='stage1.ckpt')
    trainer(1).fit(second, datamodule=data(kind))
    before, after = state(task.model), state(second.model)
    changed = {key for key in before if not before[key].equal(after[key])}
    assert changed == {'selector.linear.weight', 'selector.linear.bias'}


def test_change_is_the_difference_of_two_maps() -> None:
    """Of the two dates alone, for a network that reads image by image."""
    task: Any = make('CoDEX', 'change unet', num_domains=3).eval()
    image = torch.randn(2, 2, 3, 32, 32)
    with torch.no_grad():
        features = [task.model.backbone(image[:, t]).head for t in (0, 1)]
        found = task(image)
        weight, bias = (
            task.model.experts.weight.mean(0),
            task.model.experts.bias.mean(0),
        )
        before, after = (
            torch.nn.functional.conv2d(f, weight, padding=1) for f in features
        )
    expected = after - before + bias[:, None, None]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    same = task(image[:, :1].expand(-1, 2, -1, -1, -1))
    torch.testing.assert_close(same, bias.view(1, 1, 1, 1).expand_as(same))


class TestDatewise:
    """The ablation without temporal pooling."""

    def test_runs_and_weighs_each_date(self) -> None:
        task: Any = make(
            'CoDEX', 'series multiutae', expert_epochs=1, temporal_pooling=False
        )
        module = data('series multiutae')
        run = trainer(2)
        run.fit(task, datamodule=module)
        run.test(task, datamodule=module, verbose=False)
        batches = trainer(logger=False).predict(task, datamodule=module) or []
        weights = torch.cat([batch['weights'] for batch in batches])
        assert weights.shape == (8, 3, 4)
        torch.testing.assert_close(weights.sum(-1), torch.ones(8, 3))
        assert (weights[:, 0] - weights[:, 1]).abs().max() > 0
        rows = csv.DictReader((Path(run.log_dir or '') / 'mixture_weights.csv').open())
        for row in rows:
            total = sum(float(row[name]) for name in task.domain_names)
            assert total == pytest.approx(1, abs=1e-5)

    def test_a_date_is_mixed_like_an_image(self) -> None:
        task: Any = make(
            'CoDEX', 'series unet', num_domains=3, temporal_pooling=False
        ).eval()
        torch.nn.init.normal_(task.model.selector.linear.weight, std=0.1)
        image: Any = make('CoDEX', 'image unet', num_domains=3).eval()
        image.load_state_dict(task.state_dict())
        series = torch.randn(2, 3, 3, 32, 32)
        with torch.no_grad():
            found = task(series)
            dates = torch.stack([image(series[:, t]) for t in range(3)], dim=2)
        torch.testing.assert_close(found, dates, atol=1e-5, rtol=1e-4)


class TestInput:
    def fit(self, kind: str, change: Any, **kwargs: Any) -> None:
        module = data(kind)
        module.setup('fit')
        samples = [change(module.train_dataset[i]) for i in range(4)]  # type: ignore[index]
        loader = DataLoader(samples, batch_size=2)  # type: ignore[arg-type]
        task = make('Domain', kind, **kwargs)
        run = trainer(logger=False, enable_checkpointing=False)
        run.fit(task, loader, loader)

    def test_ignored_pixels_do_not_count(self) -> None:
        """Neither in losses nor in metrics, nor do samples where all are ignored."""
        module = data('image unet')
        module.setup('test')
        samples = [module.test_dataset[i] for i in range(6)]  # type: ignore[index]
        task: Any = make('CoDEX', 'image unet', num_domains=3, ignore_index=255)
        run = trainer(logger=False)
        for number, sample in enumerate(samples):
            sample['mask'][: 9 if number < 4 else None] = 255
        (result,) = run.test(task, DataLoader(samples, batch_size=3), verbose=False)  # type: ignore[arg-type]
        batches = run.predict(task, DataLoader(samples, batch_size=3)) or []  # type: ignore[arg-type]
        p = torch.cat([batch['probabilities'] for batch in batches])[:4, :, 9:]
        mask = torch.stack([sample['mask'] for sample in samples])[:4, 9:]
        accuracy = (p.argmax(1) == mask).double().mean().item()
        assert result['test_OverallAccuracy'] == pytest.approx(accuracy, abs=1e-6)
        true = p.gather(1, mask[:, None])
        focal = (-((1 - true) ** 2) * true.log()).mean().item()
        assert result['test_loss'] == pytest.approx(focal, rel=1e-4)

        without: Any = make('CoDEX', 'image unet', num_domains=3)
        with pytest.raises(ValueError, match='values from 0 to 255, expected 0 to 6'):
            run.test(without, DataLoader(samples, batch_size=3), verbose=False)  # type: ignore[arg-type]

    def test_masks_of_one_map_may_keep_a_dimension(self) -> None:
        task: Any = make('Domain', 'image unet')
        image, mask = torch.randn(2, 3, 8, 8), torch.randint(7, (2, 8, 8))
        for given in (mask, mask[:, None]):
            assert task.target({'image': image, 'mask': given}).equal(mask)
        self.fit('image unet', lambda s: s | {'mask': s['mask'][None]})

    def test_labels_stand_in_the_second_dimension(self) -> None:
        """Several labels a pixel: losses and metrics of a run agree with scikit-learn."""
        task: Any = make(
            'Domain',
            'image unet',
            task='multilabel',
            loss='bce',
            num_classes=None,
            num_labels=3,
        )
        module = data('image unet')
        module.setup('test')
        samples = [module.test_dataset[i] for i in range(4)]  # type: ignore[index]
        for sample in samples:
            labels = [sample['mask'] == c for c in range(3)]
            sample['mask'] = torch.stack(labels).long()
        loader = DataLoader(samples, batch_size=2)  # type: ignore[arg-type]
        run = trainer(logger=False)
        (result,) = run.test(task, loader, verbose=False)
        batches = run.predict(task, loader) or []
        found = torch.cat([batch['probabilities'] for batch in batches]) >= 0.5
        mask = torch.stack([sample['mask'] for sample in samples])
        scores = [
            f1_score(mask[:, c].flatten(), found[:, c].flatten(), zero_division=0)
            for c in range(3)
        ]
        expected = pytest.approx(np.mean(scores), abs=1e-5)
        assert result['test_AverageF1Score'] == expected

    @pytest.mark.parametrize(
        'kind, change, message',
        [
            (
                'image unet',
                lambda s: s | {'mask': s['mask'][:9]},
                'need masks of shape',
            ),
            ('series unet', lambda s: s | {'mask': s['mask'][0]}, r'shape \(2, 3, 32'),
            (
                'change unet',
                lambda s: s | {'image': s['image'][0]},
                'images of two dates',
            ),
            (
                'image unet',
                lambda s: {k: v for k, v in s.items() if k != 'mask'},
                "no 'mask', its keys are",
            ),
        ],
    )
    def test_wrong_batches_are_refused(
        self, kind: str, change: Any, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            self.fit(kind, change)

    @pytest.mark.parametrize('kind', ['series multiutae', 'series unet'])
    def test_missing_dates(self, kind: str) -> None:
        """Marked by ``valid`` and ignored in the mask, their pixels change nothing."""
        losses = []
        for garbage in (0.0, torch.nan):

            def lose(sample: Any, garbage: float = garbage) -> Any:
                sample['image'][1] = garbage
                sample['mask'][1] = 255
                return sample | {'valid': torch.tensor([True, False, True])}

            module = data(kind)
            module.setup('fit')
            samples = [lose(module.train_dataset[i]) for i in range(4)]  # type: ignore[index]
            task: Any = make('CoDEX', kind, num_domains=4, ignore_index=255)
            loader = DataLoader(samples, batch_size=2)
            run = trainer(3, logger=False, enable_checkpointing=False)
            run.fit(task, loader, loader)
            losses.append(run.callback_metrics['val_loss'])
        assert losses[0].isfinite()
        torch.testing.assert_close(*losses)


class TestPlots:
    """What tasks hand to the plots of TorchGeo's data sets."""

    def test_segmentation_gives_maps(self) -> None:
        task: Any = make('Domain', 'image unet')
        batch = {'image': torch.zeros(2, 3, 8, 8), 'mask': torch.zeros(2, 1, 8, 8)}
        found = task.panels(batch, torch.ones(2, 8, 8).long())
        assert found['prediction'].shape == (2, 8, 8)

    def test_change_gives_maps_with_a_dimension(self) -> None:
        task: Any = make('Domain', 'change unet')
        for shape in ((2, 8, 8), (2, 1, 8, 8)):
            batch = {'image': torch.zeros(2, 2, 3, 8, 8), 'mask': torch.zeros(shape)}
            found = task.panels(batch, torch.ones(2, 1, 8, 8).long())
            assert found['prediction'].shape == found['mask'].shape == (2, 1, 8, 8)

    def test_samples_are_shown_as_they_were(self) -> None:
        """With a logger that takes figures: images in their own values, maps."""
        shown = []

        class Experiment:
            def add_figure(self, name: str, figure: Any, global_step: int) -> None:
                shown.append(name)

        class Figures(DummyLogger):
            experiment = Experiment()

        for kind in ('image unet', 'series unet', 'change unet'):
            module, samples = data(kind), []
            plot = module.plot

            def look(sample: Any, plot: Any = plot, to: Any = samples) -> Any:
                to.append(sample)
                return plot(sample)

            module.plot = look  # type: ignore[method-assign]
            run = trainer(logger=Figures())
            run.validate(make('Domain', kind), datamodule=module, verbose=False)
            original = module.val_dataset[0]  # type: ignore[index]
            torch.testing.assert_close(
                samples[0]['image'], original['image'], atol=1e-3, rtol=0
            )
            assert samples[0]['prediction'].shape == original['mask'].shape
        assert shown.count('image/0') == 3


class TestFreezing:
    @pytest.mark.parametrize('method', ['CoDEX', 'Domain'])
    @pytest.mark.parametrize('kind', ['image unet', 'image multiutae'])
    def test_encoder_and_decoder(self, kind: str, method: str) -> None:
        for part in ('encoder', 'decoder'):
            flag = {'encoder': 'freeze_backbone', 'decoder': 'freeze_decoder'}[part]
            task: Any = make(method, kind, **{flag: True})
            module = data(kind)
            before = task.state_dict()
            if method == 'CoDEX':
                task = make(method, kind, num_domains=4, **{flag: True})
                before = task.state_dict()
            before = {key: value.clone() for key, value in before.items()}
            trainer(1, logger=False).fit(task, datamodule=module)
            frozen = torch.nn.ModuleList(getattr(task.model.backbone, part))
            assert not any(p.requires_grad for p in frozen.parameters())
            pointers = {v.data_ptr() for v in frozen.state_dict().values()}
            for key, value in task.state_dict().items():
                if value.data_ptr() in pointers:
                    assert value.equal(before[key]), key
            moved = [
                key
                for key, value in task.state_dict().items()
                if key.startswith('model.backbone') and not value.equal(before[key])
            ]
            assert moved


@pytest.mark.parametrize('kind', ['image fpn', 'series multiutae', 'change unet'])
@pytest.mark.parametrize('precision', ['bf16-mixed', 'bf16-true', '64-true'])
def test_precisions(precision: Any, kind: str) -> None:
    task: Any = make('CoDEX', kind, expert_epochs=1)
    # Half precision is slow on many CPUs. FPN wants 32 pixels.
    module = data(kind, size=32 if 'fpn' in kind else 16)
    few = dict.fromkeys(('limit_train_batches', 'limit_test_batches'), 2)
    run = trainer(2, precision=precision, logger=False, **few)
    run.fit(task, datamodule=module)
    (result,) = run.test(task, datamodule=module, verbose=False)
    assert np.isfinite(result['test_loss'])
    assert task.model.selector.linear.weight.any()


def test_checkpoint_needs_no_argument() -> None:
    task: Any = make('CoDEX', 'series multiutae')
    run = trainer(1)
    run.fit(task, datamodule=data('series multiutae'))
    run.save_checkpoint('run.ckpt')
    loaded = type(task).load_from_checkpoint('run.ckpt', weights_only=True)
    assert loaded.hparams['num_domains'] == 4
    for key, value in state(task.model).items():
        assert value.equal(loaded.model.state_dict()[key])


def test_pairs_are_checked_in_prediction() -> None:
    task = make('Domain', 'change unet')
    loader = DataLoader([{'image': torch.zeros(3, 3, 32, 32)}])  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r'images of two dates, .* found \(1, 3, 3, 32'
    ):
        trainer(logger=False).predict(task, loader)


def test_metrics_do_not_make_a_device_wait() -> None:
    """Validation of arguments reads values back from the device in each step."""
    task: Any = make('Domain', 'image unet')
    metrics = [m for m in task.modules() if hasattr(m, 'validate_args')]
    assert len(metrics) > 30 and not any(m.validate_args for m in metrics)
