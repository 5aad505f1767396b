# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Where a gate was trained, and how far a place is from there."""

import math

import pytest
import torch

from torchgeo_experts.models.moge.coverage import Coverage, fade


def haversine(lon1: float, lat1: float, lon2: float, lat2: float) -> float:
    """Measure a great circle in km, with another formula than ours."""
    p1, p2, dl = math.radians(lat1), math.radians(lat2), math.radians(lon2 - lon1)
    h = (
        math.sin((p2 - p1) / 2) ** 2
        + math.cos(p1) * math.cos(p2) * math.sin(dl / 2) ** 2
    )
    return 2 * 6371.0088 * math.asin(math.sqrt(h))


def test_cells_of_places() -> None:
    coverage = Coverage()
    lon = torch.tensor([5.2, 5.9, -180.0, 180.0, torch.nan, 10.0])
    lat = torch.tensor([51.5, 51.1, -90.0, 90.0, 10.0, torch.nan])
    coverage.mark(lon, lat)
    found = set(zip(*(x.tolist() for x in coverage.places()), strict=True))
    assert found == {(5.5, 51.5), (-179.5, -89.5), (179.5, 89.5)}


def test_distance_is_that_of_the_nearest_cell() -> None:
    coverage = Coverage()
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(40, 2, generator=generator)
    coverage.mark(360 * places[:, 0] - 180, 180 * places[:, 1] - 90)
    queries = torch.rand(600, 2, generator=generator)
    lon, lat = 360 * queries[:, 0] - 180, 180 * queries[:, 1] - 90
    cells = list(zip(*(x.tolist() for x in coverage.places()), strict=True))
    expected = [
        min(haversine(a, b, *cell) for cell in cells)
        for a, b in zip(lon.tolist(), lat.tolist(), strict=True)
    ]
    found = coverage.distance(lon, lat)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=0.01)


def test_distance_crosses_the_dateline() -> None:
    coverage = Coverage()
    coverage.mark(torch.tensor([179.9]), torch.tensor([0.1]))
    assert float(coverage.distance(torch.tensor([-179.9]), torch.tensor([0.5]))) < 79


def test_distance_without_places() -> None:
    coverage = Coverage()
    lon = torch.tensor([1.0, 170.0, -170.0, torch.nan])
    distance = coverage.distance(lon, torch.zeros(4))
    assert distance[:3].tolist() == [torch.inf] * 3 and distance[3].isnan()
    assert fade(distance, 500.0).tolist() == [0, 0, 0, 1]
    assert coverage.distance(lon[:0], lon[:0]).shape == (0,)


def test_fade() -> None:
    distance = torch.tensor(
        [0.0, 300.0, 375.0, 450.0, 600.0, 1e4, torch.inf, torch.nan]
    )
    expected = [1.0, 1.0, 0.75, 0.5, 0.0, 0.0, 0.0, 1.0]
    assert fade(distance, 300.0).tolist() == pytest.approx(expected)


def test_state_dict() -> None:
    coverage, other = Coverage(), Coverage()
    coverage.mark(torch.tensor([5.0]), torch.tensor([51.0]))
    other.load_state_dict(coverage.state_dict())
    assert [x.tolist() for x in other.places()] == [[5.5], [50.5]]
