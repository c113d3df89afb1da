"""What is kept of a calibration: thresholds that mean an error rate, and scores that mean evidence.

Measured on people nobody trained on, kept with their provenance. A question between two rates of the grid gets the
stricter one; a question below the grid gets an error, or, where it is asked for, an extreme-value extrapolation that
says so; never a guess.
"""

from __future__ import annotations

import hashlib
import json
import operator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import expm1, isfinite, log1p
from typing import Any

import numpy as np

from vultus.errors import CalibrationError
from vultus.evaluation.calibration.crops import CropOrigin
from vultus.evaluation.calibration.likelihood import Likelihood
from vultus.evaluation.calibration.people import People
from vultus.evaluation.calibration.prediction import Sample, prediction, prediction_of_estimate
from vultus.evaluation.calibration.tail import Tail
from vultus.evaluation.calibration.thresholds import (
    CalibrationPoint,
    Threshold,
    check_beyond,
    check_points,
    check_rate,
    from_columns,
    invalid,
    is_decade,
    threshold_of,
    to_columns,
)
from vultus.evaluation.intervals import Interval, needed_comparisons

FORMAT = "vultus-calibration-3"


@dataclass(frozen=True)
class Calibration:
    """Threshold by false match rate for one recogniser (`contract_id`), and the data it was measured on."""

    source: str
    """The data in words."""
    data_digest: str
    split: str
    identities: int
    """0 where they are unknown."""
    images: int
    """0 where only pairs were given."""
    mated: int
    non_mated: int
    max_per_identity: int | None
    contract_id: str
    created: str
    """UTC, ISO 8601."""
    vultus_version: str
    independent: bool
    """Whether identities were unknown, so that intervals take pairs for independent: too narrow, if anything."""
    images_of_people: tuple[tuple[int, int], ...]
    """(images, how many people have so many), where all pairs were compared; else empty."""
    points: tuple[CalibrationPoint, ...]
    """FMR descending, threshold ascending; never empty."""
    extrapolated: tuple[CalibrationPoint, ...]
    """The grid goes on for one decade below the data, by `tail`; empty where no tail could be fitted."""
    tail: Tail | None
    likelihood: Likelihood
    people: People | None = None
    """Hashed names of the identities, to refuse a test on them."""
    crops: CropOrigin | None = None
    """How the crops were made; None where nobody knows: crops that came aligned, drawn ones, a list of scores."""

    def __post_init__(self) -> None:
        """CalibrationError (code calibration_invalid) for what cannot have been measured; see `_check`."""
        _check(self)

    @classmethod
    def fit(
        cls,
        scores: np.ndarray,
        labels: np.ndarray,
        identities: np.ndarray | None = None,
        *,
        source: str,
        contract_id: str,
        split: str = "calibration",
        data_digest: str = "",
        images: int = 0,
        max_per_identity: int | None = None,
        people: People | None = None,
        crops: CropOrigin | None = None,
    ) -> Calibration:
        """Fit to a list of comparisons, in scikit-learn's manner, but at once: the result is frozen and can be stored.

        scores      (P,) cosines in [-1, 1]; -inf: no face was found, which a mated comparison counts as a miss
        labels      (P,) bool: mated (the same person)
        identities  (P, 2) names or codes of the two people, for intervals that respect shared people; None takes the
                    pairs for independent and says so

        `calibrate` does the same for all pairs of embeddings, faster. Raises VultusError for shapes that do not belong
        together, NaN, scores outside [-1, 1], or labels that contradict identities; CalibrationError for fewer than
        100 non-mated pairs.
        """
        from vultus.evaluation.calibration.measure import calibrate_scores, scores_of

        return calibrate_scores(
            scores_of(scores, labels, identities),
            source=source,
            contract_id=contract_id,
            split=split,
            data_digest=data_digest,
            images=images,
            max_per_identity=max_per_identity,
            people=people,
            crops=crops,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of its canonical JSON: the same thresholds, of the same data, made the same way."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def floor(self) -> float:
        """The lowest false match rate that the data supports."""
        return self.points[-1].fmr

    @property
    def lowest(self) -> float:
        """The lowest false match rate that an extrapolation reaches; the floor where there is none."""
        return (self.extrapolated or self.points)[-1].fmr

    def threshold_at(self, fmr: float, *, extrapolate: bool = False) -> Threshold:
        """The threshold of the nearest rate of the grid at or below `fmr` (0 < fmr < 1).

        Raises CalibrationError below the floor; with `extrapolate`, below `lowest`. Nothing is interpolated.
        """
        check_rate("false match rate", fmr)
        found = self._point(fmr, extrapolate)
        if found is None:
            raise CalibrationError(f"a false match rate of {fmr:.3g} is {self._unsupported(fmr, extrapolate)}")
        detector = self.crops.detector if self.crops else None
        return threshold_of(found, fmr, self.source, found.fmr < self.floor, detector)

    @staticmethod
    def fmr_for_fpir(fpir: float, n_templates: int) -> float:
        """The per-comparison rate at which a stranger matches any of `n_templates` with probability `fpir`.

        fmr = 1 - (1 - fpir)^(1 / n), as if comparisons were independent. Templates of one person are alike, so the
        true FPIR is at most about this: a cautious estimate. An empty gallery counts as one template.
        """
        check_rate("false positive identification rate", fpir)
        return -expm1(log1p(-fpir) / max(1, n_templates))

    def threshold_for_fpir(self, fpir: float, n_templates: int, *, extrapolate: bool = False) -> Threshold:
        """The threshold for a search of `n_templates` templates; CalibrationError where the data is too small."""
        fmr = self.fmr_for_fpir(fpir, n_templates)
        n = max(1, n_templates)
        if self._point(fmr, extrapolate) is None:
            lowest = -expm1(n * log1p(-self.floor))
            raise CalibrationError(
                f"FPIR {fpir:.3g} over {n:,} templates needs a false match rate of {fmr:.3g}, "
                f"{self._unsupported(fmr, extrapolate, f', here FPIR {lowest:.3g}')}"
            )
        return replace(self.threshold_at(fmr, extrapolate=extrapolate), fpir=fpir, templates=n)

    def prediction(
        self, fmr: float, identities: int | None = None, images: int | None = None, *, extrapolate: bool = False
    ) -> Interval:
        """95 % interval of the FMR that other people will show at the threshold of `fmr`, over all pairs of them.

        A sample of `identities` people with `images` photographs in all, spread over them as in the calibration; by
        default as many of both as there. It holds for people and photographs like those of the calibration.
        """
        check_rate("false match rate", fmr)
        at = self._point(fmr, extrapolate)
        if at is None:
            raise CalibrationError(f"a false match rate of {fmr:.3g} is {self._unsupported(fmr, extrapolate)}")
        if identities is None and images is None:
            return at.predicted_low, at.predicted_high
        sample = self._sample(identities, images)
        rate = at.measured or at.fmr
        new = 1 / at.covariances.relative_variance(rate, sample)
        if at.fmr < self.floor:
            return prediction_of_estimate(rate, (at.fmr_low, at.fmr_high), new)
        return prediction(rate, at.effective, new)

    def llr(self, score: np.ndarray | float) -> np.ndarray:
        """Natural log-likelihood ratio of each score, same person against different people: see `Likelihood`."""
        return self.likelihood.llr(score)

    def describe(self) -> list[str]:
        """Lines for people: where the thresholds come from, and one line a decade."""
        capped = f", at most {self.max_per_identity} images an identity" if self.max_per_identity else ""
        people = f"{self.images:,} images of {self.identities:,} identities{capped}"
        if not self.images:
            people = f"pairs of {self.identities:,} identities" if self.identities else "pairs of unknown people"
        unsure = ", pairs taken for independent" if self.independent else ""
        crops = f"crops by {self.crops}" if self.crops else "crops by an unknown detector"
        lines = [
            f"calibrated on {self.source} ({self.split}): {people}, {crops}",
            (
                f"{self.mated:,} mated and {self.non_mated:,} non-mated pairs support false match rates down to "
                f"{self.floor:.2g}{unsure}; {self.created[:10]}, vultus {self.vultus_version}, contract "
                f"{self.contract_id}"
            ),
        ]
        for point in self.points:
            if is_decade(point.fmr) or point is self.points[-1]:
                lines.append(
                    f"FMR {point.fmr:<8.2g} score >= {point.threshold:.4f}   finds {1 - point.fnmr:.1%} of mated pairs "
                    f"({1 - point.fnmr_high:.1%} to {1 - point.fnmr_low:.1%}); FMR on other people "
                    f"{point.predicted_low:.3g} to {point.predicted_high:.3g}"
                )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with `format`."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            "format": FORMAT,
            **plain,
            "images_of_people": [list(pair) for pair in self.images_of_people],
            "points": to_columns(self.points),
            "extrapolated": to_columns(self.extrapolated),
            "tail": vars(self.tail).copy() if self.tail else None,
            "likelihood": self.likelihood.to_dict(),
            "people": self.people.to_dict() if self.people else None,
            "crops": self.crops.to_dict() if self.crops else None,
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Calibration:
        """Raises CalibrationError for another format (code calibration_format), or a missing, unknown or impossible
        field (calibration_invalid)."""
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            found = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
            raise CalibrationError(
                f"not a calibration: format is {str(found)[:60]!r}, expected {FORMAT!r}; calibrate again",
                "calibration_format",
            )
        values = {name: value for name, value in plain.items() if name != "format"}
        names = {field.name for field in fields(cls)}
        if missing := sorted(names ^ set(values)):
            raise invalid(f"fields {', '.join(missing)[:200]} are missing or unknown")
        values["points"], values["extrapolated"] = (from_columns(values[name]) for name in ("points", "extrapolated"))
        values["likelihood"] = Likelihood.from_dict(values["likelihood"])
        try:
            images = values["images_of_people"]
            values["images_of_people"] = tuple((operator.index(n), operator.index(g)) for n, g in images)
            values["tail"] = Tail(**values["tail"]) if values["tail"] else None
            values["people"] = People.from_dict(values["people"]) if values["people"] else None
            values["crops"] = CropOrigin.from_dict(values["crops"]) if values["crops"] else None
            return cls(**values)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise invalid(f"a field is unreadable ({' '.join(str(error).split())[:100]})") from None

    @classmethod
    def from_json(cls, text: str | bytes) -> Calibration:
        """As `from_dict`; what is no JSON is calibration_format."""
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CalibrationError(
                f"a calibration that is not JSON ({' '.join(str(error).split())[:100]}): calibrate again",
                "calibration_format",
            ) from None
        return cls.from_dict(plain)

    def _point(self, fmr: float, extrapolate: bool) -> CalibrationPoint | None:
        known = self.points + (self.extrapolated if extrapolate else ())
        return next((point for point in known if point.fmr <= fmr), None)

    def _unsupported(self, fmr: float, extrapolate: bool, aside: str = "") -> str:
        further = ""
        if self.extrapolated and not extrapolate and fmr >= self.lowest:
            further = ", or extrapolate=True for an estimate from the tail of the scores, marked as such"
        elif self.extrapolated:
            further = f" (extrapolate=True estimates down to {self.lowest:.3g}, no further)"
        elif extrapolate:
            further = " (no extrapolation: too few pairs, or the largest scores do not follow the tail of the others)"
        return (
            f"below what this calibration supports: its {self.non_mated:,} non-mated pairs reach {self.floor:.3g}"
            f"{aside}; ask for that or more, or calibrate on data with at least {needed_comparisons(fmr):,} non-mated "
            f"pairs{further}"
        )

    def _sample(self, identities: int | None, images: int | None) -> Sample:
        if self.independent:
            raise CalibrationError("the identities of these pairs are unknown: other sizes cannot be predicted")
        known = self.images_of_people or ((1, self.identities),)
        counts, people = np.array(known, np.float64).T
        here = people.sum(), (people * counts).sum()
        people = people * ((identities or here[0]) / here[0])
        if images is not None:
            counts = counts * (images / (people * counts).sum())
        if people.sum() < 2 or counts.min() <= 0:
            raise CalibrationError("a prediction needs at least two identities and one image")
        return Sample.all_pairs(counts, people)


def _check(found: Calibration) -> None:
    """Refuse what no measurement can have given. Who forges consistently passes: a gallery knows its calibration."""
    _check_fields(found)
    if not found.points or not found.non_mated:
        raise invalid("it has no points")
    _check_counts(found)
    # All cosines of N unit vectors add up to at least -N / 2, the mated ones to at most their number.
    least = -(found.images / 2 + found.mated) / found.non_mated if found.images else -0.1
    check_points(found.points, found.non_mated, max(-1.0, least))
    check_beyond(found.extrapolated, found.points[-1])
    found.likelihood.check(found.mated, found.non_mated)


def _check_fields(found: Calibration) -> None:
    """Types and lengths."""
    texts = ("source", "data_digest", "split", "contract_id", "created", "vultus_version")
    if wrong := [
        name for name in texts if not isinstance(getattr(found, name), str) or len(getattr(found, name)) > 2000
    ]:
        raise invalid(f"{wrong[0]} is no text of at most 2,000 characters")
    capped = found.max_per_identity
    counts = (found.identities, found.images, found.mated, found.non_mated, 0 if capped is None else capped)
    if any(type(count) is not int or not 0 <= count < 2**53 for count in counts) or type(found.independent) is not bool:
        raise invalid("its counts are no counts")
    if found.tail is not None:
        law = (found.tail.above, found.tail.share, found.tail.scale, found.tail.shape)
        if not all(isinstance(number, float | int) and isfinite(number) for number in law):
            raise invalid("its tail holds something that is no number")
    if bool(found.extrapolated) > (found.tail is not None):
        raise invalid("it extrapolates without a tail")


def _check_counts(found: Calibration) -> None:
    """Whether so few people and images can have been compared so often."""
    pairs = found.images * (found.images - 1) // 2
    if found.images and found.non_mated > pairs:
        raise invalid(f"{found.images:,} images make no {found.non_mated:,} non-mated comparisons")
    if not found.independent and found.identities < 2:
        raise invalid(f"{found.identities} identities make no non-mated comparison")
    groups = found.images_of_people
    if not groups:
        return
    if any(images < 1 or people < 1 for images, people in groups) or len(dict(groups)) < len(groups):
        raise invalid("the numbers of images of its people are impossible")
    images, people = sum(n * g for n, g in groups), sum(g for _, g in groups)
    mated = sum(g * n * (n - 1) // 2 for n, g in groups)
    others = images * (images - 1) // 2 - mated
    known = found.images in (0, images) and found.identities >= people
    if not known or found.mated < mated or found.non_mated != others:  # failures add mated comparisons
        raise invalid(f"{people:,} people with {images:,} images make {mated:,} mated and {others:,} other comparisons")
