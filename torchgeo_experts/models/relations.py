# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Which experts serve a sample, from its domain or its place, and not from its image."""

from abc import ABC, abstractmethod
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchgeo.datasets.utils import Sample

from ..configurable import Configurable
from ..domains import unit_vectors
from .affinity import positive, softmax_without
from .location import LocationEncoder
from .location.base import refuse_half


class Relation(Configurable, ABC):
    """Weighs the experts of the training domains for each sample of a batch."""

    #: Whether the places of all training domains must be known.
    needs_places = False
    #: Whether they are, if they must be.
    located = True

    @property
    def fixed(self) -> tuple[nn.Module, ...]:
        """Parts that stay as they are for good."""
        return ()

    @abstractmethod
    def build(self, num_domains: int) -> None:
        """Create parameters and buffers.

        Args:
            num_domains: Number of training domains D.
        """

    def locate(self, lon: Tensor, lat: Tensor) -> None:
        """Tell where the training domains are.

        Args:
            lon: Longitudes in degrees, shape (D,).
            lat: Latitudes in degrees, shape (D,).
        """

    @abstractmethod
    def forward(self, batch: Sample) -> Tensor:
        """Weigh all experts.

        Args:
            batch: A batch, of training or of test.

        Returns:
            Weights, float32, shape (B, D), each row summing to 1.
        """


class OwnDomain(Relation):
    """The expert of a sample's own domain; of a place that is none, all alike.

    "Per region models" of MoGE's tables and figure 2 (b) of CoDEX. Neither says what an
    unseen place gets.
    """

    def build(self, num_domains: int) -> None:
        """Keep the number of domains."""
        self.num_domains = num_domains

    def forward(self, batch: Sample) -> Tensor:
        """Weigh all experts."""
        if 'domain' not in batch:
            size = (len(batch['image']), self.num_domains)
            return torch.full(size, 1 / self.num_domains, device=batch['image'].device)
        domain = batch['domain'][:, None]
        own = domain == torch.arange(self.num_domains, device=domain.device)
        return torch.where(domain >= 0, own.float(), 1 / self.num_domains)


class PlaceRelation(Relation):
    r"""How near domains are, and a learned relation of places, as in D3G.

    :math:`a = \beta a^{fixed} + (1 - \beta) a^{learned}` (Yao et al., "Improving Domain
    Generalization with Domain Relations", 2024). The fixed part is the softmin of the
    great-circle angle, where D3G has the adjacency of regions. The learned part is
    :math:`\frac1R \sum_r \cos(w_r g(m), w_r g(m_d))` with a network :math:`g` of two
    layers; as cosines may be negative, and their sum 0, they are brought to [0, 1] before
    rows are divided by their sums. With a location encoder this is "D3G + WRAP". Where the
    place is unknown all experts count alike.
    """

    needs_places = True
    lon: Tensor
    lat: Tensor

    def __init__(
        self,
        fixed_share: float = 0.8,
        temperature: float = 10.0,
        location: LocationEncoder | None = None,
        width: int = 32,
        heads: int = 4,
    ) -> None:
        """Initialize a new PlaceRelation instance.

        Args:
            fixed_share: Share beta of the fixed part. Public re-implementations have 0.8.
            temperature: Angle in degrees over which the fixed part falls by a factor of e.
            location: Location encoder. Default: points on the unit sphere as they are.
            width: Width of the network.
            heads: Number R of weighted cosines.

        Raises:
            ValueError: If *fixed_share* is no share.
        """
        super().__init__()
        if not 0 <= fixed_share <= 1:
            raise ValueError(f'fixed_share must lie in [0, 1], found {fixed_share}')
        self.fixed_share = fixed_share
        self.temperature = positive('temperature', temperature)
        self.width, self.heads = width, heads
        self.location = location
        features = 3 if location is None else location.out_features
        self.embed = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(heads, width))

    @property
    def fixed(self) -> tuple[nn.Module, ...]:
        """A frozen location encoder."""
        frozen = self.location is not None and self.location.frozen
        return (cast(nn.Module, self.location),) if frozen else ()

    @property
    def located(self) -> bool:  # type: ignore[override]
        """Whether the places of the training domains are known."""
        return not bool(self.lon.isnan().any() | self.lat.isnan().any())

    def build(self, num_domains: int) -> None:
        """Create the buffers of places."""
        for name in ('lon', 'lat'):
            self.register_buffer(name, torch.full((num_domains,), torch.nan))

    def locate(self, lon: Tensor, lat: Tensor) -> None:
        """Keep the places of the training domains."""
        self.lon.copy_(lon)
        self.lat.copy_(lat)

    def forward(self, batch: Sample) -> Tensor:
        """Weigh all experts."""
        nobody = torch.full_like(batch['lon'], -1, dtype=torch.long)
        return self.others(batch, nobody)

    def others(self, batch: Sample, domain: Tensor) -> Tensor:
        """Weigh all experts but one a sample.

        Args:
            batch: A batch.
            domain: The expert that is left out, int64, shape (B,), -1 for none.

        Returns:
            Weights, float32, shape (B, D), each row summing to 1; 0 if there is no other
            expert.

        Raises:
            TypeError: If degrees have less than single precision.
        """
        lon, lat = batch['lon'], batch['lat']
        refuse_half(self, lon=lon.dtype, lat=lat.dtype, domains=self.lon.dtype)
        known = ~(lon.isnan() | lat.isnan())
        lon, lat = (x.where(known, 0) for x in (lon, lat))
        with torch.autocast(lon.device.type, enabled=False):
            fixed = softmax_without(-self._degrees(lon, lat) / self.temperature, domain)
            cosines = (1 + self._cosines(lon, lat)) / 2
        learned = _share(cosines, domain)
        weights = self.fixed_share * fixed + (1 - self.fixed_share) * learned
        alike = _share(torch.ones_like(weights), domain)
        return weights.where(known[:, None], alike)

    def _degrees(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Measure great-circle angles between samples and domains, shape (B, D)."""
        places, domains = _points(lon, lat), _points(self.lon, self.lat)
        exact = 'donot_use_mm_for_euclid_dist'
        chords = torch.cdist(places, domains, compute_mode=exact)
        return torch.rad2deg(2 * (chords / 2).clamp(max=1).asin())

    def _cosines(self, lon: Tensor, lat: Tensor) -> Tensor:
        """Compare samples with domains, shape (B, D)."""
        found = self._describe(lon, lat), self._describe(self.lon, self.lat)
        embedded = [
            F.normalize(self.embed(x.to(self.weight))[:, None] * self.weight, dim=-1)
            for x in found
        ]
        return torch.einsum('brw,drw->bd', *embedded) / self.heads

    def _describe(self, lon: Tensor, lat: Tensor) -> Tensor:
        if self.location is None:
            return _points(lon, lat)
        return cast(Tensor, self.location(lon, lat))


def _points(lon: Tensor, lat: Tensor) -> Tensor:
    """Place coordinates on the unit sphere, in single precision."""
    return unit_vectors(lon, lat).float()


def _share(scores: Tensor, domain: Tensor) -> Tensor:
    """Divide rows by their sums, without the domain of each."""
    columns = torch.arange(scores.shape[1], device=scores.device)
    scores = scores.masked_fill(columns == domain[:, None], 0)
    return scores / scores.sum(dim=1, keepdim=True).clamp(min=1e-12)
