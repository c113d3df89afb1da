"""A loss is a margin on one number a sample: the target's cosine becomes the harder target psi(cosine).

To add a loss, write a class of a few lines and put it into MARGINS: its constructor's parameters are the parameters
of `create_loss`, its docstring states the formula, the paper and where the defaults come from.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

from torch import Tensor, nn

from vultus.errors import VultusError
from vultus.losses.angles import add_angle

MarginGrad = Literal["exact", "detached"]


class Margin(nn.Module):
    """psi: the target cosines of a batch -> what the loss sees in their place.

    It is a module so that a margin may keep statistics (buffers) or learn (parameters) and be saved with the loss.

    Class attributes: `normalized` False means raw embeddings and centres, with a bias (plain softmax); `scale` is the
    default s; `margin_grad` the default gradient, None where the option would change nothing (psi' = 1).
    """

    normalized: ClassVar[bool] = True
    scale: ClassVar[float] = 64.0
    default_grad: ClassVar[MarginGrad | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.margin_grad: MarginGrad | None = self.default_grad

    def psi(self, cos: Tensor, norm: Tensor) -> Tensor:
        """The margined target of (B,) target cosines and (B,) raw embedding norms, both at least float32; (B,)."""
        raise NotImplementedError

    def forward(self, cos: Tensor, norm: Tensor) -> Tensor:
        """psi with the gradient that `margin_grad` asks for: its own, or that of the cosine without a margin."""
        target = self.psi(cos, norm)
        return cos + (target - cos).detach() if self.margin_grad == "detached" else target

    def choose_grad(self, margin_grad: str) -> None:
        """Set the gradient; VultusError for an unknown word, or where both choices are the same."""
        if margin_grad not in get_args(MarginGrad):
            raise VultusError(f'margin_grad: unknown choice "{margin_grad}"; use "exact" or "detached"')
        if self.default_grad is None:
            raise VultusError(
                f"margin_grad: {type(self).__name__} has the same gradient exact and detached; leave it out"
            )
        self.margin_grad = margin_grad  # pyright: ignore[reportAttributeAccessIssue]


class Softmax(Margin):
    """Plain softmax cross-entropy on raw embeddings: z_j = x . W_j + b_j, no scale, no margin.

    The baseline of every margin paper (e.g. L-Softmax, arXiv 1612.02295). Its embeddings are trained for the inner
    product, yet are compared by cosine as all others are.
    """

    normalized = False
    scale = 1.0

    def psi(self, cos: Tensor, norm: Tensor) -> Tensor:
        return cos


class NormFace(Margin):
    """psi = cos(theta). Wang et al. 2017, arXiv 1704.06369: softmax of s times the cosine.

    s is learned in the paper; here it is fixed at 64, the scale of the losses with a margin.
    """

    def psi(self, cos: Tensor, norm: Tensor) -> Tensor:
        return cos


class CosFace(Margin):
    """psi = cos(theta) - margin. Wang et al. 2018, arXiv 1801.09414; the same as AM-Softmax, arXiv 1801.05599.

    margin: cosine, in [0, 2]; 0.35 and s = 64 from the paper (arcface_torch trains with 0.4).
    """

    def __init__(self, margin: float = 0.35) -> None:
        super().__init__()
        self.margin = _checked("margin", margin, 0, 2, "a cosine; the paper has 0.35")

    def psi(self, cos: Tensor, norm: Tensor) -> Tensor:
        return cos - self.margin

    def extra_repr(self) -> str:
        return f"margin={self.margin}"


class ArcFace(Margin):
    """psi = cos(theta + margin), continued decreasingly past theta = pi - margin. Deng et al. 2019, arXiv 1801.07698.

    margin: radians, in [0, pi); 0.5 and s = 64 from the paper.

    margin_grad: `exact` has d psi / d cos = sin(theta + margin) / sin(theta), at margin 0.5 about 28 times one at
    1 degree and 0.05 times at 150 degrees; `detached` has 1. The default is detached: it is what the code that trained
    the published models does (arcface_torch computes the margin without gradient), SphereFace-R (arXiv 2109.05565)
    names and recommends it, and it has no singularity. The loss's value is the same.
    """

    default_grad = "detached"

    def __init__(self, margin: float = 0.5) -> None:
        super().__init__()
        self.margin = _checked("margin", margin, 0, math.pi, "radians; the paper has 0.5")

    def psi(self, cos: Tensor, norm: Tensor) -> Tensor:
        return add_angle(cos, self.margin)

    def extra_repr(self) -> str:
        return f"margin={self.margin}, margin_grad={self.margin_grad!r}"


def _checked(name: str, value: float, low: float, high: float, unit: str) -> float:
    # The upper end is left out: an ArcFace margin of pi has no angle left to add to.
    if not low <= value < high:
        raise VultusError(f"{name}={value}: must be at least {low} and below {high:.4g} ({unit})")
    return float(value)


MARGINS: dict[str, type[Margin]] = {
    "softmax": Softmax,
    "normface": NormFace,
    "cosface": CosFace,
    "arcface": ArcFace,
}
