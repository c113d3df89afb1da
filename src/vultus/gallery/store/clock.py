"""The gallery's time: UTC, by the clock of the moment. The order of events is that of their numbers, never of times.

A clock may be wrong. What it stamped cannot be known to be, but that it jumped can: against the time of the last write.
From then on the gallery's times are in doubt, and nothing is erased or suspended because of a time until somebody
confirms that the clock is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from vultus.errors import VultusError

BEHIND = timedelta(seconds=10)
"""How far a write may be dated before the last one: clocks of several machines differ, times are cut to seconds, and a
clock that is set by the network is stepped by less."""
AHEAD = timedelta(days=90)
"""How long after the last write the next one may be without a doubt: a gallery in use is written to more often."""


class ClockDoubtfulError(VultusError):
    """Something would be done because of a time, while the gallery's times are in doubt."""

    code = "clock_doubtful"


@dataclass(frozen=True)
class Doubt:
    """Why times are not trusted."""

    last_at: str
    """Of the last write."""
    now: str
    since: int | None
    """Entry of the audit log from which on they are in doubt; None where the clock jumps just now."""

    def __str__(self) -> str:
        if self.since is not None:
            return f"times are in doubt from entry {self.since} of the audit log on, because the clock jumped there"
        return f"the clock says {self.now}, and the last write was at {self.last_at}"


def now() -> str:
    """The time as ISO 8601 text with seconds."""
    return as_text(datetime.now(UTC))


def jumped(last_at: str, at: str) -> bool:
    """Whether a clock that says `at` is too far from the time of the last write, or that is none, by a tampering."""
    try:
        passed = parse_time(at, "now") - parse_time(last_at, "the time of the last write")
    except VultusError:
        return True
    return passed < -BEHIND or passed > AHEAD


def doubt(row: Mapping[str, Any], at: str) -> Doubt | None:
    """Whether times are in doubt at `at`; `row` is the gallery's own."""
    since = row["doubted_since"]
    return Doubt(row["last_at"], at, since) if since is not None or jumped(row["last_at"], at) else None


def parse_time(text: str, what: str) -> datetime:
    """An ISO 8601 date or time, taken for UTC where it names no zone; VultusError naming `what` otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise VultusError(f"{what} is no date or time: {str(text)[:40]!r}; give for example 2030-12-31") from None
    return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).astimezone(UTC)


def as_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")
