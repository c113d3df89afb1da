"""The standard part of an evaluation report: one verification in words, figures, tables and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vultus.evaluation import figures
from vultus.evaluation.intervals import Interval, Rate, rule_of_thirty, rule_of_three
from vultus.evaluation.protocols.verification import OperatingPoint, Verification
from vultus.evaluation.report import Cell, Facts, Figure, Pair, PairGallery, Section, Table, Text
from vultus.evaluation.scores import ScoredPair

EACH = 2
"""How often one person is among the worst pairs of a side."""


def verification_sections(verification: Verification, title: str = "Verification") -> list[Section]:
    """The standard part of an evaluation: words (without a title none), table, histograms, DET, ROC."""
    v = verification
    sections: list[Section] = [
        *([Text(summary(v), title=title)] if title else []),
        Facts([*[_fact(point) for point in firm(v)[-3:]], _eer_fact(v)]),
        Table(
            ["FAR", "threshold", "TAR", "95 % interval", "bootstrap, 95 %", "FAR, 95 %", "false matches"],
            [row for point in v.points for row in _rows(point)],
            title="Operating points",
            note=operating_note(v),
        ),
        Figure(
            figures.score_histogram(v),
            "Scores of comparisons of the same person and of different people. A threshold cuts here: whatever lies to "
            "its right is accepted. The less the two hills overlap, the better.",
            title="Scores",
        ),
        Figure(
            figures.score_histogram(v, log=True),
            "The same on a log axis, where the tails can be seen: at low error rates only they matter.",
        ),
    ]
    if not any(point.tar is not None for point in v.points):
        needed = min(point.needs for point in v.points if point.needs) if v.points else 0
        text = (
            f"No DET or ROC is drawn: {v.non_mated:,} comparisons of different people support no false accept rate "
            f"that was asked for; the highest needs {needed:,}."
        )
        return [*sections, Text(text, title="DET and ROC")]
    sections += [
        Figure(
            figures.det(v),
            "1 - TAR over FAR on two log axes: down and to the left is better, and each step to the left is a "
            "tenfold stricter threshold. The band is the 95 % interval of 1 - TAR at each threshold.",
            title="DET and ROC",
        ),
        Figure(
            figures.roc(v),
            "TAR over FAR. Up and to the left is better. Dots are the rows of the table with their intervals; where "
            "fewer than 10 false matches are behind the curve it is pale.",
        ),
    ]
    return sections


def baseline_table(
    measured: Mapping[str, Verification], accuracies: Mapping[str, str] | None = None
) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows: recognisers on the same people, TAR with its interval at the FARs that the data supports."""
    fars = [point.far for point in next(iter(measured.values())).points if point.tar is not None]
    columns = ["", *(["accuracy"] if accuracies else []), *(f"TAR at FAR {figures.rate_text(f)}" for f in fars), "AUC"]
    rows: list[list[Cell]] = []
    for name, found in measured.items():
        points = [found.point(far) for far in fars]
        cells = [None if p.tar is None else f"{percent(p.tar, 2)} ({_between(p.tar_interval, 1)})" for p in points]
        rows.append([name, *([accuracies[name]] if accuracies else []), *cells, f"{found.auc:.4f}"])
    return columns, rows


def baseline_sections(
    measured: Mapping[str, Verification], accuracies: Mapping[str, str] | None = None
) -> list[Section]:
    """The table of a report, with what it is for; empty without a second recogniser."""
    if len(measured) < 2:
        return []
    note = (
        "What is a good figure? Whitened PCA knows nothing about faces: where it does well too, the set gives its "
        "answers away, by light, background or a common film. A published recogniser shows how hard the photographs "
        "are."
    )
    return [Table(*baseline_table(measured, accuracies), title="Beside others, on the same people", note=note)]


def worst_pairs(
    verification: Verification,
    crops_of: Callable[[int], bytes | None] | None,
    names: Callable[[int], str] | None,
    *,
    people: Sequence[int] | np.ndarray | None = None,
    most: int = 12,
) -> list[Section]:
    """The hardest pairs as pictures, at most `most` on each side.

    `crops_of(i)` gives the PNG or JPEG bytes of image i (the row of the embeddings), `names(i)` a label for it.
    people (N,): whose each image is; nobody is shown more than `EACH` times on a side, so that one wrong label or one
    hard person does not hide the others.
    """
    v, sections = verification, []
    for pairs, heading, note in (
        (
            v.hardest_non_mated,
            "Worst false matches",
            "Different people with the highest scores. Look for wrong labels before you blame the recogniser.",
        ),
        (
            v.hardest_mated,
            "Worst false non-matches",
            "The same person with the lowest scores. Here too, look at the labels first.",
        ),
    ):
        if pairs:
            chosen = _varied(pairs, people)[:most]
            if len(chosen) < min(most, len(pairs)):
                note += f" Nobody is shown more than {EACH} times."
            shown = [_pair(pair, crops_of, names) for pair in chosen]
            sections.append(PairGallery(shown, title=heading, note=note))
    return sections


def _varied(pairs: Sequence[ScoredPair], people: Sequence[int] | np.ndarray | None) -> list[ScoredPair]:
    """The pairs, hardest first, without those of somebody who was shown `EACH` times already."""
    if people is None:
        return list(pairs)
    shown, kept = Counter[int](), []
    for pair in pairs:
        whose = {int(people[pair.i]), int(people[pair.j])}
        if all(shown[who] < EACH for who in whose):
            shown.update(whose)
            kept.append(pair)
    return kept


def summary(verification: Verification) -> str:
    """What was compared and how well it went, in plain words."""
    v = verification
    people = f"{v.images:,} images of {v.identities:,} people make " if v.images else ""
    text = (
        f"{people}{v.mated:,} comparisons of a person with the same person and {v.non_mated:,} of different people. "
        f"An ideal recogniser scores every one of the first above every one of the second; this one does so in "
        f"{percent(v.auc, 2)} of the cases (AUC)."
    )
    if v.mated_failures:
        text += f" In {v.mated_failures:,} comparisons no face was found; they count as not recognised."
    if known := firm(v):
        last = known[-1]
        text += (
            f"\n\nWith a threshold of {last.threshold:.3f}, one in {1 / last.far:,.0f} comparisons of different people "
            f"is accepted by mistake, and {percent(last.tar or 0)} of the comparisons of the same person are accepted."
        )
    withheld = [point for point in v.points if point.needs]
    if withheld:
        first = withheld[0]
        rate = figures.rate_text(first.far)
        text += (
            f" False accept rates of {rate} and below are withheld: {rate} would need {first.needs:,} comparisons of "
            f"different people, and there are {v.non_mated:,}."
        )
    return text


def firm(v: Verification) -> list[OperatingPoint]:
    """Points with 30 false matches or more, fit to be read alone; others only where there are none of these."""
    told = [point for point in v.points if point.tar is not None]
    return [point for point in told if point.false_matches and rule_of_thirty(point.false_matches)] or told


def percent(rate: float, digits: int = 1) -> str:
    """`rate` in percent, with up to 5 digits where fewer would call it 0 % or 100 % when it is not."""
    text = f"{rate:.{digits}%}"
    while 0 < rate < 1 and float(text[:-1]) in (0, 100) and digits < 5:
        digits += 1
        text = f"{rate:.{digits}%}"
    return text


def _between(interval: Interval | None, digits: int) -> str:
    low, high = interval or (0.0, 1.0)
    return f"{percent(low, digits)} to {percent(high, digits)}"


def _fact(point: OperatingPoint) -> tuple[str, str, str]:
    return percent(point.tar or 0), f"TAR at FAR {figures.rate_text(point.far)}", _between(point.tar_interval, 1)


def _eer_fact(v: Verification) -> tuple[str, str, str]:
    return percent(v.eer, 2), "equal error rate", f"at score {v.eer_threshold:.3f}"


def operating_note(v: Verification) -> str:
    """What the columns of the operating points mean, and how far they can be trusted."""
    text = (
        "FAR: share of comparisons of different people that match (also called FMR). TAR: share of those of the same "
        "person that match (1 - TAR is also called FNMR). "
        "Each threshold is the smallest that keeps to its FAR on this data. "
    )
    if v.by_identity:
        text += (
            "The intervals of TAR respect that comparisons share people: they count how many people have one error, "
            "two, and so on, each with Wilson's interval. "
        )
        if v.lets_thresholds_move:
            text += (
                "They allow for other people having set another threshold. Beside them stand the plain percentiles of "
                "resampled people. "
            )
    else:
        text += (
            "Whose images these are is not known, so the intervals take comparisons for independent: they are too "
            "narrow. "
        )
    text += _no_errors("false match", "FAR", [(p.far, p.fmr) for p in v.points])
    text += _no_errors("false non-match", "1 - TAR", [(p.far, p.fnmr_at_far or p.fnmr) for p in v.points])
    return text + (
        "A row is withheld where fewer than 10 false matches are expected; with fewer than 30 (marked *) the FAR "
        "itself is known to no better than about 30 % (rule of 30, Doddington)."
    )


def _no_errors(what: str, name: str, rates: Sequence[tuple[float, Rate | None]]) -> str:
    """What rows without an error leave open; the least sure of them speaks for all. Empty where there is none."""
    spotless = [(far, rate) for far, rate in rates if rate is not None and rate.trials and rate.errors == 0]
    if not spotless:
        return ""
    effective = min(rate.effective for _, rate in spotless)
    fars = ", ".join(figures.rate_text(far) for far, _ in spotless)
    return (
        f"No {what} at FAR {fars}: no errors leave a true {name} of up to {percent(rule_of_three(effective), 2)} open "
        f"(rule of three, with the {effective:,.0f} independent comparisons that these are worth). "
    )


def _rows(point: OperatingPoint) -> list[list[Cell]]:
    """One row, and one more for a withheld rate that was asked for nevertheless."""
    if point.tar is not None:
        return [_row(point)]
    people = f"about {point.needs_identities:,} people" if point.needs_identities else None
    needs = [figures.rate_text(point.far), None, "withheld", f"needs {point.needs:,} pairs", people, None, None]
    return [needs] if point.unsupported is None else [needs, _row(point.unsupported, " unsupported")]


def _row(point: OperatingPoint, mark: str = "") -> list[Cell]:
    assert point.tar is not None and point.false_matches is not None
    return [
        figures.rate_text(point.far),
        f"{point.threshold:.4f}",
        percent(point.tar, 2) + mark,
        _between(point.tar_interval, 2),
        _between(point.tar_bootstrap, 2) if point.tar_bootstrap else None,
        _scientific(point.far_interval),
        f"{point.false_matches:,}{'*' * (point.false_matches < 30)}",
    ]


def _scientific(interval: Interval | None) -> str:
    low, high = interval or (0.0, 1.0)
    return f"{low:.2g} to {high:.2g}"


def _pair(pair: ScoredPair, crops_of: Callable[[int], bytes | None] | None, names: Callable[[int], str] | None) -> Pair:
    left, right = (crops_of(i) if crops_of else None for i in (pair.i, pair.j))
    left_name, right_name = (names(i) if names else f"image {i}" for i in (pair.i, pair.j))
    return Pair(left, right, left_name, right_name, pair.score)
