# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from torchgeo_experts import Domains
from torchgeo_experts.plots import (
    place_order,
    plot_affinity,
    plot_domain_scores,
    plot_map_comparison,
    plot_mixture_weights,
)


class TestPlaceOrder:
    def test_places_on_a_line_are_in_line(self) -> None:
        lon = [30.0, 0, 50, 10, 40, 20]
        order = place_order(Domains('abcdef', lon, [10.0] * 6).angles()).tolist()
        along = [lon[i] for i in order]
        assert along in (sorted(lon), sorted(lon, reverse=True))

    def test_unknown_places_keep_their_order(self) -> None:
        assert place_order(Domains('abc').angles()).tolist() == [0, 1, 2]


def test_affinity_is_ordered_by_place() -> None:
    domains = Domains('abcd', [30.0, 0, 50, 10], [0.0] * 4)
    matrix = torch.arange(16.0).view(4, 4)
    figure = plot_affinity(matrix, domains.names, domains.angles())
    order = place_order(domains.angles())
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, matrix[order][:, order])
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == [domains.names[i] for i in order]
    plt.close(figure)


def test_domains_without_samples_are_left_out() -> None:
    weights = torch.tensor([[0.2, 0.8], [torch.nan, torch.nan], [0.5, 0.5]])
    figure = plot_mixture_weights(weights, ['x', 'y', 'z'], ['a', 'b'])
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), weights[[0, 2]])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ['x', 'z']
    plt.close(figure)


def test_worst_domain_stands_on_top() -> None:
    scores = torch.tensor([0.5, 0.9, 0.1])
    figure = plot_domain_scores(
        ['a', 'b', 'c'], torch.tensor([3, 4, 5]), scores, {'Oracle': scores + 0.05}
    )
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    # Bars are drawn from the bottom.
    assert labels == ['b (4)', 'a (3)', 'c (5)']
    plt.close(figure)


@pytest.mark.parametrize('dates', [None, 3])
def test_maps_stand_beside_their_images(dates: int | None) -> None:
    shape = (2, 3, 8, 8) if dates is None else (2, dates, 3, 8, 8)
    images = torch.rand(shape)
    truth = torch.randint(3, (2, 8, 8) if dates is None else (2, dates, 8, 8))
    scores = {'ERM': {'a': 0.5, 'b': 0.25}, 'CoDEX': {'a': 0.75, 'b': 0.5}}
    figure = plot_map_comparison(
        images, {'truth': truth, 'ERM': 2 - truth}, 'xyz', 'accuracy', scores, 0.9
    )
    left, right = figure.subfigs
    first = [] if dates is None else ['first date', 'last date']
    titles = [axes.get_title() for axes in left.axes if axes.get_title()]
    assert titles == [*(first or ['image']), 'truth', 'ERM']
    shown = [np.asarray(axes.images[0].get_array()) for axes in left.axes]
    row = len(titles)
    last = truth if dates is None else truth[:, -1]
    for place in range(2):
        np.testing.assert_array_equal(shown[row * place + row - 2], last[place])
        np.testing.assert_array_equal(shown[row * place + row - 1], 2 - last[place])
        image = images[place] if dates is None else images[place, 0]
        np.testing.assert_allclose(shown[row * place], image.permute(1, 2, 0))
    heights = sorted(bar.get_height() for bar in right.axes[0].patches)
    assert heights == [0.25, 0.5, 0.5, 0.75]
    plt.close(figure)
