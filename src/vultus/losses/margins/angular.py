"""Margins on the angle: additive (ArcFace), multiplicative (SphereFace), and both.

Their gradient is `detached` by default: d psi / d cos = 1, as in the code that trained the published models. The exact
one of ArcFace is sin(theta + m) / sin(theta), at m = 0.5 about 28 at 1 degree and 0.05 at 150 degrees. The loss has the
same value. SphereFace-R (arXiv 2109.05565) names the trick "characteristic gradient detachment" and recommends it.
"""

from __future__ import annotations

import math

from torch import Tensor

from vultus.errors import VultusError
from vultus.losses.angles import theta
from vultus.losses.margins.margin import Amount, Margin, checked, checked_angle


class ArcFace(Margin):
    """psi = cos(theta + margin).

    margin: radians, in [0, pi); 0.5 and s = 64 from the paper.
    """

    formula = "cos(θ + m)"
    source = "Deng et al. 2019, arXiv 1801.07698"
    default_grad = "detached"

    def __init__(self, margin: float = 0.5) -> None:
        super().__init__()
        self.margin = checked_angle("margin", margin, "the paper has 0.5")

    def margins(self, cos: Tensor, norm: Tensor) -> tuple[Amount, Amount]:
        return self.margin, 0.0


class SubcenterArcFace(ArcFace):
    """ArcFace on the nearest of K centres a class, for noisy data: cos(theta_j) = max over k of x . W_jk.

    margin: as ArcFace's. subcenters: K = 3 from the paper, which then drops what lies far from a class's main centre
    and trains again with one.
    """

    formula = "cos(θ + m), cos θ_j = max over k of x·W_jk"
    source = "Deng et al. 2020, ECCV, Sub-center ArcFace"

    def __init__(self, margin: float = 0.5, subcenters: int = 3) -> None:
        super().__init__(margin)
        if not isinstance(subcenters, int) or not 1 <= subcenters <= 255:
            raise VultusError(f"subcenters={subcenters}: must be a whole number from 1 to 255; the paper has 3")
        self.subcenters = subcenters


class SphereFace(Margin):
    """psi = (-1)^k cos(margin * theta) - 2k, k = floor(margin * theta / pi).

    margin: a factor on the angle, at least 1. The paper has 4, on raw norms, and reaches it by annealing from softmax.
    Here embeddings have unit length, and s = 30, margin = 1.7 are those of the authors' later code (OpenSphere), which
    needs no annealing.
    """

    formula = "(-1)^k cos(m θ) - 2k, k = floor(m θ / π)"
    source = "Liu et al. 2017, arXiv 1704.08063"
    scale = 30.0
    default_grad = "detached"

    def __init__(self, margin: float = 1.7) -> None:
        super().__init__()
        self.margin = self.factor = checked("margin", margin, 1, 8, "a factor on the angle; the paper has up to 4")


class SphereFaceR(SphereFace):
    """psi = cos(min(margin * theta, pi)): SphereFace revived, its first form, with normalised features.

    margin: a factor on the angle, at least 1; s = 30 and 1.5 from the authors' code. Past theta = pi / margin psi stays
    at -1 (an exact gradient is 0 there: the default is detached).
    """

    formula = "cos(min(m θ, π))"
    source = "Liu et al. 2021, arXiv 2109.05565"

    def __init__(self, margin: float = 1.5) -> None:
        super().__init__(margin)

    def bend(self, cos: Tensor, angle: Amount, cosine: Amount) -> Tensor:
        phi = self.factor * theta(cos)
        self.past_pi = (phi.detach() > math.pi).to(cos.dtype).mean()
        return phi.clamp(max=math.pi).cos()


class Combined(Margin):
    """psi = cos(m1 * theta + m2) - m3, the three margins of the ArcFace paper at once.

    m1: factor, at least 1 or a little below (the paper's second set has 0.9). m2: radians. m3: cosine. Defaults: the
    paper's combination (1, 0.3, 0.2); its other one is (0.9, 0.4, 0.15). (arcface_torch drops m1 and m2 where m3 > 0.)
    """

    formula = "cos(m1 θ + m2) - m3"
    source = "Deng et al. 2019, arXiv 1801.07698"
    default_grad = "detached"

    def __init__(self, m1: float = 1.0, m2: float = 0.3, m3: float = 0.2) -> None:
        super().__init__()
        self.m1 = self.factor = checked("m1", m1, 0.5, 8, "a factor on the angle; the paper has 1 and 0.9")
        self.m2 = checked_angle("m2", m2, "the paper has 0.3 and 0.4")
        self.m3 = checked("m3", m3, 0, 2, "a cosine; the paper has 0.2 and 0.15")

    def margins(self, cos: Tensor, norm: Tensor) -> tuple[Amount, Amount]:
        return self.m2, self.m3
