from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vultus.errors import VultusError
from vultus.losses import create_loss, list_losses

MARGIN = {"normface": 0.0, "cosface": 0.35, "arcface": 0.5}


def naive_losses(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, scale: float) -> Tensor:
    """The papers' formulas, straight down; (B,) losses inside the papers' domain, theta + margin below pi."""
    losses = []
    for i, label in enumerate(labels.tolist()):
        logits = []
        for j in range(len(weight)):
            if name == "softmax":
                assert bias is not None
                logits.append((x[i] * weight[j]).sum() + bias[j])
                continue
            cos = (x[i] * weight[j]).sum() / (x[i].norm() * weight[j].norm())
            if j == label and name == "cosface":
                cos = cos - MARGIN[name]
            if j == label and name == "arcface":
                cos = torch.cos(torch.acos(cos) + MARGIN[name])
            logits.append(scale * cos)
        one_hot = torch.eye(len(weight), dtype=x.dtype)[label]
        losses.append(-(one_hot * torch.log_softmax(torch.stack(logits), 0)).sum())
    return torch.stack(losses)


def grad_of(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def make(
    name: str, batch: int, classes: int, dim: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64, **kwargs
):
    """A loss and a batch whose target angles stay inside the papers' domain."""
    generator = torch.Generator().manual_seed(seed)
    loss = create_loss(name, dim, classes, **kwargs).to(dtype)
    with torch.no_grad():
        loss.centers.weight.copy_(torch.randn(classes, dim, generator=generator, dtype=torch.float64))
        if loss.centers.bias is not None:
            loss.centers.bias.copy_(torch.randn(classes, generator=generator, dtype=torch.float64))
    labels = torch.randint(classes, (batch,), generator=generator)
    noise = torch.randn(batch, dim, generator=generator, dtype=torch.float64)
    x = (2 * loss.centers.weight.detach().double()[labels] + noise).to(dtype).requires_grad_()
    return loss, x, labels


@pytest.mark.parametrize("name", list_losses())
@pytest.mark.parametrize(("batch", "classes"), [(5, 7), (1, 7), (4, 2), (1, 2)])
def test_values_and_gradients_are_those_of_the_papers_formula(name: str, batch: int, classes: int):
    exact: dict[str, Any] = {"margin_grad": "exact"} if name == "arcface" else {}
    loss, x, labels = make(name, batch, classes, **exact)
    weight, bias = loss.centers.weight, loss.centers.bias
    parameters = [x, weight] if bias is None else [x, weight, bias]
    expected = naive_losses(name, x, weight, bias, labels, loss.scale)
    torch.testing.assert_close(loss(x, labels, reduction="none"), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(loss(x, labels), expected.mean(), rtol=1e-9, atol=1e-9)
    got = torch.autograd.grad(loss(x, labels), parameters)
    for mine, theirs in zip(got, torch.autograd.grad(expected.mean(), parameters), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", list_losses())
def test_gradcheck(name: str):
    # A small scale, or the finite differences of exp(64 ...) would be the thing tested.
    options: dict[str, Any] = {} if name == "softmax" else {"scale": 4.0}
    if name == "arcface":
        options["margin_grad"] = "exact"
    loss, x, labels = make(name, 4, 5, **options)

    def function(x: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(loss, {"centers.weight": weight}, (x, labels))  # pyright: ignore

    assert torch.autograd.gradcheck(function, (x, loss.centers.weight))


def test_float32_follows_float64():
    for name in list_losses():
        single, x, labels = make(name, 16, 50, dim=32, dtype=torch.float32)
        double, x64, _ = make(name, 16, 50, dim=32)
        (value := single(x, labels)).backward()
        (value64 := double(x64, labels)).backward()
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), value64, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(grad_of(x).double(), x64.grad, rtol=1e-3, atol=1e-5)


def test_margin_gradient_modes_share_the_value_and_differ_in_the_target():
    exact, x, labels = make("arcface", 5, 7, scale=4.0, margin_grad="exact")
    detached, _, _ = make("arcface", 5, 7, scale=4.0, margin_grad="detached")
    assert create_loss("arcface", 6, 7).margin.margin_grad == "detached"
    torch.testing.assert_close(exact(x, labels), detached(x, labels))
    cos = torch.linspace(-0.99, 0.99, 51, dtype=torch.float64, requires_grad=True)
    norm = torch.ones_like(cos)
    (slope,) = torch.autograd.grad(detached.margin(cos, norm).sum(), cos)
    torch.testing.assert_close(slope, torch.ones_like(slope))
    (slope,) = torch.autograd.grad(exact.margin(cos, norm).sum(), cos)
    theta = torch.acos(cos.detach())
    torch.testing.assert_close(slope, (torch.sin(theta + 0.5) / torch.sin(theta)).abs())


def test_detached_gradient_is_that_of_a_constant_added_to_the_target_cosine():
    loss, x, labels = make("arcface", 5, 7, scale=4.0, margin_grad="detached")
    cos = F.normalize(x, dim=1) @ F.normalize(loss.centers.weight, dim=1).T
    one_hot = F.one_hot(labels, 7)
    offset = (torch.cos(torch.acos(cos) + 0.5) - cos).detach()
    expected = F.cross_entropy(4.0 * (cos + one_hot * offset), labels)
    parameters = [x, loss.centers.weight]
    got = torch.autograd.grad(loss(x, labels), parameters)
    for mine, theirs in zip(got, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", list_losses())
def test_a_solved_sample_keeps_its_small_loss_and_gradient_in_float32(name: str):
    """Where 1 - p is far below float32's epsilon, log-softmax would return exactly 0 and a zero gradient."""

    def solved(dtype: torch.dtype):
        loss = create_loss(name, 2, 2, **({} if name == "softmax" else {"scale": 24.0, "margin_grad": None})).to(dtype)
        angle = 0.3
        with torch.no_grad():
            loss.centers.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.2]]))
        size = 12.0 if name == "softmax" else 1.0
        x = (size * torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=dtype)).requires_grad_()
        loss(x, torch.tensor([0])).backward()
        return loss(x, torch.tensor([0])).detach().double(), grad_of(x).double()

    value, gradient = solved(torch.float32)
    value64, gradient64 = solved(torch.float64)
    assert 0 < value64 < 1e-7
    torch.testing.assert_close(value, value64, rtol=1e-4, atol=0)
    torch.testing.assert_close(gradient, gradient64, rtol=1e-3, atol=float(gradient64.abs().max()) * 1e-3)


@pytest.mark.parametrize("name", list_losses())
@pytest.mark.parametrize("mode", ["exact", "detached"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_where_the_embedding_is_its_centre_or_opposite(name: str, mode: str, sign: float, dtype: torch.dtype):
    options: dict[str, Any] = {"margin_grad": mode} if name == "arcface" else {}
    loss, _, labels = make(name, 8, 5, dtype=dtype, **options)
    x = (sign * loss.centers.weight.detach()[labels]).requires_grad_()
    loss(x, labels).backward()
    for tensor in (x, loss.centers.weight):
        assert grad_of(tensor).isfinite().all()
        assert grad_of(tensor).abs().max() < 4 * loss.scale


@pytest.mark.parametrize("name", list_losses())
def test_computes_in_float32_under_autocast(name: str):
    loss, x, labels = make(name, 8, 20, dim=16, dtype=torch.float32)
    half = x.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(half, labels)
    value.backward()
    assert value.dtype == torch.float32 and grad_of(half).dtype == torch.bfloat16
    torch.testing.assert_close(value, loss(half.float(), labels))


@pytest.mark.parametrize("name", list_losses())
def test_training_on_two_batches_goes_down(name: str):
    torch.manual_seed(0)
    loss = create_loss(name, 8, 10)
    x, labels = torch.randn(32, 8, requires_grad=True), torch.arange(32) % 10
    optimizer = torch.optim.SGD([x, *loss.parameters()], lr=1.0 if name == "softmax" else 0.1)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(x, labels)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.5 * values[0] and all(map(math.isfinite, values))


def test_labels_of_any_integer_type():
    loss, x, labels = make("arcface", 5, 7)
    assert loss(x, labels.int()) == loss(x, labels) == loss(x, labels.to(torch.uint8))


@pytest.mark.parametrize(
    ("x", "labels", "words"),
    [
        (torch.ones(2, 6), torch.tensor([0, 7]), "row 1 is 7, outside 0..6"),
        (torch.ones(2, 6), torch.tensor([-1, 0]), "row 0 is -1"),
        (torch.ones(2, 6), torch.tensor([0.0, 1.0]), "expected integers, got torch.float32"),
        (torch.ones(2, 6), torch.tensor([0, 1, 2]), "one for each of 2 embeddings"),
        (torch.ones(0, 6), torch.zeros(0, dtype=torch.long), "at least one"),
        (torch.ones(2, 5), torch.tensor([0, 1]), r"shape \(batch, 6\)"),
        (torch.ones(2, 6, dtype=torch.long), torch.tensor([0, 1]), "expected floats"),
    ],
)
def test_a_wrong_batch_is_named(x: Tensor, labels: Tensor, words: str):
    with pytest.raises(VultusError, match=words):
        create_loss("arcface", 6, 7)(x, labels)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("arcfase", {}, 'did you mean "arcface"'),
        ("nonsense", {}, "known are arcface, cosface, normface, softmax"),
        ("softmax", {"margin": 0.5}, 'no parameter "margin"'),
        ("softmax", {"scale": 64}, "has no scale"),
        ("normface", {"margin": 0.5}, 'no parameter "margin"'),
        ("arcface", {"marginn": 0.5}, "it takes margin"),
        ("arcface", {"margin": -0.1}, "margin=-0.1"),
        ("arcface", {"margin": 28.6}, "radians"),
        ("arcface", {"margin": math.nan}, "margin=nan"),
        ("arcface", {"scale": 0}, "scale=0"),
        ("arcface", {"margin_grad": "none"}, '"exact" or "detached"'),
        ("cosface", {"margin_grad": "exact"}, "same gradient"),
        ("softmax", {"margin_grad": "detached"}, "same gradient"),
        ("arcface", {"engine": "dens"}, 'did you mean "dense"'),
        ("arcface", {"num_classes": 1}, "at least 2 classes"),
        ("arcface", {"embedding_dim": 0}, "embedding_dim=0"),
    ],
)
def test_a_wrong_option_is_named(name: str, options: dict, words: str):
    with pytest.raises(VultusError, match=words):
        create_loss(name, **{"embedding_dim": 6, "num_classes": 7, **options})


def test_names_take_any_case_and_none_means_the_default():
    loss = create_loss("ArcFace", 6, 7, scale=None, margin=None, margin_grad=None)
    assert loss.scale == 64 and loss.margin.margin == 0.5
    assert list_losses() == ["arcface", "cosface", "normface", "softmax"]


def test_state_dict_names_are_the_centres():
    assert {k: tuple(v.shape) for k, v in create_loss("arcface", 6, 7).state_dict().items()} == {
        "centers.weight": (7, 6)
    }
    assert list(create_loss("softmax", 6, 7).state_dict()) == ["centers.weight", "centers.bias"]
