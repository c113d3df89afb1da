"""A threshold and the measurement that it comes from.

The grid holds 10 false match rates a decade, from 1e-1 down to the lowest one at which 10 false matches were seen.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from vultus.errors import CalibrationError
from vultus.evaluation.calibration.prediction import Covariances
from vultus.evaluation.intervals import Interval, is_supported


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


def threshold_of(point: CalibrationPoint, fmr: float, source: str, extrapolated: bool) -> Threshold:
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
    )


def calibration_grid(non_mated: int) -> list[float]:
    """10 false match rates a decade from 1e-1 down to the last one with rate x non_mated >= 10; six digits each."""
    grid: list[float] = []
    while is_supported(fmr := grid_rate(len(grid)), non_mated):
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
            raise ValueError(f"fields {', '.join(sorted(set(names) ^ set(plain)))} missing or unknown")
        rows = zip(*([float(value) for value in plain[name]] for name in names), strict=True)
        return tuple(CalibrationPoint(*row) for row in rows)
    except (AttributeError, TypeError, ValueError) as error:
        raise CalibrationError(f"calibration with unreadable points ({error}): calibrate again") from None


def check_rate(name: str, rate: float) -> None:
    if not 0 < rate < 1:
        raise CalibrationError(f"a {name} lies between 0 and 1, not {rate}: 0.001 means one in a thousand")


def _span(interval: Interval) -> str:
    return f"{interval[0]:.3g} to {interval[1]:.3g}"
