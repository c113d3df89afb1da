"""Losses of one-against-all binary classification: a sum of softplus over the classes, and a learned threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vultus.losses.margins.margin import Amount, Margin, checked


class UniFace(Margin):
    """softplus(-(s (cos(theta_y) - margin) - b)) + balance * sum over j of softplus(s cos(theta_j) - b).

    The learned b is one threshold for all positive and negative pairs; it starts at log(10 C), as in the authors' code.

    margin: cosine, 0.4; balance: weight of the negatives, 1; s = 64: from the authors' code. The paper also balances by
    sampling the negatives (`sample`).
    """

    formula = "softplus(b - s (cos θ - m)) + λ Σ softplus(s cos θ_j - b)"
    source = "Zhou et al. 2023, ICCV, UniFace"
    reducer = "softplus"

    def __init__(self, margin: float = 0.4, balance: float = 1.0) -> None:
        super().__init__()
        self.margin = checked("margin", margin, 0, 2, "a cosine; the authors' code has 0.4")
        self.balance = checked("balance", balance, 0, math.inf, "weight of the negatives; the authors' code has 1")
        self.threshold = nn.Parameter(torch.zeros(()))

    def prepare(self, num_classes: int, scale: float) -> None:
        nn.init.constant_(self.threshold, math.log(10 * num_classes))

    def margins(self, cos: Tensor, norm: Tensor) -> tuple[Amount, Amount]:
        return 0.0, self.margin

    def offset(self, scale: float) -> Tensor:
        return -self.threshold

    def loss(self, psi: Tensor, others: Tensor, scale: float) -> Tensor:
        return F.softplus(self.threshold - scale * psi) + self.balance * others


@dataclass(frozen=True)
class Similarity:
    """g(p) = 2 ((p + 1) / 2)^exponent - 1: spreads out cosines near 1, the more the larger the exponent."""

    kind: ClassVar[str] = "power"
    exponent: float

    def bend(self, products: Tensor) -> tuple[Tensor, Tensor]:
        half = products.add_(1).mul_(0.5).clamp_min_(0)
        slopes = half.pow(self.exponent - 1).mul_(self.exponent)
        return half.pow_(self.exponent).mul_(2).sub_(1), slopes


class SphereFace2(Margin):
    """weight / s * [ balance * softplus(-(s (g(cos(theta_y)) - margin) + b))
                      + (1 - balance) * sum over j of softplus(s (g(cos(theta_j)) + margin) + b) ],
    g(c) = 2 ((c + 1) / 2)^exponent - 1, b learned: the additive form (SphereFace2-C).

    b starts where positives and negatives pull alike at cosine 0. margin: cosine, 0.4; exponent: 3; balance: lambda,
    0.7; s = 40; weight: 50, from the authors' code (without it the gradient is 50 times smaller than that of the other
    losses here, for which learning rates are made).
    """

    formula = "λ softplus(-s (g(cos θ) - m) - b) + (1 - λ) Σ softplus(s (g(cos θ_j) + m) + b)"
    source = "Wen et al. 2022, arXiv 2108.01513"
    scale = 40.0
    default_grad = "exact"
    reducer = "softplus"

    def __init__(self, margin: float = 0.4, exponent: float = 3.0, balance: float = 0.7, weight: float = 50.0) -> None:
        super().__init__()
        self.margin = checked("margin", margin, 0, 2, "a cosine; the authors' code has 0.4")
        self.exponent = checked("exponent", exponent, 1, 32, "of g; the authors' code has 3")
        self.balance = checked("balance", balance, 1e-6, 1, "weight of the positives; the authors' code has 0.7")
        self.weight = checked("weight", weight, 1e-6, math.inf, "of the loss; the authors' code has 50")
        self.threshold = nn.Parameter(torch.zeros(()))

    def prepare(self, num_classes: int, scale: float) -> None:
        at_zero = 2 * 0.5**self.exponent - 1
        others = scale * (at_zero + self.margin)
        ratio = self.balance / ((1 - self.balance) * (num_classes - 1))
        # the positive root of exp(b): balance (1 - sigmoid(own)) = (1 - balance)(C - 1) sigmoid(others)
        root = 1 - ratio + math.sqrt((1 - ratio) ** 2 + 4 * ratio * math.exp(-2 * scale * self.margin))
        nn.init.constant_(self.threshold, math.log(2 * ratio) - others - math.log(root))

    def bend(self, cos: Tensor, angle: Amount, cosine: Amount) -> Tensor:
        return 2 * ((cos + 1) / 2).clamp_min(0).pow(self.exponent) - 1 - self.margin

    def negatives(self, target: Tensor) -> Similarity:
        return Similarity(self.exponent)

    def offset(self, scale: float) -> Tensor:
        return scale * self.margin + self.threshold

    def loss(self, psi: Tensor, others: Tensor, scale: float) -> Tensor:
        own = F.softplus(-scale * psi - self.threshold)
        return self.weight / scale * (self.balance * own + (1 - self.balance) * others)
