# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import numpy as np
import pytest
import torch
from scipy.special import softmax

from torchgeo_experts import Domains
from torchgeo_experts.models import (
    Affinity,
    D3GAffinity,
    FactorizedAffinity,
    HandcraftedAffinity,
    LearnedAffinity,
)

PLACES = Domains('ABCDE', [0.0, 10, 20, 100, -60], [50.0, 45, 40, 10, -30])


def build(affinity: Affinity) -> Affinity:
    affinity.build(len(PLACES))
    affinity.locate(PLACES.angles().float())
    return affinity


ALL = [
    LearnedAffinity(),
    FactorizedAffinity(3),
    HandcraftedAffinity(),
    D3GAffinity(),
    D3GAffinity('embedding'),
]


@pytest.mark.parametrize('affinity', ALL, ids=lambda a: str(a.to_config()['init_args']))
class TestAffinity:
    def test_rows_are_weights_of_other_domains(self, affinity: Affinity) -> None:
        matrix = build(affinity)(torch.arange(5))
        assert (matrix >= 0).all() and matrix.diag().eq(0).all()
        torch.testing.assert_close(matrix.sum(1), torch.ones(5))

    def test_rows_are_those_of_the_domains(self, affinity: Affinity) -> None:
        matrix = build(affinity)(torch.arange(5))
        domain = torch.tensor([3, 3, 0])
        torch.testing.assert_close(affinity(domain), matrix[domain])


class TestFactorizedAffinity:
    def test_is_the_softmax_of_a_product(self) -> None:
        affinity = build(FactorizedAffinity(2))
        everything = torch.arange(5)
        # At first all others alike, as the learned one.
        torch.testing.assert_close(
            affinity(everything), build(LearnedAffinity())(everything)
        )
        torch.nn.init.normal_(affinity.other)
        scores = (affinity.own @ affinity.other.T).detach().numpy()
        for i in range(5):
            others = np.delete(np.arange(5), i)
            found = affinity(torch.tensor([i]))[0].detach()
            np.testing.assert_allclose(found[others], softmax(scores[i, others]), 1e-5)

    def test_learns_from_the_first_step_on(self) -> None:
        affinity = build(FactorizedAffinity())
        (affinity(torch.tensor([2])) * torch.randn(5)).sum().backward()
        assert affinity.other.grad is not None and affinity.other.grad.any()

    def test_numbers_grow_with_the_domains(self) -> None:
        affinity = FactorizedAffinity(16)
        affinity.build(1000)
        assert sum(p.numel() for p in affinity.parameters()) == 2 * 16 * 1000


class TestLearnedAffinity:
    def test_gradients_reach_the_rows_of_the_domains_in_the_batch(self) -> None:
        affinity = LearnedAffinity()
        affinity.build(6)
        torch.nn.init.normal_(affinity.scores)
        values = torch.randn(6)
        (affinity(torch.tensor([4, 1, 4])) @ values).square().sum().backward()
        gradient = affinity.scores.grad
        assert gradient is not None
        assert gradient.abs().sum(1).nonzero().flatten().tolist() == [1, 4]
        assert gradient.diag().eq(0).all()
        # All off-diagonal entries of these rows.
        assert gradient[[1, 4]].ne(0).sum(1).tolist() == [5, 5]

    def test_diagonal_never_counts(self) -> None:
        affinity = LearnedAffinity()
        affinity.build(4)
        torch.nn.init.normal_(affinity.scores)
        before = affinity(torch.arange(4))
        with torch.no_grad():
            affinity.scores.diagonal().add_(100)
        torch.testing.assert_close(affinity(torch.arange(4)), before)

    def test_starts_with_all_others_alike(self) -> None:
        affinity = LearnedAffinity()
        affinity.build(3)
        assert affinity(torch.tensor([1])).tolist() == [[0.5, 0, 0.5]]

    def test_single_domain_has_no_other(self) -> None:
        affinity = LearnedAffinity()
        affinity.build(1)
        assert affinity(torch.tensor([0])).tolist() == [[0.0]]


def test_handcrafted_is_the_softmin_of_the_angle() -> None:
    lon, lat = np.deg2rad(PLACES.lon.numpy()), np.deg2rad(PLACES.lat.numpy())
    for d in range(5):
        cosine = np.sin(lat[d]) * np.sin(lat) + np.cos(lat[d]) * np.cos(lat) * np.cos(
            lon[d] - lon
        )
        others = np.delete(np.arange(5), d)
        expected = softmax(-np.rad2deg(np.arccos(cosine[others])) / 7)
        found = build(HandcraftedAffinity(temperature=7))(torch.tensor([d]))[0]
        np.testing.assert_allclose(found[others], expected, rtol=1e-4, atol=1e-7)


class TestD3GAffinity:
    def test_share_of_one_is_handcrafted(self) -> None:
        every = torch.arange(5)
        found = build(D3GAffinity(fixed_share=1, temperature=7))(every)
        torch.testing.assert_close(found, build(HandcraftedAffinity(7))(every))

    def test_distance_relation_knows_angles_only(self) -> None:
        affinity = build(D3GAffinity(fixed_share=0))
        # Two domains at the same angle from a third have the same affinity to it.
        affinity.locate(torch.full((5, 5), 0.3))
        row = affinity(torch.tensor([2]))[0]
        torch.testing.assert_close(row[[0, 1, 3, 4]], torch.full((4,), 0.25))

    def test_embedding_relation_is_a_mean_of_cosines(self) -> None:
        affinity = build(D3GAffinity('embedding', fixed_share=0))
        relation = affinity.learned
        embedded = relation.embed(affinity.angles).detach().numpy()
        weights = relation.weight.detach().numpy()
        for i in range(5):
            cosines = np.zeros(5)
            for j in range(5):
                for w in weights:
                    a, b = w * embedded[i], w * embedded[j]
                    cosines[j] += a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            others = np.delete(np.arange(5), i)
            expected = softmax(cosines[others] / len(weights))
            found = affinity(torch.tensor([i]))[0].detach()
            np.testing.assert_allclose(found[others], expected, rtol=1e-4)

    def test_learned_part_learns(self) -> None:
        affinity = build(D3GAffinity())
        (affinity(torch.arange(5)) * torch.randn(5, 5)).sum().backward()
        gradients = [p.grad for p in affinity.parameters()]
        assert gradients and all(g is not None for g in gradients)
        assert any(g.ne(0).any() for g in gradients if g is not None)

    def test_no_share_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r'fixed_share must lie in \[0, 1\]'):
            D3GAffinity(fixed_share=1.5)
