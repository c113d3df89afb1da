"""What a calibration promised, beside what other people show: the check that a threshold keeps its error rate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from vultus.evaluation.calibration.record import Calibration
from vultus.evaluation.calibration.reliability import Reliability
from vultus.evaluation.calibration.thresholds import is_decade
from vultus.evaluation.intervals import Interval, Rate
from vultus.evaluation.protocols.rates import fmr_at, fnmr_at
from vultus.evaluation.scores import PairScores


@dataclass(frozen=True)
class AchievedPoint:
    """One promised false match rate, on other people."""

    promised: float
    threshold: float
    predicted: Interval
    """Where the calibration expects the FMR of a sample as large as this one, 95 %."""
    fmr: Rate
    fnmr: Rate

    @property
    def kept(self) -> bool:
        """Whether the FMR lies where it was expected."""
        return self.predicted[0] <= self.fmr.value <= self.predicted[1]


@dataclass(frozen=True)
class Achieved:
    """A calibration on people that it was not measured on."""

    source: str
    """What the calibration was measured on."""
    created: str
    points: tuple[AchievedPoint, ...]
    """A decade each, falling."""
    cllr: float
    """Bits: the cost of the calibration's log-likelihood ratios on these scores (Brümmer and du Preez 2006)."""
    min_cllr: float
    """Bits: of the best non-decreasing map of these scores; the difference is what calibration loses."""
    reliability: Reliability

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = asdict(self)
        for point, of in zip(plain["points"], self.points, strict=True):
            point["kept"] = of.kept
        return plain


def achieved(calibration: Calibration, scores: PairScores, *, identities: int, images: int) -> Achieved:
    """Apply stored thresholds and log-likelihood ratios to the `scores` of `images` pictures of `identities` people.

    They must be other people than the calibration's (`Calibration.people.refuse`).
    """
    # Where a calibration does not know whose its pairs were, it can say nothing of another number of people.
    size = () if calibration.independent else (identities, images)
    points = []
    for at in calibration.points:
        if not is_decade(at.fmr):
            continue
        threshold = scores.snap(at.threshold)
        points.append(
            AchievedPoint(
                promised=at.fmr,
                threshold=at.threshold,
                predicted=calibration.prediction(at.fmr, *size),
                fmr=fmr_at(scores, threshold),
                fnmr=fnmr_at(scores, threshold),
            )
        )
    cost, least = calibration.likelihood.cllr_of(scores)
    found = calibration.likelihood.reliability_of(scores)
    return Achieved(calibration.source, calibration.created, tuple(points), cost, least, found)
