from __future__ import annotations

import math

import pytest
import torch

from vultus.losses.angles import SINE_FLOOR, add_angle, sine


def naive_psi(cos: float, margin: float) -> float:
    """ArcFace's target by the angle itself, mirrored past pi."""
    angle = math.acos(max(-1.0, min(1.0, cos))) + margin
    return math.cos(angle) if angle <= math.pi else -2 - math.cos(angle)


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.2, 2.0])
def test_adds_the_angle_and_mirrors_past_pi(margin: float):
    theta = torch.linspace(0, math.pi, 997, dtype=torch.float64)
    cos = torch.cos(theta)
    expected = torch.tensor([naive_psi(float(c), margin) for c in cos], dtype=torch.float64)
    error = (add_angle(cos, margin) - expected).abs()
    inside = torch.sin(theta) > SINE_FLOOR
    assert error[inside].max() < 1e-12
    assert error.max() <= SINE_FLOOR / 4


@pytest.mark.parametrize("margin", [0.2, 0.5, 1.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_falls_with_the_angle_everywhere_without_a_jump(margin: float, dtype: torch.dtype):
    theta = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    cos = torch.cos(theta).to(dtype).requires_grad_()
    value = add_angle(cos, margin)
    (slope,) = torch.autograd.grad(value.sum(), cos)
    # float32's rounding of the cosine itself is worth 3e-4 radians near the ends.
    step = value.detach().diff()
    assert step.max() <= (1e-12 if dtype == torch.float64 else 1e-6)
    assert step.abs().max() < 2e-3
    assert (slope >= -1e-3).all()


def test_ends_are_exact_and_their_gradients_bounded_even_an_ulp_outside():
    ends = torch.tensor([1.0, -1.0, 1 + 1.2e-7, -1 - 1.2e-7], requires_grad=True)
    value = add_angle(ends, 0.5)
    expected = torch.tensor([math.cos(0.5), -2 + math.cos(0.5)]).repeat(2)
    torch.testing.assert_close(value, expected, rtol=0, atol=3e-4)
    assert torch.equal(value[:2], expected[:2])
    (slope,) = torch.autograd.grad(value.sum(), ends)
    assert slope.isfinite().all() and slope.abs().max() <= 2.01 / SINE_FLOOR


def test_sine_agrees_with_the_sine():
    theta = torch.linspace(SINE_FLOOR * 1.01, math.pi - SINE_FLOOR * 1.01, 1001, dtype=torch.float64)
    torch.testing.assert_close(sine(torch.cos(theta)), torch.sin(theta), rtol=1e-9, atol=1e-12)
