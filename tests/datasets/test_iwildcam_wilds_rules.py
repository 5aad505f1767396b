# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""IWildCam against the rules of WILDS, written down once more without our readers.

Source: the data set class and metrics of WILDS 2.0 (read, not copied).
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torchmetrics.functional import f1_score as torch_f1

from datasets.iwildcam_files import write_iwildcam, write_rows
from torchgeo_experts import DomainClassificationTask
from torchgeo_experts.datamodules.iwildcam import IWildCamDataModule
from torchgeo_experts.datasets.iwildcam import IWildCam
from torchgeo_experts.metrics import DomainScores

#: How WILDS numbers the splits.
SPLIT_DICT = {'train': 0, 'val': 1, 'test': 2, 'id_val': 3, 'id_test': 4}


class WildsRules:
    """What WILDS takes from metadata.csv."""

    def __init__(self, root: Path) -> None:
        self.folder = root / 'iwildcam_v2.0'
        with (self.folder / 'metadata.csv').open() as file:
            rows = list(csv.reader(file))
        columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
        self.splits = np.array([SPLIT_DICT[name] for name in columns['split']])
        self.y = np.array([int(text) for text in columns['y']])
        self.location = np.array([int(text) for text in columns['location_remapped']])
        self.filename = np.array(columns['filename'])
        self.n_classes = max(self.y) + 1

    def subset(self, split: str) -> np.ndarray:
        """List the rows of a split, in the order of the table."""
        return np.where(self.splits == SPLIT_DICT[split])[0]


def wilds_scores(y_pred: Any, y_true: Any) -> dict[str, float]:
    """Score as WILDS does: over the classes that the targets have."""
    present = np.unique(y_true)
    options: dict[str, Any] = {'average': 'macro', 'labels': present}
    return {
        'acc_avg': accuracy_score(y_true, y_pred),
        'recall-macro_all': recall_score(y_true, y_pred, zero_division=0, **options),
        'F1-macro_all': f1_score(y_true, y_pred, zero_division=0, **options),
    }


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('iwildcam_wilds')
    write_iwildcam(root, num_classes=9, per_camera=6)
    return root


@pytest.mark.parametrize('split', SPLIT_DICT)
def test_every_row(root: Path, split: str) -> None:
    wilds, ours = WildsRules(root), IWildCam(root, split, size=16)
    rows = wilds.subset(split)
    assert len(ours) == len(rows) > 0
    assert ours.label.tolist() == wilds.y[rows].tolist()
    assert ours.camera.tolist() == wilds.location[rows].tolist()
    assert [name.decode() for name in ours.files] == wilds.filename[rows].tolist()
    assert len(ours.classes) == wilds.n_classes == 9
    for row, sample in zip(rows.tolist(), ours, strict=True):
        path = wilds.folder / 'train' / wilds.filename[row]
        # transforms.Resize((16, 16)) of a Pillow image, then ToTensor.
        with Image.open(path) as picture:
            resized = picture.resize((16, 16), Image.Resampling.BILINEAR)
        pixels = np.asarray(resized, np.float32) / 255
        np.testing.assert_allclose(sample['image'] / 255, pixels.transpose(2, 0, 1))
        assert sample['label'] == wilds.y[row]


def test_all_rows_are_in_one_split(root: Path) -> None:
    wilds = WildsRules(root)
    numbers = np.concatenate([IWildCam(root, s).row_numbers for s in SPLIT_DICT])
    assert sorted(numbers.tolist()) == list(range(2, len(wilds.y) + 2))


@pytest.mark.parametrize('seed', range(5))
def test_scores_with_absent_classes(seed: int) -> None:
    """182 classes of which the targets have some, and predictions also others."""
    torch.manual_seed(seed)
    target = torch.randint(0, 60, (400,)) * 3
    guess = torch.randint(0, 182, (400,))
    prediction = torch.where(torch.rand(400) < 0.6, target, guess)
    # Shared out to three processes, and in batches of any size.
    parts = [DomainScores(7, 182) for _ in range(3)]
    for number, batch in enumerate(torch.arange(400).split(29)):
        part = parts[number % 3]
        part.update(prediction[batch], target[batch], batch % 7)
    for part in parts[1:]:
        parts[0].merge_state(part)
    found = parts[0].compute().overall
    expected = wilds_scores(prediction.numpy(), target.numpy())
    for name, wilds in (
        ('OverallAccuracy', 'acc_avg'),
        ('AverageAccuracy', 'recall-macro_all'),
        ('AverageF1Score', 'F1-macro_all'),
    ):
        assert found[name].item() == pytest.approx(expected[wilds], abs=1e-6)
    # The usual macro F1 is another number.
    usual = torch_f1(
        prediction, target, 'multiclass', num_classes=182, average='macro'
    ).item()
    assert usual < expected['F1-macro_all'] - 0.05


def test_scores_that_a_task_logs(tmp_path: Path) -> None:
    rows = write_iwildcam(tmp_path, num_classes=9, per_camera=6)
    for row in rows:
        # Cameras of the tests see few of the classes, so that predictions have others.
        row['y'] = row['y'] % 4 if row['split'].endswith('test') else row['y']
    write_rows(tmp_path / 'iwildcam_v2.0' / 'metadata.csv', rows)
    seed_everything(0, verbose=False)
    task = DomainClassificationTask('test_resnet', num_classes=9, lr=1e-2)
    trainer = Trainer(
        accelerator='cpu',
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, IWildCamDataModule(tmp_path, size=16, batch_size=10))
    scores = {'train_PresentF1Score', 'val_PresentF1Score', 'val_PresentRecall'}
    assert scores <= set(trainer.callback_metrics)
    wilds = WildsRules(tmp_path)
    choices: tuple[tuple[Any, str], ...] = (('ood', 'test'), ('id', 'id_test'))
    for test_split, name in choices:
        datamodule = IWildCamDataModule(tmp_path, test_split=test_split, size=16)
        (logged,) = trainer.test(task, datamodule, verbose=False)
        batches: Any = trainer.predict(task, datamodule)
        found = torch.cat([batch['probabilities'] for batch in batches]).argmax(1)
        target = wilds.y[wilds.subset(name)]
        assert set(found.tolist()) - set(target.tolist())
        expected = wilds_scores(found.numpy(), target)
        assert expected['F1-macro_all'] > 0
        assert logged['test_OverallAccuracy'] == pytest.approx(expected['acc_avg'])
        recall, score = expected['recall-macro_all'], expected['F1-macro_all']
        assert logged['test_PresentRecall'] == pytest.approx(recall)
        assert logged['test_PresentF1Score'] == pytest.approx(score)
        # TorchGeo's also counts classes that are only predicted.
        assert logged['test_AverageF1Score'] < score - 0.01
