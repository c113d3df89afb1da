"""What the guards of an enrolment cost and catch: photographs unlike their person's others, and people enrolled twice.

    uv run python benchmarks/enrolment_guards.py --embeddings sface.npy --labels labels.npz [--out guards.json]

EMBEDDINGS holds (N, D) float32 unit rows (.npy, or `embeddings` of an .npz), LABELS one integer or name a row (.npy, or
`labels` of an .npz; left out where the embeddings' .npz holds them). The identities are split at random, --splits
times: on the one half the recogniser is calibrated, on the other half the guards are tried. Printed, as means over the
splits with the standard deviation between them:

1. genuine: a person's photographs in random order, K of them enrolled, one more comes: how often it is refused; and a
   stranger's comes: how often it is caught. By the rule in use (mean score with the others) and by others: the best
   score, the mean of the three best, the score with the mean of the others;
2. nobody is enrolled yet: N photographs of one person, one of them a stranger's: how often exactly that one is named,
   how often all are named since nobody can say, and how often one of N genuine photographs is refused;
3. three photographs of one other person come along with three of the enrolled person's own, K enrolled: a planted group
   that agrees with itself;
4. duplicates: one photograph of everybody is enrolled; somebody comes with R photographs under a new id. How often it
   warns of who is enrolled already (others of their photographs), and of strangers, against the rate asked for.

Genuine photographs that are refused include wrong labels; --refused FILE writes their rows, to be looked at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vultus.evaluation import Calibration, calibrate
from vultus.gallery.guards import far_templates, find_duplicates
from vultus.gallery.index import Hit
from vultus.terminal import table, track

KNOWN = (1, 2, 3, 5, 9)
TOGETHER = (2, 3, 4, 5, 10)
SEARCHED = (1, 3, 5)
RULES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mean": lambda row, known: float((known @ row).mean()),
    "best": lambda row, known: float((known @ row).max()),
    "mean of 3 best": lambda row, known: float(np.sort(known @ row)[-3:].mean()),
    "with the mean": lambda row, known: float(row @ known.mean(0) / np.linalg.norm(known.mean(0))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=Path, required=True)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--outlier-fmr", type=float, default=0.01)
    parser.add_argument("--duplicate-fpir", type=float, nargs="+", default=[0.01, 0.1])
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--refused", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows, labels = load(arguments)
    rng = np.random.default_rng(arguments.seed)
    runs, refused = [], set()
    for _ in track(range(arguments.splits), "split"):
        half = np.isin(labels, rng.permutation(np.unique(labels))[: len(np.unique(labels)) // 2])
        calibration = calibrate(
            rows[half], labels[half], source="the other half", contract_id="benchmark", max_per_identity=10
        )
        people = [rng.permutation(np.flatnonzero(~half & (labels == one)))[:10] for one in np.unique(labels[~half])]
        figures: dict[str, float] = {}
        refused |= one_more(rows, people, calibration, arguments.outlier_fmr, rng, figures)
        first_time(rows, people, calibration, arguments.outlier_fmr, rng, figures)
        planted_group(rows, people, calibration, arguments.outlier_fmr, rng, figures)
        for fpir in arguments.duplicate_fpir:
            duplicates(rows, people, calibration, fpir, figures)
        runs.append(figures)
    names = list(dict.fromkeys(name for run in runs for name in run))
    found = {name: [run[name] for run in runs if name in run and not np.isnan(run[name])] for name in names}
    result = {name: {"mean": float(np.mean(v)), "sd": float(np.std(v)), "splits": len(v)} for name, v in found.items()}
    show(result, arguments)
    if arguments.refused:
        arguments.refused.write_text("\n".join(map(str, sorted(refused))) + "\n")
    if arguments.out:
        about = {"splits": arguments.splits, "outlier_fmr": arguments.outlier_fmr, "rows": len(rows)}
        arguments.out.write_text(json.dumps({**about, "figures": result}, indent=1) + "\n")


def load(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    stored = np.load(arguments.embeddings)
    rows = stored if isinstance(stored, np.ndarray) else stored["embeddings"]
    labels = np.load(arguments.labels or arguments.embeddings)
    labels = labels if isinstance(labels, np.ndarray) else labels["labels"]
    return rows.astype(np.float32), np.unique(labels, return_inverse=True)[1]


def one_more(
    rows: np.ndarray,
    people: list[np.ndarray],
    calibration: Calibration,
    fmr: float,
    rng: np.random.Generator,
    figures: dict[str, float],
) -> set[int]:
    """One photograph comes to K enrolled ones. -> rows of genuine ones that are refused."""
    threshold, refused = calibration.threshold_at(fmr), set()
    for known in KNOWN:
        several = [one for one in people if len(one) > known]
        genuine: dict[str, list[bool]] = {name: [] for name in RULES}
        planted: dict[str, list[bool]] = {name: [] for name in RULES}
        for one in several:
            enrolled = rows[one[:known]]
            strangers = [rng.choice(people[k]) for k in rng.integers(len(people), size=20) if people[k] is not one]
            for name, rule in RULES.items():
                genuine[name].append(rule(rows[one[known]], enrolled) < threshold.score)
                planted[name] += [rule(rows[stranger], enrolled) < threshold.score for stranger in strangers]
            if far_templates(rows[one[known]][None], enrolled, threshold):
                refused.add(int(one[known]))
        for name in RULES:
            figures[f"1 more | {known} | {name} | refused"] = float(np.mean(genuine[name]))
            figures[f"1 more | {known} | {name} | caught"] = float(np.mean(planted[name]))
        figures[f"1 more | {known} | people"] = len(several)
    return refused


def first_time(
    rows: np.ndarray,
    people: list[np.ndarray],
    calibration: Calibration,
    fmr: float,
    rng: np.random.Generator,
    figures: dict[str, float],
) -> None:
    """N photographs of somebody new, all theirs, or the last one a stranger's."""
    threshold = calibration.threshold_at(fmr)
    for number in TOGETHER:
        several = [one for one in people if len(one) >= number]
        refused, exact, unclear = [], [], []
        for one in several:
            chosen = rows[one[:number]]
            refused.append(bool(far_templates(chosen, chosen[:0], threshold)))
            other = people[rng.integers(len(people))]
            if other is one:
                continue
            far = far_templates(np.concatenate([chosen[:-1], rows[other[:1]]]), chosen[:0], threshold)
            exact.append([found.row for found in far] == [number - 1] and far[0].known)
            unclear.append(bool(far) and not far[0].known)
        figures[f"together | {number} | genuine refused"] = float(np.mean(refused))
        figures[f"together | {number} | exactly the stranger"] = float(np.mean(exact))
        figures[f"together | {number} | all named"] = float(np.mean(unclear))
        figures[f"together | {number} | people"] = len(several)


def planted_group(
    rows: np.ndarray,
    people: list[np.ndarray],
    calibration: Calibration,
    fmr: float,
    rng: np.random.Generator,
    figures: dict[str, float],
) -> None:
    """Three photographs of one stranger beside three genuine ones."""
    threshold, groups = calibration.threshold_at(fmr), [one for one in people if len(one) >= 3]
    for known in (1, 3):
        caught, refused = [], []
        for one in (one for one in people if len(one) >= known + 3):
            other = groups[rng.integers(len(groups))]
            if other is one:
                continue
            new = np.concatenate([rows[one[known : known + 3]], rows[other[:3]]])
            far = {found.row for found in far_templates(new, rows[one[:known]], threshold)}
            caught.append({3, 4, 5} <= far)
            refused.append(bool({0, 1, 2} & far))
        figures[f"group | {known} | caught whole"] = float(np.mean(caught))
        figures[f"group | {known} | genuine refused"] = float(np.mean(refused))
        figures[f"group | {known} | people"] = len(caught)


def duplicates(
    rows: np.ndarray, people: list[np.ndarray], calibration: Calibration, fpir: float, figures: dict[str, float]
) -> None:
    """Half of the people are enrolled with one photograph; the others are strangers."""
    enrolled, strangers = people[::2], people[1::2]
    gallery = rows[[one[0] for one in enrolled]]
    for number in SEARCHED:
        again = [(k, one[1 : number + 1]) for k, one in enumerate(enrolled) if len(one) > number]
        new = [one[:number] for one in strangers if len(one) >= number]
        warned = [{d.person_id for d in duplicates_of(rows[one], gallery, calibration, fpir)} for one in new]
        found = [k in {d.person_id for d in duplicates_of(rows[one], gallery, calibration, fpir)} for k, one in again]
        name = f"duplicates | {fpir:g} | {number}"
        figures[f"{name} | strangers warned of"] = float(np.mean([bool(one) for one in warned]))
        figures[f"{name} | found"] = float(np.mean(found))
        figures[f"{name} | strangers"], figures[f"{name} | enrolled again"] = len(new), len(again)


def duplicates_of(probes: np.ndarray, gallery: np.ndarray, calibration: Calibration, fpir: float) -> Any:
    scores = probes @ gallery.T
    best = np.argsort(-scores, axis=1)[:, :3]
    hits = [[Hit(int(k), float(row[k]), int(k)) for k in order] for row, order in zip(scores, best, strict=True)]
    return find_duplicates(hits, None, calibration, fpir, len(gallery))


def show(result: dict[str, dict[str, float]], arguments: argparse.Namespace) -> None:
    def cell(name: str, digits: int = 2) -> str:
        return f"{result[name]['mean']:.{digits}%} ± {result[name]['sd']:.{digits}%}" if name in result else "-"

    def count(name: str) -> str:
        return f"{result[name]['mean']:,.0f}"

    more = [
        (rule, str(known), *(cell(f"1 more | {known} | {rule} | {what}") for what in ("refused", "caught")))
        for rule in RULES
        for known in KNOWN
    ]
    title = f"One more photograph, threshold at FMR {arguments.outlier_fmr:g} ({arguments.splits} splits)"
    table(title, ["score", "enrolled", "genuine refused", "stranger caught"], [(*row,) for row in more])
    kinds = ("genuine refused", "exactly the stranger", "all named")
    rows = [
        (str(n), count(f"together | {n} | people"), *(cell(f"together | {n} | {k}", 1) for k in kinds))
        for n in TOGETHER
    ]
    table("Photographs of somebody new, one a stranger's", ["photographs", "people", *kinds], rows)
    kinds = ("caught whole", "genuine refused")
    rows = [(str(n), count(f"group | {n} | people"), *(cell(f"group | {n} | {k}", 1) for k in kinds)) for n in (1, 3)]
    table("Three photographs of one stranger among six", ["enrolled", "people", *kinds], rows)
    rows = []
    for fpir in arguments.duplicate_fpir:
        for number in SEARCHED:
            name = f"duplicates | {fpir:g} | {number}"
            counts = (count(f"{name} | {k}") for k in ("strangers", "enrolled again"))
            rates = (cell(f"{name} | {k}") for k in ("strangers warned of", "found"))
            rows.append((f"{fpir:g}", str(number), *counts, *rates))
    columns = ["FPIR asked for", "photographs", "strangers", "enrolled again", "strangers warned of", "found"]
    table("Duplicates", columns, rows)


if __name__ == "__main__":
    main()
