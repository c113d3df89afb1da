"""Heads over millions of classes on a CUDA device: time, memory and the largest number of classes that fits.

    uv run python benchmarks/head_gpu.py [--dim 512] [--tf32]

Our engines beside the straight-through logits of arcface_torch and the textbook form (see head.py), at batch 1,024.
Not run yet: no GPU was at hand when it was written.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys

import torch

from head import METHODS, STRAIGHT, TEXTBOOK, Method, ours, prepare, step
from vultus.terminal import table


def measure_gpu(method: Method, classes: int, dim: int, steps: int = 5, batch: int = 1024) -> str:
    """Milliseconds a step and GiB at the peak, W and its gradient included; or, with a "-", why there are none."""
    try:
        torch.cuda.empty_cache()
        inputs = prepare(method, classes, batch, dim, "cuda")
        step(*inputs)
        torch.cuda.reset_peak_memory_stats()
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
        marks[0].record()
        for mark in marks[1:]:
            step(*inputs)
            mark.record()
        torch.cuda.synchronize()
        elapsed = statistics.median(first.elapsed_time(second) for first, second in itertools.pairwise(marks))
        return f"{elapsed:,.1f} ms, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    except Exception as error:  # one engine's failure is a cell of the table
        return "- does not fit" if isinstance(error, torch.OutOfMemoryError) else f"- failed: {error!r}"[:80]


def compare_gpu(dim: int) -> None:
    if not torch.cuda.is_available():
        raise SystemExit("needs a CUDA device; this machine has none")
    methods = {f"ours, {engine}": Method(ours, {"engine": engine}) for engine in ("triton", "cut", "dense")}
    sizes, rows = (1_000_000, 4_000_000, 10_000_000), []
    for name, method in (methods | {n: METHODS[n] for n in (STRAIGHT, TEXTBOOK)}).items():
        cells, largest = [measure_gpu(method, classes, dim) for classes in sizes], 2**16
        while largest < 2**28 and not measure_gpu(method, 2 * largest, dim, steps=1).startswith("-"):
            largest *= 2
        rows.append([name, *cells, f"{largest:,}"])
        print(*rows[-1], sep=" | ", file=sys.stderr)
    title = f"{torch.cuda.get_device_name()}, batch 1024, D {dim}, torch {torch.__version__}, float32 products "
    columns = ("method", *(f"{c:,} classes" for c in sizes), "largest power of two that fits")
    table(title + torch.get_float32_matmul_precision(), columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--tf32", action="store_true", help="float32 products in TF32, for all alike")
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high" if options.tf32 else "highest")
    compare_gpu(options.dim)


if __name__ == "__main__":
    main()
