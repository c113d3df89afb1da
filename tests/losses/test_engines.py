"""Engines agree with one another, with autograd, and with themselves in any number of chunks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from vultus.losses.margins.binary import Similarity
from vultus.losses.margins.curricular import HardNegatives
from vultus.losses.walk import Plan, Reduction
from vultus.losses.walk.chunks import walk_chunks


def autograd_walk(x: Tensor, weight: Tensor, bias, offset, labels: Tensor, task: Reduction) -> tuple[Tensor, Tensor]:
    """The contract in plain autograd, all logits at once."""
    rows = F.normalize(weight, dim=1) if task.normalized else weight
    products = x @ rows.T
    products = products.view(len(x), -1, task.subcenters).amax(2)
    if bias is not None:
        products = products + bias
    target = products.gather(1, labels.clamp_min(0)[:, None]).squeeze(1) * (labels >= 0)
    gone = F.one_hot(labels.clamp_min(0), products.shape[1]).bool() & (labels >= 0)[:, None]
    if task.filter_above is not None:
        gone = gone | (products > task.filter_above)
    if task.negatives is not None:
        bent = task.negatives(target.detach())
        if isinstance(bent, HardNegatives):
            hard = products > bent.hard[:, None]
            products = torch.where(hard, products * (bent.t + products), products)
        elif isinstance(bent, Similarity):
            products = 2 * ((products + 1) / 2) ** bent.exponent - 1
    z = task.scale * products + (0 if offset is None else offset)
    z = z.masked_fill(gone, -torch.inf)
    return target, z.logsumexp(1) if task.reducer == "logsumexp" else F.softplus(z).sum(1)


def hard_negatives(target: Tensor) -> HardNegatives:
    return HardNegatives(target - 0.4, torch.tensor(0.3, dtype=target.dtype))


TASKS: dict[str, dict[str, Any]] = {
    "cosines": {},
    "large scale": {"scale": 90.0},
    "cosines with bias and offset": {"bias": True, "offset": True},
    "sub-centres with bias": {"subcenters": 2, "bias": True},
    "raw with bias": {"normalized": False, "scale": 1.0},
    "raw, scaled": {"normalized": False, "scale": 3.0},
    "softplus": {"reducer": "softplus"},
    "filter": {"filter_above": 0.3},
    "filter, softplus": {"filter_above": 0.3, "reducer": "softplus"},
    "sub-centres": {"subcenters": 3},
    "sub-centres, filter": {"subcenters": 2, "filter_above": 0.5},
    "hard negatives": {"negatives": hard_negatives},
    "hard negatives, filter": {"negatives": hard_negatives, "filter_above": 0.4},
    "similarity": {"reducer": "softplus", "negatives": lambda target: Similarity(3.0)},
    "similarity, real exponent, sub-centres": {
        "reducer": "softplus",
        "negatives": lambda target: Similarity(2.5),
        "subcenters": 2,
    },
}


def task_of(name: str, scale: float) -> tuple[Reduction, bool, bool]:
    """A task, and whether it has a bias and an offset beyond those that its kind always has."""
    facts = {"scale": scale, **TASKS[name]}
    return (
        Reduction(**{k: v for k, v in facts.items() if k not in ("bias", "offset")}),
        "bias" in facts,
        "offset" in facts,
    )


def problem(
    task: Reduction,
    batch: int,
    classes: int,
    dim: int,
    seed: int,
    dtype=torch.float64,
    with_bias: bool = False,
    with_offset: bool = False,
):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = F.normalize(draw(batch, dim), dim=1) if task.normalized else draw(batch, dim)
    weight = draw(classes * task.subcenters, dim)
    labels = torch.randint(-1, classes, (batch,), generator=generator)
    bias = draw(classes) if with_bias or not task.normalized else None
    offset = draw(1)[0] if with_offset or task.reducer == "softplus" else None
    tensors = [t.to(dtype).requires_grad_() for t in (x, weight, bias, offset) if t is not None]
    named = iter(tensors)
    x, weight = next(named), next(named)
    return x, weight, None if bias is None else next(named), None if offset is None else next(named), labels


def gradients(result: tuple[Tensor, Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Of a loss in which every row and both results have a weight of their own."""
    target, others = result
    level = torch.linspace(0.3, 1.7, len(target), dtype=target.dtype)
    finite = torch.where(others > -torch.inf, others, 0)
    loss = (level * finite).sum() - (level.flip(0) * target).sum()
    return list(torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", TASKS)
@settings(max_examples=12, deadline=None)
@given(
    batch=st.integers(1, 6),
    classes=st.integers(2, 11),
    dim=st.integers(1, 7),
    chunk=st.integers(1, 12),
    seed=st.integers(0, 10_000),
)
def test_chunks_agree_with_autograd_on_any_shape(
    name: str, keep: bool, batch: int, classes: int, dim: int, chunk: int, seed: int
):
    task, with_bias, with_offset = task_of(name, 4.0)
    x, weight, bias, offset, labels = problem(
        task, batch, classes, dim, seed, with_bias=with_bias, with_offset=with_offset
    )
    inputs = [t for t in (x, weight, bias, offset) if t is not None]
    expected = autograd_walk(x, weight, bias, offset, labels, task)
    got = walk_chunks(x, weight, bias, offset, labels, task, Plan(min(chunk, classes), keep))
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)
    for mine, theirs in zip(gradients(got, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", TASKS)
def test_gradcheck(name: str, keep: bool):
    task, with_bias, with_offset = task_of(name, 2.0)
    if task.negatives is hard_negatives:
        # its threshold moves with the target but has no gradient, as in the paper: hold it for finite differences
        hard = HardNegatives(torch.full((3,), 0.1, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64))
        task = Reduction(2.0, negatives=lambda target: hard, filter_above=task.filter_above)
    x, weight, bias, offset, labels = problem(task, 3, 5, 4, 7, with_bias=with_bias, with_offset=with_offset)
    inputs = [t for t in (x, weight, bias, offset) if t is not None]

    def function(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        rest = list(tensors[2:])
        b = rest.pop(0) if bias is not None else None
        o = rest.pop(0) if offset is not None else None
        return walk_chunks(tensors[0], tensors[1], b, o, labels, task, Plan(2, keep))

    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("scale", [16.0, 64.0, 200.0])
@pytest.mark.parametrize("keep", [True, False])
def test_float32_follows_float64_with_solved_and_opposite_samples(scale: float, keep: bool):
    task = Reduction(scale)
    x, weight, _, _, labels = problem(task, 16, 50, 32, 0)
    with torch.no_grad():
        known = labels >= 0
        x[:4] = F.normalize(weight[labels.clamp_min(0)][:4], dim=1)
        x[4:8] = -F.normalize(weight[labels.clamp_min(0)][4:8], dim=1)
    assert known.any()
    double = walk_chunks(x, weight, None, None, labels, task, Plan(13, keep))
    x32, w32 = (t.detach().float().requires_grad_() for t in (x, weight))
    single = walk_chunks(x32, w32, None, None, labels, task, Plan(13, keep))
    for mine, theirs in zip(single, double, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(gradients(single, [x32, w32]), gradients(double, [x, weight]), strict=True):
        assert (mine.double() - theirs).norm() < 3e-5 * theirs.norm()


def test_a_second_backward_gives_the_same():
    task = Reduction(8.0)
    x, weight, _, _, labels = problem(task, 4, 9, 5, 3)
    target, others = walk_chunks(x, weight, None, None, labels, task, Plan(4, True))
    first = torch.autograd.grad((others - target).sum(), [x, weight], retain_graph=True)
    second = torch.autograd.grad((others - target).sum(), [x, weight])
    for mine, theirs in zip(first, second, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_half_precision_products_stay_near():
    task = Reduction(16.0, products=torch.bfloat16)
    x, weight, _, _, labels = problem(task, 16, 200, 64, 0, torch.float32)
    exact = walk_chunks(x, weight, None, None, labels, Reduction(16.0), Plan(64, False))
    rough = walk_chunks(x, weight, None, None, labels, task, Plan(64, False))
    assert rough[1].dtype == torch.float32
    torch.testing.assert_close(rough[0], exact[0])  # targets keep full precision
    torch.testing.assert_close(rough[1], exact[1], rtol=0.01, atol=0.02)
    for mine, theirs in zip(gradients(rough, [x, weight]), gradients(exact, [x, weight]), strict=True):
        assert (mine - theirs).norm() < 0.05 * theirs.norm()


def test_a_filtered_class_is_gone_not_zero():
    """With logit 0 in place of minus infinity, as in arcface_torch, it would still weigh exp(0)."""
    weight = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.2]], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0])
    task = Reduction(8.0, filter_above=0.5)
    _, others = walk_chunks(x, weight, None, None, labels, task, Plan(3, True))
    cos = F.normalize(weight, dim=1) @ x[0]
    torch.testing.assert_close(others[0], 8 * cos[2])
    others.sum().backward()
    assert weight.grad is not None and not weight.grad[1].any()
    everything = Reduction(8.0, filter_above=-0.999)
    weight.grad = None
    _, others = walk_chunks(x, weight, None, None, labels, everything, Plan(2, True))
    assert others[0] == -torch.inf
    F.softplus(others).sum().backward()
    assert weight.grad is not None and not weight.grad.any()


def test_a_centre_without_length_harms_nobody():
    task = Reduction(16.0)
    x, weight, _, _, labels = problem(task, 4, 6, 5, 1)
    with torch.no_grad():
        weight[2] = 0
    target, others = walk_chunks(x, weight, None, None, labels, task, Plan(4, False))
    for gradient in gradients((target, others), [x, weight]):
        assert gradient.isfinite().all()


def test_skipping_chunks_errs_no_more_than_stated():
    share, scale = 1e-3, 32.0
    x, weight, _, _, labels = problem(Reduction(scale), 8, 60, 16, 5)
    labels = torch.arange(8)
    with torch.no_grad():
        x[:, 0] += 3  # all looking one way
        x[:] = F.normalize(x, dim=1)
        weight[20:, 0] -= 4  # and these classes the other
        weight[:8] = 3 * x
    exact = walk_chunks(x, weight, None, None, labels, Reduction(scale), Plan(10, False))
    for keep in (True, False):
        task = Reduction(scale, skip_below=share)
        got = walk_chunks(x, weight, None, None, labels, task, Plan(10, keep))
        torch.testing.assert_close(got[1], exact[1])
        mine = torch.autograd.grad(got[1].sum(), [x, weight])
        theirs = torch.autograd.grad(exact[1].sum(), [x, weight], retain_graph=True)
        skipped = [c for c in range(1, 6) if not mine[1][10 * c : 10 * c + 10].any()]
        assert skipped, "the case is made so that some chunks are left out"
        assert ((mine[0] - theirs[0]).norm(dim=1) <= scale * share * len(skipped)).all()
        error = (mine[1] - theirs[1]).norm(dim=1) * weight.norm(dim=1)
        assert (error <= scale * share * len(x)).all()


def test_an_offset_cannot_overflow_the_sum():
    x, weight, _, _, labels = problem(Reduction(64.0), 4, 9, 5, 2, torch.float32)
    offset = torch.tensor(60.0)
    _, plain = walk_chunks(x, weight, None, None, labels, Reduction(64.0), Plan(4, True))
    _, raised = walk_chunks(x, weight, None, offset, labels, Reduction(64.0), Plan(4, True))
    torch.testing.assert_close(raised, plain + 60)
