"""The fused engine against the one in plain PyTorch: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vultus.errors import VultusError
from vultus.losses.margins.binary import Similarity
from vultus.losses.margins.curricular import HardNegatives
from vultus.losses.walk import plan
from vultus.losses.walk.chunks import walk_chunks
from vultus.losses.walk.reduction import Reduction
from vultus.losses.walk.triton import walk_triton
from vultus.losses.walk.walk import walk

CUDA = torch.cuda.is_available()
if not CUDA:
    # Read when triton is first imported. Where another test has imported it already, it is imported once more.
    os.environ.setdefault("TRITON_INTERPRET", "1")
    for name in [name for name in sys.modules if name == "triton" or name.startswith("triton.")]:
        if not name.startswith("triton._C"):
            del sys.modules[name]
pytest.importorskip("triton")
from vultus.losses.walk import kernels  # noqa: E402

DEVICE = torch.device("cuda" if CUDA else "cpu")
# The interpreter returns garbage for products of bfloat16 matrices, so that type waits for a GPU.
HALVES = [torch.float16, torch.bfloat16] if CUDA else [torch.float16]
PRECISION = 1e-4 if CUDA else 3e-5
RAGGED = [(1, 2, 16), (19, 70, 7)] + ([(300, 5000, 200)] if CUDA else [])

pytestmark = pytest.mark.skipif(not (CUDA or kernels.INTERPRETED), reason="no GPU and no interpreter")

Engine = Callable[[Tensor, Tensor, Tensor | None, Tensor | None, Tensor, Reduction], tuple[Tensor, Tensor]]


def chunks(
    x: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor | None, labels: Tensor, task: Reduction
) -> tuple[Tensor, Tensor]:
    return walk_chunks(x, weight, bias, offset, labels, task, plan.Plan(16, keep=False))


def formula(
    x: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor | None, labels: Tensor, task: Reduction
) -> tuple[Tensor, Tensor]:
    """What `Reduction` says, straight down in float64, differentiated by PyTorch."""
    x, weight = x.double(), weight.double()
    p = x @ (F.normalize(weight, dim=1) if task.normalized else weight).t()
    p = p.view(len(x), -1, task.subcenters).amax(2)
    if bias is not None:
        p = p + bias
    own = F.one_hot(labels.clamp_min(0), p.shape[1]).bool() & (labels >= 0)[:, None]
    target = p.masked_fill(~own, 0).sum(1)
    if task.share is not None:
        target = task.share(target)
    z = task.scale * (p if task.negatives is None else task.negatives(target.detach()).bend(p)[0])
    if offset is not None:
        z = z + offset
    gone = own if task.filter_above is None else own | (p > task.filter_above)
    z = z.masked_fill(gone, -torch.inf)
    others = F.softplus(z).sum(1) if task.reducer == "softplus" else z.logsumexp(1)
    return target.float(), others.float()


def hard_negatives(target: Tensor) -> HardNegatives:
    return HardNegatives(target - 0.2, torch.tensor(0.3))


TASKS = {
    "flat": Reduction(4.0),
    "steep": Reduction(64.0),
    "raw": Reduction(1.0, normalized=False),
    "softplus": Reduction(8.0, reducer="softplus"),
    "raw softplus": Reduction(1.5, normalized=False, reducer="softplus"),
    "filtered": Reduction(16.0, filter_above=0.1),
    "nothing left": Reduction(16.0, filter_above=-2.0),
    "no terms": Reduction(16.0, filter_above=-2.0, reducer="softplus"),
    "curricular": Reduction(32.0, negatives=hard_negatives),
    "power": Reduction(16.0, negatives=lambda _: Similarity(3.0)),
    "power below -1": Reduction(0.5, normalized=False, negatives=lambda _: Similarity(1.0)),
    "sub-centres": Reduction(64.0, subcenters=3),
    "raw sub-centres": Reduction(1.0, subcenters=2, normalized=False),
}
EVERYTHING = Reduction(
    16.0, subcenters=3, filter_above=0.5, reducer="softplus", negatives=hard_negatives, share=lambda t: t + 0.1
)


@dataclass
class Batch:
    x: Tensor
    weight: Tensor
    bias: Tensor | None
    offset: Tensor | None
    labels: Tensor
    pull: Tensor
    """(2, B) gradients of the results."""

    def run(self, task: Reduction, engine: Engine = walk_triton) -> dict[str, Tensor]:
        """Both results, and the gradients of what wants one."""
        named = {"x": self.x, "weight": self.weight, "bias": self.bias, "offset": self.offset}
        wanted = {name: t for name, t in named.items() if t is not None and t.requires_grad}
        target, others = engine(self.x, self.weight, self.bias, self.offset, self.labels, task)
        total = (self.pull[0] * target + self.pull[1] * others).sum()
        gradients = torch.autograd.grad(total, list(wanted.values()))
        return {"target": target, "others": others} | dict(zip(wanted, gradients))

    def compare(self, task: Reduction, precision: float, reference: Engine = chunks) -> None:
        """Values and gradients may differ from those of the reference by `precision` of their norm."""
        expected = self.run(task, reference)
        for name, got in self.run(task).items():
            empty = expected[name] == -torch.inf
            assert torch.equal(got == -torch.inf, empty), name
            error = (got - expected[name]).masked_fill(empty, 0).norm()
            assert error <= precision * expected[name].masked_fill(empty, 0).norm() + 1e-7, name


def make(task: Reduction, size: tuple[int, int, int], bias: bool = False, offset: bool = False, seed: int = 0) -> Batch:
    """A batch near its centres; the first of several samples has its class elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    batch, classes, width = size

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    weight = noise(classes * task.subcenters, width)
    labels = torch.randint(classes, (batch,), generator=generator)
    x = weight[labels * task.subcenters] + noise(batch, width)
    x = F.normalize(x, dim=1) if task.normalized else x
    if batch > 1:
        labels[0] = -1
    b = 100 + noise(classes) if not task.normalized else noise(classes) / 4  # exp(100) is past the end of float32

    def ready(tensor: Tensor) -> Tensor:
        return tensor.to(DEVICE).requires_grad_()

    return Batch(
        ready(x),
        ready(weight),
        ready(b) if bias else None,
        ready(torch.tensor(-3.0)) if offset else None,
        labels.to(DEVICE),
        noise(2, batch).to(DEVICE),
    )


@pytest.mark.parametrize("name", TASKS)
def test_values_and_gradients(name: str) -> None:
    task = TASKS[name]
    softplus = task.reducer == "softplus"
    bias = not task.normalized and task.subcenters == 1 and task.negatives is None
    make(task, (5, 37, 20), bias=bias, offset=softplus).compare(task, PRECISION)


@pytest.mark.parametrize("size", RAGGED, ids=str)
@pytest.mark.parametrize("task", [TASKS["flat"], EVERYTHING], ids=["flat", "everything"])
def test_ragged_sizes_against_the_formula(task: Reduction, size: tuple[int, int, int]) -> None:
    make(task, size, bias=True, offset=True).compare(task, PRECISION, formula)


@pytest.mark.parametrize("products", HALVES, ids=str)
@pytest.mark.parametrize("name", ["flat", "softplus", "sub-centres"])
def test_products_in_half_precision(name: str, products: torch.dtype) -> None:
    task = replace(TASKS[name], products=products, scale=4.0)
    make(task, (5, 37, 20), offset=name == "softplus").compare(task, 0.003 if products == torch.float16 else 0.02)


@pytest.mark.parametrize("subcenters", [1, 2])
def test_many_chunks(monkeypatch: pytest.MonkeyPatch, subcenters: int) -> None:
    monkeypatch.setattr(plan, "CPU_CHUNK_BYTES", 1)
    monkeypatch.setattr(plan, "GPU_CHUNK_BYTES", 1)
    task = Reduction(16.0, subcenters=subcenters)
    batch = make(task, (5, 300, 8), bias=True)  # 256 classes at a time, and 44
    batch.labels[1] = 299
    batch.compare(task, PRECISION, formula)


@pytest.mark.parametrize("alone", ["x", "weight"])
def test_gradient_of_one_tensor_only(alone: str) -> None:
    batch = make(TASKS["flat"], (5, 37, 20), bias=True, offset=True)
    for name in {"x", "weight", "bias", "offset"} - {alone}:
        getattr(batch, name).requires_grad_(False)
    batch.compare(TASKS["flat"], PRECISION)


def test_inputs_that_are_views() -> None:
    batch = make(TASKS["flat"], (5, 37, 20))
    batch.x = batch.x.detach().t().contiguous().t().requires_grad_()
    batch.weight = torch.cat([batch.weight.detach()] * 2, 1)[:, :20].requires_grad_()
    assert not batch.x.is_contiguous() and not batch.weight.is_contiguous()
    batch.compare(TASKS["flat"], PRECISION)


def test_a_centre_without_length() -> None:
    batch = make(TASKS["flat"], (5, 37, 20))
    with torch.no_grad():
        batch.weight[[3, int(batch.labels[1])]] = 0
    batch.compare(TASKS["flat"], PRECISION)


@pytest.mark.parametrize("with_gradient", [False, True])
def test_update_receives_what_the_centres_would(with_gradient: bool) -> None:
    plain = Reduction(16.0)
    batch = make(plain, (5, 37, 20))
    expected = batch.run(plain)["weight"]
    seen = torch.zeros_like(expected)

    def update(rows: slice, gradient: Tensor) -> None:
        seen[rows] += gradient

    batch.weight.requires_grad_(with_gradient)
    batch.run(replace(plain, update=update))
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("logit", [-12.0, -19.0])
def test_softplus_far_below_zero_keeps_its_digits(logit: float) -> None:
    task = Reduction(1.0, reducer="softplus")
    batch = make(task, (5, 37, 20))
    offset = torch.tensor(logit, device=DEVICE)
    _, others = walk_triton(batch.x, batch.weight, None, offset, batch.labels, task)
    exact = walk_chunks(
        batch.x.double(), batch.weight.double(), None, offset.double(), batch.labels, task, plan.Plan(37, keep=False)
    )[1]
    assert ((others - exact).abs() <= 5e-6 * exact).all()


def test_through_the_common_call() -> None:
    batch = make(TASKS["flat"], (5, 37, 20))
    arguments = batch.x, batch.weight, batch.labels, TASKS["flat"]
    for ours, theirs in zip(walk(*arguments, engine="triton"), walk(*arguments, engine="cut")):
        assert torch.allclose(ours, theirs, rtol=PRECISION)


class Mirror:
    def bend(self, products: Tensor) -> tuple[Tensor, Tensor]:
        return -products, torch.full_like(products, -1)


def refused(task: Reduction, message: str, dtype: torch.dtype = torch.float32) -> None:
    batch = make(TASKS["flat"], (2, 4, 16))
    with pytest.raises(VultusError, match=message) as caught:
        walk_triton(batch.x.to(dtype), batch.weight.to(dtype), None, None, batch.labels, task)
    assert '"cut"' in str(caught.value)


def test_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS["flat"]
    refused(task, "float64", dtype=torch.float64)
    refused(replace(task, skip_below=1e-6), "skip_below")
    refused(replace(task, negatives=lambda _: Mirror()), "Mirror")
    with monkeypatch.context() as patch:
        patch.setattr(kernels, "INTERPRETED", False)
        if not CUDA:
            refused(task, "needs a GPU")
    monkeypatch.delattr("vultus.losses.walk.kernels")
    monkeypatch.delitem(sys.modules, kernels.__name__)
    monkeypatch.setitem(sys.modules, "triton", None)
    refused(task, "needs the package triton")
