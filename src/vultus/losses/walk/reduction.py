"""What a class-chunk walk computes: the contract that every engine fulfils."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

Reducer = Literal["logsumexp", "softplus"]
Result = tuple[Tensor, Tensor]
"""target (B,) and others (B,), differentiable in embeddings, centres, bias and offset."""


class Negatives(Protocol):
    """A transform of the products with the other classes, which may differ from row to row of the batch."""

    def bend(self, products: Tensor) -> tuple[Tensor, Tensor]:
        """f(p) and f'(p) >= 0 of (B, n) products, which may be overwritten."""
        ...


class CenterUpdate(Protocol):
    """Takes the gradient of some rows of the centres as soon as it exists."""

    def __call__(self, rows: slice, gradient: Tensor) -> None: ...


@dataclass(frozen=True, eq=False)
class Reduction:
    """For embeddings x (B, D), centres W (C, D) and labels y (B,):

        p_ij   = x_i . W_j + b_j, with W_j of unit length if `normalized`. With K sub-centres W is (C * K, D), the K
                 rows of a class one after the other, and p_ij is the largest of its K products
        target = p_iy; 0 where y is -1, a class that lives elsewhere
        z_ij   = scale * f_i(p_ij) + offset
        others = log sum exp(z_ij) or sum softplus(z_ij), over the j != y with p_ij <= filter_above

    The bias b (C,), the scalar offset and the transform f are optional. The target is left out inside the reduction:
    subtracting it afterwards would cancel where the sample is solved, which is where the loss still has something to
    say. A filtered class is out as well, its logit minus infinity. With nothing left, others is minus infinity or 0.
    """

    scale: float
    normalized: bool = True
    reducer: Reducer = "logsumexp"
    subcenters: int = 1
    filter_above: float | None = None
    negatives: Callable[[Tensor], Negatives] | None = None
    """Makes the transform from the (B,) targets, those of all ranks together."""
    share: Callable[[Tensor], Tensor] | None = None
    """Sums the (B,) targets over the ranks, each of which has its own classes."""
    products: torch.dtype | None = None
    """Type in which matrices are multiplied; None is that of the inputs. bfloat16 rounds the factors to 8 bits: the
    gradients are then 1 to 3 % off (relative norm, benchmarks/head.py). Everything else stays in float32."""
    update: CenterUpdate | None = None
    """Receives the centres' gradient chunk by chunk, so that it never exists whole."""
    skip_below: float = 0.0
    """Backward leaves out a chunk that holds no target and less than this share of every row's sum of exp(z)
    (logsumexp only). A chunk left out changes the gradient of row x_i by at most scale * skip_below * |dL / d others_i|
    (times its longest centre where they are not normalised); its centres get a gradient of 0, off by at most that
    summed over the rows, divided by the centre's length. 0 is exact."""

    @property
    def bounded(self) -> bool:
        """Whether exp(z) can be summed as it is: |z| <= 64 keeps it in 1e-28 .. 1e28, 10^10 times below the end of
        float32.
        """
        plain = self.normalized and self.negatives is None and self.reducer == "logsumexp"
        return plain and self.scale <= 64.0
