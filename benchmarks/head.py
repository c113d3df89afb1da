"""The ArcFace head alone, forward and backward: time and memory of ours and of the peers, side by side (Linux).

    uv run python benchmarks/head.py [--classes 10000 100000 1000000] [--batch 128 512] [--rounds 3] [--out result.json]
    uv run --with pytorch-metric-learning python benchmarks/head.py     # with that peer
    uv run python benchmarks/head.py --gradient-error                   # how far the gradients are from float64

Each measurement runs in a process of its own, so that its peak memory is its own. A round goes through all methods
once; ratios are between methods of the same round, and medians over the rounds are shown. On a GPU, the environment
variable TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 lets all methods alike multiply float32 in TF32.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vultus.losses import MarginLoss, create_loss
from vultus.terminal import table

MARGIN, SCALE = 0.5, 64.0
BARE, STRAIGHT, TEXTBOOK, PML = "bare products", "straight-through logits", "textbook", "pytorch-metric-learning"
Head = tuple[Callable[[Tensor, Tensor], Tensor], Tensor]
"""Embeddings and labels -> loss; and W, the parameter that gets a gradient."""


def ours(weight: Tensor, **options: Any) -> Head:
    with weight.device:
        loss = create_loss("arcface", weight.shape[1], len(weight), margin_grad="detached", **options)
    assert isinstance(loss, MarginLoss)
    loss.centers.weight.data = weight
    if loss.update is not None:
        loss.update.velocity.fill_(0)  # there before the steps, like W
    return loss, loss.centers.weight


def metric_learning(weight: Tensor) -> Head:
    """pytorch-metric-learning's ArcFaceLoss, whose W is (D, C) and whose margin is in degrees (28.6)."""
    from pytorch_metric_learning.losses import ArcFaceLoss  # pyright: ignore[reportMissingImports]

    loss = ArcFaceLoss(len(weight), weight.shape[1], math.degrees(MARGIN), SCALE, weight_init_func=lambda w: w)
    loss.W.data = weight.t().contiguous()
    return loss, loss.W


def plain(weight: Tensor, formula: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Head:
    return partial(formula, weight.requires_grad_()), weight


@torch.no_grad()
def bare_products(weight: Tensor, x: Tensor, labels: Tensor, chunk: int = 2048) -> Tensor:
    """The three matrix products of any exact head and nothing else: the floor. Makes both gradients, and no loss."""
    x.grad, weight.grad = torch.zeros_like(x), torch.empty_like(weight)
    for start in range(0, len(weight), chunk):
        centers = weight[start : start + chunk]
        products = x @ centers.t()
        x.grad.addmm_(products, centers)
        torch.mm(products.t(), x, out=weight.grad[start : start + chunk])
    return torch.zeros(())


def textbook(weight: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    """The formula as papers print it, left to autograd."""
    cosine = F.linear(F.normalize(x), F.normalize(weight))
    phi = cosine * math.cos(MARGIN) - (1 - cosine.square()).clamp_min(1e-9).sqrt() * math.sin(MARGIN)
    one_hot = torch.zeros_like(cosine).scatter_(1, labels[:, None], 1)
    return F.cross_entropy((one_hot * phi + (1 - one_hot) * cosine) * SCALE, labels)


def straight_through(weight: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    """The order of arcface_torch: the margin is added in place, out of autograd's sight; here to the targets only."""
    logits = F.linear(F.normalize(x), F.normalize(weight))
    rows = torch.arange(len(labels), device=labels.device)
    with torch.no_grad():
        logits[rows, labels] = logits[rows, labels].clamp_(-1, 1).arccos_().add_(MARGIN).cos_()
    return F.cross_entropy(logits * SCALE, labels)


class Method(NamedTuple):
    make: Callable[..., Head]
    options: dict[str, Any]
    memory: tuple[float, float, float] = (0, 0, 0)
    """Measured peak beyond W and its gradient in float32 matrices: the larger of a (B, C) + b (C, D) and c (C, D)."""
    tolerance: float = 1e-3
    """Of the loss, relative to the textbook's; inf: another loss, or none."""
    gradient: float = 1.0
    """Share of the centres that a gradient is left for."""


KEPT, AGAIN = {"engine": "cut", "keep": True}, {"engine": "cut", "keep": False}
METHODS = {
    BARE: Method(plain, {"formula": bare_products}, tolerance=math.inf),
    "ours, auto": Method(ours, {}, (1.2, 0, 0)),
    "ours, dense": Method(ours, {"engine": "dense"}, (1.5, 1, 0)),
    "ours, cut, kept": Method(ours, KEPT, (1.2, 0, 0)),
    "ours, cut, recomputing": Method(ours, AGAIN),
    "ours, bf16, kept": Method(ours, {**KEPT, "products": "bf16"}, (1.2, 0, 0), 0.02),
    "ours, bf16, recomputing": Method(ours, {**AGAIN, "products": "bf16"}, tolerance=0.02),
    "ours, update in backward": Method(ours, {"update_in_backward": {"lr": 0.1}}, (1.2, 0, 0), gradient=0),
    "ours, sampled 0.1": Method(ours, {"sample": 0.1}, (0.2, 0, 0), math.inf, gradient=0.1),
    STRAIGHT: Method(plain, {"formula": straight_through}, (3.2, 1, 4.5)),
    TEXTBOOK: Method(plain, {"formula": textbook}, (9, 1, 4.5)),
    PML: Method(metric_learning, {}, (4.2, 1, 4.5)),
}


def prepare(method: Method, classes: int, batch: int, dim: int, device: str = "cpu") -> tuple[Head, Tensor, Tensor]:
    """A head, embeddings with a cosine of about 0.6 to their centre, as in the middle of a training, and labels."""
    torch.manual_seed(0)
    weight = torch.empty(classes, dim, device=device).normal_(std=0.05)
    labels = torch.randint(classes, (batch,), device=device)
    x = F.normalize(weight[labels]) + 4 / 3 * F.normalize(torch.randn(batch, dim, device=device))
    return method.make(weight, **method.options), x.requires_grad_(), labels


def step(head: Head, x: Tensor, labels: Tensor) -> Tensor:
    x.grad = head[1].grad = None
    loss = head[0](x, labels)
    if loss.requires_grad:
        loss.backward()
    return loss.detach()


def kib(path: str, key: str) -> int:
    return next(int(line.split()[1]) for line in Path(path).read_text().splitlines() if line.startswith(key + ":"))


def measure_one(name: str, classes: int, batch: int, dim: int, threads: int) -> dict[str, Any]:
    """In a process of its own: time, memory and loss of one method."""
    with contextlib.suppress(OSError):  # if memory runs out, this process goes and not someone else's
        Path("/proc/self/oom_score_adj").write_text("1000")
    torch.set_num_threads(threads)
    step(*prepare(METHODS[name], 64, 8, dim))  # libraries load, threads start
    head, x, labels = prepare(METHODS[name], classes, batch, dim)
    before, own_peak = kib("/proc/self/status", "VmRSS"), False
    loss = step(head, x, labels).item()
    x.grad = head[1].grad = None
    with contextlib.suppress(OSError):  # else the peak includes what came before
        own_peak = bool(Path("/proc/self/clear_refs").write_text("5"))
    times = [time.perf_counter()]
    for _ in range(9 if classes <= 30_000 else 5 if classes <= 300_000 else 2):
        step(head, x, labels)
        times.append(time.perf_counter())
    ms = 1000 * statistics.median(end - start for start, end in itertools.pairwise(times))
    peak = (kib("/proc/self/status", "VmHWM") - before) / 2**10 - 4 * classes * dim * METHODS[name].gradient / 2**20
    return {"ms": ms, "rate": 1000 / ms, "extra_mib": max(0.0, peak), "loss": loss, "own_peak": own_peak}


def measure(name: str, facts: dict[str, Any], classes: int, batch: int) -> dict[str, Any]:
    """Start that process: its result, or a `note` why there is none."""
    dim, (pairs, centers, backward) = facts["dim"], METHODS[name].memory
    matrices = 2 * dim + max(pairs * batch + centers * dim, backward * dim)
    need, free = 4 * classes * matrices / 2**30 + 0.6, kib("/proc/meminfo", "MemAvailable") / 2**20
    if need > 0.85 * free:
        return {"note": f"does not fit (needs about {need:.1f} GiB, {free:.1f} are free)"}
    if not facts["bf16 in hardware"] and "products" in METHODS[name].options and classes * batch > 2e7:
        return {"note": "left out: bf16 is emulated on this processor, many times slower"}
    what = {"name": name, "classes": classes, "batch": batch, "dim": dim, "threads": facts["threads"]}
    done = subprocess.run([sys.executable, __file__, "--one", json.dumps(what)], capture_output=True, text=True)
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no message"])[-1][:160]
        return {"note": f"killed by signal {-done.returncode}" if done.returncode < 0 else f"failed: {message}"}
    return json.loads(done.stdout.splitlines()[-1])


def show(classes: int, batch: int, rounds: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """The table of one size, and warnings where losses that should be equal are not."""

    def median(form: str, name: str, key: str, other: str = "") -> str:
        """Of a value, or of how many times that of another method it is, in the rounds that have both."""
        full = [r for r in rounds if all("ms" in r.get(n, {}) for n in (name, other or name))]
        values = [r[name][key] / (r[other][key] if other else 1) for r in full]
        return format(statistics.median(values), form) if values else "-"

    results = {name: next(r[name] for r in rounds if name in r) for name in METHODS if any(name in r for r in rounds)}
    peers = [n for n in (TEXTBOOK, PML, STRAIGHT, "ours, dense") if "loss" in results.get(n, {})]
    rows, notes = [], ["MiB: peak beyond W, its gradient and the inputs. p-m-l: pytorch-metric-learning."]
    if "ours, update in backward" in results:
        notes.append("Update in backward includes SGD's step, which the others have still to make.")
    if not facts["bf16 in hardware"]:
        notes.append("This processor has neither avx512_bf16 nor amx_bf16: bf16 is emulated, and slow.")
    if not facts[PML]:
        notes.append(f"{PML} is not installed: uv run --with {PML} python benchmarks/head.py")
    for name, result in results.items():
        loss, tolerance = result.get("loss", 0.0), METHODS[name].tolerance
        row = [name, median(",.1f", name, "ms"), median(".2f", name, "ms", BARE)]
        row += [median(".2f", name, "rate", peer) for peer in (PML, TEXTBOOK)]
        rows.append([*row, median(",.0f", name, "extra_mib"), f"{loss:.4f}" if loss else "-"])
        if "note" in result or not result["own_peak"]:
            notes.append(f"{name}: {result.get('note', 'MiB include what came before the steps (no clear_refs)')}")
        elif peers and tolerance < 1 and not abs(loss / results[peers[0]]["loss"] - 1) <= tolerance:
            notes.append(f"WARNING: {name} has the loss {loss:.6g}, {peers[0]} {results[peers[0]]['loss']:.6g}")
    title = f"{classes:,} classes, batch {batch}, D {facts['dim']}; {facts['cpu']}, {facts['threads']} threads, "
    title += f"torch {facts['torch']}, {facts['date']}; medians of {len(rounds)} rounds"
    table(title, ("method", "ms", "x bare", "faster than p-m-l", "than textbook", "MiB", "loss"), rows, notes)


def compare(options: argparse.Namespace) -> None:
    cpu = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")), "CPU")
    facts = {"date": date.today().isoformat(), "torch": torch.__version__, "threads": options.threads, "cpu": model}
    facts |= {"bf16 in hardware": "avx512_bf16" in cpu or "amx_bf16" in cpu, "dim": options.dim}
    facts[PML] = importlib.util.find_spec("pytorch_metric_learning") is not None
    names = [n for n in METHODS if any(part in n for part in options.methods) and (facts[PML] or n != PML)]
    measured: list[dict[str, Any]] = []
    try:
        for classes, batch in itertools.product(options.classes, options.batch):
            measured.append({"classes": classes, "batch": batch, "rounds": []})
            failed = {}  # not tried again
            for number in range(1, options.rounds + 1):
                measured[-1]["rounds"].append({})
                for name in names:
                    print(f"C {classes:,}, B {batch}, round {number}, {name}: ", end="", file=sys.stderr, flush=True)
                    result = failed.get(name) or measure(name, facts, classes, batch)
                    measured[-1]["rounds"][-1][name] = result
                    failed |= {name: result} if "note" in result else {}
                    print(result.get("note") or f"{result['ms']:,.1f} ms", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nstopped; what there is so far:", file=sys.stderr)
    for size in measured:
        show(**size, facts=facts)
    if options.out:
        options.out.write_text(json.dumps({**facts, "measured": measured}, indent=1) + "\n")


def gradient_error(dim: int, classes: int = 20_000, batch: int = 128) -> None:
    """Against float64 of the formula with the same, straight-through gradient."""
    (_, weight), x, labels = prepare(METHODS[STRAIGHT], classes, batch, dim)
    true, exact = x.detach().double().requires_grad_(), plain(weight.detach().double(), straight_through)
    step(exact, true, labels)
    rows = []
    for name in [n for n in METHODS if n.startswith(("ours, dense", "ours, cut", "ours, bf16")) or n == STRAIGHT]:
        head, x, labels = prepare(METHODS[name], classes, batch, dim)
        step(head, x, labels)
        pairs = ((x.grad, true.grad), (head[1].grad, exact[1].grad))
        rows.append([name] + [f"{(got - want).norm() / want.norm():.1e}" for got, want in pairs])  # pyright: ignore
    table(f"Relative error of the gradients, {classes:,} classes, batch {batch}", ("method", "dx", "dW"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--methods", nargs="+", default=[""], help="only those with one of these in their name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--gradient-error", action="store_true")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_one(**options.one)))
    elif options.gradient_error:
        gradient_error(options.dim)
    else:
        compare(options)


if __name__ == "__main__":
    main()
