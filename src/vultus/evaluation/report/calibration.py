"""A calibration in a report: what its thresholds promise, how its scores weigh as evidence, and whether both hold."""

from __future__ import annotations

from vultus.evaluation.calibration.achieved import Achieved, AchievedPoint
from vultus.evaluation.calibration.record import Calibration
from vultus.evaluation.calibration.thresholds import CalibrationPoint, is_decade
from vultus.evaluation.figures.calibration import evidence_curves, reliability_diagram, thresholds_by_rate
from vultus.evaluation.figures.style import rate_text
from vultus.evaluation.report import Cell, Figure, Section, Table, Text
from vultus.evaluation.report.verification import percent


def calibration_sections(calibration: Calibration, achieved: Achieved | None = None) -> list[Section]:
    """Thresholds and ratios of `calibration`; with `achieved`, beside what they show on the people of the report."""
    c = calibration
    sections: list[Section] = [Text(_summary(c), title="Thresholds by error rate")]
    if achieved is not None:
        sections.append(_kept(achieved))
    sections += [
        Table(
            ["FAR", "threshold", "95 % interval", "on other people", "TAR", "95 % interval"],
            [
                _row(point, extrapolated=point.fmr < c.floor)
                for point in (*c.points, *c.extrapolated)
                if _shown(c, point)
            ],
            title="" if achieved is None else "As calibrated",
            note=(
                "Measured on the calibration's people. On other people: where the FAR of a sample as large as the "
                "calibration's lies in 95 of 100 cases, from the spread of the estimate and that of the new sample, "
                "both with shared people. An extrapolated row comes from the fitted tail of the scores, not from a "
                "count."
            ),
        ),
        Figure(
            thresholds_by_rate(c),
            "The threshold of each false match rate, and how far the rate may be off. The fewer false matches stand "
            "behind a threshold, the wider the band.",
        ),
        Text(_evidence(c, achieved), title="Scores as evidence"),
        Figure(
            evidence_curves(c.likelihood),
            "How much a score speaks for the same person (above 0) or for different people (below). The dashed "
            "staircase follows the data more closely than the straight line; the line is what is used.",
        ),
        Figure(
            reliability_diagram(achieved.reliability if achieved else c.likelihood.reliability),
            "Left: predicted against observed probabilities at even prior odds; on the dashed line a probability is "
            "what it says, above it more speaks for the same person than is said. Right: where the comparisons lie. "
            + ("The people of this report." if achieved else "The calibration's own people, which flatters it.")
            + " Intervals take pairs for independent.",
        ),
    ]
    return sections


def _summary(c: Calibration) -> str:
    about, counts, *_ = c.describe()
    text = f"{about[0].upper()}{about[1:]}. {counts[0].upper()}{counts[1:]}."
    if c.tail is None:
        return (
            f"{text}\n\nNothing is extrapolated: there are too few pairs, or the largest scores of different people do "
            "not follow the tail of the others, as with wrong labels, twins or look-alikes."
        )
    return (
        f"{text}\n\nBelow that the largest {c.tail.exceedances:,} scores of different people are taken to follow a "
        f"generalised Pareto distribution (shape {c.tail.shape:.2f}), down to a rate of {rate_text(c.lowest)}. "
        "Look-alikes and relatives that are rarer than the data can show are not in it."
    )


def _evidence(c: Calibration, achieved: Achieved | None) -> str:
    own = c.likelihood
    text = (
        "A score becomes a likelihood ratio: how many times as likely it is between two photographs of one person as "
        "between photographs of two. It holds no prior: whoever decides multiplies it by the odds before. "
        f"No ratio goes beyond what the data can show, here {own.lowest:.1f} to {own.highest:.1f} on the natural log "
        "scale. Cllr is the cost of the ratios in bits (0: always right and sure; 1: no information); minCllr is that "
        "of the best ratios these scores allow, and the rest is lost by calibration."
    )
    if achieved is None:
        return f"{text}\n\nOn the calibration's own people Cllr is {own.cllr:.4f}, minCllr {own.min_cllr:.4f}."
    return (
        f"{text}\n\nOn the people of this report Cllr is {achieved.cllr:.4f}, minCllr {achieved.min_cllr:.4f}; on the "
        f"calibration's own {own.cllr:.4f} and {own.min_cllr:.4f}."
    )


def _kept(achieved: Achieved) -> Table:
    return Table(
        ["FAR promised", "threshold", "expected here", "achieved", "95 % interval", "TAR", "kept"],
        [_kept_row(point) for point in achieved.points],
        title="On the people of this report",
        note=(
            "Expected here: where the FAR of as many other people with as many photographs lies in 95 of 100 cases. "
            "A rate outside it says that these people or photographs are not like the calibration's."
        ),
    )


def _kept_row(point: AchievedPoint) -> list[Cell]:
    return [
        rate_text(point.promised),
        f"{point.threshold:.4f}",
        _span(*point.predicted),
        f"{point.fmr.value:.3g}",
        _span(*point.fmr.interval),
        percent(1 - point.fnmr.value, 2),
        "yes" if point.kept else "lower" if point.fmr.value < point.predicted[0] else "HIGHER",
    ]


def _shown(c: Calibration, point: CalibrationPoint) -> bool:
    ends = (c.points[-1], *c.extrapolated[-1:])
    return is_decade(point.fmr) or point in ends


def _row(point: CalibrationPoint, *, extrapolated: bool) -> list[Cell]:
    return [
        _rate(point.fmr) + (", extrapolated" if extrapolated else ""),
        f"{point.threshold:.4f}",
        _span(point.fmr_low, point.fmr_high),
        _span(point.predicted_low, point.predicted_high),
        percent(1 - point.fnmr, 2),
        f"{percent(1 - point.fnmr_high, 2)} to {percent(1 - point.fnmr_low, 2)}",
    ]


def _rate(fmr: float) -> str:
    return rate_text(fmr) if is_decade(fmr) else f"{fmr:.2g}".replace("e-0", "e-")


def _span(low: float, high: float) -> str:
    return f"{_rate(low)} to {_rate(high)}"
