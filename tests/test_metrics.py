# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    jaccard_score,
)
from torch import Tensor
from torchmetrics.functional import accuracy
from torchmetrics.functional import f1_score as torch_f1
from torchmetrics.functional.classification import multilabel_accuracy

from torchgeo_experts.metrics import DomainScores, GroupMeans, MeanRisk, worst


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    group = torch.randint(0, 4, (97,)) % 3
    target = torch.randint(0, 6, (97,))
    # Group 1 has few classes, so that predicted and present classes differ.
    target[group == 1] %= 2
    prediction = torch.where(torch.rand(97) < 0.5, target, torch.randint(0, 6, (97,)))
    return prediction, target, group


class TestMulticlass:
    def test_matches_scikit_learn(self, batch: tuple[Tensor, Tensor, Tensor]) -> None:
        metric = DomainScores(4, 6)
        metric.update(*batch)
        scores = metric.compute()
        for g in range(3):
            p, y = (x[batch[2] == g].numpy() for x in batch[:2])
            present = np.unique(y)
            expected = {
                'OverallAccuracy': accuracy_score(y, p),
                'AverageAccuracy': balanced_accuracy_score(y, p),
                'AverageF1Score': f1_score(y, p, labels=present, average='macro'),
                'AverageJaccardIndex': jaccard_score(
                    y, p, labels=present, average='macro'
                ),
            }
            for name, value in expected.items():
                assert scores.groups[name][g].item() == pytest.approx(value, abs=1e-6)
        assert scores.samples.tolist() == torch.bincount(batch[2], minlength=4).tolist()

    def test_overall_is_that_of_all_samples(
        self, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        metric = DomainScores(4, 6)
        metric.update(*batch)
        p, y = batch[:2]
        overall = metric.compute().overall
        expected = {
            'OverallAccuracy': accuracy(p, y, 'multiclass', num_classes=6),
            'AverageAccuracy': accuracy(
                p, y, 'multiclass', num_classes=6, average='macro'
            ),
            'AverageF1Score': torch_f1(
                p, y, 'multiclass', num_classes=6, average='macro'
            ),
        }
        for name, value in expected.items():
            torch.testing.assert_close(overall[name], value)

    def test_groups_without_samples_count_nowhere(
        self, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        metric = DomainScores(4, 6)
        metric.update(*batch)
        values = metric.compute().groups['OverallAccuracy']
        assert values[3].isnan()
        assert worst(values) == values[:3].min() > 0

    def test_shared_out_samples_add_up(
        self, batch: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        whole, parts = DomainScores(4, 6), [DomainScores(4, 6) for _ in range(2)]
        whole.update(*batch)
        for rank, part in enumerate(parts):
            for start in range(rank, 97, 2):
                part.update(*(x[start : start + 1] for x in batch))
        parts[0].merge_state(parts[1])
        for name, values in whole.compute().groups.items():
            torch.testing.assert_close(
                parts[0].compute().groups[name], values, equal_nan=True
            )

    def test_ignored_pixels_do_not_count(self) -> None:
        torch.manual_seed(0)
        prediction, target = torch.randint(0, 3, (2, 4, 8, 8)).unbind()
        target[:, :3] = 255
        group = torch.tensor([0, 1, 1, 0])
        metric = DomainScores(2, 3, ignore_index=255)
        metric.update(prediction, target, group)
        for g in range(2):
            p, y = prediction[group == g][:, 3:], target[group == g][:, 3:]
            found = metric.compute().groups['AverageJaccardIndex'][g].item()
            expected = jaccard_score(y.flatten(), p.flatten(), average='macro')
            assert found == pytest.approx(expected, abs=1e-6)


class TestLabels:
    def test_multilabel_matches_scikit_learn(self) -> None:
        torch.manual_seed(0)
        prediction, target = torch.randint(0, 2, (2, 40, 5)).unbind()
        group = torch.arange(40) % 2
        metric = DomainScores(2, 5, 'multilabel')
        metric.update(prediction, target, group)
        scores = metric.compute().groups
        for g in range(2):
            p, y = prediction[group == g].numpy(), target[group == g].numpy()
            each = multilabel_accuracy(
                prediction[group == g],
                target[group == g],
                num_labels=5,
                average='macro',
            )
            assert scores['AverageAccuracy'][g].item() == pytest.approx(each.item())
            expected = f1_score(y, p, average='macro')
            assert scores['AverageF1Score'][g].item() == pytest.approx(expected)
            assert scores['OverallAccuracy'][g].item() == pytest.approx((p == y).mean())

    def test_binary_scores_are_those_of_positives(self) -> None:
        torch.manual_seed(0)
        prediction, target = torch.randint(0, 2, (2, 9, 1, 4, 4)).unbind()
        target[0, 0, 0, 0] = -1
        metric = DomainScores(1, 1, 'binary', ignore_index=-1)
        metric.update(prediction, target, torch.zeros(9).long())
        overall = metric.compute().overall
        p, y = prediction.flatten()[1:].numpy(), target.flatten()[1:].numpy()
        assert overall['AverageF1Score'].item() == pytest.approx(f1_score(y, p))
        assert overall['OverallAccuracy'].item() == pytest.approx((p == y).mean())


def test_means_of_groups() -> None:
    values, group = torch.randn(11, 3), torch.arange(11) % 2
    metric = GroupMeans(3, 3)
    metric.update(values[:4], group[:4])
    metric.update(values[4:], group[4:])
    found = metric.compute()
    for g in range(2):
        torch.testing.assert_close(found[g], values[group == g].mean(0))
    assert found[2].isnan().all()


def test_worst_of_nothing_is_nan() -> None:
    assert worst(torch.tensor([torch.nan, torch.nan])).isnan()


def test_mean_risk_counts_judged_samples_and_shows_what_is_no_number() -> None:
    metric = MeanRisk()
    metric.update(torch.tensor([1.0, 5.0]), torch.tensor([True, False]))
    metric.update(torch.tensor([2.0, 3.0]), torch.tensor([True, True]))
    assert metric.compute() == 2
    metric.update(torch.tensor([torch.nan]), torch.tensor([False]))
    assert metric.compute() == 2
    metric.update(torch.tensor([torch.nan]), torch.tensor([True]))
    assert metric.compute().isnan()
