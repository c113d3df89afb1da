"""Margins that follow the length of the raw embedding, which grows with the quality of the photograph."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vultus.errors import VultusError
from vultus.losses.margins.margin import Amount, Margin, checked, checked_angle
from vultus.losses.ranks import moments


class AdaFace(Margin):
    """psi = cos(theta - m q) - (m + m q), q = clip(h (|x| - mean) / (deviation + 1e-3), -1, 1).

    A sample of low quality (q = -1) gets an ArcFace margin m, a middling one CosFace's m, a good one an angular margin
    of -m and 2 m off the cosine. The norm is clipped to [1e-3, 100] and has no gradient. Mean and deviation are moving
    averages over batches (all ranks together), saved with the loss.

    margin: m = 0.4; h = 0.333; momentum: the share 0.01 of the newest batch; s = 64: from the paper. The averages start
    at 20 and 100, as in the authors' code: q is near 0 (CosFace) until they have come down, after a few hundred steps.
    """

    formula = "cos(θ - m q) - (m + m q), q = clip(h (‖x‖ - μ) / σ, -1, 1)"
    source = "Kim, Jain, Liu 2022, arXiv 2204.00964"
    default_grad = "exact"

    def __init__(self, margin: float = 0.4, h: float = 0.333, momentum: float = 0.01) -> None:
        super().__init__()
        self.margin = checked("margin", margin, 0, 1, "radians and cosine; the paper has 0.4")
        self.h = checked("h", h, 0, 10, "share of deviations that reaches the clip; the paper has 0.333")
        self.momentum = checked("momentum", momentum, 0, 1, "share of the newest batch; the paper has 0.01")
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_deviation", torch.tensor(100.0))
        self.norm_mean: Tensor
        self.norm_deviation: Tensor

    def margins(self, cos: Tensor, norm: Tensor) -> tuple[Amount, Amount]:
        norm = norm.detach().clamp(1e-3, 100.0)
        if self.training:
            mean, deviation, count = moments(norm, self.over_ranks)
            if count > 1:  # one sample has no deviation
                self.norm_mean.lerp_(mean.to(self.norm_mean), self.momentum)
                self.norm_deviation.lerp_(deviation.to(self.norm_deviation), self.momentum)
        quality = (self.h * (norm - self.norm_mean) / (self.norm_deviation + 1e-3)).clamp(-1, 1)
        return -self.margin * quality, self.margin + self.margin * quality


class MagFace(Margin):
    """psi = cos(theta + m(a)), m(a) linear from margin_low at a = norm_low to margin_high at norm_high; a = |x| clipped
    to that range. To the loss comes weight * (a / norm_high^2 + 1 / a), which rewards long embeddings.

    The gradient runs through the norm in both terms (or only the reward would act on it), and stops where it is
    clipped. Defaults 10, 110, 0.45, 0.8, 35, s = 64: the authors' training script. A weight that lets the reward win
    at both ends is at least s * slope * norm_high^2 * norm_low^2 / (norm_high^2 - norm_low^2), here 22.6.
    """

    formula = "cos(θ + m(‖x‖)), + λ (‖x‖ / u² + 1 / ‖x‖)"
    source = "Meng et al. 2021, arXiv 2103.06627"
    default_grad = "exact"

    def __init__(
        self,
        norm_low: float = 10.0,
        norm_high: float = 110.0,
        margin_low: float = 0.45,
        margin_high: float = 0.8,
        weight: float = 35.0,
    ) -> None:
        super().__init__()
        self.norm_low = checked("norm_low", norm_low, 1e-3, 1e6, "length of the raw embedding; the paper has 10")
        self.norm_high = checked("norm_high", norm_high, 1e-3, 1e6, "length of the raw embedding; the paper has 110")
        self.margin_low = checked_angle("margin_low", margin_low, "the paper has 0.45")
        self.margin_high = checked_angle("margin_high", margin_high, "the paper has 0.8")
        self.weight = checked("weight", weight, 0, math.inf, "of the reward; the authors' script has 35")
        for name, low, high in (("norm", norm_low, norm_high), ("margin", margin_low, margin_high)):
            if not low < high:
                raise VultusError(f"{name}_low={low} must be below {name}_high={high}")

    def margins(self, cos: Tensor, norm: Tensor) -> tuple[Amount, Amount]:
        slope = (self.margin_high - self.margin_low) / (self.norm_high - self.norm_low)
        return self.margin_low + slope * (norm.clamp(self.norm_low, self.norm_high) - self.norm_low), 0.0

    def penalty(self, norm: Tensor) -> Tensor:
        norm = norm.clamp(self.norm_low, self.norm_high)
        return self.weight * (norm / self.norm_high**2 + 1 / norm)
