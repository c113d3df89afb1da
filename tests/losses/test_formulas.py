"""Every loss against its paper's formula, written straight down in a loop, in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

EXACT = {"arcface", "combined", "sphereface", "sphereface_r", "subcenter_arcface"}
"""Losses whose default gradient is not that of the formula."""


def angle_between(a: Tensor, b: Tensor) -> Tensor:
    return torch.acos((a * b).sum() / (a.norm() * b.norm()))


def softmax_loss(own: Tensor, others: list[Tensor]) -> Tensor:
    """-log of the target's share, as in every paper."""
    logits = torch.stack([own, *others])
    return -(logits[0] - logits.max() - torch.log(torch.exp(logits - logits.max()).sum()))


def log1pexp(value: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(value))


def naive(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, extra: dict[str, Any]) -> Tensor:
    """(B,) losses with the papers' default parameters."""
    s = {"sphereface": 30.0, "sphereface_r": 30.0, "sphereface2": 40.0}.get(name, 64.0)
    norms = [row.norm() for row in x]
    clipped = torch.stack(norms).detach().clamp(1e-3, 100)
    losses = []
    for i, label in enumerate(labels.tolist()):
        if name == "softmax":
            assert bias is not None
            logits = [(x[i] * weight[j]).sum() + bias[j] for j in range(len(weight))]
            losses.append(softmax_loss(logits[label], [z for j, z in enumerate(logits) if j != label]))
            continue
        if name == "subcenter_arcface":
            nearest = [min(angle_between(x[i], w) for w in three) for three in weight.split(3)]
            theta, rest = nearest[label], [t for j, t in enumerate(nearest) if j != label]
        else:
            theta = angle_between(x[i], weight[label])
            rest = [angle_between(x[i], w) for j, w in enumerate(weight) if j != label]
        others = [s * torch.cos(t) for t in rest]
        if name == "normface":
            losses.append(softmax_loss(s * torch.cos(theta), others))
        elif name in ("arcface", "subcenter_arcface", "elasticface_arc", "elasticface_arc_plus"):
            losses.append(softmax_loss(s * torch.cos(theta + 0.5), others))
        elif name in ("cosface", "elasticface_cos", "elasticface_cos_plus"):
            losses.append(softmax_loss(s * (torch.cos(theta) - 0.35), others))
        elif name == "combined":
            losses.append(softmax_loss(s * (torch.cos(theta + 0.3) - 0.2), others))
        elif name == "sphereface":
            k = math.floor(1.7 * float(theta.detach()) / math.pi)
            losses.append(softmax_loss(s * ((-1) ** k * torch.cos(1.7 * theta) - 2 * k), others))
        elif name == "sphereface_r":
            losses.append(softmax_loss(s * torch.cos(torch.clamp(1.5 * theta, max=math.pi)), others))
        elif name == "adaface":
            mean, deviation = 20.0, 100.0
            if len(x) > 1:
                mean = 0.99 * mean + 0.01 * float(clipped.mean())
                deviation = 0.99 * deviation + 0.01 * float(clipped.std())
            quality = float(((clipped[i] - mean) / (deviation + 1e-3) * 0.333).clamp(-1, 1))
            psi = torch.cos(theta - 0.4 * quality) - (0.4 + 0.4 * quality)
            losses.append(softmax_loss(s * psi, others))
        elif name == "magface":
            a = norms[i].clamp(10, 110)
            m = (0.8 - 0.45) / (110 - 10) * (a - 10) + 0.45
            losses.append(softmax_loss(s * torch.cos(theta + m), others) + 35 * (a / 110**2 + 1 / a))
        elif name == "curricularface":
            t = extra["t"]
            psi = torch.cos(theta + 0.5)
            hard = [torch.cos(r) * (t + torch.cos(r)) if torch.cos(r) > psi else torch.cos(r) for r in rest]
            losses.append(softmax_loss(s * psi, [s * value for value in hard]))
        elif name == "uniface":
            b = extra["threshold"]
            negatives = sum((log1pexp(z - b) for z in others), torch.zeros(()))
            losses.append(log1pexp(-(s * (torch.cos(theta) - 0.4) - b)) + negatives)
        elif name == "sphereface2":
            b, balance = extra["threshold"], 0.7

            def g(t: Tensor) -> Tensor:
                return 2 * ((torch.cos(t) + 1) / 2) ** 3 - 1

            own = log1pexp(-s * (g(theta) - 0.4) - b)
            negatives = sum((log1pexp(s * (g(r) + 0.4) + b) for r in rest), torch.zeros(()))
            losses.append(50 * (balance / s * own + (1 - balance) / s * negatives))
        else:
            raise AssertionError(f"write the formula of {name}")
    return torch.stack(losses)


def curricular_t(x: Tensor, weight: Tensor, labels: Tensor) -> float:
    cosines = [float(torch.cos(angle_between(x[i], weight[y]))) for i, y in enumerate(labels.tolist())]
    return 0.01 * sum(cosines) / len(cosines)


@pytest.mark.parametrize(("batch", "classes"), [(5, 7), (1, 7), (4, 2), (1, 2)])
@pytest.mark.parametrize(("engine", "keep"), [("dense", None), ("cut", True), ("cut", False)])
def test_values_and_gradients_are_those_of_the_papers(
    margin_loss: str, batch: int, classes: int, engine: str, keep: bool | None, make, small_chunks
):
    small_chunks(3)
    options: dict[str, Any] = {"margin_grad": "exact"} if margin_loss in EXACT else {}
    loss, x, labels = make(margin_loss, batch, classes, engine=engine, keep=keep, **options)
    if margin_loss.startswith("elastic"):
        loss.eval()  # the mean margin; the draws have tests of their own
    parameters = [x, *loss.parameters()]
    weight, bias = loss.centers.weight, loss.centers.bias
    extra: dict[str, Any] = {"threshold": getattr(loss.margin, "threshold", None)}
    extra["t"] = curricular_t(x.detach(), weight.detach(), labels)
    expected = naive(margin_loss, x, weight, bias, labels, extra)
    got = loss(x, labels, reduction="none")
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-9)
    gradients = torch.autograd.grad(got.mean(), parameters)
    for mine, theirs in zip(gradients, torch.autograd.grad(expected.mean(), parameters), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8)


def test_uniface_and_sphereface2_start_where_their_authors_say(make):
    loss, _, _ = make("uniface", classes=7)
    assert loss.margin.threshold.item() == pytest.approx(math.log(70))
    loss, _, _ = make("sphereface2", classes=7)
    b, s = loss.margin.threshold.item(), 40.0
    g0 = 2 * 0.5**3 - 1
    own = 0.7 * (1 - 1 / (1 + math.exp(-(s * (g0 - 0.4) + b))))
    others = 0.3 * 6 / (1 + math.exp(-(s * (g0 + 0.4) + b)))
    assert own == pytest.approx(others, rel=1e-5)


def test_combined_really_combines_all_three(make):
    """arcface_torch's drops m1 and m2 as soon as m3 > 0."""
    values = {}
    for m1, m2, m3 in [(1.0, 0.0, 0.2), (1.0, 0.3, 0.2), (0.9, 0.3, 0.2), (1.0, 0.3, 0.0)]:
        loss, x, labels = make("combined", m1=m1, m2=m2, m3=m3)
        values[m1, m2, m3] = float(loss(x, labels).detach())
    assert len(set(values.values())) == 4
    arc, x, labels = make("arcface", margin=0.3)
    assert values[1.0, 0.3, 0.0] == pytest.approx(float(arc(x, labels).detach()))
    loss, x, labels = make("combined", m1=0.9, m2=0.4, m3=0.15)
    cos = torch.tensor([0.8], dtype=torch.float64)
    expected = math.cos(0.9 * math.acos(0.8) + 0.4) - 0.15
    assert float(loss.margin(cos, torch.ones(1)).detach()) == pytest.approx(expected)
