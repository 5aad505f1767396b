# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Domain affinities: how much each expert should also serve another domain."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from ..configurable import Configurable


def positive(name: str, value: float) -> float:
    """Refuse an argument that is not positive.

    Args:
        name: Name of the argument.
        value: Its value.

    Returns:
        The value.

    Raises:
        ValueError: If it is not positive.
    """
    if not value > 0:
        raise ValueError(f'{name} must be positive, found {value}')
    return value


def softmax_without(scores: Tensor, domain: Tensor) -> Tensor:
    """Apply the softmax to rows of which the own domain does not take part.

    Args:
        scores: One row a sample, shape (B, D).
        domain: Domain of each row, int64, shape (B,), -1 for none of them.

    Returns:
        Weights of the other domains, shape (B, D), each row summing to 1, and 0 for the
        own domain. With a single domain there is no other one: all 0.
    """
    own = torch.arange(scores.shape[1], device=scores.device) == domain[:, None]
    if scores.shape[1] == 1:
        return (~own).to(scores.dtype)
    return scores.masked_fill(own, -torch.inf).softmax(dim=1)


class Affinity(Configurable, ABC):
    """Affinity between domains, as weights for the consistency loss (CoDEX, eq. 2).

    Its rows belong to *domains*, whatever their place in a batch: the published code
    indexes rows by the position in the batch, so that its matrix never learns.
    """

    #: Whether the places of all training domains must be known.
    needs_places = False

    @abstractmethod
    def build(self, num_domains: int) -> None:
        """Create parameters and buffers.

        Args:
            num_domains: Number of training domains D.
        """

    def locate(self, angles: Tensor) -> None:
        """Tell the affinity how far the domains are from each other.

        Args:
            angles: Great-circle angles in radians, shape (D, D).
        """

    @abstractmethod
    def forward(self, domain: Tensor) -> Tensor:
        """Look up the affinities of domains.

        Args:
            domain: Training domains, int64, shape (B,).

        Returns:
            Weights of the other domains, shape (B, D), each row summing to 1, with 0 for
            the own domain.
        """


class LearnedAffinity(Affinity):
    """A free matrix with a softmax over each row, the diagonal left out.

    CoDEX, section 3.1 and table 4 (c). It starts at zero: all other domains alike. The
    paper does not say how it starts; the published code draws from N(0, 1).
    """

    def build(self, num_domains: int) -> None:
        """Create the matrix of scores."""
        self.scores = nn.Parameter(torch.zeros(num_domains, num_domains))

    def forward(self, domain: Tensor) -> Tensor:
        """Look up the affinities of domains."""
        return softmax_without(self.scores[domain], domain)


class FactorizedAffinity(Affinity):
    r"""A learned matrix of low rank, for thousands of domains.

    Scores are :math:`u_d \cdot v_e`, so that D domains need :math:`2 D r` numbers where
    :class:`LearnedAffinity` needs :math:`D^2`: with 10,000 domains, 100 million, each with
    its gradient and two moments in the optimizer. Not in the paper. It starts with all
    other domains alike.
    """

    def __init__(self, rank: int = 16) -> None:
        """Initialize a new FactorizedAffinity instance.

        Args:
            rank: Rank r of the matrix of scores.
        """
        super().__init__()
        self.rank = int(positive('rank', rank))

    def build(self, num_domains: int) -> None:
        """Create both factors."""
        self.own = nn.Parameter(torch.randn(num_domains, self.rank))
        self.other = nn.Parameter(torch.zeros(num_domains, self.rank))

    def forward(self, domain: Tensor) -> Tensor:
        """Look up the affinities of domains."""
        scores = self.own[domain] @ self.other.T
        return softmax_without(scores.float(), domain)


class PlacedAffinity(Affinity):
    """An affinity that depends on where the domains are."""

    needs_places = True
    angles: Tensor

    def build(self, num_domains: int) -> None:
        """Create the buffer of angles."""
        self.register_buffer('angles', torch.full([num_domains] * 2, torch.nan))

    def locate(self, angles: Tensor) -> None:
        """Keep the angles between the domains."""
        self.angles.copy_(angles)


class HandcraftedAffinity(PlacedAffinity):
    """Softmin of the great-circle angle, over each row.

    CoDEX, section 4.3 and table 4 (a). The paper gives neither the unit of the angle nor
    a temperature. In radians the softmin is almost uniform within a continent, in degrees
    it almost picks the nearest domain; the default lies between the two.
    """

    def __init__(self, temperature: float = 10.0) -> None:
        """Initialize a new HandcraftedAffinity instance.

        Args:
            temperature: Angle in degrees over which the affinity falls by a factor of
                e; 10 degrees are about 1,100 km.
        """
        super().__init__()
        self.temperature = positive('temperature', temperature)

    def forward(self, domain: Tensor) -> Tensor:
        """Look up the affinities of domains."""
        degrees = torch.rad2deg(self.angles[domain])
        return softmax_without(-degrees / self.temperature, domain)


class DistanceRelation(nn.Module):
    """Learned function of the angle: a small network scores each pair.

    CoDEX, table 4 (b): "a learned function that takes angular distances as input".
    """

    def __init__(self, width: int = 32) -> None:
        """Initialize a new DistanceRelation instance.

        Args:
            width: Width of the hidden layer.
        """
        super().__init__()
        self.score = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, angles: Tensor, domain: Tensor) -> Tensor:
        """Score the relation of domains to all domains.

        Args:
            angles: Great-circle angles in radians, shape (D, D).
            domain: Domains, int64, shape (B,).

        Returns:
            Scores, shape (B, D).
        """
        return self.score(angles[domain].unsqueeze(-1)).squeeze(-1)


class EmbeddingRelation(nn.Module):
    r"""Cosines of learned embeddings of the domains' distances, a mean over heads.

    D3G (Yao et al., 2024): :math:`a_{ij} = \frac1R \sum_r \cos(w_r g(m_i), w_r
    g(m_j))`. The metadata :math:`m_i` of a domain is its row of angles to all domains.
    """

    def __init__(self, num_domains: int, width: int = 32, heads: int = 4) -> None:
        """Initialize a new EmbeddingRelation instance.

        Args:
            num_domains: Number of training domains D.
            width: Width of the embedding.
            heads: Number of weighted cosines.
        """
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(num_domains, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(heads, width))

    def forward(self, angles: Tensor, domain: Tensor) -> Tensor:
        """Score the relation of domains to all domains.

        Args:
            angles: Great-circle angles in radians, shape (D, D).
            domain: Domains, int64, shape (B,).

        Returns:
            Mean cosines, shape (B, D).
        """
        keys = self.embed(angles)[:, None] * self.weight
        keys = nn.functional.normalize(keys, dim=-1)
        return torch.einsum('brw,drw->bd', keys[domain], keys) / len(self.weight)


class D3GAffinity(PlacedAffinity):
    r"""A fixed part from the distance and a learned relation, as in D3G.

    :math:`a = \beta a^{fixed} + (1 - \beta) a^{learned}` (Yao et al., "Improving Domain
    Generalization with Domain Relations", 2024). The fixed part is the softmin of the
    great-circle angle, where D3G has adjacency of regions; the learned part is
    normalized by a softmax, since D3G's quotient of cosines may divide by zero.
    """

    def __init__(
        self,
        relation: Literal['distance', 'embedding'] = 'distance',
        fixed_share: float = 0.8,
        temperature: float = 10.0,
    ) -> None:
        """Initialize a new D3GAffinity instance.

        Args:
            relation: 'distance' for CoDEX's variant, a learned function of the
                angle, 'embedding' for D3G's cosines of embedded metadata.
            fixed_share: Share beta of the fixed part. D3G's paper names no value; 0.8
                is what public re-implementations use.
            temperature: Angle in degrees over which the fixed part falls by a
                factor of e.

        Raises:
            ValueError: If *fixed_share* is no share.
        """
        super().__init__()
        if not 0 <= fixed_share <= 1:
            raise ValueError(f'fixed_share must lie in [0, 1], found {fixed_share}')
        self.relation = relation
        self.fixed_share = fixed_share
        self.temperature = positive('temperature', temperature)

    def build(self, num_domains: int) -> None:
        """Create the buffer of angles and the learned relation."""
        super().build(num_domains)
        self.learned = {
            'distance': lambda: DistanceRelation(),
            'embedding': lambda: EmbeddingRelation(num_domains),
        }[self.relation]()

    def forward(self, domain: Tensor) -> Tensor:
        """Look up the affinities of domains."""
        degrees = torch.rad2deg(self.angles[domain])
        fixed = softmax_without(-degrees / self.temperature, domain)
        learned = softmax_without(self.learned(self.angles, domain), domain)
        return self.fixed_share * fixed + (1 - self.fixed_share) * learned
