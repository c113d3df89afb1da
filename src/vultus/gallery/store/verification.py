"""Whether a gallery is as it was left: its log, its rows, and whether the two tell the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from vultus.errors import VultusError
from vultus.gallery.audit import Entry, Finding, seal_head, verify
from vultus.gallery.protection import ProtectionError, Receipt, RowSeals, Tally
from vultus.gallery.store import anchors, log
from vultus.gallery.store.persons import open_key
from vultus.gallery.store.schema import SEALED, changes, collections, erasures, gallery, person_keys, persons, templates
from vultus.gallery.store.sealing import every_row, intact, key_of, seal_all, stored_seal
from vultus.gallery.store.store import Store

NAMED = 100
"""Rows of a table, and people, that are named one by one."""


def verify_gallery(store: Store, kept: Sequence[str] = ()) -> list[Finding]:
    """Everything that is wrong with the log and the rows it tells of, read from one state of the database.

    `kept` are texts of `log.log_anchor` from elsewhere; this host's own is used as well. Only they tell of a database
    that was rolled back as a whole. What somebody with the key could make is beyond reach, and so are the positions of
    followers and the numbers that the database gives out next (docs/protection.md).
    """
    with store.reading() as connection:
        row = connection.execute(select(gallery)).one()
        fits = row.audit_seal == seal_head(store.audit_key, row._mapping)
        people = _People()
        entries = people.passing(log.entries(connection, after=-1 << 63))
        found = verify(store.audit_key, entries, row.audit_seq, row.audit_mac, kept, fits)
        rollback = anchors.lost(connection, store.audit_key, store.head_seen(), row)
        if rollback is not None:
            told = "missing: this host saw it, so the database was put back to an earlier state"
            found.append(Finding(rollback.fields["seen"], told, "rolled_back"))
        try:
            found += check_rows(connection, store.seals, store.seals.open(row.sealed_tally or b""))
        except ProtectionError:
            found.append(Finding(0, "the tally of rows was changed", "tally"))
        return found + people.compared(store, connection) + check_changes(connection)


def check_rows(connection: Connection, seals: RowSeals, tally: Tally) -> list[Finding]:
    """Every row whose seal does not hold, and every table whose rows are not those that were last written."""
    found: list[Finding] = []
    there = Tally()
    for table in SEALED:
        bad: list[str] = []
        try:
            for rows in every_row(connection, table):
                for row in rows:
                    seal = stored_seal(seals, table, row)
                    there.add(table.name, seals.weight(table.name, seal))
                    if not intact(seals, table, row):
                        bad.append(key_of(table, row))
        except (ValueError, TypeError) as error:  # SQLite takes any text in any column
            why = " ".join(str(error).split())[:80]
            found.append(
                Finding(0, f"{table.name}: a row holds what the gallery cannot have written ({why})", "row_changed")
            )
            continue
        found += [Finding(0, f"{table.name}: row {key} was changed or forged", "row_changed") for key in bad[:NAMED]]
        if len(bad) > NAMED:
            found.append(Finding(0, f"{table.name}: and {len(bad) - NAMED:,} more rows", "row_changed"))
        count, wanted = there.counts[table.name], tally.counts[table.name]
        if count != wanted:
            what, code = ("deleted", "rows_missing") if count < wanted else ("put in", "rows_added")
            told = f"{table.name}: rows were {what}: there are {count:,}, not {wanted:,}"
            found.append(Finding(0, told, code))
        elif there.sums[table.name] != tally.sums[table.name]:
            told = f"{table.name}: its rows are not those that were last written; older ones were put back"
            found.append(Finding(0, told, "rows_replaced"))
    return found


def mend(store: Store, reason: str) -> list[Finding]:
    """Let a gallery that was tampered with be written to again; what was found.

    Without this nothing could be written any more, and so nobody be erased. The log goes on after its last entry with
    one of the kind `log_mended` that counts what was wrong; what is wrong with the log stays to be found, all but a
    changed head. Rows are sealed as they are now. VultusError, code whole, where nothing is wrong.
    """
    found = verify_gallery(store)
    if not found:
        raise VultusError(f"gallery {store.label} is whole; there is nothing to mend", code="whole")
    with store.writing(mending=True) as write:
        write.own(public_key=store.signing_key.public, key_id=store.key.id)  # these two follow from the key
        write.tally = seal_all(write.connection, store.seals)
        problems = Counter(finding.code for finding in found)
        details: dict[str, Any] = {"reason": reason[:500], "findings": len(found), "problems": dict(problems)}
        write.audit("log_mended", None, None, details)
    return found


class _People:
    """Who is enrolled by what the log says."""

    def __init__(self) -> None:
        self._enrolled: dict[str, int] = {}
        self._erased: list[int] = []

    def passing(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        """The same entries, noted as they pass."""
        for entry in entries:
            if entry.subject is not None:
                if entry.kind == "enrolled":
                    self._enrolled[entry.subject] = entry.seq
                elif entry.kind in ("erased", "erasure_replayed"):
                    self._enrolled.pop(entry.subject, None)
            if entry.kind == "erased":
                self._erased.append(entry.seq)
            yield entry

    def compared(self, store: Store, connection: Connection) -> list[Finding]:
        """People whom the log knows and the database does not, and erasures without their receipt."""
        query = select(persons.c.uuid, person_keys.c.sealed).join(person_keys, person_keys.c.person_id == persons.c.id)
        there = set()
        for row in connection.execute(query):
            try:
                there.add(open_key(store, row.uuid, row.sealed).pseudonym)
            except ProtectionError:
                continue  # its seal was found not to hold
        lost = [(seq, name) for name, seq in self._enrolled.items() if name not in there]
        found = [
            Finding(seq, f"the person {name[:12]} was enrolled, never erased, and is not there", "rows_missing")
            for seq, name in sorted(lost)[:NAMED]
        ]
        receipts = set()
        for text in connection.execute(select(erasures.c.receipt)).scalars():
            try:
                receipts.add(Receipt.from_json(text).audit_seq)
            except ProtectionError as error:
                found.append(Finding(0, f"erasures: {error}", "row_changed"))
        gone = [seq for seq in self._erased if seq not in receipts]
        return found + [Finding(seq, "erased: its receipt is not there", "rows_missing") for seq in gone[:NAMED]]


def check_changes(connection: Connection) -> list[Finding]:
    """Templates in use that the change sequence, which indexes follow, does not tell of; or tells of in vain."""
    found: list[Finding] = []
    for bound in connection.execute(select(collections.c.id, collections.c.name, collections.c.contract_id)).all():
        told, removed, erased = _told(connection, bound.id)
        used = select(templates.c.id, templates.c.person_id).where(
            templates.c.collection_id == bound.id, templates.c.contract_id == bound.contract_id
        )
        there: Mapping[int, int] = {row.id: row.person_id for row in connection.execute(used)}
        silent = there.keys() - told.keys()
        vain = {one for one, person in told.items() if not (one in there or one in removed or person in erased)}
        for ids, what in ((silent, "does not tell of"), (vain, "still tells of")):
            if ids:
                where = f"the change sequence of collection {bound.name!r}"
                found.append(Finding(0, f"{where} {what} {len(ids):,} templates, the first {min(ids)}", "changes"))
    return found


def _told(connection: Connection, collection_id: int) -> tuple[dict[int, int], set[int], set[int]]:
    """Since the last rebuild: template to person as announced, templates that were removed, people who were erased."""
    told: dict[int, int] = {}
    removed: set[int] = set()
    erased: set[int] = set()
    mine = select(changes).where(changes.c.collection_id == collection_id).order_by(changes.c.seq)
    for row in connection.execute(mine.execution_options(yield_per=10_000)):
        if row.kind == "rebuild":
            for ids in (told, removed, erased):
                ids.clear()
        elif row.kind == "enrol":
            told[row.template_id] = row.person_id
        elif row.kind == "remove":
            removed.add(row.template_id)
        elif row.kind == "erase":
            erased.add(row.person_id)
    return told, removed, erased
