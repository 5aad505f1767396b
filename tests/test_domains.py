# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import math

import numpy as np
import pytest
import torch

from torchgeo_experts.domains import (
    EARTH_RADIUS_KM,
    Domains,
    check_coordinates,
    great_circle_angles,
    unit_vectors,
)

# Longitude, latitude of airports, and their published great-circle distances on the
# WGS 84 ellipsoid in km (which a sphere meets within half a percent).
CITIES = {'JFK': (-73.779, 40.640), 'LHR': (-0.461, 51.478), 'SYD': (151.177, -33.946)}
KILOMETRES = {('JFK', 'LHR'): 5555, ('LHR', 'SYD'): 17020, ('JFK', 'SYD'): 16013}


def haversine(lon1: float, lat1: float, lon2: float, lat2: float) -> float:
    lon1, lat1, lon2, lat2 = map(math.radians, (lon1, lat1, lon2, lat2))
    h = (
        math.sin((lat2 - lat1) / 2) ** 2
        + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * math.atan2(math.sqrt(h), math.sqrt(1 - h))


class TestAngles:
    def test_haversine(self) -> None:
        generator = torch.Generator().manual_seed(0)
        lon = torch.rand(40, generator=generator, dtype=torch.float64) * 360 - 180
        lat = torch.rand(40, generator=generator, dtype=torch.float64) * 180 - 90
        vectors = unit_vectors(lon, lat)
        found = great_circle_angles(vectors[:15], vectors[15:])
        assert found.shape == (15, 25) and found.dtype == torch.float64
        places = list(zip(lon.tolist(), lat.tolist(), strict=True))
        expected = [[haversine(*a, *b) for b in places[15:]] for a in places[:15]]
        np.testing.assert_allclose(found, expected, rtol=1e-9)

    def test_near_places(self) -> None:
        # One metre: the arc cosine of the dot product would be off by percents.
        step = math.degrees(1 / (1000 * EARTH_RADIUS_KM))
        domains = Domains(['a', 'b'], [10, 10], [45, 45 + step])
        assert domains.kilometres()[0, 1].item() == pytest.approx(0.001, rel=1e-6)

    def test_opposite_places(self) -> None:
        domains = Domains(['a', 'b', 'north', 'south'], [0, 180, 7, 9], [0, 0, 90, -90])
        angles = domains.angles()
        assert angles[0, 1].item() == pytest.approx(math.pi)
        assert angles[2, 3].item() == pytest.approx(math.pi)
        assert angles[0, 2].item() == pytest.approx(math.pi / 2)

    @pytest.mark.parametrize('pair', KILOMETRES)
    def test_cities(self, pair: tuple[str, str]) -> None:
        domains = Domains(
            list(CITIES),
            [p[0] for p in CITIES.values()],
            [p[1] for p in CITIES.values()],
        )
        a, b = domains.ids(pair).tolist()
        found = domains.kilometres()
        assert found[a, b] == found[b, a]
        assert found[a, a] == 0
        assert found[a, b].item() == pytest.approx(KILOMETRES[pair], rel=0.005)

    def test_others(self) -> None:
        domains = Domains(['a', 'b'], [0, 10], [0, 0])
        others = Domains(['c', 'd', 'e'], [20, math.nan, -170], [0, math.nan, 0])
        degrees = torch.rad2deg(domains.angles(others))
        expected = [[20, math.nan, 170], [10, math.nan, 180]]
        np.testing.assert_allclose(degrees, expected)
        assert domains.angles(Domains([])).shape == (2, 0)


class TestCheckCoordinates:
    @pytest.mark.parametrize(
        ('lon', 'lat'),
        [
            (180.1, 0),
            (-181, 0),
            (0, 90.5),
            (0, -91),
            (math.inf, 0),
            (math.nan, 0),
            (0, math.nan),
        ],
    )
    def test_refused(self, lon: float, lat: float) -> None:
        lons, lats = torch.tensor([0, lon, 999]), torch.tensor([0, lat, 0])
        with pytest.raises(ValueError, match=r'^second: lon=.* degrees WGS 84'):
            check_coordinates(lons, lats, ['first', 'second', 'third'])

    def test_swapped(self) -> None:
        with pytest.raises(ValueError, match='swapped'):
            check_coordinates(torch.tensor([48.0]), torch.tensor([102.0]), ['Paris'])

    def test_accepted(self) -> None:
        lon = torch.tensor([180, -180, 0, math.nan])
        lat = torch.tensor([90, -90, 0, math.nan])
        assert len(Domains('abcd', lon, lat)) == 4


class TestDomains:
    def test_names_and_ids(self) -> None:
        domains = Domains(['b', 'a', 'c'])
        assert domains.names == tuple(domains) == ('b', 'a', 'c')
        assert len(domains) == 3
        assert 'a' in domains and 'x' not in domains and 0 not in domains
        ids = domains.ids(['c', 'x', 'b', 'b'])
        assert ids.dtype == torch.int64
        assert ids.tolist() == [2, -1, 0, 0]
        assert domains.ids([]).shape == (0,) and domains.ids([]).dtype == torch.int64

    def test_repr(self) -> None:
        assert repr(Domains(['a', 'b'])) == 'Domains(2: a, b)'
        assert repr(Domains(list('abcd'))) == 'Domains(4: a, b, c, ...)'

    def test_located(self) -> None:
        assert not Domains(['a']).located
        assert not Domains(['a', 'b'], [0, math.nan], [0, math.nan]).located
        assert Domains(['a', 'b'], [0, 1], [0, 1]).located

    def test_coordinates_keep_their_precision(self) -> None:
        domains = Domains(['a'], [-1.8297261234], [39.0858011234])
        assert domains.lon.item() == -1.8297261234
        assert domains.lat.item() == 39.0858011234

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"repeat: \['a'\]"):
            Domains(['a', 'b', 'a'])
        with pytest.raises(ValueError, match=r'2 domains need .* \(3,\) and \(2,\)'):
            Domains(['a', 'b'], [1, 2, 3], [1, 2])
        with pytest.raises(ValueError, match=r'^b: lon=200'):
            Domains(['a', 'b'], [1, 200], [1, 2])
        with pytest.raises(ValueError, match=r'^a: lon=1, lat=nan'):
            Domains(['a'], [1])


class TestFromSamples:
    def test_order_and_mean(self) -> None:
        domains = Domains.from_samples(
            ['b', 'a', 'b', 'c'], [10, 5, 20, math.nan], [0, 45, 0, math.nan]
        )
        assert domains.names == ('a', 'b', 'c')
        np.testing.assert_allclose(domains.lon, [5, 15, math.nan])
        np.testing.assert_allclose(domains.lat, [45, 0, math.nan], atol=1e-12)

    def test_unknown_samples_do_not_count(self) -> None:
        nan = math.nan
        domains = Domains.from_samples(['a'] * 3, [nan, 10, 20], [nan, 0, 0])
        assert domains.lon.item() == pytest.approx(15)

    def test_dateline(self) -> None:
        domains = Domains.from_samples(['Fiji'] * 2, [177, -179], [-17, -17])
        assert domains.lon.item() == pytest.approx(179)
        # The mean direction of two places on a parallel lies polewards of it.
        assert -17.1 < domains.lat.item() < -17
        domains = Domains.from_samples(['x'] * 2, [179, -179], [0, 0])
        assert abs(domains.lon.item()) == pytest.approx(180)

    def test_pole(self) -> None:
        domains = Domains.from_samples(['x'] * 4, [0, 90, 180, -90], [80] * 4)
        assert domains.lat.item() == pytest.approx(90)

    def test_no_direction(self) -> None:
        domains = Domains.from_samples(['x', 'x'], [0, 180], [0, 0])
        assert domains.lon.isnan().all() and domains.lat.isnan().all()

    def test_without_places(self) -> None:
        domains = Domains.from_samples(['b', 'a', 'b'])
        assert domains.names == ('a', 'b') and not domains.located
        assert len(Domains.from_samples([], [], [])) == 0

    def test_samples_out_of_range(self) -> None:
        with pytest.raises(ValueError, match=r'^b: lon=10, lat=100.*swapped'):
            Domains.from_samples(['a', 'b'], [1, 10], [1, 100])
