"""The margins themselves: their shape over all angles, their statistics, what they must not do."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from vultus.losses import create_loss, describe_loss
from vultus.losses.angles import SINE_FLOOR

DETACHED = {"arcface", "combined", "sphereface", "sphereface_r", "subcenter_arcface"}
ONE_GRADIENT = ["normface", "cosface", "adaface", "magface", "elasticface_arc", "elasticface_cos"]
ONE_GRADIENT += ["curricularface", "uniface", "sphereface2"]
MODES = [(name, mode) for name in sorted(DETACHED) for mode in ("exact", "detached")]
MODES += [(name, None) for name in ONE_GRADIENT]


def grad_of(tensor: torch.Tensor) -> torch.Tensor:
    assert tensor.grad is not None
    return tensor.grad


@pytest.mark.parametrize(("name", "mode"), MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", [1e-3, 5.0, 40.0, 500.0])
def test_the_target_falls_with_the_angle_without_a_jump_and_with_a_bounded_gradient(
    name: str, mode: str | None, dtype: torch.dtype, norm: float
):
    margin = create_loss(name, 4, 5, margin_grad=mode).margin.eval()
    if name == "adaface":  # or every quality would be 0
        margin.norm_mean.fill_(20.0)
        margin.norm_deviation.fill_(5.0)
    cos = torch.linspace(0, math.pi, 20001, dtype=torch.float64).cos().to(dtype).requires_grad_()
    psi = margin(cos, torch.full_like(cos, norm))
    (slope,) = torch.autograd.grad(psi.sum(), cos)
    step = psi.detach().diff()
    assert step.max() <= 2e-6, "psi must not reward a larger angle"
    assert step.abs().max() < 5e-3
    assert slope.isfinite().all() and slope.abs().max() <= 4 / SINE_FLOOR and (slope >= -2e-3).all()
    if mode == "detached":
        torch.testing.assert_close(slope, torch.ones_like(slope))


def test_defaults_of_the_gradient():
    for name in DETACHED:
        assert describe_loss(name).margin_grad == "detached"
    for name in ("adaface", "magface", "elasticface_arc", "elasticface_arc_plus", "curricularface", "sphereface2"):
        assert describe_loss(name).margin_grad == "exact"
    for name in ("softmax", "normface", "cosface", "elasticface_cos", "elasticface_cos_plus", "uniface"):
        assert describe_loss(name).margin_grad is None


def test_detached_gradient_is_that_of_a_constant_added_to_the_target_cosine(make):
    loss, x, labels = make("arcface", scale=4.0)
    cos = F.normalize(x, dim=1) @ F.normalize(loss.centers.weight, dim=1).T
    offset = (torch.cos(torch.acos(cos) + 0.5) - cos).detach()
    expected = F.cross_entropy(4.0 * (cos + F.one_hot(labels, 7) * offset), labels)
    parameters = [x, loss.centers.weight]
    got = torch.autograd.grad(loss(x, labels), parameters)
    for mine, theirs in zip(got, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("mode", ["exact", "detached"])
def test_magface_learns_through_the_norm_whatever_the_gradient_of_the_cosine(mode: str):
    """Without it only the reward for length would act, and all embeddings would grow."""
    margin = create_loss("magface", 4, 5, margin_grad=mode).margin
    cos = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    norm = torch.tensor([50.0], dtype=torch.float64, requires_grad=True)
    through_cos, through_norm = torch.autograd.grad(margin(cos, norm).sum(), [cos, norm])
    angle = math.acos(0.5) + 0.45 + 0.35 * 0.4
    assert float(through_norm) == pytest.approx(-math.sin(angle) * 0.35 / 100)
    exact = math.sin(angle) / math.sin(math.acos(0.5))
    assert float(through_cos) == pytest.approx(exact if mode == "exact" else 1.0)


def test_adaface_runs_from_arcface_over_cosface_to_a_negative_angle():
    margin = create_loss("adaface", 4, 5).margin.eval()
    margin.norm_mean.fill_(20.0)
    margin.norm_deviation.fill_(3.0)
    cos = torch.full((3,), 0.6, dtype=torch.float64)
    low, middle, high = margin(cos, torch.tensor([1.0, 20.0, 90.0], dtype=torch.float64)).tolist()
    theta = math.acos(0.6)
    assert low == pytest.approx(math.cos(theta + 0.4))
    assert middle == pytest.approx(0.6 - 0.4, abs=1e-6)
    assert high == pytest.approx(math.cos(theta - 0.4) - 0.8)


def test_adaface_statistics_move_in_training_only_and_are_saved(make):
    loss, x, labels = make("adaface", batch=8)
    norms = x.detach().norm(dim=1).clamp(1e-3, 100)
    loss(x, labels)
    assert float(loss.margin.norm_mean) == pytest.approx(0.99 * 20 + 0.01 * float(norms.mean()))
    assert float(loss.margin.norm_deviation) == pytest.approx(0.99 * 100 + 0.01 * float(norms.std()))
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    assert {"margin.norm_mean", "margin.norm_deviation"} <= set(state)
    loss.eval()(x, labels)
    loss.train()(x[:1], labels[:1])  # one sample has no deviation
    assert all(torch.equal(value, state[key]) for key, value in loss.state_dict().items())


def test_curricular_average_moves_in_training_only_and_is_saved(make):
    loss, x, labels = make("curricularface", batch=8)
    loss(x, labels)
    cos = F.cosine_similarity(x, loss.centers.weight[labels]).mean()
    assert float(loss.state_dict()["margin.t"]) == pytest.approx(0.01 * float(cos.detach()))
    loss.eval()(x, labels)
    assert float(loss.margin.t) == pytest.approx(0.01 * float(cos.detach()))


@pytest.mark.parametrize("name", ["elasticface_arc", "elasticface_cos", "elasticface_arc_plus", "elasticface_cos_plus"])
def test_elastic_margins_have_the_papers_spread(name: str):
    mean, sigma = describe_loss(name).parameters["margin"], describe_loss(name).parameters["sigma"]
    assert (mean, sigma) == {
        "elasticface_arc": (0.5, 0.05),
        "elasticface_cos": (0.35, 0.05),
        "elasticface_arc_plus": (0.5, 0.0175),
        "elasticface_cos_plus": (0.35, 0.025),
    }[name]
    margin = create_loss(name, 4, 5).margin
    cos = torch.rand(20_000) * 2 - 1
    draws = torch.cat([margin.draw(cos) for _ in range(5)])
    assert float(draws.mean()) == pytest.approx(mean, abs=6 * sigma / math.sqrt(1e5))
    assert float(draws.std()) == pytest.approx(sigma, rel=0.02)


def test_elastic_plus_gives_larger_margins_to_smaller_cosines():
    """With argsort in place of ranks, as in the published code, the correlation would be about 0."""
    cos = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    plus = create_loss("elasticface_arc_plus", 4, 5).margin.draw(cos)
    plain = create_loss("elasticface_arc", 4, 5).margin.draw(cos)

    def correlation(margins: Any) -> float:
        return float(torch.corrcoef(torch.stack([cos, margins]))[0, 1])

    assert correlation(plus) < -0.95
    assert abs(correlation(plain)) < 0.15
    order = cos.argsort(descending=True)
    assert (plus[order].diff() >= 0).all()


def test_elastic_draws_differ_from_step_to_step_and_go_on_after_a_restart():
    cos = torch.zeros(6)
    first = create_loss("elasticface_arc", 4, 5).margin
    draws = [first.draw(cos) for _ in range(3)]
    assert not torch.equal(draws[0], draws[1])
    again = create_loss("elasticface_arc", 4, 5).margin
    again.draw(cos)
    restarted = create_loss("elasticface_arc", 4, 5).margin
    restarted.load_state_dict(again.state_dict())
    assert torch.equal(restarted.draw(cos), draws[1])
    other = create_loss("elasticface_arc", 4, 5, seed=1).margin
    assert not torch.equal(other.draw(cos), draws[0])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_where_the_embedding_is_its_centre_or_opposite(margin_loss: str, sign: float, dtype: torch.dtype, make):
    for mode in ("exact", "detached") if margin_loss in DETACHED else (None,):
        loss, _, labels = make(margin_loss, 8, 5, dtype=dtype, margin_grad=mode)
        own = loss.centers.weight.detach()[labels * loss.margin.subcenters]
        x = (sign * own).requires_grad_()
        loss(x, labels).backward()
        for tensor in (x, loss.centers.weight):
            assert grad_of(tensor).isfinite().all()
            assert grad_of(tensor).abs().max() < 4 * max(loss.scale, 50.0)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_computes_in_float32_under_autocast(margin_loss: str, half: torch.dtype, make):
    loss, x, labels = make(margin_loss, 8, 20, dim=16, dtype=torch.float32)
    loss.eval()
    rounded = x.detach().to(half).requires_grad_()
    with torch.autocast("cpu", half):
        value = loss(rounded, labels)
    value.backward()
    assert value.dtype == torch.float32 and grad_of(rounded).dtype == half and grad_of(rounded).isfinite().all()
    torch.testing.assert_close(value, loss(rounded.float(), labels))


def test_a_solved_sample_keeps_its_small_loss_and_gradient_in_float32(margin_loss: str):
    """Where 1 - p is far below float32's epsilon, log-softmax would return exactly 0 and a zero gradient."""
    if margin_loss == "magface":
        pytest.skip("its reward for length is never small")

    def solved(dtype: torch.dtype):
        options: dict[str, Any] = {} if margin_loss == "softmax" else {"scale": 24.0}
        loss = create_loss(margin_loss, 2, 2, **options).to(dtype).eval()
        angle = 0.1
        with torch.no_grad():
            rows = torch.tensor([[1.0, 0.0], [-1.0, 0.2]]).repeat_interleave(loss.margin.subcenters, 0)
            loss.centers.weight.copy_(rows)
            if hasattr(loss.margin, "threshold"):
                loss.margin.threshold.zero_()
        size = 12.0 if margin_loss == "softmax" else 1.0
        x = (size * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=dtype)).requires_grad_()
        loss(x, torch.tensor([0])).backward()
        return loss(x, torch.tensor([0])).detach().double(), grad_of(x).double()

    value, gradient = solved(torch.float32)
    value64, gradient64 = solved(torch.float64)
    assert 0 < value64 < 1e-3
    torch.testing.assert_close(value, value64, rtol=1e-4, atol=0)
    torch.testing.assert_close(gradient, gradient64, rtol=1e-3, atol=float(gradient64.abs().max()) * 1e-3)
