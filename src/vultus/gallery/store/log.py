"""The audit log as it lies in the database: read, verified, and begun anew after somebody tampered with it."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, select

from vultus.errors import VultusError
from vultus.gallery.audit import Entry, anchor
from vultus.gallery.store import anchors
from vultus.gallery.store.schema import audit, gallery
from vultus.gallery.store.store import Store


def entries(
    connection: Connection,
    after: int | None = None,
    subject: str | None = None,
    kind: str | None = None,
    limit: int | None = None,
) -> Iterator[Entry]:
    """Entries by ascending number: the first `limit` after the number `after`, or without it the newest `limit`.

    `subject` is a person's pseudonym. They come as they are read, so `connection` must stay open; nothing is verified.
    """
    query = select(audit)
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    if kind is not None:
        query = query.where(audit.c.kind == kind)
    if after is None and limit is not None:
        newest = query.order_by(audit.c.seq.desc()).limit(limit)
        yield from map(anchors.entry_of, reversed(connection.execute(newest).all()))
        return
    query = query.where(audit.c.seq > (after or 0)).order_by(audit.c.seq).limit(limit)
    for row in connection.execute(query.execution_options(yield_per=1_000)):
        yield anchors.entry_of(row)


def log_anchor(store: Store) -> str:
    """The end of the log as a short text, NUMBER:MAC, to be kept outside the database."""
    with store.reading() as connection:
        row = connection.execute(select(gallery.c.audit_seq, gallery.c.audit_mac)).one()
    return anchor(row.audit_seq, row.audit_mac)


def accept_rollback(store: Store, reason: str) -> None:
    """Go on with a database that was put back to an earlier state; an entry says so, and who accepted it.

    Every host that saw more accepts it by that entry. VultusError where this host knows of no rollback.
    """
    if store.rollback is None:
        raise VultusError(
            f"gallery {store.label} was not rolled back, as far as this host knows", code="not_rolled_back"
        )
    with store.writing() as write:
        seen = {"seen": store.rollback.fields["seen"], "last": store.rollback.fields["last"]}
        write.own(restored_seq=write.audit("rollback_accepted", None, None, {"reason": reason[:500], **seen}))
        store.rollback = None
