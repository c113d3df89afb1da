"""The one place where scores become decisions, by an error rate and never by a bare score.

A person's score is that of their best template, or the mean of their n best. A mean is never above the best, so a
stranger reaches a threshold with it at most as often as with the best alone: every rate here stays cautious under it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vultus.evaluation import Calibration, Threshold
from vultus.gallery.rates import (
    FMR,
    FPIR,
    UNWEIGHED,
    Weight,
    claim_threshold,
    expected_fpir,
    explain,
    fpir_warning,
    rate_in_words,
    require_calibration,
    search_threshold,
    templates_in_words,
    threshold_dict,
    weigh,
)

__all__ = [
    "FMR",
    "FPIR",
    "Candidate",
    "Decision",
    "Kind",
    "Verified",
    "Weight",
    "claim_threshold",
    "decide",
    "decide_claim",
    "expected_fpir",
    "explain",
    "fpir_warning",
    "low_quality",
    "require_calibration",
    "search_threshold",
    "weigh",
]


class Kind(StrEnum):
    """What a search found: exactly one person at or above the threshold, nobody, more than one; or it was not made."""

    MATCH = "match"
    UNKNOWN = "unknown"
    AMBIGUOUS = "ambiguous"
    LOW_QUALITY = "low_quality"


@dataclass(frozen=True)
class Candidate:
    """An enrolled person, their score (cosine in [-1, 1]), and which template reached it."""

    person: str
    """The id that the person was enrolled under, unique in a collection."""
    score: float
    template_id: int
    name: str = ""
    """What people call them; need not be unique, may be empty."""

    @property
    def label(self) -> str:
        """The name, or the id of who has none."""
        return self.name or self.person

    def to_dict(self) -> dict[str, Any]:
        return {"person": self.person, "name": self.name, "score": self.score, "template": self.template_id}


@dataclass(frozen=True)
class Decision:
    """What one probe's candidates amount to at a threshold."""

    kind: Kind
    person: str | None
    """Who it is; None unless `kind` is a match."""
    score: float | None
    """Of the best candidate, also where it is below the threshold; None where nobody was searched."""
    threshold: Threshold
    candidates: tuple[Candidate, ...]
    """The nearest people, best first. Below the threshold they are no answer, only the ranked list."""
    weight: Weight | None = None
    """Of `score`; None where there is none."""
    searched: int = 0
    """Templates that the probe was compared with."""
    position: int = 0
    """Of the change sequence: every change up to it was seen by the search."""
    reasons: tuple[str, ...] = ()
    """Why the probe was not searched, where its quality is too low."""

    @property
    def matches(self) -> tuple[Candidate, ...]:
        """The candidates at or above the threshold."""
        return tuple(candidate for candidate in self.candidates if candidate.score >= self.threshold.score)

    @property
    def names(self) -> tuple[str, ...]:
        """What the `matches` are called, with the id where two of them are called the same."""
        shared = Counter(found.label for found in self.matches)
        return tuple(f"{p.label} [{p.person}]" if shared[p.label] > 1 and p.name else p.label for p in self.matches)

    @property
    def fmr(self) -> float | None:
        return self.weight.fmr if self.weight else None

    @property
    def llr(self) -> float | None:
        return self.weight.llr if self.weight else None

    @property
    def fpir(self) -> float:
        """The share of strangers that such a search is expected to name, at the threshold."""
        return expected_fpir(self.threshold.fmr_grid, self.searched)

    @property
    def fpir_at_score(self) -> float | None:
        """The share of strangers of whom somebody among the `searched` is expected to reach `score`; an upper bound."""
        return expected_fpir(self.weight.fmr, self.searched) if self.weight else None

    @property
    def warning(self) -> str | None:
        """One line where the search names more strangers than a user may expect; else None."""
        return fpir_warning(self.fpir, self.searched)

    @property
    def label(self) -> str:
        """The name, "unknown", "alice or bob", or "low quality: too blurred", of each reason what comes before ":"."""
        if self.kind is Kind.LOW_QUALITY:
            return f"low quality: {', '.join(reason.partition(':')[0] for reason in self.reasons)}"
        return " or ".join(self.names) or "unknown"

    def __str__(self) -> str:
        if self.kind is Kind.LOW_QUALITY:
            return f"low quality: {'; '.join(self.reasons)} (not searched)"
        at = f"threshold {self.threshold.score:.3f}{self._rates()}"
        if self.kind is Kind.MATCH:
            return f"match: {self.label} (score {self.score:.3f}, {at})"
        if self.kind is Kind.AMBIGUOUS:
            named = zip(self.names, self.matches, strict=True)
            return f"ambiguous: {' or '.join(f'{name} {found.score:.3f}' for name, found in named)} ({at})"
        if self.score is None:  # nobody is enrolled, or nobody meets the filter; else nobody may be named
            return f"unknown ({'nobody found may be named' if self.searched else 'nobody was searched'})"
        return f"unknown (best score {self.score:.3f}, {at})"

    def _rates(self) -> str:
        text = ""
        if self.searched:
            text += f", expected FPIR over {templates_in_words(self.searched)} {rate_in_words(self.fpir)}"
        if self.fpir_at_score is not None and self.searched and self.kind is not Kind.UNKNOWN:
            text += f", at this score at most {rate_in_words(self.fpir_at_score)}"
        return f"{text}; {self.weight}" if self.weight else text

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": self.kind.value,
            "person": self.person,
            "label": self.label,
            "score": self.score,
            **(self.weight.to_dict() if self.weight else UNWEIGHED),
            "fpir": self.fpir,
            "fpir_at_score": self.fpir_at_score,
            "warning": self.warning,
            "searched": self.searched,
            "position": self.position,
            "reasons": list(self.reasons),
            "threshold": threshold_dict(self.threshold),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
        }


@dataclass(frozen=True)
class Verified:
    """Whether a face is the claimed person; true or false in an `if`."""

    match: bool
    person: str
    score: float
    """Of the person's best template."""
    threshold: Threshold
    asked: float
    """The false match rate asked for, of the whole claim."""
    templates: int
    """How many templates the face was compared with."""
    weight: Weight | None = None
    """Of `score`."""
    name: str = ""
    position: int = 0
    """Of the change sequence."""

    def __bool__(self) -> bool:
        return self.match

    @property
    def fmr(self) -> float | None:
        return self.weight.fmr if self.weight else None

    @property
    def llr(self) -> float | None:
        return self.weight.llr if self.weight else None

    @property
    def claim_fmr(self) -> float | None:
        """How often an impostor reaches `score` with the best of the person's templates, at most."""
        return expected_fpir(self.weight.fmr, self.templates) if self.weight else None

    def __str__(self) -> str:
        answer = "match" if self.match else "no match"
        sign = ">=" if self.match else "<"
        weight = f"; at this score {self.weight}" if self.weight else ""
        return (
            f"{answer}: {self.name or self.person} (score {self.score:.3f} {sign} {self.threshold.score:.3f}, "
            f"FMR {self.asked:.3g} over {templates_in_words(self.templates)}{weight})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "match": self.match,
            "person": self.person,
            "name": self.name,
            "score": self.score,
            **(self.weight.to_dict() if self.weight else UNWEIGHED),
            "claim_fmr": self.claim_fmr,
            "asked": self.asked,
            "templates": self.templates,
            "position": self.position,
            "threshold": threshold_dict(self.threshold),
        }


def decide(
    candidates: Sequence[Candidate],
    threshold: Threshold,
    calibration: Calibration | None = None,
    *,
    searched: int = 0,
    position: int = 0,
) -> Decision:
    """Decide over candidates sorted best first, of which the two best must not be left out.

    `calibration` is the one that `threshold` is of, `searched` the number of templates compared.
    """
    above = sum(candidate.score >= threshold.score for candidate in candidates)
    kind = (Kind.UNKNOWN, Kind.MATCH, Kind.AMBIGUOUS)[min(above, 2)]
    return Decision(
        kind=kind,
        person=candidates[0].person if kind is Kind.MATCH else None,
        score=candidates[0].score if candidates else None,
        threshold=threshold,
        candidates=tuple(candidates),
        weight=weigh(candidates[0].score, calibration) if candidates and calibration else None,
        searched=searched,
        position=position,
    )


def low_quality(reasons: Sequence[str], threshold: Threshold, *, position: int = 0) -> Decision:
    """The decision not to search a probe that its quality gate refused for `reasons`."""
    return Decision(Kind.LOW_QUALITY, None, None, threshold, (), position=position, reasons=tuple(map(str, reasons)))


def decide_claim(
    best: Candidate, fmr: float, templates: int, calibration: Calibration, *, position: int = 0
) -> Verified:
    """Whether a face is the claimed person, `best` their best of `templates`; `fmr` of the whole claim.

    Raises CalibrationError where the calibration does not support so low a rate.
    """
    threshold = claim_threshold(calibration, fmr, templates)
    match, weight = best.score >= threshold.score, weigh(best.score, calibration)
    return Verified(match, best.person, best.score, threshold, fmr, templates, weight, best.name, position)
