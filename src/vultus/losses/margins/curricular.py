"""CurricularFace: hard negatives count little at first and much later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vultus.losses.angles import turn
from vultus.losses.margins.margin import Amount, Margin, checked, checked_angle
from vultus.losses.ranks import moments


@dataclass(frozen=True, eq=False)
class HardNegatives:
    """f(p) = p (t + p) where p > hard_i, else p. hard: (B,); t: 0-dim, in [0, 1]."""

    kind: ClassVar[str] = "curricular"
    hard: Tensor
    t: Tensor

    def bend(self, products: Tensor) -> tuple[Tensor, Tensor]:
        hard = products > self.hard[:, None]
        slopes = torch.where(hard, self.t + 2 * products, 1)
        return torch.where(hard, products * (self.t + products), products), slopes


class CurricularFace(Margin):
    """psi = cos(theta + margin); a negative with cos(theta_j) > psi becomes cos(theta_j) (t + cos(theta_j)).

    t is the moving average of the batches' mean target cosine (all ranks together), saved with the loss: it grows from
    0 as training goes on, and hard negatives with it.

    margin: radians, 0.5; momentum: the share 0.01 of the newest batch; s = 64: from the paper.
    """

    formula = "cos(θ + m); hard cos θ_j become cos θ_j (t + cos θ_j)"
    source = "Huang et al. 2020, arXiv 2004.00288"
    default_grad = "exact"

    def __init__(self, margin: float = 0.5, momentum: float = 0.01) -> None:
        super().__init__()
        self.margin = checked_angle("margin", margin, "the paper has 0.5")
        self.momentum = checked("momentum", momentum, 0, 1, "share of the newest batch; the paper has 0.01")
        self.register_buffer("t", torch.zeros(()))
        self.t: Tensor

    def margins(self, cos: Tensor, norm: Tensor) -> tuple[Amount, Amount]:
        return self.margin, 0.0

    def negatives(self, target: Tensor) -> HardNegatives:
        if self.training:
            mean, _, _ = moments(target, self.over_ranks)
            self.t.lerp_(mean.to(self.t), self.momentum)
        return HardNegatives(turn(target, self.margin), self.t.to(target.dtype).clone())
