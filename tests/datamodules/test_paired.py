# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Training samples with unlabelled images of the target domains."""

from collections import Counter

import pytest
import torch
from kornia.augmentation import RandomHorizontalFlip
from torch.utils.data import DistributedSampler

from conftest import ToyDataModule
from torchgeo_experts import SyntheticEarthDataModule
from torchgeo_experts.datamodules.paired import PairSampler, augment_pairs
from torchgeo_experts.targets import target_of


def sampler(size: int, replicas: int = 1, rank: int = 0) -> DistributedSampler[int]:
    data = list(range(size))
    return DistributedSampler(data, replicas, rank, seed=3, drop_last=True)  # type: ignore[arg-type]


def test_pairs_are_epochs_of_the_first() -> None:
    pairs = PairSampler(sampler(20), sampler(6))
    assert len(pairs) == len(list(pairs)) == 20
    first, others = zip(*pairs, strict=True)
    assert sorted(first) == list(range(20))
    # Whole turns: none returns before all others were drawn.
    assert all(Counter(others[i : i + 6]) == Counter(range(6)) for i in (0, 6, 12))
    assert others[:6] != others[6:12]
    again = list(pairs)
    assert again == list(zip(first, others, strict=True))
    pairs.set_epoch(1)
    assert [i for i, _ in pairs] != list(first)
    assert [j for _, j in pairs] != list(others)


def test_ranks_see_other_pairs() -> None:
    ranks = [PairSampler(sampler(20, 2, r), sampler(6, 2, r)) for r in range(2)]
    seen = [{i for i, _ in pairs} for pairs in ranks]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == 20
    others = [{j for _, j in list(pairs)[:3]} for pairs in ranks]
    assert not others[0] & others[1]
    with pytest.raises(ValueError, match='4 ranks need at least as many'):
        PairSampler(sampler(20, 4), sampler(3, 4))


def test_labels_are_not_shown() -> None:
    data = SyntheticEarthDataModule(
        *(3, 1, 2), samples_per_domain=6, batch_size=4, target_split='test'
    )
    data.setup('fit')
    batches = list(data.train_dataloader())
    assert len(batches) == 4
    expected = {'target_image', 'target_lon', 'target_lat'}
    for batch in batches:
        assert {k for k in batch if k.startswith('target_')} == expected
        assert batch['label'].shape == batch['target_lon'].shape == (4,)
        # They are images of the test places.
        found = torch.cdist(
            torch.stack([batch['target_lon'], batch['target_lat']], 1),
            torch.stack([data.target_dataset.lon, data.target_dataset.lat], 1).float(),
        )
        assert found.amin(dim=1).max() < 1e-3


def test_targets_are_augmented_by_themselves() -> None:
    """Each image is normalized once, and flipped or not on its own."""
    data = ToyDataModule()
    data.target_split = 'test'
    data.setup('fit')
    flip = RandomHorizontalFlip(p=1.0)
    data.train_aug = type(data.aug)(data.mean, data.std, [flip])

    class Training:
        training, validating, testing, predicting, sanity_checking = True, *[False] * 4

    data.trainer = Training()  # type: ignore[assignment]
    batch = next(iter(data.train_dataloader()))
    raw = {k: v.clone() for k, v in batch.items()}
    found = data.on_after_batch_transfer(batch, 0)
    for key in ('image', 'target_image'):
        torch.testing.assert_close(found[key], (raw[key].flip(-1) - 100) / 50)
    assert torch.equal(found['label'], raw['label'])
    assert target_of(found).keys() == {'image', 'lon', 'lat'}


def test_without_targets_nothing_changes() -> None:
    batch = {'image': torch.ones(2), 'label': torch.zeros(2)}
    found = augment_pairs(batch, lambda part: {k: v + 1 for k, v in part.items()})
    assert found.keys() == batch.keys() and found['image'].tolist() == [2, 2]
