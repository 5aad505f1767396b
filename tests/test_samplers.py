# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from collections import Counter, defaultdict
from itertools import batched

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from torchgeo_experts.samplers import DomainBalancedSampler

# 40 samples of domain 0, 10 of 1, 6 of 2, 24 of 5; 7 of no training domain.
COUNTS = {0: 40, 1: 10, 2: 6, 5: 24}
DOMAINS = torch.tensor([d for d, n in COUNTS.items() for _ in range(n)] + [-1] * 7)
DOMAINS = DOMAINS[torch.randperm(87, generator=torch.Generator().manual_seed(0))]


def domains_of(indices: list[int]) -> list[int]:
    return DOMAINS[indices].tolist()


class TestOneRank:
    @pytest.mark.parametrize(('batch', 'per_batch'), [(8, 2), (8, 4), (9, 3), (4, 1)])
    def test_balance(self, batch: int, per_batch: int) -> None:
        sampler = DomainBalancedSampler(DOMAINS, batch, per_batch)
        indices = list(sampler)
        assert len(indices) == len(sampler) == 80 // batch * batch
        for some in batched(indices, batch):
            counts = Counter(domains_of(list(some)))
            assert len(counts) == per_batch
            assert set(counts.values()) == {batch // per_batch}
            assert -1 not in counts

    def test_domains_take_turns(self) -> None:
        for per_batch in (1, 2, 3, 4):
            sampler = DomainBalancedSampler(DOMAINS, per_batch, per_batch)
            drawn = domains_of(list(sampler))
            turns = [set(turn) for turn in batched(drawn, 4) if len(turn) == 4]
            assert turns == [set(COUNTS)] * (len(drawn) // 4)

    @pytest.mark.parametrize('batch', [4, 12, 20])
    def test_no_sample_repeats_before_all_were_drawn(self, batch: int) -> None:
        sampler = DomainBalancedSampler(DOMAINS, batch, 4)
        drawn = defaultdict(list)
        for epoch in range(2):
            sampler.set_epoch(epoch)
            drawn.clear()
            for index in sampler:
                drawn[int(DOMAINS[index])].append(index)
            assert set(drawn) == set(COUNTS)
            for domain, indices in drawn.items():
                for turn in batched(indices, COUNTS[domain]):
                    assert len(set(turn)) == len(turn)

    def test_batch_holds_no_sample_twice(self) -> None:
        # 5 of the 6 samples of domain 2 a batch: passes end within batches.
        sampler = DomainBalancedSampler(DOMAINS, 20, 4)
        for epoch in range(20):
            sampler.set_epoch(epoch)
            for batch in batched(sampler, 20):
                assert len(set(batch)) == 20

    def test_domain_smaller_than_its_share(self) -> None:
        sampler = DomainBalancedSampler(DOMAINS, 32, 4)
        for batch in batched(sampler, 32):
            counts = Counter(batch)
            small = {i: n for i, n in counts.items() if DOMAINS[i] == 2}
            # 8 of 6 samples: each once, two of them twice.
            assert sorted(small.values()) == [1, 1, 1, 1, 2, 2]

    def test_epochs(self) -> None:
        sampler = DomainBalancedSampler(DOMAINS, 8, 2)
        assert isinstance(sampler, DistributedSampler)
        first = list(sampler)
        assert list(sampler) == first
        sampler.set_epoch(1)
        second = list(sampler)
        assert second != first
        again = DomainBalancedSampler(DOMAINS, 8, 2)
        again.set_epoch(1)
        assert list(again) == second
        assert list(DomainBalancedSampler(DOMAINS, 8, 2, seed=5)) != first

    def test_global_random_state_is_left_alone(self) -> None:
        state = torch.get_rng_state()
        list(DomainBalancedSampler(DOMAINS, 8, 2))
        assert torch.equal(torch.get_rng_state(), state)

    def test_data_loader(self) -> None:
        sampler = DomainBalancedSampler(DOMAINS, 8, 4)
        loader = DataLoader(
            DOMAINS,  # type: ignore[arg-type]
            batch_size=8,
            sampler=sampler,
            drop_last=True,
        )
        batches = [batch.tolist() for batch in loader]
        assert len(batches) == len(loader) == 10
        assert all(Counter(b) == Counter(list(COUNTS) * 2) for b in batches)


class TestRanks:
    def test_ranks_share_one_draw(self) -> None:
        whole = DomainBalancedSampler(DOMAINS, 8, 2)
        parts = [
            DomainBalancedSampler(DOMAINS, 8, 2, num_replicas=2, rank=rank)
            for rank in range(2)
        ]
        assert [len(part) for part in parts] == [40, 40]
        batches = [list(batched(part, 8)) for part in parts]
        both = [batch for pair in zip(*batches, strict=True) for batch in pair]
        assert both == list(batched(whole, 8))

    def test_ranks_are_disjoint_within_a_pass(self) -> None:
        # Equal domains: an epoch is one pass through every domain.
        domains = torch.arange(120) % 4
        seen = [
            set(DomainBalancedSampler(domains, 10, 2, num_replicas=3, rank=rank))
            for rank in range(3)
        ]
        assert [len(s) for s in seen] == [40, 40, 40]
        assert len(set.union(*seen)) == 120

    def test_incomplete_batches_are_dropped_on_all_ranks(self) -> None:
        parts = [
            DomainBalancedSampler(DOMAINS, 8, 2, num_replicas=3, rank=rank)
            for rank in range(3)
        ]
        assert [len(list(part)) for part in parts] == [24, 24, 24]


class TestErrors:
    @pytest.mark.parametrize(('batch', 'per_batch'), [(8, 3), (8, 0), (2, 4)])
    def test_unequal_shares(self, batch: int, per_batch: int) -> None:
        message = f'batch_size={batch} cannot .* domains_per_batch={per_batch}'
        with pytest.raises(ValueError, match=message):
            DomainBalancedSampler(DOMAINS, batch, per_batch)

    def test_too_few_domains(self) -> None:
        with pytest.raises(ValueError, match='only 4 training domains have samples'):
            DomainBalancedSampler(DOMAINS, 10, 5)

    def test_too_few_samples(self) -> None:
        with pytest.raises(ValueError, match=r'3 ranks .* more than the 80 samples'):
            DomainBalancedSampler(DOMAINS, 40, 4, num_replicas=3, rank=0)

    def test_no_such_rank(self) -> None:
        with pytest.raises(ValueError, match='rank'):
            DomainBalancedSampler(DOMAINS, 8, 2, num_replicas=2, rank=2)
