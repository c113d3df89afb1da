"""One write transaction: rows, their place in the change sequence and in the audit log, all or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, func, insert, literal, select, update

from vultus.errors import VultusError
from vultus.gallery.audit import GENESIS, seal, seal_head
from vultus.gallery.store import clock
from vultus.gallery.store.schema import audit, changes, collections, gallery, templates

AT_ONCE = 10_000
"""Changes that are held before they are written: a renewal appends as many as there are templates."""


class Write:
    """What a transaction may do. It holds the gallery's lock, so its numbers are the next ones, without gaps."""

    def __init__(self, connection: Connection, actor: str, audit_key: bytes, mending: bool = False) -> None:
        """VultusError for a log whose head was changed by somebody else, unless it is `mending` that."""
        self.connection = connection
        self.actor = actor
        self._audit_key = audit_key
        row: Row = connection.execute(
            select(
                gallery.c.key_id,
                gallery.c.head,
                gallery.c.audit_seq,
                gallery.c.audit_mac,
                gallery.c.audit_seal,
                gallery.c.last_at,
            )
        ).one()
        if not mending and row.audit_seal != seal_head(audit_key, row.audit_seq, row.audit_mac):
            raise VultusError(
                "the end of the audit log was tampered with, so nothing was written; see what "
                "`vultus gallery audit --verify` finds, then restore a backup or run `vultus gallery audit --mend`"
            )
        self.key_id: str = row.key_id
        """Which key-encryption key wraps what this transaction stores."""
        self.head: int = row.head
        """The last number of the change sequence, of this transaction's own changes too."""
        self.audit_seq: int = row.audit_seq
        self._audit_mac: str = row.audit_mac
        if mending:
            self._go_on_after_the_last()
        self.now = clock.now(row.last_at)
        self._changes: list[dict[str, Any]] = []
        self._entries: list[dict[str, Any]] = []

    def append(
        self, kind: str, collection_id: int, person_id: int | None = None, template_id: int | None = None
    ) -> int:
        """Say in the change sequence what happened; returns its number.

        After a `rebuild`, `announce` in the same transaction: who follows the sequence in small steps finds all there.
        """
        self.head += 1
        self._changes.append(
            {
                "seq": self.head,
                "collection_id": collection_id,
                "kind": kind,
                "person_id": person_id,
                "template_id": template_id,
                "at": self.now,
            }
        )
        if len(self._changes) >= AT_ONCE:
            self._flush()
        return self.head

    def announce(self, collection_id: int) -> None:
        """Append an `enrol` of each template that the collection now has in use, in the order of their ids."""
        self._flush()
        used = (templates.c.collection_id == collections.c.id) & (templates.c.contract_id == collections.c.contract_id)
        number = literal(self.head) + func.row_number().over(order_by=templates.c.id)
        found = (
            select(
                number, templates.c.collection_id, literal("enrol"), templates.c.person_id, templates.c.id,
                literal(self.now),
            )
            .join_from(collections, templates, used)
            .where(collections.c.id == collection_id)
        )  # fmt: skip
        names = ["seq", "collection_id", "kind", "person_id", "template_id", "at"]
        self.connection.execute(insert(changes).from_select(names, found))
        # psycopg does not count rows that come from a query.
        last = self.connection.execute(select(func.max(changes.c.seq))).scalar_one()
        self.head = max(self.head, last)

    def audit(
        self, kind: str, collection: str | None, subject: str | None, details: Mapping[str, Any] | None = None
    ) -> int:
        """Add an entry to the audit log; returns its number.

        Args:
            collection: its uuid.
            subject: a person's pseudonym; `details` must hold nothing that tells who it is.
        """
        entry = seal(
            self._audit_key,
            self.audit_seq + 1,
            self.now,
            kind,
            self.actor,
            collection,
            subject,
            dict(details or {}),
            self._audit_mac,
        )
        self.audit_seq, self._audit_mac = entry.seq, entry.mac
        self._entries.append({**vars(entry), "details": json.dumps(entry.details, sort_keys=True)})
        return entry.seq

    def finish(self) -> None:
        """Write what was noted; called once, last, before the commit."""
        self._flush()
        if self._entries:
            self.connection.execute(insert(audit), self._entries)
        self.connection.execute(
            update(gallery).values(
                head=self.head,
                audit_seq=self.audit_seq,
                audit_mac=self._audit_mac,
                audit_seal=seal_head(self._audit_key, self.audit_seq, self._audit_mac),
                last_at=self.now,
            )
        )

    def _flush(self) -> None:
        if self._changes:
            self.connection.execute(insert(changes), self._changes)
            self._changes = []

    def _go_on_after_the_last(self) -> None:
        """Chain to the last entry there is; numbers that are missing before the head's stay missing, to be seen."""
        last = self.connection.execute(select(audit.c.seq, audit.c.mac).order_by(audit.c.seq.desc()).limit(1)).first()
        seq, self._audit_mac = (last.seq, last.mac) if last else (0, GENESIS)
        if not seq <= self.audit_seq < 1 << 62:
            self.audit_seq = seq
