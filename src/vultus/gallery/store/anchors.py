"""The log's end as each host last saw it: a database that was put back to an earlier state is noticed.

The head of the log fits an older copy of the database, so the database alone cannot tell. What this host wrote last is
therefore kept in its state folder too, sealed, and must lie in the chain. It can be sent elsewhere as well, where
nobody who may write to both can reach it: only that proves anything against them.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import logging.handlers
import os
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection, Row, select

from vultus.errors import VultusError
from vultus.files import read_file
from vultus.gallery.audit import Entry, anchor, is_true
from vultus.gallery.protection.canonical import canonical
from vultus.gallery.store.schema import audit

log = logging.getLogger(__name__)

NAME = "head.json"
BYTES = 512
"""Of the file: one sector, so that no reader finds half of it."""
WEBHOOK_SECONDS = 10.0


@dataclass(frozen=True)
class Head:
    """The last entry of a gallery's log that this host saw written."""

    gallery: str
    seq: int
    mac: str
    at: str
    """UTC, ISO 8601: a restore that came later may have put it away."""

    @property
    def anchor(self) -> str:
        return anchor(self.seq, self.mac)


def remember(folder: Path, key: bytes, head: Head) -> None:
    """Keep the head in the state folder; where that cannot be written, the one before stays, which is no fault."""
    content = json.dumps({**asdict(head), "seal": _seal(key, head)}).ljust(BYTES).encode("ascii")
    with contextlib.suppress(OSError):
        try:
            handle = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # One write of one size into the file itself, and no fsync: it comes with every write to the gallery. After a
        # power cut an older head may be here, which lies in the chain as well.
        try:
            os.pwrite(handle, content, 0)
        finally:
            os.close(handle)


def remembered(folder: Path, key: bytes) -> Head | None:
    """The head in the state folder; None where there is none, or one that is not sealed with the gallery's key."""
    path = folder / NAME
    try:
        content = json.loads(read_file(path, BYTES))
        head = Head(str(content["gallery"]), int(content["seq"]), str(content["mac"]), str(content["at"]))
        if hmac.compare_digest(_seal(key, head), str(content["seal"])):
            return head
        why = "its seal does not hold"
    except (VultusError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, VultusError) and error.code == "no_file":
            return None
        why = str(error)
    log.warning("the anchor %s cannot be used (%s): whether the gallery was rolled back cannot be told", path, why)
    return None


def lost(connection: Connection, key: bytes, head: Head | None, row: Row) -> VultusError | None:
    """The error, code rolled_back, where `head` is not in the database's log; `row` is the gallery's own.

    Not where the log tells of a restore, or of a rollback that was accepted, that came after the host's last write.
    """
    if head is None:
        return None
    mac = connection.execute(select(audit.c.mac).where(audit.c.seq == head.seq)).scalar()
    if head.gallery != row.uuid or mac == head.mac:
        return None
    since = connection.execute(select(audit).where(audit.c.seq == row.restored_seq)).one_or_none()
    if since is not None and since.at >= head.at and is_true(key, entry_of(since)):
        return None
    there = f"which ends with {row.audit_seq}" if row.audit_seq < head.seq else "which has another one of that number"
    return VultusError(
        f"the database was put back to an earlier state: this host saw entry {head.seq} of its audit log, {there}; "
        "put the newer database back, or, if the loss is known and accepted, run "
        "`vultus gallery audit --accept-rollback REASON`",
        code="rolled_back",
        seen=head.seq,
        last=row.audit_seq,
    )


def entry_of(row) -> Entry:
    """The row of the table `audit` as an entry; details that are not spelled as they were sealed stay text."""
    return Entry(**{**row._mapping, "details": _details(row.details)})


def send(text: str, gallery_id: str, at: str, target: str) -> None:
    """Send an anchor to `target`: file:PATH (a line is added), syslog, or an https:// address (a JSON POST).

    VultusError, code anchor_not_sent, where it does not arrive.
    """
    try:
        if target.startswith("file:"):
            path = Path(target.removeprefix("file:"))
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "a", encoding="ascii") as file:
                file.write(f"{text} {at} {gallery_id}\n")
                file.flush()
                os.fsync(file.fileno())
        elif target == "syslog":
            handler = logging.handlers.SysLogHandler("/dev/log", logging.handlers.SysLogHandler.LOG_AUTHPRIV)
            handler.emit(logging.makeLogRecord({"msg": f"vultus anchor {text} gallery {gallery_id}", "levelno": 20}))
            handler.close()
        elif target.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            body = json.dumps({"anchor": text, "gallery": gallery_id, "at": at}).encode()
            request = urllib.request.Request(target, body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS).close()
        else:
            raise VultusError(
                f"an anchor cannot be sent to {target!r}; give file:PATH, syslog or https://…", code="anchor_not_sent"
            )
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise VultusError(f"the anchor did not get to {target}: {error}", code="anchor_not_sent", to=target) from None


def read_anchors(given: str) -> list[str]:
    """The anchors in a file that `send` wrote (file:PATH), or the one that is given."""
    if not given.startswith("file:"):
        return [given]
    lines = read_file(given.removeprefix("file:"), 64 << 20, "the file of anchors").decode("ascii", "replace")
    return [line.split()[0] for line in lines.splitlines() if line.strip()]


def _seal(key: bytes, head: Head) -> str:
    return hmac.digest(key, b"vultus anchor 1\n" + canonical(asdict(head)), "sha256").hex()


def _details(text):
    """What was sealed; the text itself, which fits no mac, where it is not spelled as `Write.audit` spells it."""
    try:
        found = json.loads(text)
        return found if json.dumps(found, sort_keys=True) == text else text
    except (ValueError, TypeError, RecursionError):
        return text
