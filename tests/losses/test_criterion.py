# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torchgeo_experts.losses import make_criterion


class TestMulticlass:
    def test_risk_is_the_mean_over_counted_pixels(self) -> None:
        torch.manual_seed(0)
        logits, target = torch.randn(3, 4, 5, 6), torch.randint(0, 4, (3, 5, 6))
        target[0, :3] = -1
        target[2] = -1
        criterion = make_criterion('multiclass', 'ce', ignore_index=-1)
        p = logits.softmax(1).numpy()
        expected = []
        for b in range(3):
            pixels = [
                -np.log(p[b, target[b, i, j], i, j])
                for i in range(5)
                for j in range(6)
                if target[b, i, j] != -1
            ]
            expected.append(np.mean(pixels) if pixels else 0)
        np.testing.assert_allclose(criterion(logits, target), expected, rtol=1e-5)

    def test_accuracy_of_images_is_zero_or_one(self) -> None:
        logits = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
        criterion = make_criterion('multiclass', 'focal')
        accuracy = criterion.accuracies(logits[:, None], torch.tensor([1, 1, 1]))
        assert accuracy.tolist() == [[1], [0], [1]]

    def test_accuracy_of_maps_is_the_share_of_right_pixels(self) -> None:
        torch.manual_seed(0)
        logits, target = torch.randn(3, 5, 3, 2, 4, 4), torch.randint(3, (3, 2, 4, 4))
        target[0, 0, 0] = 9
        target[2] = 9
        criterion = make_criterion('multiclass', 'ce', ignore_index=9)
        found = criterion.accuracies(logits, target)
        for b, e in [(b, e) for b in range(3) for e in range(5)]:
            counted = target[b] != 9
            right = (logits[b, e].argmax(0) == target[b])[counted]
            # Where nothing counts, nothing is right.
            expected = right.float().mean() if counted.any() else torch.tensor(0.0)
            torch.testing.assert_close(found[b, e], expected)

    def test_the_first_of_equal_scores_is_predicted(self) -> None:
        torch.manual_seed(0)
        logits = torch.randint(0, 3, (2, 5, 20, 20)).float()
        found = make_criterion('multiclass', 'ce').predict(logits)
        np.testing.assert_array_equal(found, logits.numpy().argmax(axis=1))

    def test_class_weights_scale_risks(self) -> None:
        logits, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
        weights = [1.0, 2.0, 4.0]
        plain = make_criterion('multiclass', 'ce')(logits, target)
        found = make_criterion('multiclass', 'ce', class_weights=weights)
        expected = plain * torch.tensor(weights)[target]
        torch.testing.assert_close(found(logits, target), expected)


class TestLabels:
    def test_binary_is_one_label(self) -> None:
        torch.manual_seed(0)
        logits, target = torch.randn(6, 1, 3, 3), torch.randint(0, 2, (6, 3, 3))
        criterion = make_criterion('binary', 'bce', pos_weight=3.0)
        expected = F.binary_cross_entropy_with_logits(
            logits[:, 0], target.float(), pos_weight=torch.tensor(3.0), reduction='none'
        ).mean((1, 2))
        torch.testing.assert_close(criterion(logits, target), expected)
        right = (logits[:, 0] >= 0) == target.bool()
        both = torch.stack([logits, -logits], dim=1)
        accuracies = criterion.accuracies(both, target)
        torch.testing.assert_close(accuracies[:, 0], right.float().mean((1, 2)))
        torch.testing.assert_close(accuracies.sum(1), torch.ones(6))

    def test_multilabel_risk_is_the_mean_over_labels(self) -> None:
        torch.manual_seed(0)
        logits, target = torch.randn(6, 4), torch.randint(0, 2, (6, 4))
        expected = F.binary_cross_entropy_with_logits(
            logits, target.float(), reduction='none'
        ).mean(1)
        criterion = make_criterion('multilabel', 'bce')
        torch.testing.assert_close(criterion(logits, target), expected)
        assert criterion.probabilities(logits).equal(logits.sigmoid())
        right = ((logits >= 0) == target.bool()).float().mean(1, keepdim=True)
        assert criterion.accuracies(logits[:, None], target).equal(right)


@pytest.mark.parametrize('task, loss', [('multiclass', 'bce'), ('binary', 'ce')])
def test_loss_that_does_not_fit_is_refused(task: str, loss: str) -> None:
    with pytest.raises(ValueError, match=f"loss='{loss}' does not fit task='{task}'"):
        make_criterion(task, loss)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    'task, kwargs, message',
    [
        (
            'multiclass',
            {'class_weights': [1.0, 2.0]},
            'class_weights has 2 values, exp',
        ),
        (
            'multilabel',
            {'pos_weight': [1.0, 2.0]},
            'pos_weight has 2 values, expected 3',
        ),
        ('multiclass', {'pos_weight': 2.0}, "pos_weight is not for task='multiclass'"),
        ('binary', {'class_weights': [1.0, 2.0]}, 'class_weights is not for task'),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    task: Any, kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_criterion(task, 'focal', num_outputs=3, **kwargs)
    make_criterion('multilabel', 'bce', num_outputs=3, pos_weight=2.0)


def test_samples_without_targets_count_in_no_mean() -> None:
    logits, target = torch.randn(4, 3, 5), torch.randint(3, (4, 5))
    target[[1, 3]] = 9
    target[0, 2] = 9
    criterion = make_criterion('multiclass', 'ce', ignore_index=9)
    assert criterion.judged(target).tolist() == [True, False, True, False]
    parts = [F.cross_entropy(logits[i].T, target[i], ignore_index=9) for i in (0, 2)]
    found = criterion.mean(criterion(logits, target), target)
    torch.testing.assert_close(found, torch.stack(parts).mean())
    nothing = torch.full((4, 5), 9)
    assert criterion.mean(criterion(logits, nothing), nothing) == 0
