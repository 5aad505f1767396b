# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.pixel_contrast import draw_elements, supervised_contrast


def naive(features: Tensor, labels: Tensor, tau: float) -> Tensor:
    """The formula, one element and one pair at a time."""
    q = [f / f.norm() for f in features]
    terms = []
    for i in range(len(q)):
        others = [k for k in range(len(q)) if k != i]
        positives = [k for k in others if labels[k] == labels[i]]
        if not positives:
            continue
        total = torch.stack([(q[i] @ q[k] / tau).exp() for k in others]).sum()
        logs = [((q[i] @ q[p] / tau).exp() / total).log() for p in positives]
        terms.append(torch.stack(logs).mean())
    return -torch.stack(terms).mean()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (20,), generator=generator)
    # A class of its own: no anchor, but a negative.
    labels[7] = 255
    return features, labels


class TestContrast:
    @pytest.mark.parametrize('tau', [0.07, 0.5])
    def test_matches_the_formula(
        self, tau: float, batch: tuple[Tensor, Tensor]
    ) -> None:
        features, labels = batch
        features.requires_grad_()
        found = supervised_contrast(features, labels, tau)
        expected = naive(features, labels, tau)
        torch.testing.assert_close(found, expected)
        (grad,) = torch.autograd.grad(found, features)
        (expected_grad,) = torch.autograd.grad(expected, features)
        torch.testing.assert_close(grad, expected_grad)

    def test_default_temperature(self, batch: tuple[Tensor, Tensor]) -> None:
        found = supervised_contrast(*batch)
        torch.testing.assert_close(found, supervised_contrast(*batch, 0.07))

    def test_uncounted_elements_are_as_if_not_there(
        self, batch: tuple[Tensor, Tensor]
    ) -> None:
        features, labels = batch
        counted = torch.arange(20) % 3 > 0
        features.requires_grad_()
        found = supervised_contrast(features, labels, counted=counted)
        expected = supervised_contrast(features[counted], labels[counted])
        torch.testing.assert_close(found, expected)
        (grad,) = torch.autograd.grad(found, features)
        assert not grad[~counted].any() and grad[counted].any(dim=1).sum() > 5

    @pytest.mark.parametrize(
        'labels, counted',
        [
            ([1], [True]),  # a single element
            ([0, 1, 2], [True] * 3),  # no class twice
            ([1, 1, 1], [False] * 3),  # nothing counts
            ([1, 1, 2], [True, False, True]),  # the positive does not count
        ],
    )
    def test_without_positives_it_is_zero(
        self, labels: list[int], counted: list[bool]
    ) -> None:
        features = torch.randn(len(labels), 3, requires_grad=True)
        found = supervised_contrast(
            features, torch.tensor(labels), counted=torch.tensor(counted)
        )
        found.backward()
        assert found.item() == 0
        assert features.grad is not None and not features.grad.any()

    def test_two_elements_of_a_class_have_nothing_to_tell_apart(self) -> None:
        found = supervised_contrast(torch.randn(2, 3), torch.tensor([4, 4]))
        assert found.item() == pytest.approx(0, abs=1e-6)

    def test_zero_and_tiny_temperature_are_finite(
        self, batch: tuple[Tensor, Tensor]
    ) -> None:
        features, labels = batch
        features = features.float()
        features[2] = 0
        features.requires_grad_()
        with torch.autograd.detect_anomaly(check_nan=True):
            supervised_contrast(features, labels, 1e-3).backward()
        assert features.grad is not None and features.grad.isfinite().all()

    def test_half_precision_is_computed_in_single(
        self, batch: tuple[Tensor, Tensor]
    ) -> None:
        low = batch[0].bfloat16()
        expected = supervised_contrast(low.float(), batch[1])
        with torch.autocast('cpu', torch.bfloat16):
            found = supervised_contrast(low, batch[1])
        torch.testing.assert_close(found, expected)

    def test_wrong_arguments_are_refused(self, batch: tuple[Tensor, Tensor]) -> None:
        features, labels = batch
        with pytest.raises(ValueError, match=r'found \(20, 5\), \(19,\) and \(19,\)'):
            supervised_contrast(features, labels[1:])
        with pytest.raises(ValueError, match='temperature must be positive, found 0'):
            supervised_contrast(features, labels, 0)


class TestDraw:
    def test_features_come_with_their_own_class(self) -> None:
        torch.manual_seed(0)
        mask = torch.tensor([0, 3, 200])[torch.randint(3, (3, 6, 8))]
        # Features tell the class, the image, the row and the column.
        image, row, column = torch.meshgrid(
            torch.arange(3), torch.arange(6), torch.arange(8), indexing='ij'
        )
        features = torch.stack([mask, image, row, column], dim=1).float()
        found, labels, counted = draw_elements(features, mask, 50)
        assert found.shape == (50, 4) and counted.all()
        assert found[:, 0].long().equal(labels)
        assert len(found[:, 1:].unique(dim=0)) == 50  # none twice
        assert set(found[:, 1].tolist()) == {0, 1, 2}

    def test_the_mask_is_sampled_as_by_torch(self) -> None:
        torch.manual_seed(0)
        for size, new in [((8, 8), (4, 4)), ((9, 7), (4, 5)), ((3, 4), (7, 9))]:
            mask = torch.randint(9, (2, *size))
            expected = F.interpolate(mask[:, None].float(), new, mode='nearest-exact')
            # All pixels, with their class as the feature.
            count = 2 * new[0] * new[1]
            found, labels, counted = draw_elements(expected, mask, count)
            assert counted.all() and found[:, 0].long().equal(labels)

    def test_classes_are_balanced(self) -> None:
        torch.manual_seed(0)
        mask = torch.full((2, 64, 64), 5)
        mask[0, :4] = -3  # 256 of 8192
        mask[1, :8, :8] = 90  # 64
        labels = draw_elements(torch.zeros(2, 1, 64, 64), mask, 48)[1]
        shares = torch.stack([(labels == c).sum() for c in (5, -3, 90)]) / 48
        assert (shares - 1 / 3).abs().max() < 0.2
        # And within a class, all pixels are as likely.
        draws = [draw_elements(torch.zeros(1, 1, 2, 2), mask[:1, :2, :2], 1)]
        rows = torch.arange(4.0).view(1, 1, 2, 2)
        mask = torch.tensor([[[0, 0], [0, 1]]])
        draws = [draw_elements(rows, mask, 1)[0].item() for _ in range(600)]
        shares = torch.bincount(torch.tensor(draws).long(), minlength=4) / 600
        expected = torch.tensor([1 / 6, 1 / 6, 1 / 6, 1 / 2])
        torch.testing.assert_close(shares, expected, atol=0.06, rtol=0)

    def test_ignored_pixels_do_not_count(self) -> None:
        mask = torch.full((1, 4, 4), 255)
        mask[0, 1, :3] = 2
        features = mask[:, None].float().requires_grad_()
        found, labels, counted = draw_elements(features, mask, 10, ignore_index=255)
        assert counted.sum() == 3 and (labels[counted] == 2).all()
        assert (found[counted] == 2).all() and found.shape == (10, 1)
        (grad,) = torch.autograd.grad(found[counted].sum(), features)
        assert grad[0, 0].equal((mask[0] == 2).float())

    def test_more_than_there_are(self) -> None:
        mask = torch.arange(6).view(1, 2, 3)
        found, labels, counted = draw_elements(mask[:, None].float(), mask, 9)
        assert found.shape == (9, 1) and labels.shape == (9,)
        assert counted.sum() == 6
        assert labels[counted].sort().values.tolist() == list(range(6))

    def test_nothing_but_ignored_pixels(self) -> None:
        mask = torch.full((2, 4, 4), -1)
        features = torch.randn(2, 3, 4, 4, requires_grad=True)
        found, labels, counted = draw_elements(features, mask, 8, ignore_index=-1)
        loss = supervised_contrast(found, labels, counted=counted)
        loss.backward()
        assert loss.item() == 0 and not counted.any()
        assert features.grad is not None and not features.grad.any()

    def test_shapes_are_checked(self) -> None:
        with pytest.raises(
            ValueError, match=r'found \(2, 3, 4, 4\) and \(2, 1, 4, 4\)'
        ):
            draw_elements(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4).long(), 5)


def test_host_does_not_wait_for_numbers() -> None:
    with FakeTensorMode():
        features = torch.randn(2, 3, 4, 4, requires_grad=True)
        mask = torch.ones(2, 8, 8, dtype=torch.int64)
        found, labels, counted = draw_elements(features, mask, 40, 255)
        assert found.shape == (40, 3)
        supervised_contrast(found, labels, counted=counted).backward()
