"""The audit log as it lies in the database: read, verified, and begun anew after somebody tampered with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, select

from vultus.errors import VultusError
from vultus.gallery.audit import Entry, Finding, anchor, seal_head, verify
from vultus.gallery.protection import ProtectionError
from vultus.gallery.store.schema import audit, gallery
from vultus.gallery.store.sealing import check_all, seal_all
from vultus.gallery.store.store import Store


def entries(
    connection: Connection,
    after: int = 0,
    subject: str | None = None,
    kind: str | None = None,
    limit: int | None = None,
) -> Iterator[Entry]:
    """Entries by ascending number, those after `after`, at most `limit`; `subject` is a person's pseudonym.

    They come as they are read, so `connection` must stay open; nothing is verified.
    """
    query = select(audit).where(audit.c.seq > after).order_by(audit.c.seq).limit(limit)
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    if kind is not None:
        query = query.where(audit.c.kind == kind)
    for row in connection.execute(query.execution_options(yield_per=1_000)):
        yield Entry(**{**row._mapping, "details": _details(row.details)})


def verify_log(store: Store, anchors: Sequence[str] = ()) -> list[Finding]:
    """Everything that is wrong with the log, read from one state of the database; empty if it is whole.

    `anchors` are texts of `log_anchor` that were kept elsewhere: only they tell of a database that was rolled back as a
    whole.
    """
    with store.reading() as connection:
        row = connection.execute(select(gallery)).one()
        fits = row.audit_seal == seal_head(store.audit_key, row._mapping)
        log = entries(connection, after=-1 << 63)
        found = verify(store.audit_key, log, row.audit_seq, row.audit_mac, anchors, fits)
        try:
            tally = store.seals.open(row.sealed_tally or b"")
        except ProtectionError:
            return [*found, Finding(0, "the tally of rows was changed")]
        return found + check_all(connection, store.seals, tally)


def log_anchor(store: Store) -> str:
    """The end of the log as a short text, NUMBER:MAC, to be kept outside the database."""
    with store.reading() as connection:
        row = connection.execute(select(gallery.c.audit_seq, gallery.c.audit_mac)).one()
    return anchor(row.audit_seq, row.audit_mac)


def mend_log(store: Store, reason: str) -> list[Finding]:
    """Let a log that was tampered with be added to again; what was found, which stays to be found.

    Without this nothing could be written any more, and so nobody be erased. The log goes on after its last entry with
    one of the kind `log_mended` that counts what was wrong; `verify_log` goes on to report it, all but a changed head.
    VultusError for a log that is whole.
    """
    found = verify_log(store)
    if not found:
        raise VultusError(f"the audit log of gallery {store.label} is whole; there is nothing to mend")
    with store.writing(mending=True) as write:
        write.tally = seal_all(write.connection, store.seals)
        problems = Counter(finding.problem.partition(":")[0] for finding in found)
        details: dict[str, Any] = {"reason": reason[:500], "findings": len(found), "problems": dict(problems)}
        write.audit("log_mended", None, None, details)
    return found


def _details(text: Any) -> Any:
    """What was sealed; the text itself, which fits no mac, where it is not spelt as `Write.audit` spells it."""
    try:
        found = json.loads(text)
        return found if json.dumps(found, sort_keys=True) == text else text
    except (ValueError, TypeError, RecursionError):
        return text
