# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What all location encoders share: order, units, precision and checks."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from ...configurable import Configurable


class LocationEncoder(Configurable, ABC):
    """Turns places into features.

    All encoders take longitude first, then latitude, in degrees WGS 84, whatever order
    their papers use. A place that is not known has no features, see :meth:`locate`.
    """

    #: Whether both sides of the 180th meridian have the same features.
    periodic: ClassVar[bool]
    #: Number of features F.
    out_features: int
    #: Whether the weights stay as they are, for good.
    frozen: bool = False

    @abstractmethod
    def encode(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the features of places that were checked.

        Args:
            lon: Longitudes in degrees, in the precision of the weights, shape (B,).
            lat: Latitudes in degrees, shape (B,).

        Returns:
            Features, shape (B, F).
        """

    def forward(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compute the features of places; subclasses say how in :meth:`encode`.

        Always at least in single precision, also under autocast: half precision knows
        degrees only to about 50 km.

        Args:
            lon: Longitudes in degrees WGS 84, within [-180, 180], shape (B,).
            lat: Latitudes in degrees WGS 84, within [-90, 90], shape (B,).

        Returns:
            Features, shape (B, F), float32 (float64 if the weights are).

        Raises:
            TypeError: If degrees or weights have less than single precision.
            ValueError: If the shapes differ, or, on the CPU, if a place does not exist.
                A GPU checks in its own time and fails at a later step; compiled code
                does not check.
        """
        dtype = self._precision(lon, lat)
        if lon.shape != lat.shape or lon.ndim != 1:
            raise ValueError(
                'expected lon and lat of one shape (B,), found'
                f' {tuple(lon.shape)} and {tuple(lat.shape)}'
            )
        lon, lat = lon.to(dtype), lat.to(dtype)
        if not torch.compiler.is_compiling():
            check_places(lon, lat)
        with torch.autocast(lon.device.type, enabled=False):
            return self.encode(lon, lat)

    def locate(self, lon: Tensor, lat: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the features of places some of which are unknown.

        Args:
            lon: Longitudes in degrees, shape (B,), NaN where unknown.
            lat: Latitudes in degrees, shape (B,), NaN where unknown.

        Returns:
            Features, shape (B, F), those of no place where it is unknown; and whether
            the place is known, bool, shape (B,).
        """
        refuse_half(self, lon=lon.dtype, lat=lat.dtype)
        known = ~(lon.isnan() | lat.isnan())
        lon, lat = (torch.where(known, x, 0.0).float() for x in (lon, lat))
        return self(lon, lat), known

    def _precision(self, lon: Tensor, lat: Tensor) -> torch.dtype:
        """Find the precision to compute in: that of the weights."""
        weights = next((p.dtype for p in self.parameters()), torch.float32)
        refuse_half(self, lon=lon.dtype, lat=lat.dtype, weights=weights)
        return weights


def refuse_half(owner: torch.nn.Module, **dtypes: torch.dtype) -> None:
    """Refuse half precision for degrees and what is computed of them.

    Args:
        owner: What they are for.
        **dtypes: Types of tensors by name.

    Raises:
        TypeError: If one is of half precision.
    """
    for name, dtype in dtypes.items():
        if dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f'{name} of {type(owner).__name__} are {dtype}, which knows degrees'
                ' only to about 50 km: keep them in float32 (for training in half'
                " precision choose 'bf16-mixed' or '16-mixed', not 'bf16-true')"
            )


def check_places(lon: Tensor, lat: Tensor) -> None:
    """Refuse degrees outside of the globe, without making a GPU wait.

    Args:
        lon: Longitudes in degrees, shape (B,).
        lat: Latitudes in degrees, shape (B,).

    Raises:
        ValueError: If tensors on the CPU hold a longitude outside [-180, 180] or a
            latitude outside [-90, 90].
    """
    fine = (lon.abs() <= 180) & (lat.abs() <= 90)
    if lon.device.type == 'cuda':
        torch._assert_async(
            fine.all(), 'lon or lat is out of range (are they swapped?)'
        )
    # Other accelerators may lack such an assertion.
    if lon.device.type == 'cpu' and not fine.all():
        index = int(fine.long().argmin())
        east, north = lon[index].item(), lat[index].item()
        raise ValueError(
            f'sample {index}: lon={east:g}, lat={north:g} is no place in degrees WGS 84:'
            ' expected lon in [-180, 180] and lat in [-90, 90]'
            + (' (are lon and lat swapped?)' if abs(north) > 90 else '')
        )
