"""All pairs of N embeddings: ours, the matrix product alone, and scikit-learn's roc_curve, side by side (Linux).

    uv run python benchmarks/scores.py [--images 10000] [--rounds 3] [--out result.json]
    uv run python benchmarks/scores.py --quick               # 2,000 images, one round: whether it runs

Each measurement runs in a process of its own, so that its peak memory is its own; a round goes through all methods
once, and medians over the rounds are shown. Memory is what a method takes beyond the embeddings. roc_curve is timed
alone, on scores that lie ready (they count in its memory: it needs all of them at once); ours starts at the embeddings.
The embeddings are multiples of 2^-11: their products are exact in float32 in any order, so TARs can be compared bit by
bit. A million images are extrapolated from the measured comparisons a minute, not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from vultus.evaluation.protocols.verification import verify
from vultus.evaluation.scores import PairScores, all_pairs
from vultus.terminal import table

FARS = (1e-3, 1e-4, 1e-5, 1e-6)
OURS, PRODUCT, PEER = "vultus all_pairs", "matrix product alone", "scikit-learn roc_curve"
DIM, SHOTS, NOISE = 512, 20, 2.2
"""20 images an identity; the noise puts TARs between 10 % and 90 %."""


def faces(images: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(images) // SHOTS
    rows = np.empty((images, DIM), np.float32)
    centres = rng.standard_normal((labels[-1] + 1, DIM), np.float32)
    for start in range(0, images, 1000):
        part = labels[start : start + 1000]
        rows[start : start + 1000] = centres[part] + NOISE * rng.standard_normal((len(part), DIM), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.multiply(rows, 2**11, out=rows)
    np.divide(np.round(rows, out=rows), 2**11, out=rows)
    shuffled = rng.permutation(images)
    return rows[shuffled], labels[shuffled]


def ours(rows: np.ndarray, labels: np.ndarray) -> tuple[float, PairScores]:
    start = time.perf_counter()
    found = all_pairs(rows, labels)
    return time.perf_counter() - start, found


def product(rows: np.ndarray, labels: np.ndarray) -> tuple[float, None]:
    """Tiles of the upper triangle, each by all threads of the BLAS, and nothing else."""
    block = 2048
    scores, start = np.empty((block, block), np.float32), time.perf_counter()
    for row in range(0, len(rows), block):
        for column in range(row, len(rows), block):
            part, other = rows[row : row + block], rows[column : column + block]
            np.matmul(part, other.T, out=scores[: len(part), : len(other)])
    return time.perf_counter() - start, None


def roc(rows: np.ndarray, labels: np.ndarray) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    from sklearn.metrics import roc_curve

    images = len(rows)
    scores, truth = (np.empty(images * (images - 1) // 2, dtype) for dtype in (np.float32, np.bool_))
    at = 0
    for row in range(images - 1):  # row by row: no more memory than the scores themselves
        stop = at + images - 1 - row
        scores[at:stop] = rows[row + 1 :] @ rows[row]
        truth[at:stop] = labels[row + 1 :] == labels[row]
        at = stop
    np.clip(scores, -1, 1, out=scores)
    start = time.perf_counter()
    far, tar, _ = roc_curve(truth, scores)
    return time.perf_counter() - start, (far, tar)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], tuple[float, Any]]] = {OURS: ours, PRODUCT: product, PEER: roc}


def tars(name: str, found: Any, images: int) -> dict[str, float]:
    if name == OURS:
        result = verify(found, FARS, images=images, identities=-(-images // SHOTS))
        return {f"{p.far:g}": p.tar for p in result.points if p.tar is not None}
    if name == PEER:
        far, tar = found
        return {f"{wanted:g}": float(tar[far <= wanted].max()) for wanted in FARS}
    return {}


def measure_here(name: str, images: int) -> dict[str, Any]:
    METHODS[name](*faces(200))  # imports, threads
    rows, labels = faces(images)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    seconds, found = METHODS[name](rows, labels)
    extra = memory("VmHWM") - before
    pairs = images * (images - 1) // 2
    return {
        "seconds": seconds,
        "extra_mib": extra,
        "comparisons_per_minute": pairs / seconds * 60,
        "tar": tars(name, found, images),
        "load": os.getloadavg()[0],
    }


def memory(what: str) -> float:
    """MiB of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def measure(name: str, images: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--images", str(images)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}, {images:,} images: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def summary(name: str, images: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    middle = {
        key: statistics.median(run[key] for run in runs) for key in ("seconds", "extra_mib", "comparisons_per_minute")
    }
    return {"method": name, "images": images, **middle, "tar": runs[0]["tar"], "runs": runs}


def million(per_minute: float) -> dict[str, float]:
    """Extrapolated, not measured: all pairs of a million images, of which each identity has 20."""
    pairs = 1e6 * (1e6 - 1) / 2
    return {"comparisons": pairs, "hours": pairs / per_minute / 60}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--skip-peer", action="store_true", help="without scikit-learn")
    parser.add_argument("--one", choices=list(METHODS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_here(options.one, options.images)))
        return
    images, rounds = (2000, 1) if options.quick else (options.images, options.rounds)
    plan = [(name, images) for name in METHODS if name != PEER or not options.skip_peer]
    plan += [(OURS, 2 * images), (PRODUCT, 2 * images)]
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {which: [] for which in plan}
    for number in range(rounds):
        for name, count in plan:
            print(f"round {number + 1} of {rounds}: {name}, {count:,} images ...", file=sys.stderr, flush=True)
            runs[name, count].append(measure(name, count))
    found = [summary(*which, runs[which]) for which in plan]
    by = {(one["method"], one["images"]): one for one in found}
    big = by[OURS, 2 * images]["comparisons_per_minute"]
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "dim": DIM,
        "cores": os.cpu_count(),
        "numpy": np.__version__,
        "methods": found,
        "of_the_product": big / by[PRODUCT, 2 * images]["comparisons_per_minute"],
        "million_images_extrapolated": million(big),
    }
    notes = [f"A million images, extrapolated: {million(big)['hours']:.1f} hours"]
    if not options.skip_peer:
        mine, peer = by[OURS, images], by[PEER, images]
        result["speed_of_peer"] = peer["seconds"] / mine["seconds"]
        result["memory_of_peer"] = mine["extra_mib"] / peer["extra_mib"]
        # 1 - FNMR and hits / mated are the same counts, up to the rounding of a float64
        result["tar_identical"] = all(abs(tar - peer["tar"][far]) < 1e-12 for far, tar in mine["tar"].items())
        notes.append(
            f"{result['speed_of_peer']:.0f} times the speed of {PEER}, "
            f"1/{1 / result['memory_of_peer']:.0f} of its memory, "
            f"TARs {'identical' if result['tar_identical'] else 'DIFFERENT'}"
        )
    lines = [
        (
            one["method"],
            f"{one['images']:,}",
            f"{one['seconds']:.2f}",
            f"{one['comparisons_per_minute'] / 1e9:.2f}e9",
            f"{one['extra_mib']:,.0f}",
            " ".join(f"{tar:.4%}" for tar in one["tar"].values()) or "-",
        )
        for one in found
    ]
    heads = ("method", "images", "s", "comparisons/min", "extra MiB", f"TAR at FAR {', '.join(f'{f:g}' for f in FARS)}")
    table(f"All pairs, {DIM} dimensions, {os.cpu_count()} cores", heads, lines, notes)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
