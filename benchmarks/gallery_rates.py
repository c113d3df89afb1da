"""Does a gallery keep the FPIR that it was asked for? Searches of people whom the calibration has never seen.

    uv run python benchmarks/gallery_rates.py --data DATA [--model sface] [--models DIR] [--out FILE] [--figure PNG]
    uv run python benchmarks/gallery_rates.py --embeddings sface.npy --labels labels.npz [--out FILE] [--figure PNG]

DATA is a dataset made by `vultus data build`; EMBEDDINGS holds (N, D) float32 unit rows, LABELS one integer or name a
row (.npy, or `labels` of an .npz). --splits times the identities are halved at random, those with one image and those
with more apart. One half is calibrated on (at most 10 images each). Of the other half one image of each identity that
has more is enrolled, their others (at most 10) are searched, and the identities with one image are searched as
strangers. Smaller galleries are parts of the largest, searched by the same strangers. Thresholds, searches and
decisions are those of `vultus.Gallery`: `search_threshold`, `index.View.search`, `decide`; the scores are compared with
those of a matrix product.

Printed for each size of gallery and each FPIR asked for: the achieved FPIR, mean and range over the splits, beside the
95 % prediction interval for so many strangers in such a gallery (means of its ends), and in how many splits the rate
lay inside; FNIR with a 95 % interval, all splits together, clustered by person. Where the calibration is too small for
the rate it says so, and how many identities it would take; the row below is an estimate from the fitted tail of scores.
Then how FPIR grows with the gallery at a threshold of one FMR, beside 1 - (1 - FMR)^N: at the FMR of the calibration,
and at the one that these searches show.

The prediction: calibration and searches are two samples of one population. The FMR of the second one varies with
who is in it, by the covariances that the calibration measured (`evaluation.calibration.prediction`), here for N x S
comparisons that share N enrolled people and S strangers. Its ends become FPIR by the law, as the threshold does.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vultus.errors import CalibrationError
from vultus.evaluation import Calibration, Interval, Threshold, calibrate
from vultus.evaluation.calibration.prediction import Sample, prediction, prediction_of_estimate
from vultus.evaluation.comparisons import AllPairs, TwoSets
from vultus.evaluation.intervals.needed import needed_for
from vultus.evaluation.protocols.galleries import at_most
from vultus.evaluation.protocols.search_rates import SearchRates
from vultus.evaluation.protocols.searches import Searches
from vultus.gallery import Candidate, Decision, Kind
from vultus.gallery.decision import decide, expected_fpir, search_threshold
from vultus.gallery.delta import Delta
from vultus.gallery.index import Hit, Table, View
from vultus.terminal import table, track

MOST = 10
"""Images of one person in the calibration, and searches for one."""
MEASURED, EXTRAPOLATED = "measured", "extrapolated"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model", default="sface")
    parser.add_argument("--models", help="folder with model files")
    parser.add_argument("--fpir", type=float, nargs="+", default=[1e-3, 1e-2, 1e-1])
    parser.add_argument("--fmr", type=float, nargs="+", default=[1e-4, 1e-5], help="thresholds of the growth")
    parser.add_argument("--people", type=int, nargs="+", default=[100, 200, 400])
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    if not arguments.data and not (arguments.embeddings and arguments.labels):
        parser.error("give --data, or --embeddings and --labels")
    name, rows, labels = load(arguments)
    start, rng = time.perf_counter(), np.random.default_rng(arguments.seed)
    runs = Runs()
    for _ in track(range(arguments.splits), "splits"):
        one_split(rows, labels, arguments, rng, runs)
    rates = [rate_row(key, cell) for key, cell in runs.cells.items()]
    growth = [growth_row(key, cell) for key, cell in runs.growth.items()]
    images = np.bincount(labels)
    about = {
        "recogniser": name,
        "images": len(labels),
        "identities": len(images),
        "identities_with_one": int((images == 1).sum()),
        "splits": arguments.splits,
        "seed": arguments.seed,
        "calibrated_on": {what: float(np.mean(values)) for what, values in runs.calibrated.items()},
        "strangers": runs.strangers,
        "decisions": runs.decisions,
        "scores_compared": runs.compared,
        "largest_difference_of_scores": runs.difference,
        "seconds": round(time.perf_counter() - start, 1),
    }
    show(about, rates, growth)
    if arguments.out:
        arguments.out.write_text(json.dumps({**about, "rates": rates, "growth": growth}, indent=1) + "\n")
    if arguments.figure:
        arguments.figure.write_bytes(draw(rates, runs))


def load(arguments: argparse.Namespace) -> tuple[str, np.ndarray, np.ndarray]:
    """(name, (N, D) float32 unit rows, (N,) int64 codes 0..G-1)."""
    if arguments.data:
        from vultus.data import FaceDataset
        from vultus.workflows import open_embedder

        data = FaceDataset.open(arguments.data)
        rows, labels = open_embedder(arguments.model, arguments.models).dataset(data), data.labels
        return arguments.model, np.ascontiguousarray(rows, np.float32), np.unique(labels, return_inverse=True)[1]
    found, labels = np.load(arguments.embeddings), np.load(arguments.labels)
    rows = found["embeddings"] if isinstance(found, np.lib.npyio.NpzFile) else found
    labels = labels["labels"] if isinstance(labels, np.lib.npyio.NpzFile) else labels
    return arguments.embeddings.stem, rows.astype(np.float32), np.unique(labels, return_inverse=True)[1]


@dataclass(eq=False)
class Cell:
    """One size of gallery and one FPIR, over the splits."""

    thresholds: list[Threshold] = field(default_factory=list)
    achieved: list[float] = field(default_factory=list)
    predicted: list[Interval] = field(default_factory=list)
    needs: list[int] = field(default_factory=list)
    """Identities that would support the rate, where the calibration does not."""
    kinds: list[dict[str, int]] = field(default_factory=list)
    """What mated searches ended as."""
    searches: list[Searches] = field(default_factory=list)
    """Scores less the threshold of their split: at or above 0 is at or above the threshold."""


@dataclass(eq=False)
class Runs:
    cells: dict[tuple[int, float, str], Cell] = field(default_factory=dict)
    growth: dict[tuple[float, int], dict[str, list[float]]] = field(default_factory=dict)
    calibrated: dict[str, list[float]] = field(default_factory=dict)
    strangers: int = 0
    decisions: int = 0
    compared: int = 0
    difference: float = 0.0


def one_split(
    rows: np.ndarray, labels: np.ndarray, arguments: argparse.Namespace, rng: np.random.Generator, runs: Runs
) -> None:
    images = np.bincount(labels)
    single, several = (rng.permutation(np.flatnonzero(wanted)) for wanted in (images == 1, images > 1))
    here = np.isin(labels, np.concatenate([single[: len(single) // 2], several[: len(several) // 2]]))
    own = np.flatnonzero(here)
    own = own[at_most(labels[own], MOST, rng)]
    calibration = calibrate(rows[own], labels[own], source="the other half", contract_id="benchmark")
    for what in ("identities", "images", "non_mated", "floor"):
        runs.calibrated.setdefault(what, []).append(getattr(calibration, what))

    people = several[len(several) // 2 :][: max(arguments.people)]
    if len(people) < max(arguments.people):
        raise SystemExit(f"{len(people)} identities with two images are left to enrol: choose smaller --people")
    shuffled = rng.permutation(len(labels))
    first = {int(labels[row]): int(row) for row in shuffled[np.isin(labels[shuffled], people)]}
    enrolled = np.array([first[int(person)] for person in people])
    others = np.setdiff1d(np.flatnonzero(np.isin(labels, people)), enrolled)
    others = others[at_most(labels[others], MOST, rng)]
    strangers = np.flatnonzero(np.isin(labels, single[len(single) // 2 :]))
    runs.strangers = len(strangers)
    for size in sorted(arguments.people):
        gallery, inside = enrolled[:size], others[np.isin(labels[others], people[:size])]
        view = view_of(rows[gallery], labels[gallery])
        of_strangers, of_others = view.search(rows[strangers], 2), view.search(rows[inside], 2)
        check(of_strangers, rows[strangers] @ rows[gallery].T, runs)
        check(of_others, rows[inside] @ rows[gallery].T, runs)
        for fpir in arguments.fpir:
            for how, threshold in thresholds(calibration, fpir, size, labels[own], runs):
                cell = runs.cells.setdefault((size, fpir, how), Cell())
                named = decided(of_strangers, threshold, calibration, size, runs)
                found = decided(of_others, threshold, calibration, size, runs)
                cell.thresholds.append(threshold)
                cell.achieved.append(float(np.mean([decision.kind is not Kind.UNKNOWN for decision in named])))
                cell.predicted.append(predicted(calibration, threshold, size, len(strangers)))
                cell.kinds.append(outcomes(found, labels[inside]))
                cell.searches.append(margins(of_strangers, of_others, threshold, labels, gallery, inside, strangers))
        for fmr in arguments.fmr:
            threshold = calibration.threshold_at(fmr)
            named = decided(of_strangers, threshold, calibration, size, runs)
            seen = float(np.mean(rows[strangers] @ rows[gallery].T >= np.float32(threshold.score)))
            grown = runs.growth.setdefault((fmr, size), {"fpir": [], "fmr": []})
            grown["fpir"].append(float(np.mean([decision.kind is not Kind.UNKNOWN for decision in named])))
            grown["fmr"].append(seen)


def view_of(rows: np.ndarray, people: np.ndarray) -> View:
    index, ids, none = Table(rows.shape[1]), np.arange(1, len(rows) + 1), np.empty(0, np.int64)
    index.apply(Delta(len(rows), True, ids, people, rows, none, none))
    return index.view()


def check(found: list[list[Hit]], scores: np.ndarray, runs: Runs) -> None:
    """The two best of the index beside those of the matrix product."""
    best = np.sort(scores, axis=1)[:, :-3:-1]
    wrong = np.abs(best - np.array([[hit.score for hit in hits] for hits in found]))
    runs.compared, runs.difference = runs.compared + wrong.size, max(runs.difference, float(wrong.max()))


def thresholds(
    calibration: Calibration, fpir: float, size: int, labels: np.ndarray, runs: Runs
) -> list[tuple[str, Threshold]]:
    """The measured one; where the calibration refuses it, what is needed is noted and an extrapolated one returned."""
    try:
        return [(MEASURED, search_threshold(calibration, fpir, size))]
    except CalibrationError:
        needed = needed_for(calibration.fmr_for_fpir(fpir, size), AllPairs(np.unique(labels, return_counts=True)[1]))
        runs.cells.setdefault((size, fpir, MEASURED), Cell()).needs.append(needed.identities or 0)
    try:
        return [(EXTRAPOLATED, calibration.threshold_for_fpir(fpir, size, extrapolate=True))]
    except CalibrationError:
        return []


def decided(
    found: list[list[Hit]], threshold: Threshold, calibration: Calibration, size: int, runs: Runs
) -> list[Decision]:
    runs.decisions += len(found)
    return [
        decide(
            [Candidate(str(hit.person_id), hit.score, hit.template_id) for hit in hits],
            threshold,
            calibration,
            searched=size,
        )
        for hits in found
    ]


def outcomes(decisions: list[Decision], people: np.ndarray) -> dict[str, int]:
    """Of mated searches: how many ended as what."""
    kinds = [
        ("right" if decision.person == str(person) else "wrong") if decision.kind is Kind.MATCH else decision.kind.value
        for decision, person in zip(decisions, people, strict=True)
    ]
    return {kind: kinds.count(kind) for kind in ("right", "wrong", "ambiguous", "unknown")}


def predicted(calibration: Calibration, threshold: Threshold, people: int, strangers: int) -> Interval:
    """95 %: where the FPIR of so many strangers, one photograph each, will lie."""
    point = next(p for p in (*calibration.points, *calibration.extrapolated) if p.fmr == threshold.fmr_grid)
    enrolled = np.repeat([1, 0], [people, strangers])
    rate = point.measured or point.fmr
    new = 1 / point.covariances.relative_variance(rate, Sample.of(TwoSets(enrolled, 1 - enrolled)))
    if threshold.extrapolated:
        low, high = prediction_of_estimate(rate, (point.fmr_low, point.fmr_high), new)
    else:
        low, high = prediction(rate, point.effective, new)
    return expected_fpir(low, people), expected_fpir(high, people)


def margins(
    of_strangers: list[list[Hit]],
    of_others: list[list[Hit]],
    threshold: Threshold,
    labels: np.ndarray,
    gallery: np.ndarray,
    inside: np.ndarray,
    strangers: np.ndarray,
) -> Searches:
    """What the intervals of the evaluation need of a gallery's searches, every score less the threshold."""

    def above(found: list[list[Hit]]) -> np.ndarray:
        return np.array([hits[0].score for hits in found], np.float32) - np.float32(threshold.score)

    best = above(of_others)
    right = np.array([hits[0].person_id for hits in of_others]) == labels[inside]
    return Searches(
        enrolled=np.sort(labels[gallery]),
        templates=len(gallery),
        mated_identity=labels[inside],
        mate=np.where(right, best, -np.inf).astype(np.float32),
        rank=np.where(right, 1, 2),  # beyond the first it does not matter where
        mated_best=best,
        failures=0,
        stranger=labels[strangers],
        best=above(of_strangers),
        candidate=np.array([hits[0].person_id for hits in of_strangers]),
        strangers_without_face=0,
    )


def rate_row(key: tuple[int, float, str], cell: Cell) -> dict[str, Any]:
    size, fpir, how = key
    row: dict[str, Any] = {"enrolled": size, "fpir": fpir, "how": how, "splits": len(cell.achieved)}
    if cell.needs:
        row |= {"unsupported": len(cell.needs), "needs_identities": round(float(np.mean(cell.needs)))}
    if not cell.achieved:
        return row
    pooled, low_high = SearchRates(cell.searches), np.array(cell.predicted)
    inside = [low <= rate <= high for rate, (low, high) in zip(cell.achieved, cell.predicted, strict=True)]
    above = [rate > high for rate, (_, high) in zip(cell.achieved, cell.predicted, strict=True)]
    missed, wrong = pooled.fnir(0.0), pooled.fpir(0.0)
    assert np.isclose(wrong.value, np.mean(cell.achieved)), "the decisions and their scores disagree"
    searches = sum(sum(kinds.values()) for kinds in cell.kinds)
    return {
        **row,
        "threshold": float(np.mean([threshold.score for threshold in cell.thresholds])),
        "fmr": cell.thresholds[0].fmr_grid,
        "expected": expected_fpir(cell.thresholds[0].fmr_grid, size),
        "achieved": wrong.value,
        "achieved_interval": wrong.interval,
        "lowest": min(cell.achieved),
        "highest": max(cell.achieved),
        "predicted": low_high.mean(axis=0).tolist(),
        "inside": sum(inside),
        "above": sum(above),
        "fnir": missed.value,
        "fnir_interval": missed.interval,
        "mated_searches": missed.trials,
        "achieved_each": cell.achieved,
        "predicted_each": cell.predicted,
        **{kind: sum(each[kind] for each in cell.kinds) / searches for kind in cell.kinds[0]},
    }


def growth_row(key: tuple[float, int], grown: dict[str, list[float]]) -> dict[str, Any]:
    fmr, size = key
    seen = float(np.mean(grown["fmr"]))
    return {
        "fmr": fmr,
        "enrolled": size,
        "law": expected_fpir(fmr, size),
        "fpir": float(np.mean(grown["fpir"])),
        "lowest": min(grown["fpir"]),
        "highest": max(grown["fpir"]),
        "fmr_seen": seen,
        "law_at_fmr_seen": expected_fpir(seen, size),
    }


def show(about: dict[str, Any], rates: list[dict[str, Any]], growth: list[dict[str, Any]]) -> None:
    on, splits = about["calibrated_on"], about["splits"]
    lines, notes = [], []
    for row in rates:
        start = [f"{row['enrolled']:,}", f"{100 * row['fpir']:g}"]
        if "unsupported" in row:
            lines.append([*start, "unsupported"])
            notes.append(
                f"FPIR {row['fpir']:.3g} over {row['enrolled']:,}: unsupported in {row['unsupported']} of {splits} "
                f"splits; it takes about {row['needs_identities']:,} identities like these to calibrate on"
            )
        if not row["splits"]:
            continue
        lines.append(
            [
                *start,
                f"{row['threshold']:.3f}{'*' * (row['how'] == EXTRAPOLATED)}",
                f"{100 * row['achieved']:.2f} ({between((row['lowest'], row['highest']))})",
                between(row["predicted"]),
                f"{row['inside']}/{row['splits']} ({row['above']})",
                f"{100 * row['fnir']:.1f} ({between(row['fnir_interval'], 1)})",
                f"{100 * row['ambiguous']:.2f}",
            ]
        )
    for row in (row for row in rates if row["how"] == EXTRAPOLATED):
        notes.append(
            f"* over {row['enrolled']:,}: estimated below the data, from a fitted tail, in {row['splits']} of {splits} "
            "splits; in the others the tail does not fit, or not all the way"
        )
    table(
        f"{about['recogniser']}: {splits} halvings, {about['strangers']:,} strangers in each; rates in %",
        ["enrolled", "FPIR", "threshold", "achieved", "predicted", "inside (above)", "FNIR", "ambiguous"],
        lines,
        [
            f"calibrated on {on['identities']:,.0f} identities, {on['images']:,.0f} images, "
            f"{on['non_mated']:,.0f} non-mated pairs (means); FMR down to {on['floor']:.2g}",
            "achieved: mean (range over the splits). ambiguous: of the mated searches, two people at or above the",
            "threshold; where the better one is right, FNIR counts them as found",
            *notes,
        ],
    )
    table(
        "Growth with the gallery at the threshold of one FMR; rates in % but FMR",
        ["FMR", "enrolled", "1-(1-FMR)^N", "achieved", "FMR seen", "law at it"],
        [
            [
                f"{row['fmr']:g}",
                f"{row['enrolled']:,}",
                f"{100 * row['law']:.2f}",
                f"{100 * row['fpir']:.2f} ({between((row['lowest'], row['highest']))})",
                f"{row['fmr_seen']:.2e}",
                f"{100 * row['law_at_fmr_seen']:.2f}",
            ]
            for row in growth
        ],
        [
            f"{about['decisions']:,} decisions; {about['scores_compared']:,} scores of the index differ from a matrix "
            f"product by at most {about['largest_difference_of_scores']:.1e}; {about['seconds']:.0f} s"
        ],
    )


def between(ends: Interval, digits: int = 2) -> str:
    return f"{100 * ends[0]:.{digits}f}-{100 * ends[1]:.{digits}f}"


def draw(rates: list[dict[str, Any]], runs: Runs) -> bytes:
    """Achieved / asked: a dot a split, over the prediction interval as a bar; a panel a size of gallery."""
    from vultus.evaluation.figures.style import INK, MATED, NON_MATED, new_figure, to_png

    sizes = sorted({row["enrolled"] for row in rates})
    asked = sorted({row["fpir"] for row in rates})
    figure, panels = new_figure(3.4 * len(sizes), 4.6, "FPIR achieved / asked for, on other people", 1, len(sizes))
    rng = np.random.default_rng(0)
    for axes, size in zip(panels, sizes, strict=True):
        for row in (row for row in rates if row["enrolled"] == size and row["splits"]):
            at, cell = asked.index(row["fpir"]), runs.cells[size, row["fpir"], row["how"]]
            colour = MATED if row["how"] == MEASURED else NON_MATED
            low, high = np.array(row["predicted"]) / row["fpir"]
            axes.bar(at, high - low, 0.7, bottom=low, color=colour, alpha=0.16, lw=0)
            ratio = np.array(cell.achieved) / row["fpir"]
            axes.plot(at + rng.uniform(-0.25, 0.25, len(ratio)), ratio, "o", color=colour, ms=3.2, mec="white", mew=0.3)
            axes.plot([at - 0.35, at + 0.35], [ratio.mean()] * 2, color=INK, lw=1.6)
        axes.axhline(1, color=INK, lw=1, ls=":")
        axes.set_xticks(range(len(asked)), [f"{100 * fpir:g} %" for fpir in asked])
        axes.set_xlim(-0.6, len(asked) - 0.4)
        axes.set_title(f"{size:,} enrolled", fontsize=10, loc="left", color=INK)
        axes.set_xlabel("FPIR asked for")
    highest = [
        max(*cell.achieved, np.mean(cell.predicted, axis=0)[1]) / key[1]
        for key, cell in runs.cells.items()
        if cell.achieved
    ]
    for axes in panels:
        axes.set_ylim(-0.1, 1.05 * max(highest))
    panels[0].set_ylabel("achieved / asked for")
    known = panels[0]
    handles = [
        known.plot([], [], "o", color=MATED, ms=4, label="a split")[0],
        known.plot([], [], "o", color=NON_MATED, ms=4, label="a split, threshold extrapolated")[0],
        known.fill_between([], [], [], color=INK, alpha=0.16, lw=0, label="95 % prediction"),
        known.plot([], [], color=INK, lw=1.6, label="mean of the splits")[0],
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return to_png(figure)


if __name__ == "__main__":
    main()
