# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

from typing import Any

import numpy as np
import pytest
import shapely
import torch
from torch import Tensor
from torchgeo.datasets import L8Biome
from torchgeo.samplers import (
    GriddedPatchSampler,
    GridGeoSampler,
    PreChippedGeoSampler,
    RandomGeoSampler,
    RandomPatchSampler,
    SequentialTimestampSampler,
)

from datamodules.domain_files import write_l8biome
from torchgeo_experts.datamodules.patches import (
    DomainPatchSampler,
    _lattice,
    centres,
    draw_patches,
    fixed_patches,
    patch_centres,
)

pytestmark = [
    pytest.mark.filterwarnings('ignore:The inplace keyword'),
    pytest.mark.filterwarnings('ignore:Use torchgeo.samplers'),
    pytest.mark.filterwarnings('ignore:Use geopandas'),
]


@pytest.fixture(scope='module')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> L8Biome:
    root = tmp_path_factory.mktemp('l8biome')
    write_l8biome(root, 3)
    return L8Biome(root)


def everywhere(patches: Any) -> Tensor:
    return torch.zeros(len(patches)).long()


class TestDraws:
    def test_seed(self, scenes: L8Biome) -> None:
        for sampler in (
            RandomPatchSampler(scenes, size=16, length=5),
            RandomGeoSampler(scenes, 16, 5),
            RandomGeoSampler(scenes, 16, 5, generator=torch.Generator()),
        ):
            before = torch.random.get_rng_state()
            first, again, other = (draw_patches(sampler, (0, n)) for n in (1, 1, 2))
            assert first == again != other
            assert len(first) == 5
            # Nothing else draws other numbers because of it.
            assert torch.equal(torch.random.get_rng_state(), before)

    def test_fixed(self, scenes: L8Biome) -> None:
        for sampler in (
            GriddedPatchSampler(scenes, size=16),
            GridGeoSampler(scenes, 16),
            PreChippedGeoSampler(scenes),
            GriddedPatchSampler(scenes, size=16) @ SequentialTimestampSampler(scenes),
        ):
            assert fixed_patches(sampler) == list(sampler)
        for sampler in (
            RandomPatchSampler(scenes, size=16),
            RandomGeoSampler(scenes, 16),
        ):
            assert fixed_patches(sampler) is None


class TestCentres:
    def test_slices(self, scenes: L8Biome) -> None:
        x, y, _ = scenes.bounds
        patches: list[Any] = [
            (slice(1, 3), slice(10, 20)),
            (slice(1, 3, 5), slice(10, 20), slice(None)),
            (slice(None, 3), slice(10, None)),
            slice(1, 3),
        ]
        found = centres(scenes, patches)
        middle = (y.start + y.stop) / 2
        np.testing.assert_array_equal(found[0], [2, 2, (x.start + 3) / 2, 2])
        np.testing.assert_array_equal(found[1], [15, 15, (10 + y.stop) / 2, middle])

    def test_of_a_grid(self, scenes: L8Biome) -> None:
        sampler = GriddedPatchSampler(scenes, size=16)
        x, y = patch_centres(scenes, sampler)
        expected = [
            ((s[0].start + s[0].stop) / 2, (s[1].start + s[1].stop) / 2)
            for s in sampler
        ]
        np.testing.assert_array_equal(np.stack([x, y], axis=1), expected)

    def test_of_random_patches(self, scenes: L8Biome) -> None:
        """They reach as far as patches do, and into each scene."""
        for sampler in (
            RandomPatchSampler(scenes, size=16, length=2000),
            RandomGeoSampler(scenes, 16, 2000),
        ):
            x, y = patch_centres(scenes, sampler)
            drawn = np.stack(centres(scenes, draw_patches(sampler, (0, 0))), axis=1)
            places = np.stack([x, y], axis=1)
            # From each patch it is less than a patch to the next place.
            size = 16 * scenes.res[0]
            distance = np.abs(drawn[:, None] - places[None]).max(axis=2).min(axis=1)
            assert distance.max() <= 0.75 * size
            # No place is farther than half a patch from where a patch was drawn.
            distance = np.abs(drawn[:, None] - places[None]).max(axis=2).min(axis=0)
            assert distance.max() <= 0.3 * size
            boxes = scenes.index.geometry
            assert [shapely.intersects_xy(box, x, y).sum() > 5 for box in boxes] == [
                True
            ] * 3

    def test_patches_as_large_as_scenes(self, scenes: L8Biome) -> None:
        x, y = patch_centres(scenes, PreChippedGeoSampler(scenes, shuffle=True))
        boxes = scenes.index.geometry
        assert all(shapely.intersects_xy(box, x, y).any() for box in boxes)

    def test_part_that_places_miss(self) -> None:
        ring = shapely.Point(0, 0).buffer(10) - shapely.Point(0, 0).buffer(9)
        places = _lattice(ring, 20)
        assert places.shape == (1, 2)
        assert shapely.intersects_xy(ring, *places[0])

    def test_places_are_not_too_many(
        self, scenes: L8Biome, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr('torchgeo_experts.datamodules.patches.MOST_PLACES', 20)
        x, _ = patch_centres(scenes, RandomPatchSampler(scenes, size=2))
        assert 10 <= len(x) <= 40

    def test_region_of_interest(self, scenes: L8Biome) -> None:
        roi = scenes.index.geometry.iloc[1]
        x, y = patch_centres(scenes, RandomPatchSampler(scenes, size=16, roi=roi))
        assert shapely.intersects_xy(roi, x, y).all()


class TestSampler:
    def in_first(self, scenes: L8Biome) -> Any:
        """Take the first scene as the only domain."""
        box = scenes.index.geometry.iloc[0]

        def domains(patches: Any) -> Tensor:
            inside = shapely.intersects_xy(box, *centres(scenes, patches))
            return torch.where(torch.from_numpy(inside), 0, -1)

        return domains

    def test_random(self, scenes: L8Biome) -> None:
        inside = self.in_first(scenes)
        base = RandomPatchSampler(scenes, size=16, length=30)
        sampler = DomainPatchSampler(base, inside, seed=1)
        first = list(sampler)
        # As many as the datamodule wants, in spite of those that were left out.
        assert len(first) == len(sampler) == 30
        assert (inside(first) == 0).all()
        assert list(sampler) == first
        sampler.set_epoch(1)
        second = list(sampler)
        assert second != first
        again = DomainPatchSampler(
            RandomPatchSampler(scenes, size=16, length=30), inside, seed=1
        )
        again.set_epoch(1)
        assert list(again) == second

    def test_grid(self, scenes: L8Biome) -> None:
        inside = self.in_first(scenes)
        base = GriddedPatchSampler(scenes, size=16)
        sampler = DomainPatchSampler(base, inside)
        expected = [patch for patch in base if inside([patch]) == 0]
        assert list(sampler) == expected
        assert len(sampler) == len(expected) < len(base)

    def test_ranks_share_patches(
        self, scenes: L8Biome, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sampler() -> DomainPatchSampler:
            base = RandomPatchSampler(scenes, size=16, length=7)
            return DomainPatchSampler(base, everywhere, seed=1)

        alone = list(sampler())
        shares = []
        for rank in (0, 1):
            monkeypatch.setattr(
                'torchgeo_experts.datamodules.patches.this_rank',
                lambda rank=rank: (2, rank),
            )
            share = sampler()
            assert len(share) == len(list(share)) == 3
            shares.append(list(share))
        assert shares == [alone[0:6:2], alone[1:6:2]]

    def test_no_patch_in_a_domain(self, scenes: L8Biome) -> None:
        for base in (
            RandomPatchSampler(scenes, size=16, length=4),
            GriddedPatchSampler(scenes, size=16),
        ):
            with pytest.raises(
                ValueError, match=r'none of the \d+ patches that \w+PatchS'
            ):
                list(DomainPatchSampler(base, lambda patches: everywhere(patches) - 1))
