"""Does a threshold keep its promise on other people? Random halvings of the identities of one set.

    uv run python benchmarks/calibration.py --embeddings sface.npy --labels labels.npy [--out calibration.json]
    uv run python benchmarks/calibration.py --model sface --data DATA [--max-per-identity 10] [--out calibration.json]

EMBEDDINGS holds (N, D) float32 unit rows (.npy, or `embeddings` of an .npz), LABELS one integer or name a row (.npy, or
`labels` of an .npz; left out where the embeddings' .npz holds them). For each halving one half of the identities is
calibrated on, and the other half shows which FMR its thresholds give. Reported for each rate: in how many halvings
that FMR lies inside the 95 % prediction interval stated with the threshold; achieved / wanted, its mean and range; the
median ratio of the interval's ends. Then the same for extrapolations to a tenth of the lowest measured rate, from
small calibrations (--small identities) checked on everybody else, where enough comparisons are left to see such rates;
a calibration whose largest scores do not follow the fitted tail refuses, which is counted. Last, the cost of the
calibration's likelihood ratios on the other half, Cllr, beside the least possible on it, minCllr.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from vultus.evaluation import cap_per_identity
from vultus.evaluation.calibration import Calibration, calibrate_scores
from vultus.evaluation.scores import PairScores, all_pairs
from vultus.terminal import table, track

RATES = (1e-2, 1e-3, 1e-4, 1e-5)
TENTHS = (1.0, 0.5, 0.2, 0.1)
"""Extrapolated rates, in parts of the lowest measured one."""

NOTE = """inside: splits whose FMR lies in the 95 % prediction interval stated with the threshold; above: beyond it
ratio, range: FMR achieved / wanted, mean, least and greatest; matches: mean false matches behind one
width: median of the interval's upper / lower end"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--max-per-identity", type=int, default=10)
    parser.add_argument("--halvings", type=int, default=200)
    parser.add_argument("--small", type=int, default=300, help="identities of a small calibration, for extrapolation")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    name, embeddings, labels = load(arguments)
    chosen = cap_per_identity(labels, arguments.max_per_identity)
    embeddings, labels = embeddings[chosen], labels[chosen]
    people = len(np.unique(labels))
    start = time.perf_counter()

    halves = splits(labels, people // 2, arguments.halvings, arguments.seed)
    halvings, costs = [], []
    for here in track(halves, "halvings"):
        calibration, other = split(embeddings, labels, here)
        halvings += [row for fmr in arguments.rates if (row := at(calibration, other, fmr, 0)) is not None]
        costs.append((calibration.likelihood.cllr, *calibration.likelihood.cllr_of(other)))

    extrapolated, refused = [], 0
    small = splits(labels, min(arguments.small, people // 3), arguments.halvings, arguments.seed + 1)
    for here in track(small, "extrapolations"):
        calibration, other = split(embeddings, labels, here)
        refused += not calibration.extrapolated
        if calibration.extrapolated:
            extrapolated += [at(calibration, other, max(t * calibration.floor, calibration.lowest), t) for t in TENTHS]

    about = f"{name}: {len(labels):,} images of {people:,} identities"
    print()
    show(
        f"{about}; {arguments.halvings} halvings of the identities",
        [(f"{fmr:g}", [row for row in halvings if row["fmr"] == fmr]) for fmr in arguments.rates],
    )
    show(
        f"Calibrated on {min(arguments.small, people // 3)} identities, checked on all others; "
        f"{refused} of {arguments.halvings} refused to extrapolate",
        [(f"{t:g} x lowest", [row for row in extrapolated if row["part"] == t]) for t in TENTHS],
        "lowest: the lowest rate that the data supports (10 false matches); at 1 it is measured, below extrapolated",
    )
    own, test, least = np.mean(costs, axis=0)
    print(f"Cllr on its own half {own:.4f} bits, on the other {test:.4f}; minCllr of the other half {least:.4f}")
    print(f"{time.perf_counter() - start:.0f} s")
    if arguments.out:
        result = {
            "embeddings": name,
            "images": len(labels),
            "identities": people,
            "halvings": arguments.halvings,
            "rates": [summary(f"{r:g}", [row for row in halvings if row["fmr"] == r]) for r in arguments.rates],
            "extrapolated": [summary(f"{t:g}", [row for row in extrapolated if row["part"] == t]) for t in TENTHS],
            "refused_to_extrapolate": refused,
            "cllr": {"own": own, "other": test, "other_min": least},
        }
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


def load(arguments: argparse.Namespace) -> tuple[str, np.ndarray, np.ndarray]:
    """(name, (N, D) float32, (N,) int64)."""
    if arguments.model:
        from vultus.data import FaceDataset
        from vultus.workflows import open_embedder

        data = FaceDataset.open(arguments.data).at_most(arguments.max_per_identity)
        return arguments.model, open_embedder(arguments.model).dataset(data), data.labels
    found = np.load(arguments.embeddings, allow_pickle=False)
    embeddings = found["embeddings"] if isinstance(found, np.lib.npyio.NpzFile) else found
    labels = found if arguments.labels is None else np.load(arguments.labels, allow_pickle=False)
    labels = labels["labels"] if isinstance(labels, np.lib.npyio.NpzFile) else labels
    return arguments.embeddings.stem, embeddings, np.unique(labels, return_inverse=True)[1]


def splits(labels: np.ndarray, size: int, count: int, seed: int) -> list[np.ndarray]:
    """(N,) bool masks, each of the images of `size` identities drawn at random."""
    rng, people = np.random.default_rng(seed), np.unique(labels)
    return [np.isin(labels, rng.permutation(people)[:size]) for _ in range(count)]


def split(embeddings: np.ndarray, labels: np.ndarray, here: np.ndarray) -> tuple[Calibration, PairScores]:
    """The calibration on the images in `here`, and the scores of all the others."""
    mine = all_pairs(embeddings[here], labels[here], hardest=0, tail=2**20)
    other = all_pairs(embeddings[~here], labels[~here], hardest=0, tail=2**17)  # only counted in
    return calibrate_scores(mine, source="one part", contract_id="", images=int(here.sum())), other


def at(calibration: Calibration, other: PairScores, fmr: float, part: float) -> dict[str, float] | None:
    """What the threshold for `fmr` shows on other people; None below what is supported."""
    if fmr < calibration.lowest:
        return None
    found = calibration.threshold_at(fmr, extrapolate=part > 0)
    assert other.comparisons is not None
    people, images = int((other.comparisons.non_mated > 0).sum()), int(getattr(other.comparisons, "images").sum())  # noqa: B009
    # Halves are as large as each other: the interval that the threshold states. Else that for the size.
    low, high = calibration.prediction(fmr, people, images, extrapolate=True) if part else found.prediction
    matches = other.false_matches(other.snap(found.score))
    achieved = matches / other.non_mated
    inside = low <= achieved <= high
    return {
        "fmr": fmr,
        "part": part,
        "inside": inside,
        "above": achieved > high,
        "ratio": achieved / found.fmr_grid,
        "false_matches": matches,
        "width": high / max(low, 1 / other.non_mated),
        "in_interval": found.interval[0] <= achieved <= found.interval[1],
        "interval_top": found.interval[1] / found.fmr_grid,
    }


def show(title: str, groups: list[tuple[str, list[dict[str, float]]]], note: str = "") -> None:
    columns = ["FMR", "inside", "above", "ratio", "range", "matches", "width"]
    rows = []
    for name, found in groups:
        if not found:
            rows.append([name, "not supported", *[""] * 5])
            continue
        s = summary(name, found)
        rows.append(
            [
                name,
                f"{s['inside']:.1%} of {s['splits']}",
                f"{s['above']:.1%}",
                f"{s['ratio']:.3f}",
                f"{s['lowest']:.2f} .. {s['highest']:.2f}",
                f"{s['false_matches']:,.0f}",
                f"{s['width']:.2f}",
            ]
        )
    table(title, columns, rows, [NOTE, note] if note else [NOTE])


def summary(name: str, rows: list[dict[str, float]]) -> dict[str, Any]:
    """Shares and means over the splits."""
    if not rows:
        return {"fmr": name, "splits": 0}
    value = {key: np.array([row[key] for row in rows], float) for key in rows[0]}
    return {
        "fmr": name,
        "splits": len(rows),
        "inside": value["inside"].mean(),
        "above": value["above"].mean(),
        "inside_95_interval_of_the_rate": value["in_interval"].mean(),
        "interval_top": float(np.median(value["interval_top"])),
        "ratio": value["ratio"].mean(),
        "lowest": value["ratio"].min(),
        "highest": value["ratio"].max(),
        "false_matches": value["false_matches"].mean(),
        "width": float(np.median(value["width"])),
    }


if __name__ == "__main__":
    main()
