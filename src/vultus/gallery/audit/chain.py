"""A log that cannot be changed unseen: every entry is authenticated together with the one before it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vultus.gallery.protection.canonical import canonical, plain, spell
from vultus.gallery.protection.derive import check_key
from vultus.gallery.protection.errors import ProtectionError

GENESIS = "0" * 64
"""What the first entry follows."""
MOST_FINDINGS = 1000
"""So many are told one by one."""


@dataclass(frozen=True)
class Entry:
    """One thing that happened."""

    seq: int
    """1, 2, 3 … without a gap."""
    at: str
    """UTC, ISO 8601."""
    kind: str
    actor: str
    collection: str | None
    subject: str | None
    """Pseudonym of the person it is about, which dies with their key."""
    details: dict[str, Any]
    """What JSON can hold, as it comes back from JSON."""
    previous: str
    """64 hex digits: `mac` of the entry before, or `GENESIS`."""
    mac: str
    """64 hex digits: HMAC-SHA256 of everything above."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with the log, or with the rows that it tells of."""

    seq: int
    """The entry; 0 for what concerns no single one."""
    problem: str
    code: str = "log"
    """log, anchor, rolled_back; row_changed, rows_missing, rows_added, rows_replaced, tally; unlogged, changes."""

    def __str__(self) -> str:
        return f"entry {self.seq}: {self.problem}" if self.seq else self.problem


def seal(
    key: bytes,
    seq: int,
    at: str,
    kind: str,
    actor: str,
    collection: str | None,
    subject: str | None,
    details: dict[str, Any],
    previous: str,
) -> Entry:
    """The entry with its mac. `key`: 32 bytes; `previous`: mac of entry `seq` - 1, or `GENESIS` for the first.

    `ValueError` for NaN and infinities in the details, `TypeError` for what JSON cannot hold.
    """
    check_key(key, "an audit key")
    details = plain(details)
    return Entry(
        seq, at, kind, actor, collection, subject, details, previous,
        _mac(key, seq, at, kind, actor, collection, subject, details, previous),
    )  # fmt: skip


def anchor(head_seq: int, head_mac: str) -> str:
    """A short text to keep outside the database: whoever rolls the log back behind it is found."""
    return f"{head_seq}:{head_mac}"


def seal_head(key: bytes, row: Mapping[Any, Any]) -> str:
    """64 hex digits that prove the end of the log and what is written beside it; checked before it is added to.

    `row`: the gallery's own row, all but the seal. Every entry's mac is in the log, so without this whoever may write
    to the database can cut its end off and name an earlier entry the head. With it they need the row of that time.
    """
    check_key(key, "an audit key")
    content = {
        name: hashlib.sha256(value).hexdigest() if isinstance(value, bytes | memoryview) else value
        for name, value in row.items()
        if name != "audit_seal"
    }
    return hmac.digest(key, b"vultus gallery row 2\n" + canonical(content), "sha256").hex()


def verify(
    key: bytes,
    entries: Iterable[Entry],
    head_seq: int,
    head_mac: str,
    anchors: Sequence[str] = (),
    head_fits: bool = True,
) -> list[Finding]:
    """Everything that is wrong with a log; empty if it is whole. Holds one entry at a time.

    `entries` by ascending seq, as read from the database; `head_seq` and `head_mac` what the database says the last one
    is (0 and `GENESIS` of an empty log); `head_fits` whether it fits its seal (`seal_head`). A database that was
    rolled back as a whole, head and all, fits itself: only `anchors` from later than the state it was rolled back to
    tell. `ProtectionError` for an anchor that is none.
    """
    check_key(key, "an audit key")
    wanted: dict[int, set[str]] = {}
    for seq, mac in map(_parse, anchors):
        wanted.setdefault(seq, set()).add(mac)
    found: list[Finding] = []
    more = 0

    def report(seq: int, problem: str, code: str = "log") -> None:
        nonlocal more
        if len(found) < MOST_FINDINGS:
            found.append(Finding(seq, problem, code))
        else:
            more += 1

    last, fits, mac = 0, (GENESIS,), GENESIS
    if wanted.pop(0, {GENESIS}) != {GENESIS}:
        report(0, "an anchor of the empty log that is none", "anchor")
    for entry in entries:
        true_mac = _mac_of(key, entry)
        changed = true_mac != entry.mac
        if changed:
            report(entry.seq, "changed or forged: its content does not fit its mac")
        if entry.seq <= last:
            report(entry.seq, f"out of order: it comes after entry {last}")
        elif entry.seq > last + 1:
            gap = f"entry {last + 1}" if entry.seq == last + 2 else f"entries {last + 1} to {entry.seq - 1}"
            report(last + 1, f"missing: {gap}, before entry {entry.seq}")
        elif entry.previous not in fits and not changed:
            report(entry.seq, f"does not follow entry {last}: one of the two was replaced")
        if entry.seq in wanted and wanted.pop(entry.seq) != {entry.mac}:
            report(entry.seq, "not the entry that the anchor recorded: the log was rewritten", "anchor")
        last, fits, mac = entry.seq, (entry.mac, true_mac), entry.mac
    if last < head_seq:
        report(last + 1, f"missing: the log ends with entry {last}, its head is entry {head_seq}")
    elif last > head_seq:
        report(last, f"added: the log goes on to entry {last}, its head is entry {head_seq}")
    elif mac != head_mac:
        report(last, "the head of the log names another last entry")
    if not head_fits:
        report(head_seq, "the head of the log was changed: it does not fit its seal")
    for seq in sorted(wanted):
        report(seq, f"missing: an anchor recorded it, the log ends with entry {last}: it was rolled back", "anchor")
    if more:
        found.append(Finding(last, f"and {more} more findings"))
    return found


def is_true(key: bytes, entry: Entry) -> bool:
    """Whether the gallery wrote this entry; not whether it lies in its place."""
    return hmac.compare_digest(_mac_of(key, entry), entry.mac)


def _mac(key: bytes, *fields: Any) -> str:
    return hmac.digest(key, b"vultus audit entry 1\n" + spell(fields), "sha256").hex()


def _mac_of(key: bytes, entry: Entry) -> str:
    """What the entry's mac should be; nothing where its content is not even JSON any more."""
    try:
        return _mac(
            key, entry.seq, entry.at, entry.kind, entry.actor, entry.collection, entry.subject, entry.details,
            entry.previous,
        )  # fmt: skip
    except (ValueError, TypeError, RecursionError):
        return ""


def _parse(text: str) -> tuple[int, str]:
    seq, colon, mac = text.strip().partition(":")
    if not (colon and seq.isascii() and seq.isdigit() and len(seq) < 20 and len(mac) == 64):
        raise ProtectionError(f"{text!r} is no anchor; give NUMBER:MAC as it was printed")
    return int(seq), mac.lower()
