"""One write transaction: rows, their place in the change sequence and in the audit log, all or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from vultus.gallery.audit import seal
from vultus.gallery.store import clock
from vultus.gallery.store.schema import audit, changes, gallery


class Write:
    """What a transaction may do. It holds the gallery's lock, so its numbers are the next ones, without gaps."""

    def __init__(self, connection: Connection, actor: str, audit_key: bytes) -> None:
        self.connection = connection
        self.actor = actor
        self._audit_key = audit_key
        row: Row = connection.execute(
            select(gallery.c.head, gallery.c.audit_seq, gallery.c.audit_mac, gallery.c.last_at)
        ).one()
        self.head: int = row.head
        """The last number of the change sequence, of this transaction's own changes too."""
        self.audit_seq: int = row.audit_seq
        self._audit_mac: str = row.audit_mac
        self.now = clock.now(row.last_at)
        self._changes: list[dict[str, Any]] = []
        self._entries: list[dict[str, Any]] = []

    def append(
        self, kind: str, collection_id: int, person_id: int | None = None, template_id: int | None = None
    ) -> int:
        """Say in the change sequence what happened; returns its number."""
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
        return self.head

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
        if self._changes:
            self.connection.execute(insert(changes), self._changes)
        if self._entries:
            self.connection.execute(insert(audit), self._entries)
        self.connection.execute(
            update(gallery).values(
                head=self.head, audit_seq=self.audit_seq, audit_mac=self._audit_mac, last_at=self.now
            )
        )
