# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domains of iWildCam: each camera is one, or a place rule puts cameras together."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..domains import Domains
from .iwildcam_places import Cameras

#: Name of the domain of cameras whose place is withheld, where domains go by place.
UNKNOWN = 'unknown'

#: Name of the group of cameras that are in no domain.
ELSEWHERE = 'elsewhere'


class PlaceNames(Protocol):
    """What names domains by place, such as the rules of datamodules."""

    def fit(self, lon: Tensor, lat: Tensor) -> None:
        """Learn what the domains are from training places."""

    def names(self, lon: Tensor, lat: Tensor) -> list[str | None]:
        """Name the domain of each place, None for a place in no domain."""


@dataclass(frozen=True, eq=False)
class CameraDomains:
    """Domains and groups of cameras.

    Args:
        domains: Training domains.
        groups: Names of all groups, the training domains first.
        domain: Training domain of each camera, int64, -1 for none of them.
        group: Evaluation group of each camera, int64.
    """

    domains: Domains
    groups: tuple[str, ...]
    domain: Tensor
    group: Tensor


def assign_domains(cameras: Cameras, rule: PlaceNames | None) -> CameraDomains:
    """Tell the domains of cameras.

    Args:
        cameras: The cameras.
        rule: What names domains by place. It learns from the training cameras, each of
            which counts once, however many images it has. Cameras whose place is
            withheld make up a domain of their own, 'unknown': they are all in one
            country. Default: each camera is a domain.

    Returns:
        The domains. A camera that the rule puts into none is in the group 'elsewhere'.

    Raises:
        ValueError: If no training camera has a place, or is in a domain.
    """
    names = _own_names(cameras) if rule is None else _names_by_place(cameras, rule)
    trained = [index for index in cameras.trained.nonzero()[0].tolist() if names[index]]
    if not trained:
        raise ValueError(
            f'{type(rule).__name__} puts none of the {cameras.trained.sum()} training'
            ' cameras into a domain'
        )
    domains = Domains.from_samples(
        [str(names[index]) for index in trained],
        cameras.lon[trained],
        cameras.lat[trained],
    )
    named = [ELSEWHERE if name is None else name for name in names]
    groups = (*domains, *sorted(set(named) - set(domains)))
    numbers = {name: number for number, name in enumerate(groups)}
    return CameraDomains(
        domains,
        groups,
        domains.ids(names),
        torch.tensor([numbers[name] for name in named]),
    )


def _own_names(cameras: Cameras) -> list[str | None]:
    """Name each camera by its number, so that the order of names is that of numbers."""
    width = len(str(cameras.number.max()))
    return [f'camera {number:0{width}}' for number in cameras.number.tolist()]


def _names_by_place(cameras: Cameras, rule: PlaceNames) -> list[str | None]:
    """Name the domains of cameras by their places."""
    unknown = cameras.lon.isnan()
    known = torch.from_numpy(np.array(cameras.trained)) & ~unknown
    if not known.any():
        raise ValueError(
            f'{type(rule).__name__} goes by place, but no training camera has one: give'
            ' gps_locations.json (argument gps), or leave the rule out'
        )
    rule.fit(cameras.lon[known], cameras.lat[known])
    names = rule.names(cameras.lon, cameras.lat)
    return [
        UNKNOWN if withheld else name
        for name, withheld in zip(names, unknown.tolist(), strict=True)
    ]
