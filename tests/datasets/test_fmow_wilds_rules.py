# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""FMoW by the rules of WILDS, written down here a second time, row by row."""

import csv
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.nn import functional as F

from datasets.fmow_files import LABELS, random_rows, write_wilds
from torchgeo_experts.datamodules.fmow import FMoWDataModule
from torchgeo_experts.datasets.fmow import FMoW
from torchgeo_experts.models import Features
from torchgeo_experts.tasks import DomainClassificationTask

SPLITS = ('train', 'id_val', 'id_test', 'val', 'test')


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('fmow_wilds')
    write_wilds(root, random_rows(600, seed=1))
    return root


def follow_wilds(folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Read the table as WILDS does; give its regions and its labelled rows."""
    with (folder / 'country_code_mapping.csv').open(newline='') as file:
        of_country = {row['alpha-3']: row['region'] for row in csv.DictReader(file)}
    regions: list[str] = []
    rows = []
    with (folder / 'rgb_metadata.csv').open(newline='') as file:
        for number, row in enumerate(csv.DictReader(file)):
            region = of_country.get(row['country_code'], 'Other')
            if region not in regions:
                regions.append(region)
            if row['split'] == 'seq':
                continue
            time = datetime.strptime(row['timestamp'], '%Y-%m-%dT%H:%M:%SZ')
            time = time.replace(tzinfo=UTC)
            split = None
            if time >= datetime(2016, 1, 1, tzinfo=UTC):
                if row['split'] == 'test':
                    split = 'test'
            elif time >= datetime(2013, 1, 1, tzinfo=UTC):
                if row['split'] == 'val':
                    split = 'val'
            elif row['split'] == 'train':
                split = 'train'
            else:
                split = f'id_{row["split"]}'
            rows.append(
                {
                    'split': split,
                    'image': f'rgb_img_{number}.png',
                    'y': LABELS[row['category']],
                    'region': regions.index(region),
                    'year': time.year - 2002,
                    'lon': float(row['lon']),
                    'lat': float(row['lat']),
                }
            )
    return regions, rows


def test_every_row(root: Path) -> None:
    """Same split, image, label, region, year and place for every row."""
    regions, rows = follow_wilds(root)
    assert regions[0] == 'Oceania'  # seen first in a row that is then dropped
    assert len(regions) == 6 and 'Other' in regions
    train = FMoW(root, size=8)
    for split in SPLITS:
        expected = [row for row in rows if row['split'] == split]
        assert len({row['region'] for row in expected}) == 6
        data = train.with_split(split)
        assert data.regions == tuple(regions)
        assert [Path(data.path(i)).name for i in range(len(data))] == [
            row['image'] for row in expected
        ]
        for name, key in (('label', 'y'), ('region', 'region')):
            assert getattr(data, name).tolist() == [row[key] for row in expected]
        assert (data.year - 2002).tolist() == [row['year'] for row in expected]
        for name in ('lon', 'lat'):
            wanted = np.array([row[name] for row in expected], np.float32)
            np.testing.assert_array_equal(getattr(data, name), wanted)
        assert data.sizes[split].images == len(expected)
    used = sum(size.images for size in train.sizes.values())
    assert used == sum(row['split'] is not None for row in rows) < len(rows) < 600


def test_regions_are_domains_and_groups(root: Path) -> None:
    regions, rows = follow_wilds(root)
    data = FMoW(root, 'test', size=8)
    assert data.domains.names == data.groups == tuple(regions)
    expected = [row['region'] for row in rows if row['split'] == 'test']
    assert data.group.tolist() == data.domain.tolist() == expected
    assert data.unranked_groups == ('Other',)


def wilds_metrics(
    regions: list[str], y: Any, found: Any, region: Any
) -> dict[str, float]:
    """Compute the metrics of WILDS: of all samples, and of the worst region."""
    hits = defaultdict(list)
    for truth, guess, number in zip(y, found, region, strict=True):
        hits[regions[number]].append(truth == guess)
    of_regions = {name: float(np.mean(values)) for name, values in hits.items()}
    everything = [hit for values in hits.values() for hit in values]
    ranked = [value for name, value in of_regions.items() if name != 'Other']
    return {
        **of_regions,
        'acc_avg': float(np.mean(everything)),
        'acc_worst_region': min(ranked),
        'mean_of_regions': float(np.mean(ranked)),
    }


class Told(DomainClassificationTask):
    """A task that predicts what it is told, by the place of the sample."""

    guesses: dict[tuple[float, float, int], int]

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self.model.backbone.read = self.read
        self.model.predict = lambda features: features.head

    def read(self, batch: dict[str, Tensor]) -> Features:
        keys = zip(*(batch[k].tolist() for k in ('lon', 'lat', 'label')), strict=True)
        guess = torch.tensor([self.guesses[key] for key in keys])
        return Features(F.one_hot(guess, 62).float(), ())


@pytest.mark.parametrize(
    ('domain_by', 'worst'),
    [('region', 'Other'), ('year', 'Other'), ('country', 'Africa'), ('region', 'Asia')],
)
def test_metrics(root: Path, tmp_path: Path, domain_by: Any, worst: str) -> None:
    """Worst region without 'Other', also where that would be the worst."""
    regions, rows = follow_wilds(root)
    rows = [row for row in rows if row['split'] == 'test']
    draw = np.random.default_rng(0)
    guesses, found = {}, []
    for row in rows:
        right = draw.random() < (0.2 if regions[row['region']] == worst else 0.7)
        key = (*np.array([row['lon'], row['lat']], np.float32).tolist(), row['y'])
        found.append(
            guesses.setdefault(key, row['y'] if right else (row['y'] + 1) % 62)
        )
    expected = wilds_metrics(
        regions, [r['y'] for r in rows], found, [r['region'] for r in rows]
    )
    ranked = [expected[name] for name in regions if name != 'Other']
    assert (expected['Other'] < min(ranked)) == (worst == 'Other')

    datamodule = FMoWDataModule(root, size=8, batch_size=16, domain_by=domain_by)
    task = Told('test_resnet', num_classes=62)
    task.guesses = guesses
    trainer = Trainer(
        accelerator='cpu',
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    (metrics,) = trainer.test(task, datamodule, verbose=False)
    for name, key in (
        ('test_OverallAccuracy', 'acc_avg'),
        ('test_WorstDomainOverallAccuracy', 'acc_worst_region'),
        ('test_MeanDomainOverallAccuracy', 'mean_of_regions'),
    ):
        assert metrics[name] == pytest.approx(expected[key], abs=1e-6)
    # The table tells all of them.
    with (tmp_path / 'domains.csv').open(newline='') as file:
        table = {
            row['domain']: float(row['OverallAccuracy']) for row in csv.DictReader(file)
        }
    assert table == pytest.approx({name: expected[name] for name in regions}, abs=1e-6)
