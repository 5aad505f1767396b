# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import pytest
import torch
from scipy import stats
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.mixing import (
    beta_coefficient,
    class_mix,
    domain_pairs,
    random_circle,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestClassMix:
    @pytest.mark.parametrize('shape', [(6, 8, 9), (6, 1, 8, 9), (6, 3, 8, 9), (6, 70)])
    def test_half_of_the_classes_are_copied_whole(self, shape: tuple[int, ...]) -> None:
        classes = torch.tensor([0, 1, 5, 11, 40])
        target = classes[torch.randint(5, shape, generator=seeded())]
        target[0] = target[0].clamp(max=1)  # two classes
        target[1] = target[1].clamp(min=5)  # three
        mask = class_mix(target, 41, generator=seeded(1))
        assert mask.shape == shape and mask.dtype == torch.bool
        for labels, copied, half in zip(target, mask, [1, 1, 2, 2, 2, 2], strict=True):
            chosen = labels[copied].unique()
            assert len(chosen) == half
            # Of a class, all pixels or none.
            assert copied.equal(torch.isin(labels, chosen))

    def test_mixed_pixels_have_the_class_of_where_they_come_from(self) -> None:
        target = torch.randint(7, (2, 4, 8, 8), generator=seeded())
        # Images whose value tells source and class.
        images = target[:, :, None] + torch.tensor([100, 200]).view(2, 1, 1, 1, 1)
        mask = class_mix(target[0], 7, generator=seeded(1))
        mixed = torch.where(mask[:, None], images[0], images[1])
        labels = torch.where(mask, target[0], target[1])
        assert (mixed[:, 0] % 100).equal(labels)
        assert (mixed[:, 0] // 100 == 1).equal(mask)
        assert mask.any() and not mask.all()

    @pytest.mark.parametrize('classes', [(3, 4, 5), (0, 1, 5)])
    def test_numbers_of_classes_do_not_matter(self, classes: tuple[int, ...]) -> None:
        # The published CoDEX code never copies 3, 4 and 5, nor 5 of 0, 1 and 5.
        target = torch.tensor(classes).repeat(900, 5)
        mask = class_mix(target, 6, generator=seeded())
        shares = mask[:, :3].float().mean(dim=0)
        torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.05, rtol=0)

    def test_samples_choose_for_themselves(self) -> None:
        target = torch.arange(6).expand(50, 6)
        mask = class_mix(target, 6, generator=seeded())
        assert (mask.sum(dim=1) == 3).all()
        assert len(mask.unique(dim=0)) > 10

    def test_all_dates_of_a_series_choose_alike(self) -> None:
        target = torch.randint(4, (5, 3, 6, 6), generator=seeded())
        mask = class_mix(target, 4, generator=seeded(1))
        for labels, copied in zip(target, mask, strict=True):
            chosen = labels[copied].unique()
            assert len(chosen) == 2
            assert copied.equal(torch.isin(labels, chosen))

    @pytest.mark.parametrize('ignored', [255, -1, 2])
    def test_ignored_pixels_are_never_copied(self, ignored: int) -> None:
        target = torch.tensor([0, 1, 3, ignored]).repeat(200, 3)
        mask = class_mix(target, 4, ignored, seeded())
        assert not mask[target == ignored].any()
        # Nor do they count as a class: one of three.
        assert (mask.sum(dim=1) == 3).all()

    def test_single_class_is_copied(self) -> None:
        target = torch.tensor([[4, 4, 255], [255, 255, 255]])
        mask = class_mix(target, 6, 255)
        assert mask.tolist() == [[True, True, False], [False, False, False]]

    def test_same_generator_same_mask(self) -> None:
        target = torch.randint(9, (4, 30), generator=seeded())
        first, second, other = (
            class_mix(target, 9, generator=seeded(i)) for i in (3, 3, 4)
        )
        assert first.equal(second) and not first.equal(other)


class TestBeta:
    @pytest.mark.parametrize('alpha', [0.2, 1.0, 3.0])
    def test_distribution(self, alpha: float) -> None:
        torch.manual_seed(0)
        like = torch.zeros(1, dtype=torch.bfloat16)
        draws = torch.stack([beta_coefficient(alpha, like) for _ in range(500)])
        assert draws.dtype == torch.float32 and draws.shape == (500,)
        assert stats.kstest(draws.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 0.01

    def test_is_reproducible(self) -> None:
        torch.manual_seed(1)
        first = beta_coefficient(0.2, torch.zeros(1))
        torch.manual_seed(1)
        assert beta_coefficient(0.2, torch.zeros(1)) == first

    def test_alpha_is_positive(self) -> None:
        with pytest.raises(ValueError, match='alpha must be positive, found 0'):
            beta_coefficient(0, torch.zeros(1))


class TestPairs:
    @pytest.mark.parametrize('domains', [(0, 1), (-1, 3, 7), (5, 5, 5, 2)])
    def test_partners_are_of_another_domain(self, domains: tuple[int, ...]) -> None:
        domain = torch.tensor(domains).repeat(10)
        partner = domain_pairs(domain, seeded())
        assert partner.dtype == torch.int64
        assert (domain[partner] != domain).all()

    def test_all_of_other_domains_are_as_likely(self) -> None:
        domain = torch.tensor([0, 0, 1, 2, 2, 2])
        generator = seeded()
        draws = torch.stack([domain_pairs(domain, generator) for _ in range(800)])
        share = torch.bincount(draws[:, 0], minlength=6) / 800
        expected = torch.tensor([0, 0, 0.25, 0.25, 0.25, 0.25])
        torch.testing.assert_close(share, expected, atol=0.05, rtol=0)

    @pytest.mark.parametrize('count', [1, 5])
    def test_without_another_domain_it_is_itself(self, count: int) -> None:
        assert domain_pairs(torch.full((count,), 3)).tolist() == list(range(count))


@pytest.mark.parametrize('count', [1, 2, 3, 9])
def test_circle(count: int) -> None:
    """Each is found once, by another one unless it is alone."""
    found = [random_circle(count) for _ in range(30)]
    for partner in found:
        assert partner.sort().values.tolist() == list(range(count))
        assert count == 1 or (partner != torch.arange(count)).all()
    assert count < 3 or len({tuple(partner.tolist()) for partner in found}) > 1


def test_host_does_not_wait_for_numbers() -> None:
    with FakeTensorMode():
        target = torch.ones(2, 4, 4, dtype=torch.int64)
        assert class_mix(target, 3, 255).shape == target.shape
        assert domain_pairs(target[:, 0, 0]).shape == (2,)
        assert beta_coefficient(0.2, target).shape == ()
