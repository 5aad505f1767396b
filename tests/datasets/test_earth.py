# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import math

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad, quad

from torchgeo_experts.datasets import earth


@pytest.mark.parametrize('num_classes', [2, 3, 6, 10])
@pytest.mark.parametrize('noise', [0.1, 0.3, 1.0])
class TestBestAccuracy:
    def test_is_the_probability_of_the_own_sector(
        self, num_classes: int, noise: float
    ) -> None:
        """The Gaussian around (1, 0), integrated over the wedge nearest to it."""

        def density(r: float, angle: float) -> float:
            squares = r**2 - 2 * r * math.cos(angle) + 1
            return r * math.exp(-squares / 2 / noise**2) / (2 * math.pi * noise**2)

        half, far = math.pi / num_classes, 1 + 10 * noise
        expected, _ = dblquad(density, -half, half, 0, far)
        found = earth.best_accuracy(num_classes, noise)
        assert found == pytest.approx(expected, abs=1e-6)

    def test_is_what_the_nearest_class_reaches(
        self, num_classes: int, noise: float
    ) -> None:
        generator = np.random.default_rng(0)
        label = generator.integers(0, num_classes, 40_000)
        angles = 2 * np.pi * np.arange(num_classes) / num_classes
        ring = np.exp(1j * angles)
        scatter = generator.normal(size=(2, len(label)))
        colour = ring[label] + noise * (scatter[0] + 1j * scatter[1])
        nearest = np.abs(colour[:, None] - ring).argmin(1)
        found = earth.best_accuracy(num_classes, noise)
        assert (nearest == label).mean() == pytest.approx(found, abs=0.01)


def test_two_classes_have_the_error_of_a_gaussian_tail() -> None:
    tail, _ = quad(
        lambda x: math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi), 1 / 0.4, 20
    )
    assert earth.best_accuracy(2, 0.4) == pytest.approx(1 - tail, abs=1e-9)
    assert earth.best_accuracy(6, 0) == 1


class TestFields:
    def test_near_places_are_alike_and_far_ones_differ(self) -> None:
        generator = torch.Generator().manual_seed(0)
        lon = 360 * torch.rand(500, generator=generator) - 180
        lat = 100 * torch.rand(500, generator=generator) - 50
        fields = earth.Earth(3).fields
        here = fields(lon, lat)
        near = (fields(lon, lat + 1) - here).abs().mean(0)
        far = (fields(lon, lat + 60) - here).abs().mean(0)
        assert (near < 0.05).all() and (far > 0.2).all()

    def test_there_is_no_seam(self) -> None:
        lat = torch.linspace(-89, 89, 50)
        fields = earth.Earth(1).fields
        east, west = (fields(torch.full((50,), x), lat) for x in (180.0, -180.0))
        torch.testing.assert_close(east, west)
        pole = fields(torch.linspace(-180, 180, 9), torch.full((9,), 90.0))
        torch.testing.assert_close(pole, pole[:1].expand(9, 3))

    @pytest.mark.parametrize('seed', range(4))
    def test_values_are_spread_evenly(self, seed: int) -> None:
        x, y, z = earth.fibonacci_sphere(4000).T
        lon, lat = torch.rad2deg(torch.atan2(y, x)), torch.rad2deg(z.asin())
        fields = earth.Earth(seed).fields(lon, lat)
        assert fields.abs().max() <= 1
        assert (fields.mean(0).abs() < 0.1).all()
        assert ((fields.std(0) - 3**-0.5).abs() < 0.12).all()


class TestClassChroma:
    def test_without_shift_classes_look_alike_everywhere(self) -> None:
        chroma = earth.class_chroma(torch.linspace(-1, 1, 7), 6, shift=0)
        torch.testing.assert_close(chroma, chroma[:1].expand_as(chroma))

    def test_shift_turns_the_ring_with_the_climate(self) -> None:
        chroma = earth.class_chroma(torch.tensor([-1.0, 0.5]), 6, shift=0.4)
        z = torch.complex(*chroma.unbind(-1))
        turn = (z[1] / z[0]).angle()
        torch.testing.assert_close(turn, torch.full((6,), 0.4 * 1.5 * earth.TURN))
        torch.testing.assert_close(z.abs(), torch.full((2, 6), earth.RING))


def test_mean_colour_of_a_region_is_its_chroma() -> None:
    """What is painted can be read back from the bands."""
    torch.manual_seed(0)
    regions = torch.zeros(1, 64, 64, dtype=torch.long)
    regions[:, 16:48] = 1
    chroma = torch.tensor([[[4.0, -3.0], [20.0, 12.0]]])
    texture = torch.zeros(1, 3, 64, 64)
    fields = torch.tensor([[0.5, -0.2, 0.1]])
    image = earth.render(regions, chroma, fields, torch.zeros(1), texture)[0]
    inverse = np.linalg.inv(np.array(earth.BANDS[:3]))
    for region in (0, 1):
        bands = image[:, regions[0] == region].mean(1).numpy()
        np.testing.assert_allclose((inverse @ bands)[1:], chroma[0, region], atol=1e-3)


def test_mosaic_takes_the_highest_pattern() -> None:
    patterns = torch.randn(2, 3, 5, 5)
    bias = (0.5, 0.0, -0.5)
    shifted = patterns + torch.tensor(bias)[:, None, None]
    assert earth.mosaic(patterns, bias).equal(shifted.argmax(1))


def test_clue_is_the_strength_of_the_mottles() -> None:
    generator = torch.Generator().manual_seed(0)
    texture = torch.randn(2, 3, 8, 8, generator=generator)
    arguments = (
        torch.zeros(2, 8, 8, dtype=torch.long),
        torch.zeros(2, 1, 2),
        torch.tensor([[0.5, -0.2, 0.1], [-0.9, 0.4, 0.3]]),
        torch.zeros(2),
    )
    strong = earth.render(*arguments, texture, clue=2.0)
    twice = torch.cat([2 * texture[:, :1], texture[:, 1:]], dim=1)
    torch.testing.assert_close(strong, earth.render(*arguments, twice))
    assert earth.render(*arguments, texture, clue=1.0).equal(
        earth.render(*arguments, texture)
    )


def test_climate_tints_the_ground_beside_the_soil() -> None:
    climate = torch.tensor([-1.0, 0.0, 0.5])
    tint = earth.climate_tint(climate, 2.0)
    soil = earth.ground_chroma(torch.ones(1))
    torch.testing.assert_close(tint @ soil[0], torch.zeros(3), atol=1e-5, rtol=0)
    lengths = 2 * earth.TINT * earth.RING * climate.abs()
    torch.testing.assert_close(tint.norm(dim=1), lengths)
    torch.testing.assert_close(tint[0], -2 * tint[2])
    assert not earth.climate_tint(climate, 0.0).any()
