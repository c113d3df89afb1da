"""Arithmetic on cosines without acos: finite and monotone where acos and sqrt are not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Below this sine (0.06 degrees) a float32 cosine no longer resolves the angle: one ulp under 1 is 0.02 degrees.
SINE_FLOOR = 1e-3


def sine(cos: Tensor) -> Tensor:
    """sin(theta) >= 0 of a cosine, any shape; exact for sin(theta) >= SINE_FLOOR and at cos = +-1.

    Between, the square root of u = (1 - cos)(1 + cos) is replaced by its chord u / SINE_FLOOR, so that the gradient is
    bounded by 2 / SINE_FLOOR (the true one is infinite at +-1) and the value is at most SINE_FLOOR / 4 too small.
    The chord also takes a cosine that rounding has put an ulp outside [-1, 1], so nothing has to be clamped.
    """
    u = (1 - cos) * (1 + cos)
    floor = SINE_FLOOR**2
    # The clamp keeps sqrt'(0) = inf out of the branch that is not taken: inf * 0 would be NaN.
    return torch.where(u > floor, u.clamp_min(floor).sqrt(), u / SINE_FLOOR)


def add_angle(cos: Tensor, margin: float) -> Tensor:
    """cos(theta + margin) of cos(theta), any shape, margin in radians in [0, pi), decreasing over all of [0, pi].

    Past theta = pi - margin the cosine would rise again and reward a worse sample; there -2 - cos(theta + margin)
    continues it: mirrored at its lowest point -1, so without the jump of the usual cos(theta) - margin * sin(margin),
    and with the gradient of the same size. The range is [-2 + cos(margin), cos(margin)].
    """
    shifted = cos * math.cos(margin) - sine(cos) * math.sin(margin)
    return torch.where(cos >= -math.cos(margin), shifted, -2 - shifted)
