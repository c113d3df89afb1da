"""Can a face be followed from one collection to another? Linkage of rows that are rotated under two keys.

    uv run python benchmarks/unlinkability.py --embeddings sface.npy --labels labels.npz [--out unlinkability.json]

EMBEDDINGS holds (N, D) float32 unit rows (.npy, or `embeddings` of an .npz), LABELS one integer or name a row (.npy, or
`labels` of an .npz; left out where the embeddings' .npz holds them). Each row is turned by the secret rotation of
collection A and by that of collection B. Linkage scores are cosines between a row in A and a row in B: mated ones of
two photographs of one identity, or of the very same photograph in both, non-mated ones of two identities. Reported over
several pairs of keys: the global unlinkability measure D_sys of Gomez-Barrero, Galbally, Rathgeb and Busch, "General
Framework to Evaluate Unlinkability in Biometric Template Protection Systems", IEEE TIFS 13(6), 2018, with omega = 1
(0: not linkable, 1: fully linkable), beside what the same estimate gives between two halves of the non-mated scores,
where the truth is 0; and how often a mated score is the larger of a mated and a non-mated one (chance 0.5).

First under one key for both, which is as good as none; then under two. Then come the limits that the rotation's
description states. An attacker who knows which rows of some people in A are which in B fits a rotation to these pairs
(orthogonal Procrustes) and links the others. An attacker who knows no pair but sees both collections whole lays their
principal axes over each other, or the rows whose scores with their own collection are alike, and then refits to mutual
nearest neighbours, 60 times; that is measured with the same rows in both, with half of all rows in each, drawn apart,
so that half of each is in the other, and with other photographs in B than in A.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from vultus.evaluation import cap_per_identity
from vultus.gallery.protection import Rotation
from vultus.terminal import table, track

BINS = 100
"""As in the authors' own program; fewer where there are fewer than 10 mated scores for each."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--max-per-identity", type=int, default=5)
    parser.add_argument("--keys", type=int, default=10, help="pairs of keys")
    parser.add_argument("--known", type=int, nargs="+", help="pairs that the attacker knows; D / 16 to 2 D if left out")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs that are compared; the keys are secret")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows, labels = load(arguments)
    chosen = cap_per_identity(labels, arguments.max_per_identity)
    rows, labels = rows[chosen], labels[chosen]
    dim = rows.shape[1]
    rng = np.random.default_rng(arguments.seed)
    strangers = non_mated(labels, 200_000, rng)
    photographs = [("other", mated(labels, rng)), ("same", np.repeat(np.arange(len(rows))[:, None], 2, axis=1))]

    cases: list[dict[str, Any]] = []
    for name, pairs in photographs:
        cases.append({"case": "one key", "photograph": name, "runs": [measure(rows, rows, pairs, strangers, rng)]})
    known = [0, *(arguments.known or [dim // 16, dim // 4, dim // 2, dim, 2 * dim])]
    attacks: list[tuple[str, int | str, int]] = [(f"{count} pairs known", count, arguments.keys) for count in known]
    attacks += [(f"both seen whole, {share}", share, min(3, arguments.keys)) for share in holdings(labels, rng)]
    for label, how, repeats in track(attacks, "cases"):
        runs: dict[str, list[dict[str, float]]] = {name: [] for name, _ in photographs}
        for _ in range(repeats):
            a, b = (Rotation(os.urandom(32), dim).apply(rows) for _ in range(2))
            told = np.zeros(len(rows), bool)
            if isinstance(how, str):
                seen_a, seen_b = holdings(labels, rng)[how]
                a = a @ fit_whole(a[seen_a], b[seen_b])
            elif how:
                told[rng.permutation(len(rows))[:how]] = True
                a = a @ fit(a[told], b[told])
            told_people = np.isin(labels, labels[told])
            for name, pairs in photographs:
                left = [those[~told_people[those].any(axis=1)] for those in (pairs, strangers)]
                runs[name].append(measure(a, b, left[0], left[1], rng))
        cases += [{"case": label, "photograph": name, "runs": runs[name]} for name, _ in photographs]

    about = (
        f"{arguments.embeddings.stem}: {len(rows):,} rows of {len(np.unique(labels)):,} identities, {dim} dimensions"
    )
    lines = []
    for case in cases:
        d, control, auc = (np.array([run[key] for run in case["runs"]]) for key in ("d_sys", "control", "auc"))
        spread = f"{d.min():.3f} .. {d.max():.3f}" if len(d) > 1 else ""
        lines.append(
            [case["case"], case["photograph"], f"{d.mean():.3f}", spread, f"{control.mean():.3f}", f"{auc.mean():.4f}"]
        )
    columns = ["attacker", "photograph", "D_sys", "range", "control", "mated larger"]
    note = f"{arguments.keys} pairs of keys (3 where collections are seen whole); "
    note += "control: D_sys of two halves of the non-mated scores, whose truth is 0"
    table(about, columns, lines, [note])
    if arguments.out:
        result = {"about": about, "keys": arguments.keys, "bins": BINS, "cases": cases}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def load(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """((N, D) float32, (N,) int64)."""
    found = np.load(arguments.embeddings, allow_pickle=False)
    rows = found["embeddings"] if isinstance(found, np.lib.npyio.NpzFile) else found
    labels = found if arguments.labels is None else np.load(arguments.labels, allow_pickle=False)
    labels = labels["labels"] if isinstance(labels, np.lib.npyio.NpzFile) else labels
    return np.asarray(rows, np.float32), np.unique(labels, return_inverse=True)[1]


def mated(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(P, 2) row numbers: every photograph with another of its identity, both ways round, in random order."""
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    pairs = [(i, j) for group in groups for i in group for j in group if i != j]
    return rng.permutation(np.array(pairs, np.int64).reshape(-1, 2))


def non_mated(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(P, 2) row numbers of two identities, about `count`."""
    pairs = rng.integers(0, len(labels), (count, 2))
    return pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]


def holdings(labels: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Which rows A and B hold, by how much of it is the same."""
    everything, half = np.arange(len(labels)), len(labels) // 2
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # each identity's photographs in random order
    turn = np.arange(len(labels)) - np.searchsorted(labels[order], labels[order])
    coin = rng.integers(0, 2, labels.max() + 1)[labels[order]]
    in_a = (turn + coin) % 2 == 0  # every other photograph; whoever has one only is in A or in B
    return {
        "the same rows": (everything, everything),
        "half the same": (rng.permutation(everything)[:half], rng.permutation(everything)[:half]),
        "other photographs": (order[in_a], order[~in_a]),
    }


def fit(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(D, D) float32: the orthogonal matrix that brings the rows of `a` nearest to those of `b` (Schönemann 1966)."""
    left, _, right = np.linalg.svd(a.T.astype(np.float64) @ b)
    return (left @ right).astype(np.float32)


def fit_whole(a: np.ndarray, b: np.ndarray, rounds: int = 60) -> np.ndarray:
    """The same where nobody knows which rows belong together: the better of two starts, judged by its mutual scores."""
    axes_a, axes_b = (np.linalg.eigh(np.cov(rows.T))[1] for rows in (a, b))
    signs = np.sign(np.mean((a @ axes_a) ** 3, axis=0) * np.mean((b @ axes_b) ** 3, axis=0))
    by_axes = ((axes_a * np.where(signs < 0, -1, 1)) @ axes_b.T).astype(np.float32)
    first, second = mutual(profiles(a), profiles(b))
    by_profiles = fit(a[first[:1000]], b[second[:1000]])
    return max((refit(a, b, start, rounds) for start in (by_axes, by_profiles)), key=lambda found: found[1])[0]


def refit(a: np.ndarray, b: np.ndarray, found: np.ndarray, rounds: int) -> tuple[np.ndarray, float]:
    """(matrix, sum of the scores of mutual nearest neighbours under it); the surest neighbours count first."""
    first = second = np.zeros(0, np.int64)
    for number in range(1, rounds + 1):
        first, second = mutual(a @ found, b)
        best = max(200, len(first) * number // rounds)
        found = fit(a[first[:best]], b[second[:best]])
    return found, float(np.einsum("ij,ij->", a[first] @ found, b[second]))


def mutual(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of pairs that are each other's nearest, the surest first."""
    scores = a @ b.T
    nearest = scores.argmax(axis=1)
    both = np.flatnonzero(scores.argmax(axis=0)[nearest] == np.arange(len(a)))
    both = both[np.argsort(-scores[both, nearest[both]])]
    return both, nearest[both]


def profiles(rows: np.ndarray) -> np.ndarray:
    """(N, 60) unit rows: quantiles of each row's scores with all others, which no rotation changes."""
    ranked = np.sort(rows @ rows.T, axis=1)[:, :-1]  # without its score with itself
    chosen = ranked[:, np.linspace(0, ranked.shape[1] - 1, 60).astype(int)]
    chosen = (chosen - chosen.mean(axis=0)) / chosen.std(axis=0)
    return chosen / np.linalg.norm(chosen, axis=1, keepdims=True)


def measure(
    a: np.ndarray, b: np.ndarray, mates: np.ndarray, strangers: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """D_sys, its control and the share of larger mated scores, of rows in A against rows in B."""
    mated_scores, other_scores = (np.einsum("ij,ij->i", a[p[:, 0]], b[p[:, 1]]) for p in (mates, strangers))
    shuffled = rng.permutation(other_scores)
    # The control has as many "mated" scores, since a histogram of few scores is uneven by itself.
    size = min(len(mated_scores), len(shuffled) // 2)
    below = np.searchsorted(np.sort(other_scores), mated_scores).mean() / len(other_scores)
    return {
        "d_sys": linkability(mated_scores, other_scores),
        "control": linkability(shuffled[:size], shuffled[size:]),
        "auc": float(below),
    }


def linkability(mated_scores: np.ndarray, other_scores: np.ndarray) -> float:
    """D_sys in [0, 1] with omega = 1: the mean over mated scores of 2 LR / (1 + LR) - 1, where LR is above 1."""
    bins = max(2, min(BINS, len(mated_scores) // 10))
    low = min(mated_scores.min(), other_scores.min())
    high = max(mated_scores.max(), other_scores.max())
    same = np.histogram(mated_scores, bins, (low, high))[0] / len(mated_scores)
    other = np.histogram(other_scores, bins, (low, high))[0] / len(other_scores)
    # 2 LR / (1 + LR) - 1 with LR = same / other
    local = np.divide(same - other, same + other, out=np.zeros(bins), where=same > other)
    return float(np.sum(local * same))


if __name__ == "__main__":
    main()
