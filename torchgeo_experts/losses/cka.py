# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Centred kernel alignment (CKA): how alike the outputs of experts are."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .precision import at_least_single, no_autocast

CKAEstimator = Literal['biased', 'unbiased']

#: Variation, in units of rounding, below which the outputs of an expert are constant.
NOISE = 64


def linear_cka(x: Tensor, y: Tensor, estimator: CKAEstimator = 'biased') -> Tensor:
    r"""Compute the linear CKA of two sets of features of the same samples.

    :math:`\|X^\top Y\|_F^2 \,/\, (\|X^\top X\|_F \|Y^\top Y\|_F)`, where columns have
    mean 0 (Kornblith et al., "Similarity of Neural Network Representations Revisited",
    2019). It is 1 for features that are equal but for rotation, shift and scale.

    Args:
        x: Features, shape (n, D), any floating type.
        y: Features, shape (n, D'), of the same samples.
        estimator: As in :func:`cka_matrix`.

    Returns:
        A scalar, as in :func:`cka_matrix`.

    Raises:
        ValueError: If shapes do not fit, or there are too few samples.
    """
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(
            "x and y must have shapes (n, D) and (n, D'), one row a sample, found"
            f' {tuple(x.shape)} and {tuple(y.shape)}'
        )
    # Columns of zeros change no product of rows.
    width = max(x.shape[1], y.shape[1])
    pair = [F.pad(at_least_single(z), (0, width - z.shape[1])) for z in (x, y)]
    return cka_matrix(torch.stack(pair), estimator)[0, 1]


def cka_matrix(outputs: Tensor, estimator: CKAEstimator = 'biased') -> Tensor:
    r"""Compute the linear CKA of each pair of experts.

    * 'biased', the plain form: of the poster of MoGE, in :math:`[0, 1]`. With few
      samples it is far too high: 0.75 for independent noise of 64 samples and 192
      features, and 0.09 still for 2048 samples.
    * 'unbiased': ratio of the :math:`\mathrm{HSIC}_1` of Song et al., "Feature Selection
      via Dependence Maximization" (2012), as Nguyen et al., "Do Wide and Deep Networks
      Learn the Same Things?" (2021) have it, in :math:`[-1, 1]`, about 0 for
      independent features whatever the number of samples.

    Computed in float32 or better, under automatic mixed precision too.

    Args:
        outputs: Features of the same n samples by E experts, shape (E, n, D).
        estimator: 'biased' or 'unbiased'.

    Returns:
        Symmetric matrix, shape (E, E), with ones on the diagonal. An expert whose output
        is constant is like no other, nor itself: 0, and no gradient.

    Raises:
        ValueError: If the shape is another, or there are too few samples.
    """
    kind = ESTIMATORS[estimator]
    if outputs.ndim != 3 or outputs.shape[1] < kind.min_samples:
        raise ValueError(
            f'{estimator} CKA needs outputs of shape (E, n, D) with at least'
            f' {kind.min_samples} samples n, found {tuple(outputs.shape)}'
        )
    with no_autocast(outputs):
        rows, dead = _centre(at_least_single(outputs))
        cross = _cross_products(rows)
        hsic = kind.hsic(cross, rows)
        own = hsic.diagonal()
        # The unbiased form may be 0 where outputs vary, as when one sample stands out.
        tolerance = NOISE * torch.finfo(own.dtype).eps
        dead = dead | (own.detach() <= tolerance * cross.detach().diagonal())
        size = own.where(~dead, 1).sqrt()
        return (hsic / size.outer(size)).where(~(dead[:, None] | dead), 0)


def diversity_loss(outputs: Tensor, estimator: CKAEstimator = 'biased') -> Tensor:
    r"""Average the CKA over pairs of experts, :math:`\mathcal L_{CKA}` of MoGE.

    :math:`\frac{2}{E (E-1)} \sum_{i<j} \mathrm{CKA}(f_i(H), f_j(H))`, poster of MoGE,
    part ii. The poster names linear CKA, and not its samples; with few of them take many
    tokens an image or the unbiased form. Ranks each have their own samples, and DDP
    averages their losses.

    For experts that are exact copies of each other the gradient is 0, as CKA is at its
    maximum: give copies some noise first.

    Args:
        outputs: Outputs of all E experts for the same n samples, shape (E, n, D).
        estimator: As in :func:`cka_matrix`.

    Returns:
        A scalar. 0 with one expert, or with too few samples: 1, or 3 if unbiased. Pairs
        with an expert of constant output count as 0.
    """
    pairs = len(outputs) * (len(outputs) - 1) / 2
    if not pairs or outputs.shape[1] < ESTIMATORS[estimator].min_samples:
        # A sum of nothing: 0, and the experts still have a gradient, as DDP wants.
        return at_least_single(outputs[:0]).sum()
    return cka_matrix(outputs, estimator).triu(1).sum() / pairs


def _centre(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Shift columns to mean 0, scale each expert to norm 1, and find constant ones."""
    mean = outputs.mean(dim=1, keepdim=True)
    rows = outputs - mean
    with torch.no_grad():
        size = torch.linalg.vector_norm(rows, dim=(1, 2))
        level = torch.linalg.vector_norm(mean, dim=(1, 2)) * rows.shape[1] ** 0.5
        dead = size <= NOISE * torch.finfo(rows.dtype).eps * level
        factor = size.reciprocal().where(~dead, 0)
    # CKA does not depend on scale, so neither does its gradient on that of the factor.
    # Without it fourth powers of large and small outputs leave the range of float32.
    return rows * factor[:, None, None], dead


def _cross_products(rows: Tensor) -> Tensor:
    """Compute |X_i' X_j|^2 of all pairs, shape (E, E), the cheaper way.

    It is also the inner product of the n x n matrices X_i X_i' and X_j X_j', as both are
    the trace of X_i X_i' X_j X_j'. What is compared are the multiplications of forward
    and backward pass.
    """
    num, n, width = rows.shape
    if 6 * n * (width + num) > width**2 * (3 * num + 1):
        cross: Tensor = _FeatureForm.apply(rows)
        return cross
    kernels = (rows @ rows.mT).flatten(1)
    return kernels @ kernels.T


class _FeatureForm(torch.autograd.Function):
    """Squared norms of the D x D products of all pairs.

    Products are symmetric: the forward pass computes those of i <= j, and the backward
    pass is a single product, about half the work that recorded operations would have.
    It keeps (E D)^2 numbers.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        """Sum the squares of X_i' X_j, shape (E, E)."""
        num, n, width = rows.shape
        flat = rows.transpose(0, 1).reshape(n, num * width)
        upper = flat.new_zeros(num * width, num * width)
        for i in range(0, num * width, width):
            upper[i : i + width, i:] = flat[:, i : i + width].T @ flat[:, i:]
        products = upper.triu() + upper.triu(1).T
        ctx.save_for_backward(flat, products)
        return products.square().view(num, width, num, width).sum(dim=(1, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Compute the gradient of rows, shape (E, n, D)."""
        flat, products = ctx.saved_tensors
        num, width = len(grad), len(products) // len(grad)
        weight = 2 * (grad + grad.T)[:, None, :, None]
        weighted = (products.view(num, width, num, width) * weight).view_as(products)
        return (flat @ weighted).view(-1, num, width).transpose(0, 1)


def _biased(cross: Tensor, rows: Tensor) -> Tensor:
    """Hilbert-Schmidt independence criterion, up to a factor that cancels in CKA."""
    return cross


def _unbiased(cross: Tensor, rows: Tensor) -> Tensor:
    """HSIC_1, up to a factor that cancels in CKA.

    Its formula has kernels with zeroed diagonals. As rows have mean 0, the sum of a row
    of such a kernel is the squared norm of the sample, with a minus, and all terms but
    the first follow from these norms.
    """
    n = rows.shape[1]
    norms = rows.square().sum(dim=2)
    total = norms.sum(dim=1)
    own = norms @ norms.T
    return cross - n / (n - 2) * own + total.outer(total) / ((n - 1) * (n - 2))


class _Estimator(NamedTuple):
    hsic: Callable[[Tensor, Tensor], Tensor]
    min_samples: int


ESTIMATORS: dict[CKAEstimator, _Estimator] = {
    'biased': _Estimator(_biased, 2),
    'unbiased': _Estimator(_unbiased, 4),
}
