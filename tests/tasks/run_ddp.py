# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Fit and test tasks with experts, on two processes; run by test_ddp.py."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import ToyDataModule, ToyDataset
from torchgeo_experts import (
    D3G,
    CoDEXChangeTask,
    CoDEXClassificationTask,
    CoDEXSegmentationTask,
    DomainClassificationTask,
    GroupDRO,
    MoGEClassificationTask,
    PlaceRelation,
    PriorAdaptation,
    SyntheticEarthDataModule,
)


class OddDataModule(ToyDataModule):
    """51 test samples: two processes cannot share them out equally."""

    def make_dataset(self, split: str) -> ToyDataset:
        return ToyDataset(split, size=50 if split == 'train' else 51)


class Apart(ToyDataset):
    """Every sample lies at a place of its own."""

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return super().__getitem__(index) | {'lon': torch.tensor(float(index))}


class PlacedDataModule(OddDataModule):
    """Samples at many places."""

    def make_dataset(self, split: str) -> ToyDataset:
        return Apart(split, size=50 if split == 'train' else 51)


def maps(task: Any) -> SyntheticEarthDataModule:
    """15 test samples, for two processes that have batches of 4."""
    return SyntheticEarthDataModule(
        *(4, 1, 3), task=task, samples_per_domain=5, size=16, batch_size=4
    )


#: Network, what the task needs, and its data.
KINDS: dict[str, tuple[type[Any], dict[str, Any], Callable[[], Any]]] = {
    'classification': (
        CoDEXClassificationTask,
        {'model': 'test_resnet', 'num_classes': 3, 'expert_epochs': 1},
        lambda: OddDataModule(batch_size=4),
    ),
    'series': (
        CoDEXSegmentationTask,
        {'model': 'multiutae', 'num_filters': 32, 'num_classes': 7, 'expert_epochs': 1},
        lambda: maps('series'),
    ),
    'change': (
        CoDEXChangeTask,
        {'model': 'unet', 'backbone': 'tu-test_resnet', 'expert_epochs': 1},
        lambda: maps('change'),
    ),
    'moge': (
        MoGEClassificationTask,
        {
            'model': 'test_vit',
            'model_args': {'img_size': 32},
            'num_classes': 3,
            'blocks': (3, 5),
            'unknown': 'image',
        },
        lambda: PlacedDataModule(batch_size=4),
    ),
    # Experts mixed by place, and weights of domains that all ranks agree on.
    'd3g': (
        DomainClassificationTask,
        {
            'model': 'test_resnet',
            'num_classes': 3,
            'objective': D3G(),
            'relation': PlaceRelation(),
        },
        lambda: OddDataModule(batch_size=4),
    ),
    'group_dro': (
        DomainClassificationTask,
        {'model': 'test_resnet', 'num_classes': 3, 'objective': GroupDRO(1.0)},
        lambda: OddDataModule(batch_size=4),
    ),
}


def callbacks(kind: str) -> list[Any]:
    """Sites are whole, though each process predicts half of their images."""
    return [PriorAdaptation()] if kind == 'group_dro' else []


def strategy(kind: str) -> str:
    """Experts are stacked: each has a gradient, unless they are trained in stages."""
    staged = KINDS[kind][0].__name__.startswith('CoDEX')
    return 'ddp_find_unused_parameters_true' if staged else 'ddp'


def run(name: str, out: Path) -> None:
    """Write what each process has found."""
    kind, arguments, data = KINDS[name]
    seed_everything(0)
    task = kind(lr=1e-3, **arguments)
    trainer = Trainer(
        accelerator='cpu',
        devices=2,
        strategy=strategy(name),
        max_epochs=2,
        default_root_dir=out,
        enable_progress_bar=False,
        log_every_n_steps=1,
        callbacks=callbacks(name),
    )
    trainer.fit(task, datamodule=data())
    rank = trainer.global_rank
    sums = {k: v.double().sum().item() for k, v in task.named_parameters()}
    if hasattr(task.objective, 'robust'):
        sums |= {'robust': task.objective.robust.weights.tolist()}
    if kind is MoGEClassificationTask:
        sums['seen'] = int(task.backbone.coverage.seen.sum())
    (out / f'weights-{rank}.json').write_text(json.dumps(sums))
    val = {k: float(v) for k, v in trainer.callback_metrics.items() if 'val' in k}
    (out / f'val-{rank}.json').write_text(json.dumps(val))
    trainer.save_checkpoint(out / 'last.ckpt')
    (result,) = trainer.test(task, datamodule=data())
    (out / f'test-{rank}.json').write_text(json.dumps(result))


if __name__ == '__main__':
    torch.set_num_threads(1)
    for name in KINDS:
        folder = Path(sys.argv[1]) / name
        folder.mkdir(exist_ok=True)
        run(name, folder)
