"""One write transaction: rows, their place in the change sequence and in the audit log, all or none."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from vultus.errors import VultusError
from vultus.gallery.audit import GENESIS, seal, seal_head
from vultus.gallery.protection import RowSeals, Tally
from vultus.gallery.store import clock, sealing
from vultus.gallery.store.schema import SEALED, audit, changes, collections, gallery, templates

log = logging.getLogger(__name__)

AT_ONCE = 10_000
"""Changes that are held before they are written: a renewal appends as many as there are templates."""

ROWS_AT_ONCE = 500
"""Ids asked for in one statement; SQLite and psycopg bound the number of parameters."""


class Write:
    """What a transaction may do. It holds the gallery's lock, so its numbers are the next ones, without gaps.

    Rows of the tables in `schema.SEALED` are written by `insert`, `update`, `change` and `delete` alone, which seal
    them and keep the tally; columns of the gallery's own row by `own`.
    """

    def __init__(
        self, connection: Connection, actor: str, audit_key: bytes, seals: RowSeals, mending: bool = False
    ) -> None:
        """VultusError (log_tampered) for a gallery row that somebody else changed, unless it is `mending` that."""
        self.connection = connection
        self.actor = actor
        self.seals = seals
        self._audit_key = audit_key
        self._mending = mending
        self._row = dict(connection.execute(select(gallery)).one()._mapping)
        if not mending and self._row["audit_seal"] != seal_head(audit_key, self._row):
            raise VultusError(
                "the end of the audit log was tampered with, so nothing was written; see what "
                "`vultus gallery audit --verify` finds, then restore a backup or run "
                "`vultus gallery audit --mend REASON`",
                code="log_tampered",
            )
        self._tally: Tally | None = None
        self.key_id: str = self._row["key_id"]
        """Which key-encryption key wraps what this transaction stores."""
        self.head: int = self._row["head"]
        """The last number of the change sequence, of this transaction's own changes too."""
        self.audit_seq: int = self._row["audit_seq"]
        self.audit_mac: str = self._row["audit_mac"]
        if mending:
            self._go_on_after_the_last()
        self.now = clock.now()
        self._changes: list[dict[str, Any]] = []
        self._entries: list[dict[str, Any]] = []
        if clock.jumped(self._row["last_at"], self.now):
            self._doubt_times()

    @property
    def tally(self) -> Tally:
        """Of the sealed rows, as this transaction leaves them; opened where rows are written."""
        if self._tally is None:
            self._tally = self.seals.open(self._row["sealed_tally"] or b"")
        return self._tally

    @tally.setter
    def tally(self, tally: Tally) -> None:
        self._tally = tally

    def own(self, **values: Any) -> None:
        """Change columns of the gallery's own row, when the transaction ends."""
        self._row |= values

    def insert(self, table: Table, **values: Any) -> int | None:
        """Add a row; its id, where the table numbers its rows. Columns that are not given are None."""
        row = {column.name: values.get(column.name) for column in table.columns}
        if "id" in row and row["id"] is None:
            row["id"] = self._next_id(table)
        mac = sealing.seal_of(self.seals, table, row)
        if "mac" in row:
            row["mac"] = mac
        self.connection.execute(_INSERT[table.name], row)  # made once: to make it takes longer than to run it
        self.tally.add(table.name, self.seals.weight(table.name, mac))
        return row.get("id")

    def update(self, table: Table, *where: ColumnElement[bool], **values: Any) -> int:
        """Set columns of the rows that meet all conditions; how many they were."""
        rows = self.connection.execute(select(table).where(*where)).mappings()
        return self._replace(table, [(row, values) for row in rows], list(values))

    def change(self, table: Table, changes: Sequence[Mapping[str, Any]]) -> None:
        """Set columns of many rows of a table with an id, each to its own: {"id": …, column: value}, all the same ones.

        Rows that are not there are passed over.
        """
        for at in range(0, len(changes), ROWS_AT_ONCE):
            by_id = {one["id"]: one for one in changes[at : at + ROWS_AT_ONCE]}
            key = table.primary_key.columns[0]
            names = [name for name in changes[at] if name != "id"]
            rows = self.connection.execute(select(table).where(key.in_(by_id))).mappings()
            self._replace(table, [(row, {n: by_id[row[key.name]][n] for n in names}) for row in rows], names)

    def delete(self, table: Table, *where: ColumnElement[bool], tallied: bool = True) -> int:
        """Delete the rows that meet all conditions, and what the database deletes with them; how many they were.

        `tallied`: whether they are of the gallery's own writing.
        """
        if not tallied:
            return self.connection.execute(delete(table).where(*where)).rowcount
        if children := sealing.children_of(table):
            ids = select(table.c.id).where(*where).scalar_subquery()
            for child in children:
                self._forget(child, child.c.person_id.in_(ids))
        gone = self._forget(table, *where)
        self.connection.execute(delete(table).where(*where))
        return gone

    def _forget(self, table: Table, *where: ColumnElement[bool]) -> int:
        gone = self.connection.execute(select(table.c.mac).where(*where)).scalars().all()
        for mac in gone:
            self.tally.remove(table.name, self.seals.weight(table.name, mac or b""))
        return len(gone)

    def _replace(
        self, table: Table, pairs: Sequence[tuple[RowMapping, Mapping[str, Any]]], names: Sequence[str]
    ) -> int:
        """Give each row its new values and seal; how many."""
        again = []
        for row, values in pairs:
            if not self._mending and not sealing.intact(self.seals, table, row):
                raise sealing.tampered(table, row)  # it must not get a seal of ours
            mac = sealing.seal_of(self.seals, table, {**row, **values})
            self.tally.remove(table.name, self.seals.weight(table.name, row["mac"] or b""))
            self.tally.add(table.name, self.seals.weight(table.name, mac))
            keys = {f"of_{key.name}": row[key.name] for key in table.primary_key.columns}
            again.append({**values, "mac": mac, **keys})
        if again:
            mine = [key == bindparam(f"of_{key.name}") for key in table.primary_key.columns]
            set_to = {name: bindparam(name) for name in (*names, "mac")}
            self.connection.execute(update(table).where(*mine).values(set_to), again)
        return len(again)

    def _next_id(self, table: Table) -> int:
        """The number that the database would give: none is given twice."""
        return self.connection.execute(_NEXT_ID[self.connection.dialect.name], {"table": table.name}).scalar_one()

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
            self.audit_mac,
        )
        self.audit_seq, self.audit_mac = entry.seq, entry.mac
        self._entries.append({**vars(entry), "details": json.dumps(entry.details, sort_keys=True)})
        return entry.seq

    @property
    def doubt(self) -> clock.Doubt | None:
        """Why the gallery's times, that of this transaction among them, are not to be trusted."""
        return clock.doubt(self._row, self.now)

    def trust_times(self, details: Mapping[str, Any]) -> None:
        """End the doubt: somebody confirms that the clock is right."""
        self.audit("time_confirmed", None, None, {"doubted_since": self._row["doubted_since"], **details})
        self.own(doubted_since=None, last_at=self.now)

    def require_time(self) -> None:
        """ClockDoubtfulError before anything is erased or suspended because of a time that is in doubt."""
        if self.doubt is not None:
            raise clock.ClockDoubtfulError(
                f"{self.doubt}; nothing was done. Set the clock right, see what `vultus gallery repair-times` would "
                "change, and confirm the time by --confirm-time",
                now=self.now,
                doubted_since=self._row["doubted_since"],
            )

    def _doubt_times(self) -> None:
        """Note it before everything else that this transaction stamps."""
        last_at, since = self._row["last_at"], self._row["doubted_since"]
        log.warning("the clock jumped: the last write was at %s, and it is %s now; nothing is erased because of its "
                    "age until `vultus gallery repair-times --confirm-time`", last_at, self.now)  # fmt: skip
        number = self.audit("clock_doubted", None, None, {"last": last_at, "now": self.now})
        self.own(doubted_since=number if since is None else since)

    def finish(self) -> None:
        """Write what was noted; called once, last, before the commit."""
        self._flush()
        if self._entries:
            self.connection.execute(insert(audit), self._entries)
        self.own(
            head=self.head,
            audit_seq=self.audit_seq,
            audit_mac=self.audit_mac,
            last_at=self.now,
        )
        if self._tally is not None:
            self.own(sealed_tally=self.seals.close(self._tally))
        self._row["audit_seal"] = seal_head(self._audit_key, self._row)
        self.connection.execute(_UPDATE_OWN, self._row)

    def _flush(self) -> None:
        if self._changes:
            self.connection.execute(insert(changes), self._changes)
            self._changes = []

    def _go_on_after_the_last(self) -> None:
        """Chain to the last entry there is; numbers that are missing before the head's stay missing, to be seen."""
        last = self.connection.execute(select(audit.c.seq, audit.c.mac).order_by(audit.c.seq.desc()).limit(1)).first()
        seq, self.audit_mac = (last.seq, last.mac) if last else (0, GENESIS)
        if not seq <= self.audit_seq < 1 << 62:
            self.audit_seq = seq


_INSERT = {table.name: insert(table) for table in SEALED}
_UPDATE_OWN = update(gallery)
_NEXT_ID = {
    "postgresql": text("SELECT nextval(pg_get_serial_sequence(:table, 'id'))"),
    "sqlite": text("SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = :table"),
}
