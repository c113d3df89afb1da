"""Losses without an angle: softmax, its normalised form, and the margin on the cosine."""

from __future__ import annotations

from torch import Tensor

from vultus.losses.margins.margin import Amount, Margin, checked


class Softmax(Margin):
    """Plain softmax cross-entropy on raw embeddings: z_j = x . W_j + b_j, no scale, no margin.

    The baseline of every margin paper. Its embeddings are trained for the inner product, yet are compared by cosine as
    all others are.
    """

    formula = "z = x . W + b"
    source = "baseline; Liu et al. 2016, arXiv 1612.02295, starts from it"
    normalized = False
    scale = 1.0


class NormFace(Margin):
    """psi = cos(theta): softmax of s times the cosine.

    s is learned in the paper; here it is fixed at 64, the scale of the losses with a margin.
    """

    formula = "cos θ"
    source = "Wang et al. 2017, arXiv 1704.06369"


class CosFace(Margin):
    """psi = cos(theta) - margin; the same as AM-Softmax, arXiv 1801.05599.

    margin: cosine, in [0, 2]; 0.35 and s = 64 from the paper (arcface_torch trains with 0.4).
    """

    formula = "cos θ - m"
    source = "Wang et al. 2018, arXiv 1801.09414"

    def __init__(self, margin: float = 0.35) -> None:
        super().__init__()
        self.margin = checked("margin", margin, 0, 2, "a cosine; the paper has 0.35")

    def margins(self, cos: Tensor, norm: Tensor) -> tuple[Amount, Amount]:
        return 0.0, self.margin
