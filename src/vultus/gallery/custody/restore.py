"""A gallery out of a backup, without the people who were erased since."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, select, text

from vultus.errors import VultusError
from vultus.gallery.custody import ledger
from vultus.gallery.custody.backup import (
    BackupInfo,
    Progress,
    copy_tables,
    describe_backup,
    opened_copy,
    unseal,
    working_folder,
)
from vultus.gallery.custody.erase import drop_snapshots
from vultus.gallery.protection import DataKey, KeyEncryptionKey, ProtectionError, Receipt, RowSeals, load_key
from vultus.gallery.store import Key, Store, Write, migrate
from vultus.gallery.store.database import Database, database_at
from vultus.gallery.store.persons import key_bound
from vultus.gallery.store.schema import (
    changes,
    collections,
    erasures,
    gallery,
    metadata,
    person_keys,
    persons,
    writes,
)
from vultus.gallery.store.sealing import tally_of
from vultus.gallery.store.sqlite import SQLite
from vultus.gallery.store.store import default_actor
from vultus.gallery.store.verification import check_rows

JUMP = 1 << 32
"""The change sequence leaps by once to twice as much: further than any gallery went on after its backup."""
ID_JUMP = 1 << 24
"""By how much row ids leap: those that were given after the backup are not given again."""


@dataclass(frozen=True)
class Restored:
    """What came back."""

    backup: BackupInfo
    persons: int
    templates: int
    replayed: int
    """People in the backup who had been erased since and were left out."""
    erasures: int
    """Receipts that the restored gallery knows, those in the backup included."""


def restore(
    backup: str | Path,
    place: str | Path,
    key: Key = None,
    *,
    ledgers: Sequence[str | Path] = (),
    replay: bool = True,
    actor: str | None = None,
    progress: Progress | None = None,
) -> Restored:
    """Make the gallery of a backup anew, in a SQLite file that does not exist or an empty PostgreSQL database.

    Whoever was erased after the backup was made is left out: not a byte of theirs is written to the new database. Who
    that is tell the ledgers: the file `erasures.jsonl` in the gallery's state folder, where it is still there, and
    those in `ledgers`. Every index and engine that follows the gallery starts afresh, since the change sequence leaps
    ahead of anything that the lost database may have told. All of it appears, or nothing.

    Args:
        key: the key-encryption key that the backup was made under, or where it is.
        ledgers: `erasures.jsonl` files, or places of galleries that still exist (their table of erasures is read).
        replay: False restores everybody in the backup though no ledger is found, or in spite of them.

    Raises VultusError where there is a gallery already, no ledger, or one with a forged receipt; ProtectionError for
    another key or a changed backup.
    """
    path, database = Path(backup), database_at(place)
    claimed = describe_backup(path)
    kek = key if isinstance(key, KeyEncryptionKey) else load_key(key, claimed.gallery, claimed.key_id)
    try:
        if database.exists():
            raise VultusError(f"gallery {database.label} exists already; name a new file or an empty database")
        near = database.path.parent if isinstance(database, SQLite) else Path(tempfile.gettempdir())
        with working_folder(near, path.name) as folder:
            info = unseal(path, kek, folder / "copy.db")
            _upgrade(folder / "copy.db", kek)
            with opened_copy(folder / "copy.db") as source:
                row = source.execute(select(gallery)).one()
                receipts = _receipts(database, row, ledgers) if replay else []
                filler = _Filler(source, row, kek, receipts, info, actor or default_actor(), progress)
                if not database.create(filler.fill):
                    raise VultusError(f"gallery {database.label} exists already; name a new file or an empty database")
    finally:
        database.close()
    store = Store.open(place, kek, actor)
    try:
        drop_snapshots(store)
        ledger.catch_up(store)
    finally:
        store.close()
    assert filler.done is not None
    return filler.done


class _Filler:
    """Fills the new database, in one transaction."""

    def __init__(
        self,
        source: Connection,
        row: Row,
        kek: KeyEncryptionKey,
        receipts: Sequence[Receipt],
        info: BackupInfo,
        actor: str,
        progress: Progress | None,
    ) -> None:
        self._source = source
        self._row = row
        self._kek = kek
        self._seals = RowSeals(kek, row.uuid)
        self._audit_key = kek.unwrap(row.sealed_audit_key, f"vultus gallery {row.uuid} audit key".encode())
        self._receipts = receipts
        self._info = info
        self._actor = actor
        self._progress = progress
        self.done: Restored | None = None

    def fill(self, connection: Connection) -> None:
        migrate.migrate(connection)
        gone = self._erased_since()
        tampered = check_rows(self._source, self._seals, self._seals.open(self._row.sealed_tally))
        rows = copy_tables(self._source, connection, self._progress, without=gone.keys())
        _leap(connection)
        connection = connection.execution_options(seals=self._seals)
        write = Write(connection, self._actor, self._audit_key, self._seals)
        write.tally = tally_of(connection, self._seals)
        write.own(scrub_pending=False)
        write.update(collections, collections.c.sealed_snapshot_key.is_not(None), sealed_snapshot_key=None)
        write.head += JUMP + secrets.randbelow(JUMP)
        for person_id, (collection_id, receipt) in gone.items():
            write.append("erase", collection_id, person_id)
            subject = self._pseudonym(person_id, receipt.person_uuid)
            write.audit("erasure_replayed", receipt.collection_id, subject, {"erased_by": receipt.audit_seq})
        # An answer to another's request may name somebody who was left out.
        touched = {collection_id for collection_id, _ in gone.values()}
        write.delete(writes, writes.c.collection_id.in_(touched))
        known = self._keep(write)
        _announce(connection, write)
        told = {"backup": self._info.anchor, "made": self._info.made, "replayed": len(gone), "receipts": known}
        told["tampered"] = len(tampered)  # what somebody had done to the rows before they were backed up
        write.own(restored_seq=write.audit("restored", None, None, told))
        write.finish()
        self.done = Restored(self._info, rows["persons"], rows["templates"], len(gone), known)

    def _erased_since(self) -> dict[int, tuple[int, Receipt]]:
        """Id of each person in the backup who has a receipt, with the id of their collection."""
        by_uuid = {receipt.person_uuid: receipt for receipt in self._receipts}
        people = self._source.execute(select(persons.c.id, persons.c.uuid, persons.c.collection_id))
        return {row.id: (row.collection_id, by_uuid[row.uuid]) for row in people if row.uuid in by_uuid}

    def _pseudonym(self, person_id: int, person_uuid: str) -> str | None:
        """What the log calls somebody who is left out; None where their key is damaged."""
        sealed = self._source.execute(select(person_keys.c.sealed).where(person_keys.c.person_id == person_id)).scalar()
        try:
            return DataKey(self._kek.unwrap(sealed or b"", key_bound(person_uuid))).pseudonym
        except ProtectionError:
            return None

    def _keep(self, write: Write) -> int:
        """Store the receipts that the backup does not have; how many there are then."""
        known = set(write.connection.execute(select(erasures.c.person_uuid)).scalars())
        fresh = [one for one in self._receipts if one.person_uuid not in known]
        for one in fresh:
            write.insert(erasures, person_uuid=one.person_uuid, at=one.erased_at, receipt=one.to_json())
        return len(known) + len(fresh)


def _announce(connection: Connection, write: Write) -> None:
    """Tell every follower to start afresh, and then what there is."""
    for collection_id in connection.execute(select(collections.c.id)).scalars().all():
        write.append("rebuild", collection_id)
        write.announce(collection_id)


def _leap(connection: Connection) -> None:
    """Set where each table's ids go on: ids of the erased, and those given after the backup, are not given again."""
    told = {
        "persons": connection.execute(select(func.max(changes.c.person_id))).scalar(),
        "templates": connection.execute(select(func.max(changes.c.template_id))).scalar(),
    }
    for table in metadata.sorted_tables:
        if table.dialect_options["sqlite"]["autoincrement"]:
            last = connection.execute(select(func.max(table.c.id))).scalar() or 0
            _go_on(connection, table.name, max(last, told.get(table.name) or 0) + ID_JUMP)


def _go_on(connection: Connection, table: str, after: int) -> None:
    values: dict[str, Any] = {"table": table, "after": after}
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT setval(pg_get_serial_sequence(:table, 'id'), :after)"), values)
        return
    connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :table"), values)
    connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :after)"), values)


def _upgrade(plain: Path, kek: KeyEncryptionKey) -> None:
    """Bring the tables of an older version's backup to this one's."""
    copy = SQLite(plain)
    try:
        if not copy.exists():
            raise VultusError("the backup holds no gallery; use another backup")
        with copy.friendly(), copy.writing() as connection, connection.begin():
            if migrate.revision(connection) < migrate.HEAD:
                migrate.upgrade(connection, kek)
            migrate.check_revision(migrate.revision(connection), "in the backup")
    finally:
        copy.close()


def _receipts(database: Database, row: Row, ledgers: Sequence[str | Path]) -> list[Receipt]:
    """The receipts of all ledgers, those of this gallery only, each with a signature that holds."""
    own = database.state_folder(row.uuid) / ledger.NAME
    files = [own] if own.exists() else []
    found: dict[str, Receipt] = {}
    for one in ledgers:
        if "://" in str(one) or _is_sqlite(Path(one)):
            found |= _by_person(_of_gallery(database_at(one), row))
        elif Path(one).is_file():
            files.append(Path(one))
        else:
            raise VultusError(f"there is no ledger {one}; give an erasures.jsonl, or the place of the gallery")
    if not files and not ledgers:
        raise VultusError(
            f"nothing tells who was erased after the backup: there is no {own}; name an erasures.jsonl or the gallery, "
            "if it still exists, with --ledger, or say --no-replay if nobody was erased"
        )
    for path in files:
        found |= _by_person(ledger.read(path, row.public_key))
    return [receipt for receipt in found.values() if receipt.gallery_id == row.uuid]


def _of_gallery(database: Database, row: Row) -> list[Receipt]:
    """The erasures that a gallery which still exists tells of."""
    try:
        if not database.exists():
            raise VultusError(f"there is no gallery {database.label} to read erasures from; leave it out")
        with database.friendly(), database.reading() as connection:
            uuid = connection.execute(select(gallery.c.uuid)).scalar_one()
            if uuid != row.uuid:
                raise VultusError(f"gallery {database.label} is not the one of the backup; name another ledger")
            receipts = [Receipt.from_json(text) for text in connection.execute(select(erasures.c.receipt)).scalars()]
    finally:
        database.close()
    for receipt in receipts:
        try:
            receipt.verify(row.public_key)
        except ProtectionError as error:
            raise ProtectionError(f"an erasure in gallery {database.label}: {error}") from None
    path = database.state_folder(row.uuid) / ledger.NAME
    return [*receipts, *ledger.read(path, row.public_key)]


def _by_person(receipts: Iterable[Receipt]) -> dict[str, Receipt]:
    return {receipt.person_uuid: receipt for receipt in receipts}


def _is_sqlite(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False
