"""Arithmetic on cosines: finite, bounded and monotone where acos and sqrt are not."""

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


def turn(cos: Tensor, angle: Tensor | float, factor: float = 1.0) -> Tensor:
    """What a cosine becomes when its angle theta does factor * theta + angle: cos(phi), and on beyond both its ends.

    A cosine alone would rise again past phi = pi and reward a worse sample (and fall again below 0 and punish a better
    one). Everywhere it is therefore (-1)^k cos(phi) - 2k with k = floor(phi / pi), SphereFace's continuation
    (arXiv 1704.08063): strictly decreasing in theta, without a jump, and with gradients of the same size.

    cos: any shape, float32 or float64. angle: radians in [-pi, pi], a number or like cos. factor: above 0. The gradient
    is bounded by that of `sine`; one other than 1 computes theta itself, by atan2, with the same bounds.
    """
    if factor == 1.0:
        angle = torch.as_tensor(angle, dtype=cos.dtype, device=cos.device)
        cos_angle = angle.cos()
        turned = cos * cos_angle - sine(cos) * angle.sin()
        over = (angle > 0) & (cos < -cos_angle)
        under = (angle < 0) & (cos > cos_angle)
        return torch.where(over, -2 - turned, torch.where(under, 2 - turned, turned))
    phi = factor * theta(cos) + angle
    half_turns = torch.floor(phi.detach() / math.pi)
    sign = 1 - 2 * torch.remainder(half_turns, 2)
    return sign * phi.cos() - 2 * half_turns


def theta(cos: Tensor) -> Tensor:
    """The angle of a cosine, radians in [0, pi], with a gradient of at most 2 / SINE_FLOOR."""
    return torch.atan2(sine(cos).clamp_min(0), cos)  # an ulp below -1 must not become an angle of -pi


def past_pi(cos: Tensor, angle: Tensor | float, factor: float = 1.0) -> Tensor:
    """Whether factor * theta + angle lies past pi, where `turn` has left the cosine; bool, like cos."""
    return factor * theta(cos.detach()) + angle > math.pi
