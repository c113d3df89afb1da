from __future__ import annotations

import math

import pytest
import torch

from vultus.losses.angles import SINE_FLOOR, past_pi, sine, theta, turn


def naive_turn(cos: float, angle: float, factor: float) -> float:
    """By the angle itself, continued in both directions as SphereFace does past pi."""
    phi = factor * math.acos(max(-1.0, min(1.0, cos))) + angle
    half_turns = math.floor(phi / math.pi)
    return (-1) ** half_turns * math.cos(phi) - 2 * half_turns


CASES = [(0.0, 1.0), (0.2, 1.0), (0.5, 1.0), (2.0, 1.0), (-0.3, 1.0), (-1.2, 1.0), (0.0, 1.7), (0.4, 0.9), (0.0, 4.0)]


@pytest.mark.parametrize(("angle", "factor"), CASES)
def test_turns_the_angle_and_continues_beyond_both_ends(angle: float, factor: float):
    angles = torch.linspace(0, math.pi, 997, dtype=torch.float64)
    cos = torch.cos(angles)
    expected = torch.tensor([naive_turn(float(c), angle, factor) for c in cos], dtype=torch.float64)
    error = (turn(cos, angle, factor) - expected).abs()
    inside = torch.sin(angles) > SINE_FLOOR
    assert error[inside].max() < 1e-9
    assert error.max() <= factor * SINE_FLOOR / 4


@pytest.mark.parametrize(("angle", "factor"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_falls_with_the_angle_everywhere_without_a_jump(angle: float, factor: float, dtype: torch.dtype):
    angles = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    cos = torch.cos(angles).to(dtype).requires_grad_()
    value = turn(cos, angle, factor)
    (slope,) = torch.autograd.grad(value.sum(), cos)
    # float32's rounding of the cosine itself is worth 3e-4 radians near the ends.
    step = value.detach().diff()
    assert step.max() <= (1e-12 if dtype == torch.float64 else 2e-6)
    assert step.abs().max() < 2e-3 * max(1.0, factor)
    assert (slope >= -2e-3).all()


@pytest.mark.parametrize(("angle", "factor"), CASES)
def test_ends_are_right_and_their_gradients_bounded_even_an_ulp_outside(angle: float, factor: float):
    ends = torch.tensor([1.0, -1.0, 1 + 1.2e-7, -1 - 1.2e-7], requires_grad=True)
    value = turn(ends, angle, factor)
    expected = torch.tensor([naive_turn(1.0, angle, factor), naive_turn(-1.0, angle, factor)]).repeat(2)
    torch.testing.assert_close(value, expected, rtol=0, atol=factor * 3e-4)
    (slope,) = torch.autograd.grad(value.sum(), ends)
    assert slope.isfinite().all() and slope.abs().max() <= factor * 2.01 / SINE_FLOOR


def test_an_angle_for_each_sample_is_the_same_as_one_at_a_time():
    cos = torch.linspace(-0.99, 0.99, 7, dtype=torch.float64)
    angles = torch.tensor([0.5, -0.4, 0.0, 1.0, -1.0, 2.0, 0.1], dtype=torch.float64)
    together = turn(cos, angles)
    for one, c, a in zip(together, cos, angles, strict=True):
        assert float(one) == pytest.approx(naive_turn(float(c), float(a), 1.0), abs=1e-12)


def test_sine_and_theta_agree_with_the_angle():
    angles = torch.linspace(SINE_FLOOR * 1.01, math.pi - SINE_FLOOR * 1.01, 1001, dtype=torch.float64)
    torch.testing.assert_close(sine(torch.cos(angles)), torch.sin(angles), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(theta(torch.cos(angles)), angles, rtol=1e-9, atol=1e-12)


def test_past_pi():
    cos = torch.tensor([math.cos(math.pi - 0.6), math.cos(math.pi - 0.4), 0.0])
    assert past_pi(cos, 0.5).tolist() == [False, True, False]
    assert past_pi(cos, 0.0, 2.5).tolist() == [True, True, True]
