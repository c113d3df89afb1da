"""One chunk of classes: from its products to its share of the sum, and to the weights that gradients need."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vultus.losses.walk.reduction import Negatives, Reduction

TINY = 1e-12
"""A centre shorter than this has cosine 0 with everything, and no gradient: 1 / 0 must not spread."""


@dataclass(slots=True)
class Chunk:
    """`weights` (B, n) are d total / d p / scale; they and `total` (B,), the chunk's sum, lack a factor exp(shift)."""

    weights: Tensor
    total: Tensor
    shift: Tensor | None
    pull: Tensor | None = None
    """d total / d offset, (B,); softplus only."""
    winner: Tensor | None = None
    """Which sub-centre has the largest product, (B, n) uint8."""
    inverse: Tensor | None = None
    """1 / length of the chunk's rows of W, where they are normalised."""


def inverse_lengths(rows: Tensor) -> Tensor:
    """1 / |row| of (n, D) rows, (n,); 0 for a row without length."""
    length = torch.linalg.vector_norm(rows, dim=1)
    return torch.where(length > TINY, length.clamp_min(TINY).reciprocal(), 0)


def multiply(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """left @ right into `out`, which is float32 also where the factors are half precision."""
    if left.dtype == out.dtype:
        return torch.mm(left, right, out=out)
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=out.dtype, out=out)
    return out.copy_(torch.mm(left, right))  # sums in float32, but a CPU returns them rounded to half


def weigh(
    products: Tensor,
    task: Reduction,
    negatives: Negatives | None,
    bias: Tensor | None,
    offset: Tensor | None,
    targets: tuple[Tensor, Tensor],
    shift: Tensor | None,
) -> Chunk:
    """Reduce a chunk.

    products: (B, n * K), with row lengths in; overwritten. bias: (n,).
    targets: rows and columns (of n) that are left out.
    shift: (B,) logarithms to take out of the exponentials; None: the chunk's largest, or 0 if the task is bounded.
    """
    winner = slope = gone = None
    if task.subcenters > 1:
        products, index = products.view(len(products), -1, task.subcenters).max(2)
        winner = index.to(torch.uint8)
    if bias is not None:
        products = products.add_(bias)
    if task.filter_above is not None:
        gone = products > task.filter_above
    if negatives is not None:
        products, slope = negatives.bend(products)
    z = products.mul_(task.scale)
    if offset is not None:
        z += offset
    if gone is not None:
        z.masked_fill_(gone, -torch.inf)
    if len(targets[0]):
        z[targets] = -torch.inf
    if task.reducer == "softplus":
        total = F.softplus(z).sum(1)
        weights = z.sigmoid_()
        shift, pull = None, weights.sum(1)
    else:
        if shift is None and not (task.bounded and bias is None and offset is None):
            shift = z.amax(1)
            shift.masked_fill_(shift == -torch.inf, 0)
        weights = z.exp_() if shift is None else z.sub_(shift[:, None]).exp_()
        total, pull = weights.sum(1), None
    if slope is not None:
        weights *= slope
    return Chunk(weights, total, shift, pull, winner)


def spread(weights: Tensor, winner: Tensor | None, subcenters: int) -> Tensor:
    """(B, n) weights of classes -> (B, n * K) weights of centres: a class's goes to the sub-centre that won."""
    if winner is None:
        return weights
    every = weights.new_zeros(*weights.shape, subcenters)
    return every.scatter_(2, winner.long().unsqueeze(2), weights.unsqueeze(2)).flatten(1)
