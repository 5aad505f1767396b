# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import matplotlib.pyplot as plt
import numpy as np
import torch

from torchgeo_experts import Domains
from torchgeo_experts.plots import (
    place_order,
    plot_affinity,
    plot_domain_scores,
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
