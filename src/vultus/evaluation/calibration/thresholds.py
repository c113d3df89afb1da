"""Thresholds that mean an error rate: measured on people nobody trained on, kept with their provenance.

The grid holds 10 false match rates a decade, from 1e-1 down to the lowest one at which 10 false matches were seen.
A question between two grid points gets the stricter one; a question below the grid gets an error, never a guess.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from math import expm1, log1p
from typing import Any

import numpy as np

from vultus.errors import CalibrationError
from vultus.evaluation.intervals import is_supported, needed_comparisons
from vultus.evaluation.protocols.verification import Interval, operating_point, require_comparisons
from vultus.evaluation.scores import all_pairs
from vultus.evaluation.selection import cap_per_identity

FORMAT = "vultus-calibration-1"


@dataclass(frozen=True)
class CalibrationPoint:
    """One measured false match rate: its threshold, and 95 % intervals of the FMR and the FNMR there."""

    fmr: float
    threshold: float
    fmr_low: float
    fmr_high: float
    fnmr: float
    fnmr_low: float
    fnmr_high: float


@dataclass(frozen=True)
class Threshold:
    """A score with its provenance. A comparison matches when its cosine >= `score`."""

    score: float
    fmr: float
    """The false match rate asked for (or following from `fpir` and `templates`)."""
    fmr_grid: float
    """The measured rate that the threshold comes from, at or below `fmr`."""
    interval: Interval
    """95 % interval of the FMR at this threshold."""
    fnmr: float
    fnmr_interval: Interval
    source: str
    fpir: float | None = None
    templates: int | None = None

    def __str__(self) -> str:
        asked = f"FMR {self.fmr:.3g}"
        if self.fpir is not None:
            asked = f"FPIR {self.fpir:.3g} over {self.templates:,} templates, so FMR {self.fmr:.3g}"
        low, high = self.interval
        return (
            f"score >= {self.score:.4f} for {asked}: measured at FMR {self.fmr_grid:.3g} "
            f"(95 % interval {low:.2g} to {high:.2g}), misses {self.fnmr:.1%} of mated comparisons "
            f"({self.fnmr_interval[0]:.1%} to {self.fnmr_interval[1]:.1%}); {self.source}"
        )


@dataclass(frozen=True)
class Calibration:
    """Threshold by false match rate for one recogniser (`contract_id`), and the data it was measured on."""

    source: str
    """The data in words."""
    data_digest: str
    split: str
    identities: int
    images: int
    mated: int
    non_mated: int
    max_per_identity: int | None
    contract_id: str
    created: str
    """UTC, ISO 8601."""
    vultus_version: str
    points: tuple[CalibrationPoint, ...]
    """FMR descending, threshold ascending; never empty."""

    @property
    def floor(self) -> float:
        """The lowest false match rate that the data supports."""
        return self.points[-1].fmr

    def threshold_at(self, fmr: float) -> Threshold:
        """The threshold of the nearest measured rate at or below `fmr` (0 < fmr < 1).

        Raises CalibrationError below the floor: no interpolation, no extrapolation.
        """
        _check_rate("false match rate", fmr)
        for point in self.points:
            if point.fmr <= fmr:
                return Threshold(
                    score=point.threshold,
                    fmr=fmr,
                    fmr_grid=point.fmr,
                    interval=(point.fmr_low, point.fmr_high),
                    fnmr=point.fnmr,
                    fnmr_interval=(point.fnmr_low, point.fnmr_high),
                    source=self.source,
                )
        raise CalibrationError(
            f"a false match rate of {fmr:.3g} is below what this calibration supports: its {self.non_mated:,} "
            f"non-mated pairs reach {self.floor:.3g}; ask for that or more, or calibrate on data with at least "
            f"{needed_comparisons(fmr):,} non-mated pairs"
        )

    @staticmethod
    def fmr_for_fpir(fpir: float, n_templates: int) -> float:
        """The per-comparison rate at which a stranger matches any of `n_templates` with probability `fpir`.

        fmr = 1 - (1 - fpir)^(1 / n), as if comparisons were independent. Templates of one person are alike, so the
        true FPIR is at most about this: a cautious estimate. An empty gallery counts as one template.
        """
        _check_rate("false positive identification rate", fpir)
        return -expm1(log1p(-fpir) / max(1, n_templates))

    def threshold_for_fpir(self, fpir: float, n_templates: int) -> Threshold:
        """The threshold for a search of `n_templates` templates; CalibrationError where the data is too small."""
        fmr = self.fmr_for_fpir(fpir, n_templates)
        n = max(1, n_templates)
        if fmr < self.floor:
            lowest = -expm1(n * log1p(-self.floor))
            raise CalibrationError(
                f"FPIR {fpir:.3g} over {n:,} templates needs a false match rate of {fmr:.3g}, below what this "
                f"calibration supports: its {self.non_mated:,} non-mated pairs reach {self.floor:.3g}, here FPIR "
                f"{lowest:.3g}; ask for that or more, or calibrate on data with at least {needed_comparisons(fmr):,} "
                "non-mated pairs"
            )
        return replace(self.threshold_at(fmr), fpir=fpir, templates=n)

    def describe(self) -> list[str]:
        """Lines for people: where the thresholds come from, and one line a decade."""
        capped = f", at most {self.max_per_identity} images an identity" if self.max_per_identity else ""
        people = f"{self.images:,} images of {self.identities:,} identities{capped}"
        lines = [
            f"calibrated on {self.source} ({self.split}): {people}",
            (
                f"{self.mated:,} mated and {self.non_mated:,} non-mated pairs support false match rates down to "
                f"{self.floor:.2g}; {self.created[:10]}, vultus {self.vultus_version}, contract {self.contract_id}"
            ),
        ]
        for point in self.points:
            is_decade = point.fmr == float(f"{point.fmr:.0e}") and f"{point.fmr:e}".startswith("1.0")
            if is_decade or point is self.points[-1]:
                lines.append(
                    f"FMR {point.fmr:<8.2g} score >= {point.threshold:.4f}   finds {1 - point.fnmr:.1%} of mated pairs "
                    f"({1 - point.fnmr_high:.1%} to {1 - point.fnmr_low:.1%})"
                )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with `format`."""
        plain = asdict(self)
        plain["points"] = [asdict(point) for point in self.points]
        return {"format": FORMAT, **plain}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Calibration:
        """Raises CalibrationError for another format or a missing, unknown or empty field."""
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            found = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
            raise CalibrationError(f"not a calibration: format is {found!r}, expected {FORMAT!r}; calibrate again")
        values = {name: value for name, value in plain.items() if name != "format"}
        names = {field.name for field in fields(cls)}
        if missing := sorted(names ^ set(values)):
            raise CalibrationError(f"calibration with missing or unknown fields {', '.join(missing)}: calibrate again")
        try:
            points = tuple(CalibrationPoint(**{k: float(v) for k, v in p.items()}) for p in values.pop("points"))
        except (AttributeError, TypeError, ValueError) as error:
            raise CalibrationError(f"calibration with an unreadable point ({error}): calibrate again") from None
        if not points:
            raise CalibrationError("calibration without points: calibrate again on more data")
        return cls(**values, points=points)

    @classmethod
    def from_json(cls, text: str | bytes) -> Calibration:
        try:
            plain = json.loads(text)
        except ValueError as error:
            raise CalibrationError(f"calibration that is not JSON ({error}): calibrate again") from None
        return cls.from_dict(plain)


def calibrate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    source: str,
    contract_id: str,
    split: str = "calibration",
    data_digest: str = "",
    max_per_identity: int | None = None,
    mated_failures: int = 0,
    block: int = 2048,
) -> Calibration:
    """Measure thresholds over all pairs of `embeddings` (N, D) float32 unit rows with `labels` (N,) integers.

    Use identities that no other split holds. `max_per_identity` keeps the first that many images of each.
    Raises CalibrationError with fewer than 100 non-mated pairs, which support not even an FMR of 1e-1.
    """
    embeddings, labels = np.asarray(embeddings), np.asarray(labels)
    if max_per_identity is not None:
        chosen = cap_per_identity(labels, max_per_identity)
        embeddings, labels = embeddings[chosen], labels[chosen]
    scores = all_pairs(embeddings, labels, mated_failures=mated_failures, block=block, hardest=0)
    identities = len(np.unique(labels))
    require_comparisons(scores, identities)
    points: list[CalibrationPoint] = []
    for fmr in calibration_grid(scores.non_mated):
        at = operating_point(scores, fmr)
        assert at.threshold is not None, "the grid holds supported rates only"
        assert at.tar is not None
        assert at.tar_interval is not None
        assert at.far_interval is not None
        points.append(
            CalibrationPoint(
                fmr=fmr,
                threshold=at.threshold,
                fmr_low=at.far_interval[0],
                fmr_high=at.far_interval[1],
                fnmr=1 - at.tar,
                fnmr_low=1 - at.tar_interval[1],
                fnmr_high=1 - at.tar_interval[0],
            )
        )
    if not points:
        raise CalibrationError(
            f"{scores.non_mated} non-mated pairs support no false match rate: calibrate on at least "
            f"{needed_comparisons(0.1)} (more identities)"
        )
    return Calibration(
        source=source,
        data_digest=data_digest,
        split=split,
        identities=identities,
        images=len(labels),
        mated=scores.mated_comparisons,
        non_mated=scores.non_mated,
        max_per_identity=max_per_identity,
        contract_id=contract_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        vultus_version=_version(),
        points=tuple(points),
    )


def calibration_grid(non_mated: int) -> list[float]:
    """10 false match rates a decade from 1e-1 down to the last one with rate x non_mated >= 10; six digits each."""
    grid: list[float] = []
    step = 10
    while is_supported(fmr := float(f"{10 ** (-step / 10):.6g}"), non_mated):
        grid.append(fmr)
        step += 1
    return grid


def _check_rate(name: str, rate: float) -> None:
    if not 0 < rate < 1:
        raise CalibrationError(f"a {name} lies between 0 and 1, not {rate}: 0.001 means one in a thousand")


def _version() -> str:
    from vultus import __version__

    return __version__
