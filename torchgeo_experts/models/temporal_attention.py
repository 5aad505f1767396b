# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Attention between the dates of a series, at low resolution and spread to high ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DateEncoding(nn.Module):
    r"""Sines and cosines of dates, the same for each head.

    Channel k of a head has the period :math:`2\pi\,T^{2\lfloor(k+o)/2\rfloor/(d+o)}` days,
    with :math:`T` = 1000, offset :math:`o` = 10 and :math:`d` channels a head, as in the
    published code. Dates count from a fixed day, so that there is no yearly cycle in it.
    """

    days: Tensor

    def __init__(
        self, channels: int, heads: int, longest: float = 1000.0, offset: int = 10
    ) -> None:
        """Initialize a new DateEncoding instance.

        Args:
            channels: Number of channels C.
            heads: Number of heads.
            longest: Base T of the periods.
            offset: Offset o of the channel's number, which leaves out short periods.
        """
        super().__init__()
        self.heads = heads
        size = channels // heads
        number = torch.arange(offset, offset + size)
        exponent = 2 * (number // 2) / (size + offset)
        self.register_buffer('days', longest**exponent, persistent=False)

    def forward(self, dates: Tensor) -> Tensor:
        """Encode dates.

        Args:
            dates: Days since a fixed day, shape (B, T).

        Returns:
            Codes, float32, shape (B, T, C).
        """
        angles = dates[..., None] / self.days.float()
        even = torch.arange(len(self.days), device=dates.device) % 2 == 0
        return angles.sin().where(even, angles.cos()).repeat(1, 1, self.heads)


class GroupNormOverTime(nn.GroupNorm):
    """Group normalization of sequences, with statistics over channels and dates."""

    def forward(self, sequences: Tensor, valid: Tensor | None = None) -> Tensor:
        """Normalize.

        Args:
            sequences: Sequences, shape (N, T, C).
            valid: Which dates have an image, shape (N, T). Others do not count in the
                statistics. In the published code they do.

        Returns:
            Normalized sequences, shape (N, T, C).
        """
        if valid is None:
            return super().forward(sequences.mT).mT
        # At least in single precision, as PyTorch's own under autocast.
        single = sequences.to(torch.promote_types(sequences.dtype, torch.float32))
        grouped = single.unflatten(-1, (self.num_groups, -1))
        weight = valid[:, :, None, None] / valid.sum(1).view(-1, 1, 1, 1)
        mean = (grouped * weight).sum(1, keepdim=True).mean(-1, keepdim=True)
        centred = grouped - mean
        variance = (centred**2 * weight).sum(1, keepdim=True).mean(-1, keepdim=True)
        normal = (centred * (variance + self.eps).rsqrt()).flatten(2)
        return (normal * self.weight + self.bias).to(sequences.dtype)


class TemporalAttention(nn.Module):
    """Self-attention between all dates of each pixel, one query a date.

    The multi-temporal form [1]_ of the lightweight temporal attention of U-TAE [2]_:
    every date is a query, so that all dates are kept. The channels of a head are its
    values, without a projection.

    .. [1] Vincent, Ponce and Aubry, Satellite image time series semantic change detection,
       2024, https://arxiv.org/abs/2407.07616
    .. [2] Garnot and Landrieu, Panoptic segmentation of satellite image time series, 2021,
       https://arxiv.org/abs/2107.07933
    """

    def __init__(
        self,
        channels: int,
        heads: int = 16,
        key_size: int = 4,
        attention_dropout: float = 0.1,
        dropout: float = 0.2,
    ) -> None:
        """Initialize a new TemporalAttention instance.

        Args:
            channels: Number of channels C, a multiple of the number of heads.
            heads: Number of heads G.
            key_size: Size of keys and queries of a head.
            attention_dropout: Dropout of attention weights.
            dropout: Dropout of the output.
        """
        super().__init__()
        self.heads, self.key_size = heads, key_size
        self.date_encoding = DateEncoding(channels, heads)
        self.in_norm = GroupNormOverTime(heads, channels)
        self.query = nn.Linear(channels, heads * key_size)
        self.key = nn.Linear(channels, heads * key_size)
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=(2 / key_size) ** 0.5)
        self.attention_dropout = nn.Dropout(attention_dropout)
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(), nn.Dropout(dropout)
        )
        self.out_norm = nn.GroupNorm(heads, channels)

    def forward(
        self, maps: Tensor, dates: Tensor, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix the dates.

        Args:
            maps: Maps of each date, shape (B, T, C, H, W).
            dates: Days since a fixed day, shape (B, T).
            valid: Which dates have an image, shape (B, T): no date looks at others.
                Default: all.

        Returns:
            Maps, shape (B, T, C, H, W), and attention weights, shape
            (B, H, W, G, T, T), rows summing to 1 (but for dropout).
        """
        batch, time, channels, height, width = maps.shape
        pixels = height * width
        sequences = maps.permute(0, 3, 4, 1, 2).reshape(-1, time, channels)
        code = self.date_encoding(dates).repeat_interleave(pixels, dim=0)
        every = None if valid is None else valid.repeat_interleave(pixels, dim=0)
        sequences = self.in_norm(sequences, every)
        sequences = sequences + code.to(sequences.dtype)

        attention = self.attention_dropout(self._attend(sequences, every))
        values = sequences.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = (attention @ values).transpose(1, 2).flatten(2)
        out = self.out_norm(self.mlp(mixed.flatten(0, 1)))
        out = out.view(batch, height, width, time, channels).permute(0, 3, 4, 1, 2)
        return out, attention.unflatten(0, (batch, height, width))

    def _attend(self, sequences: Tensor, valid: Tensor | None) -> Tensor:
        """Compute attention weights, shape (N, G, T, T)."""
        query, key = (
            layer(sequences).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key)
        )
        scores = query @ key.mT / self.key_size**0.5
        if valid is not None:
            scores = scores.masked_fill(~valid[:, None, None], -torch.inf)
        return scores.softmax(dim=-1)


def attend_skip(attention: Tensor, skip: Tensor) -> Tensor:
    r"""Mix the dates of a map by attention weights of a lower resolution.

    Head g of the attention, enlarged bilinearly, mixes the g-th group of channels:

    .. math:: out_{tp} = \sum_u \Big(\sum_q b_{pq} a_{qtu}\Big) skip_{up}

    The enlarged weights, :math:`T^2` numbers a pixel and head, are never made: pixels
    between the same four cells share these, so that the sum over dates is a product of
    matrices, one a cell and corner.

    Args:
        attention: Attention weights of cells, shape (B, h, w, G, T, T).
        skip: Maps, shape (B, T, C, s * h, s * w) with an even s, C a multiple of G.

    Returns:
        Mixed maps, shape (B, T, C, s * h, s * w).
    """
    height, heads = attention.shape[1], attention.shape[3]
    scale = skip.shape[-1] // attention.shape[2]
    half = scale // 2
    # Blocks of pixels between four cells; those at the border lie half outside.
    blocks = F.pad(skip, (half,) * 4).unflatten(-1, (-1, scale))
    blocks = blocks.unflatten(-3, (-1, scale)).unflatten(2, (heads, -1))
    batch, time, _, channels = blocks.shape[:4]
    blocks = blocks.permute(0, 4, 6, 2, 1, 3, 5, 7).flatten(-3)

    near = (torch.arange(scale, device=skip.device, dtype=skip.dtype) + 0.5) / scale
    shares = torch.stack([1 - near, near])
    cells = _repeat_border(attention)
    mixed = torch.zeros((), device=skip.device)
    for down in (0, 1):
        for right in (0, 1):
            share = torch.outer(shares[down], shares[right]).flatten().repeat(channels)
            corner = cells[:, down : down + height + 1]
            corner = corner[:, :, right : right + blocks.shape[2]]
            mixed = mixed + (corner @ blocks) * share

    mixed = mixed.unflatten(-1, (channels, scale, scale))
    mixed = mixed.permute(0, 4, 3, 5, 1, 6, 2, 7)
    mixed = mixed.reshape(
        batch, time, *skip.shape[2:3], *(n + scale for n in skip.shape[3:])
    )
    return mixed[..., half:-half, half:-half]


def _repeat_border(cells: Tensor) -> Tensor:
    """Repeat the border of a grid of cells, shape (B, h, w, ...), on each side."""
    for dim in (1, 2):
        size = cells.shape[dim]
        first, last = cells.narrow(dim, 0, 1), cells.narrow(dim, size - 1, 1)
        cells = torch.cat([first, cells, last], dim=dim)
    return cells
