"""ElasticFace: a margin drawn anew for every sample and step, so that no one value has to suit all classes.

The draws are a function of the seed and of the number of batches seen (a buffer), so a resumed run draws the same, and
ranks that share a batch agree.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vultus.errors import VultusError
from vultus.losses.margins.margin import Amount, Margin, checked, checked_angle


class Elastic(Margin):
    """Draws margins from N(margin, sigma). `plus`: gives the largest margins to the smallest cosines."""

    source = "Boutros et al. 2022, arXiv 2109.09416"
    plus = False

    def __init__(self, margin: float, sigma: float, seed: int) -> None:
        super().__init__()
        self.margin = margin
        self.sigma = checked("sigma", sigma, 0, 1, "standard deviation of the margin; the paper has 0.0175 to 0.05")
        if not isinstance(seed, int) or not 0 <= seed < 2**31:
            raise VultusError(f"seed={seed}: must be a whole number from 0 to 2^31 - 1")
        self.seed = seed
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self.draws: Tensor

    def draw(self, cos: Tensor) -> Amount:
        """(B,) margins; the mean margin outside training."""
        if not self.training:
            return self.margin
        random = np.random.default_rng((self.seed, int(self.draws)))
        self.draws += 1
        margins = torch.from_numpy(random.normal(self.margin, self.sigma, len(cos))).to(cos)
        if not self.plus:
            return margins
        # The rank of each cosine, not the argsort (its inverse): with that, as in the published code, margins would be
        # dealt out at random.
        ranks = cos.argsort(descending=True).argsort()
        return margins.sort().values[ranks]


class ElasticArc(Elastic):
    """psi = cos(theta + m), m ~ N(margin, sigma).

    margin, sigma: radians, 0.5 and 0.05, s = 64 from the paper. seed: of the draws.
    """

    formula = "cos(θ + m), m ~ N(0.5, σ)"
    default_grad = "exact"

    def __init__(self, margin: float = 0.5, sigma: float = 0.05, seed: int = 0) -> None:
        super().__init__(checked_angle("margin", margin, "the paper has 0.5"), sigma, seed)

    def margins(self, cos: Tensor, norm: Tensor) -> tuple[Amount, Amount]:
        return self.draw(cos), 0.0


class ElasticCos(Elastic):
    """psi = cos(theta) - m, m ~ N(margin, sigma).

    margin, sigma: cosines, 0.35 and 0.05, s = 64 from the paper. seed: of the draws.
    """

    formula = "cos θ - m, m ~ N(0.35, σ)"

    def __init__(self, margin: float = 0.35, sigma: float = 0.05, seed: int = 0) -> None:
        super().__init__(checked("margin", margin, 0, 2, "a cosine; the paper has 0.35"), sigma, seed)

    def margins(self, cos: Tensor, norm: Tensor) -> tuple[Amount, Amount]:
        return 0.0, self.draw(cos)


class ElasticArcPlus(ElasticArc):
    """ElasticFace-Arc whose larger margins go to the samples farther from their centre; sigma 0.0175 from the paper."""

    formula = "cos(θ + m), m ~ N(0.5, σ), sorted against cos θ"
    plus = True

    def __init__(self, margin: float = 0.5, sigma: float = 0.0175, seed: int = 0) -> None:
        super().__init__(margin, sigma, seed)


class ElasticCosPlus(ElasticCos):
    """ElasticFace-Cos whose larger margins go to the samples farther from their centre; sigma 0.025 from the paper."""

    formula = "cos θ - m, m ~ N(0.35, σ), sorted against cos θ"
    plus = True

    def __init__(self, margin: float = 0.35, sigma: float = 0.025, seed: int = 0) -> None:
        super().__init__(margin, sigma, seed)
