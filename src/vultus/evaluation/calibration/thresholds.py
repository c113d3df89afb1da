"""A threshold and the measurement that it comes from.

The grid holds 10 false match rates a decade, from 1e-1 down to the lowest one at which 10 false matches were seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

from vultus.errors import CalibrationError
from vultus.evaluation.calibration.prediction import Covariances
from vultus.evaluation.intervals import Interval, is_supported

MOST_POINTS = 150
"""Down to 1e-15, which would take 1e16 comparisons."""


@dataclass(frozen=True)
class CalibrationPoint:
    """One false match rate of the grid: its threshold, and 95 % intervals of the FMR and the FNMR there."""

    fmr: float
    """The rate of the grid; the measured one is at or below it."""
    threshold: float
    measured: float
    """The FMR on the calibration's data at `threshold`; beyond the data, what the fitted tail gives: `fmr`."""
    fmr_low: float
    fmr_high: float
    fnmr: float
    fnmr_low: float
    fnmr_high: float
    effective: float
    """How many independent false matches would leave the FMR as uncertain; fewer than seen, as they share people.

    Below the data: how many a sample of the calibration's size would be expected to show."""
    shared: float
    repeated: float
    """See `prediction.Covariances`."""
    predicted_low: float
    predicted_high: float
    """95 % interval of the FMR on other people: a sample as large as the calibration's."""

    @property
    def covariances(self) -> Covariances:
        return Covariances(self.shared, self.repeated)


@dataclass(frozen=True)
class Threshold:
    """A score with its provenance. A comparison matches when its cosine >= `score`."""

    score: float
    fmr: float
    """The false match rate asked for (or following from `fpir` and `templates`)."""
    fmr_grid: float
    """The rate that the threshold comes from, at or below `fmr`."""
    interval: Interval
    """95 % interval of the FMR at this threshold."""
    prediction: Interval
    """95 % interval of the FMR that other people will show: a sample of the calibration's size."""
    fnmr: float
    fnmr_interval: Interval
    source: str
    fpir: float | None = None
    templates: int | None = None
    extrapolated: bool = False
    """Whether the rate lies below what was measured and comes from a fitted tail."""
    detector: str | None = None
    """Whose crops it was measured on; None where nobody knows."""

    def __str__(self) -> str:
        asked = f"FMR {self.fmr:.3g}"
        if self.fpir is not None:
            asked = f"FPIR {self.fpir:.3g} over {self.templates:,} templates, so FMR {self.fmr:.3g}"
        how = "EXTRAPOLATED below the data to" if self.extrapolated else "measured at"
        return (
            f"score >= {self.score:.4f} for {asked}: {how} FMR {self.fmr_grid:.3g} (95 % interval "
            f"{_span(self.interval)}; on other people {_span(self.prediction)}), misses {self.fnmr:.1%} of mated "
            f"comparisons ({self.fnmr_interval[0]:.1%} to {self.fnmr_interval[1]:.1%}); {self.source}"
        )


def threshold_of(
    point: CalibrationPoint, fmr: float, source: str, extrapolated: bool, detector: str | None
) -> Threshold:
    return Threshold(
        score=point.threshold,
        fmr=fmr,
        fmr_grid=point.fmr,
        interval=(point.fmr_low, point.fmr_high),
        prediction=(point.predicted_low, point.predicted_high),
        fnmr=point.fnmr,
        fnmr_interval=(point.fnmr_low, point.fnmr_high),
        source=source,
        extrapolated=extrapolated,
        detector=detector,
    )


def calibration_grid(non_mated: int) -> list[float]:
    """10 false match rates a decade from 1e-1 down to the last one with rate x non_mated >= 10; six digits each."""
    grid: list[float] = []
    while len(grid) < MOST_POINTS and is_supported(fmr := grid_rate(len(grid)), non_mated):
        grid.append(fmr)
    return grid


def grid_rate(index: int) -> float:
    """The rate number `index` of the endless grid: 0.1, 0.0794328, ..."""
    return float(f"{10 ** (-1 - index / 10):.6g}")


def is_decade(fmr: float) -> bool:
    return fmr == float(f"{fmr:.0e}") and f"{fmr:e}".startswith("1.0")


def to_columns(points: tuple[CalibrationPoint, ...]) -> dict[str, list[float]]:
    """A list a field: a third of the size of a record a point."""
    return {field.name: [getattr(point, field.name) for point in points] for field in fields(CalibrationPoint)}


def from_columns(plain: Any) -> tuple[CalibrationPoint, ...]:
    """Raises CalibrationError for a missing, unknown or unreadable field, or columns of different lengths."""
    names = [field.name for field in fields(CalibrationPoint)]
    try:
        if set(plain) != set(names):
            raise ValueError(f"fields {', '.join(sorted(set(names) ^ set(plain)))[:200]} missing or unknown")
        if any(not isinstance(plain[name], list) or len(plain[name]) > MOST_POINTS for name in names):
            raise ValueError(f"a column is no list of at most {MOST_POINTS} numbers")
        if any(type(value) not in (int, float) for name in names for value in plain[name]):
            raise ValueError("a column holds something that is no number")
        rows = zip(*([float(value) for value in plain[name]] for name in names), strict=True)
        return tuple(CalibrationPoint(*row) for row in rows)
    except (AttributeError, ArithmeticError, TypeError, ValueError) as error:
        raise invalid(f"its points are unreadable ({error})") from None


def check_points(points: Sequence[CalibrationPoint], non_mated: int, lowest_mean: float) -> None:
    """CalibrationError (code calibration_invalid) for thresholds that no data of this size can have shown.

    The rates are those of the grid that `non_mated` comparisons support, all of them; thresholds are cosines that rise
    as the rate falls; the measured rate is at or below that of the grid, inside its interval. `lowest_mean`: non-mated
    cosines have a mean of at least so much, so that a threshold which a share f of them reaches, and no more, cannot
    lie below (lowest_mean - f) / (1 - f).
    """
    if len(points) > MOST_POINTS or [point.fmr for point in points] != calibration_grid(non_mated):
        raise invalid(f"its false match rates are not those that {non_mated:,} non-mated comparisons support")
    for point in points:
        check_point(point)
        if point.measured > point.fmr:
            raise invalid(f"at FMR {point.fmr:g} it measured {point.measured:g}, which is more")
        if point.threshold < (lowest_mean - point.fmr) / (1 - point.fmr) - 1e-6:
            raise invalid(f"a threshold of {point.threshold:g} lets more than {point.fmr:g} of any faces pass")
    for above, below in itertools.pairwise(points):
        if below.threshold < above.threshold:
            raise invalid(f"its threshold falls from FMR {above.fmr:g} to FMR {below.fmr:g}")
        if below.measured > above.measured or (below.measured < above.measured) != (below.threshold > above.threshold):
            raise invalid(f"thresholds and measured rates of FMR {above.fmr:g} and {below.fmr:g} contradict each other")
        if below.fnmr < above.fnmr:
            raise invalid(f"its FNMR falls from FMR {above.fmr:g} to FMR {below.fmr:g}, though the threshold does not")


def check_beyond(beyond: Sequence[CalibrationPoint], last: CalibrationPoint) -> None:
    """The same for the extrapolated points below `last`: at most a decade of the grid, thresholds that do not fall."""
    first = next(k for k in itertools.count() if grid_rate(k) < last.fmr)
    if len(beyond) > 10 or [point.fmr for point in beyond] != [grid_rate(first + k) for k in range(len(beyond))]:
        raise invalid("its extrapolated rates are not the next of the grid, a decade at most")
    for above, below in itertools.pairwise((last, *beyond)):
        check_point(below)
        if below.threshold < above.threshold:
            raise invalid(f"its threshold falls from FMR {above.fmr:g} to FMR {below.fmr:g}")


def check_point(point: CalibrationPoint) -> None:
    """Every number is finite, rates and their intervals lie in [0, 1], the threshold is a cosine."""
    if not all(isfinite(getattr(point, field.name)) for field in fields(point)):
        raise invalid(f"FMR {point.fmr:g} stands beside something that is no number")
    if not -1 <= point.threshold <= 1:
        raise invalid(f"a threshold of {point.threshold:g} is no cosine")
    intervals = (
        (point.fmr_low, point.measured, point.fmr_high),
        (point.fnmr_low, point.fnmr, point.fnmr_high),
        (point.predicted_low, point.predicted_low, point.predicted_high),
    )
    if any(not 0 <= low <= rate <= high <= 1 for low, rate, high in intervals) or point.effective < 0:
        raise invalid(f"rates or intervals at FMR {point.fmr:g} are impossible")


def check_rate(name: str, rate: float) -> None:
    if not 0 < rate < 1:
        raise CalibrationError(f"a {name} lies between 0 and 1, not {rate}: 0.001 means one in a thousand")


def invalid(why: str) -> CalibrationError:
    return CalibrationError(f"not a calibration that anybody measured: {why}; calibrate again", "calibration_invalid")


def _span(interval: Interval) -> str:
    return f"{interval[0]:.3g} to {interval[1]:.3g}"
