"""The one place where scores become decisions, by an error rate and never by a bare score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vultus.errors import CalibrationError
from vultus.evaluation import Calibration, Threshold

FPIR = 1e-3
"""Default false positive identification rate: one stranger in 1,000 named (NIST SP 800-63A-4, §3.11, 1:N search)."""
FMR = 1e-4
"""Default false match rate of a verification: one impostor in 10,000 (NIST SP 800-63A-4, §3.11, 1:1 comparison)."""


class Kind(StrEnum):
    """What a search found: exactly one person at or above the threshold, nobody, or more than one."""

    MATCH = "match"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True)
class Candidate:
    """An enrolled person, the score of their best template (cosine in [-1, 1]), and which template that is."""

    person: str
    score: float
    template_id: int


@dataclass(frozen=True)
class Decision:
    """What one probe's candidates amount to at a threshold."""

    kind: Kind
    person: str | None
    """Who it is; None unless `kind` is a match."""
    score: float | None
    """Of the best candidate, also where it is below the threshold; None in an empty gallery."""
    threshold: Threshold
    candidates: tuple[Candidate, ...]
    """The nearest people, best first. Below the threshold they are no answer, only the ranked list."""

    @property
    def matches(self) -> tuple[Candidate, ...]:
        """The candidates at or above the threshold."""
        return tuple(candidate for candidate in self.candidates if candidate.score >= self.threshold.score)

    @property
    def label(self) -> str:
        """The name, "unknown", or "alice or bob"."""
        return " or ".join(candidate.person for candidate in self.matches) or "unknown"

    def __str__(self) -> str:
        at = f"threshold {self.threshold.score:.3f}"
        if self.kind is Kind.MATCH:
            return f"match: {self.person} (score {self.score:.3f}, {at})"
        if self.kind is Kind.AMBIGUOUS:
            people = " or ".join(f"{candidate.person} {candidate.score:.3f}" for candidate in self.matches)
            return f"ambiguous: {people} ({at})"
        if self.score is None:
            return "unknown (nobody is enrolled)"
        return f"unknown (best score {self.score:.3f}, {at})"


@dataclass(frozen=True)
class Verified:
    """Whether a face is the claimed person; true or false in an `if`."""

    match: bool
    person: str
    score: float
    """Of the person's best template."""
    threshold: Threshold
    fmr: float
    """The false match rate asked for, of the whole claim."""
    templates: int
    """How many templates the face was compared with."""

    def __bool__(self) -> bool:
        return self.match

    def __str__(self) -> str:
        answer = "match" if self.match else "no match"
        sign = ">=" if self.match else "<"
        return (
            f"{answer}: {self.person} (score {self.score:.3f} {sign} {self.threshold.score:.3f}, "
            f"FMR {self.fmr:.3g} over {self.templates} template{'s' * (self.templates != 1)})"
        )


def decide(candidates: Sequence[Candidate], threshold: Threshold) -> Decision:
    """Decide over candidates sorted best first, of which the two best must not be left out."""
    above = sum(candidate.score >= threshold.score for candidate in candidates)
    kind = (Kind.UNKNOWN, Kind.MATCH, Kind.AMBIGUOUS)[min(above, 2)]
    return Decision(
        kind=kind,
        person=candidates[0].person if kind is Kind.MATCH else None,
        score=candidates[0].score if candidates else None,
        threshold=threshold,
        candidates=tuple(candidates),
    )


def search_threshold(calibration: Calibration, fpir: float, templates: int) -> Threshold:
    """The threshold at which a stranger matches anyone with probability at most about `fpir`.

    FPIR = 1 - (1 - FMR)^N with N the number of templates, as if comparisons were independent. Templates of one person
    are alike, so the true rate is rather lower: a cautious estimate, no measurement at this size. It holds for
    strangers like those of the calibration; relatives and children match more often.
    """
    return calibration.threshold_for_fpir(fpir, templates)


def claim_threshold(calibration: Calibration, fmr: float, templates: int) -> Threshold:
    """The threshold at which an impostor matches the best of a person's `templates` with probability at most `fmr`.

    The best of T comparisons errs up to T times as often as one, so each gets 1 - (1 - fmr)^(1/T).
    """
    return calibration.threshold_at(calibration.fmr_for_fpir(fmr, templates) if templates > 1 else fmr)


def explain(threshold: Threshold) -> str:
    """The threshold and what it rests on, in one line."""
    if threshold.fpir is None:
        return str(threshold)
    return f"{threshold}; FPIR is estimated by 1-(1-FMR)^N over N templates, a cautious estimate"


def require_calibration(calibration: Calibration | None, model: str, contract_id: str) -> Calibration:
    """The calibration; CalibrationError where there is none or it was measured with another recogniser."""
    if calibration is None:
        raise CalibrationError(
            f"the recogniser {model} has no calibration, so no error rate can be promised; make one with "
            "`vultus export RUN --calibrate DATA/SPLIT`"
        )
    if calibration.contract_id != contract_id:
        raise CalibrationError(
            f"the calibration of {model} was measured with contract {calibration.contract_id}, not {contract_id}; "
            "calibrate this recogniser"
        )
    return calibration
