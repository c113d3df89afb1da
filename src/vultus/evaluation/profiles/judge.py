"""Whether a recogniser is good enough for an application: decided by the interval, never by the measured value alone.

PASS                  the lower bound of the 95 % interval reaches the goal, by enough people that none was missed
                      who would undo it
FAIL                  its upper bound is below the goal
NOT ENOUGH EVIDENCE   anything else, and what would decide it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, sqrt
from typing import Any, Literal, Protocol

from vultus.errors import VultusError
from vultus.evaluation.intervals import Interval, Rate, effective_to_exclude, identities_to_exclude
from vultus.evaluation.profiles.profiles import Profile, Requirement
from vultus.evaluation.protocols.verification import Verification

Answer = Literal["PASS", "FAIL", "NOT ENOUGH EVIDENCE"]

GALLERY = 0.9
"""Share of the wanted gallery that a test needs: NIST SP 800-63A-4, section 3.11."""

OUT_OF_REACH = 1000.0
"""Times the data beyond which the honest answer is that more data of this kind will not decide it."""


class Search(Protocol):
    """Identification at one gallery size and FPIR, as `judge` reads it."""

    @property
    def gallery(self) -> int:
        """People enrolled."""
        ...

    @property
    def fpir(self) -> float:
        """The false positive identification rate asked for."""
        ...

    @property
    def tpir(self) -> float | None:
        """None where the data cannot support `fpir`."""
        ...

    @property
    def tpir_interval(self) -> Interval | None: ...

    @property
    def needs(self) -> int | None:
        """Non-mated searches that `fpir` would need, where TPIR is withheld."""
        ...


@dataclass(frozen=True)
class Judged:
    """One requirement against what was measured."""

    requirement: Requirement
    answer: Answer
    measured: float | None
    """None where the data cannot support the rate."""
    interval: Interval | None
    because: str
    """Why, in one sentence."""
    decides: str = ""
    """What would decide it; empty where it is decided."""
    factor: float | None = None
    """About how many times the people are needed, where that can be told."""


@dataclass(frozen=True)
class Judgement:
    """A profile's answer: FAIL if any requirement fails, PASS if all pass."""

    profile: Profile
    answer: Answer
    requirements: tuple[Judged, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def judge(
    profile: Profile,
    verification: Verification,
    identification: Sequence[Search] = (),
    *,
    auc_interval: Interval | None = None,
) -> Judgement:
    """Whether the measured figures meet `profile`.

    identification: the searches that were measured, at any gallery sizes and FPIRs; auc_interval: from
    `auc.auc_interval`, for a profile that asks for an AUC.

    Raises VultusError where a FAR of the profile was not among those measured (`Profile.fars`).
    """
    judged = []
    for requirement in profile.requirements:
        if requirement.measure == "tar":
            judged.append(_tar(requirement, verification))
        elif requirement.measure == "auc":
            judged.append(_auc(requirement, verification, auc_interval))
        else:
            judged.append(_tpir(requirement, verification, identification))
    answers = {item.answer for item in judged}
    answer: Answer = "FAIL" if "FAIL" in answers else "PASS" if answers == {"PASS"} else "NOT ENOUGH EVIDENCE"
    return Judgement(profile, answer, tuple(judged))


def _tar(requirement: Requirement, verification: Verification) -> Judged:
    assert requirement.far is not None
    point = next((p for p in verification.points if p.far == requirement.far), None)
    if point is None:
        raise VultusError(f"FAR {requirement.far:g} was not measured; add it to the FARs of the verification")
    if point.tar is None or point.tar_interval is None:
        needs = point.needs or 0
        factor = sqrt(needs / verification.non_mated)
        because = (
            f"FAR {requirement.far:g} needs {needs:,} comparisons of different people; "
            f"there are {verification.non_mated:,}."
        )
        return _undecided(requirement, because, factor, verification)
    judged = _compare(requirement, point.tar, point.tar_interval, verification)
    if judged.answer == "PASS" and (least := _people_for(requirement.at_least)) > verification.identities > 0:
        because = (
            f"The lower bound reaches the goal, but {verification.identities:,} people leave open that more than "
            f"{1 - requirement.at_least:.2g} of all people fail in every comparison; {least:,} would not."
        )
        factor = least / verification.identities
        return _undecided(requirement, because, factor, verification, point.tar, point.tar_interval)
    rate = point.fnmr_at_far or point.fnmr
    if judged.answer != "NOT ENOUGH EVIDENCE" or rate is None:
        return judged
    factor = _times_the_people(rate, 1 - requirement.at_least, verification.identities)
    return _undecided(requirement, judged.because, factor, verification, point.tar, point.tar_interval)


def _people_for(goal: float) -> int:
    """How many people leave at most 1 - `goal` of people open of whom none was met (Wilson's upper end at no errors).

    The interval of TAR counts comparisons where there are no errors, and those of one person may all fail together.
    """
    return ceil(effective_to_exclude(0.0, 1 - goal) or 0)


def _times_the_people(rate: Rate, goal: float, identities: int) -> float:
    """How many times the people put `goal` outside the interval; where these are unknown: times the comparisons."""
    people = identities or rate.trials
    wanted = identities_to_exclude(rate, goal, people)
    return float("inf") if wanted is None else wanted / people


def _auc(requirement: Requirement, verification: Verification, interval: Interval | None) -> Judged:
    if interval is None:
        because = "The interval of the AUC was not computed, and without it nothing is decided."
        return Judged(requirement, "NOT ENOUGH EVIDENCE", verification.auc, None, because)
    # What ties inside a bin of the histogram can hide widens the interval: never to the good side alone.
    low, high = interval[0] - verification.auc_error, interval[1] + verification.auc_error
    return _compare(requirement, verification.auc, (max(0.0, low), min(1.0, high)), verification)


def _tpir(requirement: Requirement, verification: Verification, searches: Sequence[Search]) -> Judged:
    wanted, fpir = requirement.gallery, requirement.fpir
    assert wanted is not None and fpir is not None
    large = [s for s in searches if s.gallery >= GALLERY * wanted]
    found = [s for s in large if abs(s.fpir - fpir) <= 1e-3 * fpir]
    if not found:
        most = max((s.gallery for s in searches), default=0)
        if not large:
            because = f"The largest gallery that was searched holds {most:,} people, not {wanted:,}."
            decides = (
                f"A test with at least {ceil(GALLERY * wanted):,} enrolled people (90 % of the wanted gallery), and "
                f"{ceil(10 / fpir):,} searches of people who are not enrolled."
            )
        else:
            because = f"FPIR {fpir:.2g} was not measured."
            decides = f"A measurement at FPIR {fpir:.2g}."
        return Judged(requirement, "NOT ENOUGH EVIDENCE", None, None, because, decides)
    # Of several, the gallery nearest to the wanted size, the larger first: FPIR and FNIR only grow with it.
    search = min(found, key=lambda s: (abs(s.gallery - wanted), -s.gallery))
    if search.tpir is None or search.tpir_interval is None:
        because = f"FPIR {fpir:.2g} needs {search.needs or ceil(10 / fpir):,} searches of people who are not enrolled."
        return Judged(requirement, "NOT ENOUGH EVIDENCE", None, None, because, "More such searches.")
    return _compare(requirement, search.tpir, search.tpir_interval, verification)


def _compare(requirement: Requirement, measured: float, interval: Interval, verification: Verification) -> Judged:
    low, high = interval
    goal = requirement.at_least
    if low >= goal:
        return Judged(requirement, "PASS", measured, interval, "Even the lower bound of the interval reaches the goal.")
    if high < goal:
        return Judged(requirement, "FAIL", measured, interval, "Even the upper bound of the interval misses the goal.")
    because = "The goal lies inside the interval: the data agree with a recogniser that meets it and one that does not."
    gap = abs(measured - goal)
    half = measured - low if measured >= goal else high - measured
    factor = (half / gap) ** 2 if gap > 0 else float("inf")
    return _undecided(requirement, because, factor, verification, measured, interval)


def _undecided(
    requirement: Requirement,
    because: str,
    factor: float,
    verification: Verification,
    measured: float | None = None,
    interval: Interval | None = None,
) -> Judged:
    """NOT ENOUGH EVIDENCE, with the number of people that `factor` times as many are."""
    if factor > OUT_OF_REACH:
        decides = "The measured value lies so close to the goal that more data of this kind will hardly decide it."
        return Judged(requirement, "NOT ENOUGH EVIDENCE", measured, interval, because, decides)
    factor, people = max(1.0, factor), verification.identities
    decides = f"About {_times(factor)} as many people"
    if people:
        decides += f" ({ceil(people * factor - 1e-9):,} in place of {people:,})"
    decides += ", with as many images each."
    if measured is not None:
        decides += " That supposes that the measured value stays: the interval narrows with the root of their number."
    return Judged(requirement, "NOT ENOUGH EVIDENCE", measured, interval, because, decides, factor)


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor < 9.95 else f"{factor:,.0f} times"
