"""What an error rate means in a gallery: thresholds for searches and claims, and the weight of a score."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import expm1, log1p
from typing import Any

from vultus.errors import CalibrationError
from vultus.evaluation import Calibration, Threshold
from vultus.evaluation.intervals import Interval
from vultus.gallery.reference import Embedder

FPIR = 1e-3
"""Default false positive identification rate: one stranger in 1,000 named (NIST SP 800-63A-4, §3.11, 1:N search)."""
FMR = 1e-4
"""Default false match rate of a verification: one impostor in 10,000 (NIST SP 800-63A-4, §3.11, 1:1 comparison)."""
WARN_FPIR = 0.05
"""A search that names more than one stranger in twenty is worth a warning; our choice, no standard's."""


@dataclass(frozen=True)
class Weight:
    """What a calibration says of one score, as of one comparison of two photographs."""

    fmr: float
    """Comparisons of different people reach this score at most so often: the lowest measured rate of the grid whose
    threshold is not above it, 1 where the score lies below all thresholds."""
    interval: Interval
    """95 % interval of that rate."""
    below_floor: bool
    """Whether the score reaches the highest threshold that was measured: how far below `fmr` it lies is unknown."""
    llr: float
    """Natural log-likelihood ratio, same person against different people; bounded by what the calibration's numbers
    can show. It holds no prior: among N enrolled people each is one of many (docs/decisions.md)."""

    def __str__(self) -> str:
        rate = "FMR above all that was measured" if self.fmr >= 1 else f"FMR at most {self.fmr:.2g}"
        return f"{rate}{', below the floor of the calibration' * self.below_floor}; LLR {self.llr:+.1f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "fmr": self.fmr,
            "fmr_interval": list(self.interval),
            "below_floor": self.below_floor,
            "llr": self.llr,
        }


UNWEIGHED: dict[str, Any] = dict.fromkeys(("fmr", "fmr_interval", "below_floor", "llr"))
"""`Weight.to_dict` of what has no weight."""


def weigh(score: float, calibration: Calibration) -> Weight:
    """What `calibration` states of a score; nothing is interpolated or extrapolated."""
    reached = [point for point in calibration.points if point.threshold <= score]
    llr = float(calibration.llr(score))
    if not reached:
        return Weight(1.0, (calibration.points[0].fmr_low, 1.0), False, llr)
    return Weight(
        reached[-1].fmr, (reached[-1].fmr_low, reached[-1].fmr_high), reached[-1] is calibration.points[-1], llr
    )


def expected_fpir(fmr: float, templates: int) -> float:
    """FPIR = 1 - (1 - FMR)^N, as if comparisons were independent: see `search_threshold`."""
    return 1.0 if fmr >= 1 and templates else -expm1(templates * log1p(-fmr)) if templates else 0.0


def fpir_warning(fpir: float, templates: int) -> str | None:
    """One line where more than `WARN_FPIR` of strangers will be named; else None."""
    if fpir <= WARN_FPIR:
        return None
    often = f"1 in {1 / fpir:.0f} strangers" if fpir < 0.4 else f"{fpir:.0%} of strangers"
    return f"with {templates_in_words(templates)} enrolled, {often} will be named as somebody who they are not"


def search_threshold(calibration: Calibration, fpir: float | None, templates: int) -> Threshold:
    """The threshold at which a stranger matches anyone with probability at most about `fpir`.

    None: `FPIR`, or where the calibration supports none so low over so many templates, the lowest that it does.

    FPIR = 1 - (1 - FMR)^N with N the number of templates, as if comparisons were independent. Templates of one person
    are alike, so the true rate is rather lower: a cautious estimate, no measurement at this size. It holds for
    strangers like those of the calibration; relatives and children match more often.
    """
    lowest = expected_fpir(calibration.floor, max(1, templates))
    if fpir is None and lowest > FPIR:
        return replace(calibration.threshold_at(calibration.floor), fpir=lowest, templates=max(1, templates))
    return calibration.threshold_for_fpir(FPIR if fpir is None else fpir, templates)


def relaxed(threshold: Threshold) -> str | None:
    """One line where `search_threshold` without a rate had to take a higher one than `FPIR`; else None."""
    if threshold.fpir is None or threshold.fpir <= FPIR:
        return None
    return (
        f"the calibration supports no FPIR below {rate_in_words(threshold.fpir)} over "
        f"{templates_in_words(threshold.templates or 0)}, so that is used in place of {rate_in_words(FPIR)}; calibrate "
        "on more people (`vultus evaluate MODEL DATA --calibration FILE`), or search fewer with --where"
    )


def claim_threshold(calibration: Calibration, fmr: float, templates: int) -> Threshold:
    """The threshold at which an impostor matches the best of a person's `templates` with probability at most `fmr`.

    The best of T comparisons errs up to T times as often as one, so each gets 1 - (1 - fmr)^(1/T).
    Raises CalibrationError for a rate that is none or that the calibration does not support.
    """
    if not 0 < fmr < 1:
        raise CalibrationError(f"a false match rate (FMR) lies between 0 and 1, not {fmr:g}")
    return calibration.threshold_at(calibration.fmr_for_fpir(fmr, templates) if templates > 1 else fmr)


def explain(threshold: Threshold) -> str:
    """The threshold and what it rests on, in one line."""
    if threshold.fpir is None:
        return str(threshold)
    return f"{threshold}; FPIR is estimated by 1-(1-FMR)^N over N templates, a cautious estimate"


def require_calibration(recognizer: Embedder) -> Calibration:
    """The recogniser's calibration, if it holds for what the recogniser does.

    CalibrationError where there is none (code no_calibration), or where it was measured with another recogniser
    (calibration_contract) or on crops that another detector made (calibration_detector).
    """
    calibration, name = recognizer.calibration, recognizer.name
    if calibration is None:
        raise CalibrationError(
            f"the recogniser {name} has no calibration, so no error rate can be promised; make one with "
            "`vultus export RUN --calibrate DATA/SPLIT`",
            "no_calibration",
        )
    if calibration.contract_id != recognizer.contract.id:
        raise CalibrationError(
            f"the calibration of {name} was measured with contract {calibration.contract_id}, not "
            f"{recognizer.contract.id}; calibrate this recogniser",
            "calibration_contract",
        )
    measured, used = calibration.crops, recognizer.crops
    if measured is not None and used is not None and not measured.fits(used):
        raise CalibrationError(
            f"the calibration of {name} was measured on crops by the detector {measured}, but here {used} makes them, "
            "for which its error rates do not hold; use that detector, or calibrate on crops by this one",
            "calibration_detector",
            measured=measured.to_dict(),
            used=used.to_dict(),
        )
    return calibration


def threshold_dict(threshold: Threshold) -> dict[str, Any]:
    """A threshold with its provenance as plain JSON values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(threshold).items()}


def templates_in_words(count: int) -> str:
    return f"{count:,} template{'s' * (count != 1)}"


def rate_in_words(share: float) -> str:
    return f"{share:.2g}" if share < 1e-4 else f"{share:.2%}"
