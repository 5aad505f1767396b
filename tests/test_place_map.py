# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from torchgeo_experts.place_map import (
    COLOURS,
    MOST_DOTS,
    MOST_NAMES,
    Places,
    plot_places,
    view_of,
)

NAN = float('nan')


def places(*where: tuple[float, float], samples: int = 10) -> Places:
    lon, lat = np.array(where, dtype=float).T
    names = [f'place {lon:g} {lat:g}' for lon, lat in where]
    dots = np.stack([lon, lat], axis=1)
    return Places(names, lon, lat, np.full(len(where), samples), dots)


class TestView:
    def test_few_places_are_shown_near(self) -> None:
        view = view_of(np.array([2.0, 9.0]), np.array([48.0, 51.0]))
        assert -5 < view.west < 2
        assert 9 < view.east < 16
        assert 40 < view.south < 48
        assert 51 < view.north < 60

    def test_one_place(self) -> None:
        view = view_of(np.array([55.3]), np.array([25.2]))
        assert view.west < 55.3 < view.east < view.west + 5
        assert view.south < 25.2 < view.north < view.south + 5

    def test_places_across_the_dateline(self) -> None:
        view = view_of(np.array([178.0, -179.0]), np.array([-17.0, -18.0]))
        assert view.east - view.west < 10
        # Both lie in it, in one piece.
        west, east = view.moved(np.array([178.0, -179.0]))
        assert view.west < west < east < view.east
        assert east - west == pytest.approx(3)

    @pytest.mark.parametrize('lat', [[-10.0, 60.0], [-80.0, 60.0]])
    def test_places_all_around_the_world(self, lat: list[float]) -> None:
        view = view_of(np.array([-120.0, 0.0, 100.0]), np.array([*lat, 0.0]))
        assert view[:2] == (-180, 180)
        assert view.south <= lat[0] - 5
        assert view.north == 85

    def test_strips_and_columns_are_widened(self) -> None:
        for lon, lat in (([0.0, 60.0], [50.0, 50.0]), ([10.0, 10.0], [-30.0, 60.0])):
            view = view_of(np.array(lon), np.array(lat))
            middle = np.cos(np.radians((view.south + view.north) / 2))
            shape = (view.east - view.west) * middle / (view.north - view.south)
            assert 0.8 < shape < 2.3

    def test_unknown_places_do_not_matter(self) -> None:
        known = view_of(np.array([2.0, 9.0]), np.array([48.0, 51.0]))
        lon, lat = np.array([NAN, 2.0, 9.0]), np.array([NAN, 48.0, 51.0])
        assert view_of(lon, lat) == known

    def test_no_place_is_known(self) -> None:
        with pytest.raises(ValueError, match='no place is known'):
            view_of(np.array([NAN]), np.array([NAN]))

    def test_north_pole_is_the_end(self) -> None:
        view = view_of(np.array([0.0, 20.0]), np.array([80.0, 89.9]))
        assert view.north == 90


class TestPlot:
    def test_roles_have_their_colours_and_places(self) -> None:
        train = places((2, 48), (9, 51), (NAN, NAN), samples=40)
        figure = plot_places({'training': train, 'test': places((5, 45))})
        axes = figure.axes[0]
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        assert labels == [
            'training: 3 domains, 120 samples (1 not on the map)',
            'test: 1 domain, 10 samples',
        ]
        # Land, lakes, and dots and circles of either role.
        _, _, _, train_marks, _, test_marks = axes.collections
        assert to_hex(train_marks.get_facecolor()[0]) == COLOURS['training']
        assert to_hex(test_marks.get_facecolor()[0]) == COLOURS['test']
        shown = np.asarray(train_marks.get_offsets().filled(NAN))
        assert {(2.0, 48.0), (9.0, 51.0)} <= set(map(tuple, shown.tolist()))
        assert train_marks.get_sizes()[0] > test_marks.get_sizes()[0]
        named = {text.get_text() for text in axes.texts}
        assert named == {'place 2 48', 'place 9 51', 'place 5 45'}
        plt.close(figure)

    def test_land_lies_where_it_does(self) -> None:
        figure = plot_places({'training': places((2, 48), (9, 51))})
        land = figure.axes[0].collections[0].get_paths()
        assert any(path.contains_point((2.35, 48.86)) for path in land)
        assert not any(path.contains_point((5.0, 42.0)) for path in land)
        plt.close(figure)

    def test_land_beyond_the_dateline(self) -> None:
        figure = plot_places({'training': places((178, 67), (-170, 65))})
        axes = figure.axes[0]
        land = axes.collections[0].get_paths()
        turn = 360 * round((178 - np.mean(axes.get_xlim())) / 360)
        for lon in (178 - turn, 182 - turn):
            assert any(path.contains_point((lon, 67.3)) for path in land)
        figure.canvas.draw()
        ticks = {tick.get_text() for tick in axes.get_xticklabels()}
        assert {'180°', '170°W'} & ticks
        assert not any('19' in tick for tick in ticks)
        plt.close(figure)

    def test_many_places_have_no_names_and_many_samples_are_thinned(self) -> None:
        many = places(*((n / 10, n / 20) for n in range(MOST_NAMES + 1)))
        many = many._replace(dots=np.zeros((5 * MOST_DOTS + 1, 2)))
        figure = plot_places({'another role': many})
        assert not figure.axes[0].texts
        dots = figure.axes[0].collections[2].get_offsets()
        assert len(dots) <= 3 * MOST_DOTS
        plt.close(figure)
