# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Where on Earth a gate has been trained, and how far a place is from there."""

import torch
from torch import Tensor, nn

from ...domains import EARTH_RADIUS_KM, great_circle_angles, unit_vectors

#: Rows and columns of the cells of one degree.
ROWS, COLUMNS = 180, 360

#: Places that are compared with all cells at once.
CHUNK = 256


class Coverage(nn.Module):
    """Cells of one degree that training images came from.

    A gate answers for any place, also for one that is far from all it was trained on.
    Cells are kept in place of the places themselves: their number does not depend on the
    data, so that they are part of every checkpoint, and images are not given away.
    """

    seen: Tensor

    def __init__(self) -> None:
        """Initialize a new Coverage instance."""
        super().__init__()
        # One more, for places that are not known.
        self.register_buffer('seen', torch.zeros(ROWS * COLUMNS + 1, dtype=torch.bool))

    @torch.no_grad()
    def mark(self, lon: Tensor, lat: Tensor) -> None:
        """Remember places of training images.

        Args:
            lon: Longitudes in degrees, shape (B,), NaN where unknown.
            lat: Latitudes in degrees, shape (B,), NaN where unknown.
        """
        known = ~(lon.isnan() | lat.isnan())
        row = (90 - lat).floor().clamp(0, ROWS - 1)
        column = (lon + 180).floor().clamp(0, COLUMNS - 1)
        cell = (row * COLUMNS + column).where(known, ROWS * COLUMNS)
        self.seen.index_fill_(0, cell.long(), True)

    def places(self) -> tuple[Tensor, Tensor]:
        """List the centres of the cells that were seen.

        Returns:
            Longitudes and latitudes in degrees, each of shape (N,).
        """
        cell = self.seen[:-1].nonzero().squeeze(1)
        return cell % COLUMNS - 179.5, 89.5 - cell // COLUMNS

    @torch.no_grad()
    def distance(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Measure how far places are from the nearest cell that was seen.

        Args:
            lon: Longitudes in degrees, shape (B,), NaN where unknown.
            lat: Latitudes in degrees, shape (B,), NaN where unknown.

        Returns:
            Distance to the centre of a cell in km, shape (B,): within a cell up to 79.
            NaN where the place is unknown, infinite if nothing was seen.
        """
        # On the CPU, in double precision, which not every accelerator has.
        seen = unit_vectors(*(x.cpu() for x in self.places()))
        queries = unit_vectors(lon.cpu(), lat.cpu())
        nearest = [
            great_circle_angles(part, seen).amin(dim=1)
            if len(seen)
            else torch.full_like(part[:, 0], torch.inf)
            for part in queries.split(CHUNK)
        ]
        found = EARTH_RADIUS_KM * torch.cat(nearest).to(lon)
        return found.where(~(lon.isnan() | lat.isnan()), torch.nan)


def fade(distance: Tensor, fade_km: float) -> Tensor:
    """Trust a gate near the places of training, and no more far away.

    Args:
        distance: Distance to the places of training in km, shape (B,).
        fade_km: Distance up to which it is trusted.

    Returns:
        1 up to *fade_km*, 0 from twice as far on, and a straight line between; 1 where the
        distance is NaN.
    """
    return (2 - distance / fade_km).clamp(0, 1).nan_to_num(1.0)
