"""The gallery's time: UTC, and never earlier than what it recorded before."""

from __future__ import annotations

from datetime import UTC, datetime

from vultus.errors import VultusError


def now(last: str = "") -> str:
    """The time as ISO 8601 text with seconds; `last` where the system's clock is behind it."""
    return max(datetime.now(UTC).isoformat(timespec="seconds"), last)


def parse_time(text: str, what: str) -> datetime:
    """An ISO 8601 date or time, taken for UTC where it names no zone; VultusError naming `what` otherwise."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise VultusError(f"{what} is no date or time: {str(text)[:40]!r}; give for example 2030-12-31") from None
    return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).astimezone(UTC)


def as_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")
