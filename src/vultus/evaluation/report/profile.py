"""The answer to "is it good enough for this?" as the part of a report that is read first."""

from __future__ import annotations

from vultus.evaluation.profiles.judge import Judged, Judgement
from vultus.evaluation.profiles.profiles import Requirement
from vultus.evaluation.report.page import Cell, Section, Table, Text, Verdict
from vultus.evaluation.report.verification import percent

COLUMNS = ("asked for", "goal", "measured", "95 % interval", "answer")


def profile_sections(judgement: Judgement, title: str = "Verdict") -> list[Section]:
    """The answer in large words, each requirement with what was measured, what would decide it, and the sources."""
    profile = judgement.profile
    decided = [item for item in judgement.requirements if item.answer == judgement.answer] or judgement.requirements
    body = " ".join(_sentence(item) for item in decided)
    notes = "\n".join(f"- {item.requirement.title}: {item.requirement.source}" for item in judgement.requirements)
    return [
        Verdict(judgement.answer, f"Good enough for: {profile.title}?", body, title=title),
        Text(profile.words),
        Table(COLUMNS, [profile_row(item) for item in judgement.requirements], note=LEGEND),
        Text(f"Where the goals come from:\n\n{notes}"),
        Text(LIMITS, kind="note"),
    ]


LEGEND = (
    "PASS: even the lower bound of the interval reaches the goal. FAIL: even the upper bound misses it. NOT ENOUGH "
    "EVIDENCE: the goal lies inside the interval, or the data cannot support the error rate at all."
)
LIMITS = (
    "The answer holds for photographs and people like those that were measured. It says nothing of deception "
    "(photographs, masks, screens), of other cameras and light, or of how errors fall on groups of people: look at "
    "those parts of the report too."
)


def profile_row(item: Judged) -> list[Cell]:
    """Cells of `COLUMNS`; for a terminal's table as well."""
    title, goal, value, between = _figures(item)
    return [title, goal, value or "withheld", between or None, item.answer]


def _figures(item: Judged) -> tuple[str, str, str, str]:
    """(what, goal, measured, interval) as text, the last two empty where withheld; an AUC is no percentage."""
    requirement = item.requirement
    as_text = _decimals if requirement.measure == "auc" else (lambda share: percent(share, 2))
    value = "" if item.measured is None else as_text(item.measured)
    between = "" if item.interval is None else " to ".join(as_text(end) for end in item.interval)
    return requirement.title, goal_text(requirement), value, between


def goal_text(requirement: Requirement) -> str:
    """95%, 98.5%, or 0.998 for an AUC: as few digits as the goal has."""
    if requirement.measure == "auc":
        return f"{requirement.at_least:g}"
    return f"{round(100 * requirement.at_least, 6):g}%"


def _decimals(value: float) -> str:
    return f"{value:.4f}" if value < 0.9999 or value == 1 else f"{value:.6f}"


def _sentence(item: Judged) -> str:
    """One requirement in words."""
    title, goal, value, between = _figures(item)
    if not value:
        said = f"{title} is withheld. {item.because}"
    else:
        said = f"{title} must be at least {goal}; measured {value}"
        said += f", 95 % interval {between}. {item.because}" if between else f". {item.because}"
    return said + (f" What would decide it: {item.decides[0].lower()}{item.decides[1:]}" if item.decides else "")
