"""The truth of a gallery: one SQL database; each write also appends to its change sequence and its audit log."""

from __future__ import annotations

import getpass
import json
import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, Row, insert, select
from sqlalchemy.exc import MultipleResultsFound, NoResultFound

from vultus.errors import VultusError
from vultus.gallery.audit import GENESIS, seal_head
from vultus.gallery.protection import (
    KeyEncryptionKey,
    ProtectionError,
    RowSeals,
    SigningKey,
    Tally,
    load_key,
    make_default_key,
)
from vultus.gallery.store import anchors, clock, migrate, sealing
from vultus.gallery.store.database import Database, database_at
from vultus.gallery.store.schema import audit, changes, gallery
from vultus.gallery.store.write import Write

log = logging.getLogger(__name__)

Key = str | KeyEncryptionKey | None

_LEAVE_NOTHING = ("enrolled", "identified", "verified", "investigated", "listed")
"""Entries of the audit log that ask for no scrub and come all the time; any other may be of what deletes something."""


@dataclass(frozen=True)
class StoreInfo:
    """What is fixed when a gallery is made, but for `key_id`, which a rotation of the key changes."""

    uuid: str
    created: str
    key_id: str
    public_key: str
    """Ed25519, base64: verifies erasure receipts."""


class Store:
    """A gallery database. Thread-safe; several processes may use one at once.

    When a `writing` block ends, the change survives kill -9 and a power cut; when it raises, nothing was changed.
    """

    def __init__(self, database: Database, info: StoreInfo, key: KeyEncryptionKey, row: Row, actor: str) -> None:
        self.database = database
        self.info = info
        self.key = key
        self.actor = actor
        self._audit_key = key.unwrap(row.sealed_audit_key, _bound(info.uuid, "audit key"))
        self._sealed_signing_key = row.sealed_signing_key
        self.seals = RowSeals(key, info.uuid)
        self.rollback: VultusError | None = None
        """Where the database is older than what this host saw: until that is accepted, nothing is decided by it."""
        self.unscrubbed: VultusError | None = None
        """What kept the last `scrub` from its end. Codes: older_transaction, prepared_transaction, replication_slot,
        replica, and those of a database that cannot be written."""
        self._seen = 0

    @classmethod
    def create(cls, place: str | Path, key: Key = None, actor: str | None = None) -> Store:
        """Make the database and open it; where another process just made it, open that.

        Args:
            key: the key-encryption key, or where it is ("env:NAME", "file:PATH", "command:…"); None looks at
                $VULTUS_GALLERY_KEY, and else makes one in the user's configuration folder.
        """
        database = database_at(place)
        made = str(uuid.uuid4())
        kek, kept = _key_for_new(key, made)

        def fill(connection: Connection) -> None:
            migrate.migrate(connection)
            signing, audit_key = SigningKey.new(), os.urandom(32)
            at = clock.now()
            row = {
                "id": 1,
                "uuid": made,
                "created": at,
                "key_id": kek.id,
                "public_key": signing.public,
                "sealed_signing_key": kek.wrap(signing.private, _bound(made, "signing key")),
                "sealed_audit_key": kek.wrap(audit_key, _bound(made, "audit key")),
                "head": 0,
                "audit_seq": 0,
                "audit_mac": GENESIS,
                "last_at": at,
                "scrub_pending": False,
                "doubted_since": None,
                "restored_seq": None,
                "sealed_tally": RowSeals(kek, made).close(Tally()),
            }
            connection.execute(insert(gallery).values(**row, audit_seal=seal_head(audit_key, row)))

        try:
            fresh = database.create(fill)
        except BaseException:
            if kept is not None:
                if _may_be_made(database, made):
                    log.warning("the gallery may have been made all the same; its key stays in %s", kept)
                else:
                    kept.unlink(missing_ok=True)
            raise
        finally:
            database.close()
        if not fresh and kept is not None:  # another's gallery is there, with a key of its own
            kept.unlink(missing_ok=True)
        store = cls.open(place, key, actor)
        if fresh:
            with store.writing() as write:
                write.audit("gallery_created", None, None, {"key": store.info.key_id})
        return store

    @classmethod
    def open(cls, place: str | Path, key: Key = None, actor: str | None = None) -> Store:
        """Open an existing gallery.

        Raises VultusError where it is missing, none, damaged or of another version; ProtectionError without its key.
        """
        database = database_at(place)
        try:
            if not database.exists():
                raise VultusError(
                    f"gallery {database.label} does not exist; check the path, or enrol someone there first"
                )
            row = _row_of(database)
            while True:
                try:
                    kek = _key_of(row, key, database)
                    break
                except ProtectionError:
                    before, row = row, _row_of(database)
                    if row.key_id == before.key_id:  # else it was rotated meanwhile, and the old key perhaps deleted
                        raise
            info = StoreInfo(row.uuid, row.created, row.key_id, row.public_key)
            store = cls(database, info, kek, row, _printable(actor or default_actor()))
            with store.reading() as connection:
                store.rollback = anchors.lost(connection, store.audit_key, store.head_seen(), row)
            if row.scrub_pending:  # an erasure was cut short
                store.scrub()  # a reader without write access leaves it to the next
        except BaseException:
            database.close()
            raise
        return store

    @classmethod
    def upgrade(cls, place: str | Path, key: Key = None, actor: str | None = None) -> tuple[str, str]:
        """Bring a gallery of an older vultus to this one's tables, in one transaction: (from, to), equal if it was.

        Nobody else may have it open. Raises VultusError where it is missing, none, or of a newer version.
        """
        database = database_at(place)
        try:
            if not database.exists():
                raise VultusError(f"gallery {database.label} does not exist; check the path", code="no_gallery")
            with database.friendly(), database.writing() as connection, connection.begin():
                before = migrate.revision(connection)
                if before >= migrate.HEAD:
                    migrate.check_revision(before, database.label)
                    return before, before
                database.lock(connection)
                row = connection.execute(select(gallery.c.uuid, gallery.c.key_id)).one()
                kek = key if isinstance(key, KeyEncryptionKey) else load_key(key, row.uuid, row.key_id)
                migrate.upgrade(connection, kek)
        finally:
            database.close()
        with closing(cls.open(place, kek, actor)) as store, store.writing() as write:
            write.audit("upgraded", None, None, {"from": before, "to": migrate.HEAD})
        return before, migrate.HEAD

    def close(self) -> None:
        self.database.close()

    @property
    def label(self) -> str:
        return self.database.label

    @property
    def state(self) -> Path:
        """Folder of what belongs to the gallery but not into its database: snapshots of indexes, the erasure ledger."""
        return self.database.state_folder(self.info.uuid)

    @property
    def signing_key(self) -> SigningKey:
        return SigningKey.from_private(self.unwrap(self._sealed_signing_key, _bound(self.info.uuid, "signing key")))

    @property
    def audit_key(self) -> bytes:
        return self._audit_key

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with _storable(), self.database.friendly(), self.database.reading() as connection, connection.begin():
            yield connection.execution_options(seals=self.seals)

    @contextmanager
    def writing(self, mending: bool = False) -> Iterator[Write]:
        """A transaction; when the block ends, all of it is durable, and when it raises, nothing of it is.

        `mending` is for `verification.mend` alone: every other write refuses an audit log whose end was tampered with.
        """
        with _storable(), self.database.friendly(), self.database.writing() as connection, connection.begin():
            self.database.lock(connection)
            connection = connection.execution_options(seals=self.seals)
            write = Write(connection, self.actor, self._audit_key, self.seals, mending)
            self._check_key(write.key_id)  # nothing may be wrapped with a key that no longer opens the gallery
            if write.audit_seq < self._seen:
                raise VultusError(
                    f"the database of gallery {self.label} was put back to an earlier state while it was open; open it "
                    "again",
                    code="rolled_back",
                )
            yield write
            write.finish()
        self._remember(write)

    def head_seen(self) -> anchors.Head | None:
        """The end of the log as this host last saw it written."""
        return anchors.remembered(self.state, self._audit_key)

    def _remember(self, write: Write) -> None:
        if write.audit_seq > self._seen and self.rollback is None:
            self._seen = write.audit_seq
            head = anchors.Head(self.info.uuid, write.audit_seq, write.audit_mac, write.now)
            anchors.remember(self.state, self._audit_key, head)

    def unwrap(self, sealed: bytes, bound: bytes) -> bytes:
        """A key that the database holds. ProtectionError, code key_rotated, where another wraps them meanwhile."""
        try:
            return self.key.unwrap(sealed, bound)
        except ProtectionError:
            with self.reading() as connection:
                self._check_key(connection.execute(select(gallery.c.key_id)).scalar_one())
            raise

    def _check_key(self, key_id: str) -> None:
        if key_id != self.key.id:
            raise sealing.rotated(key_id)

    def head(self) -> int:
        """The last number of the change sequence."""
        with self.reading() as connection:
            return connection.execute(select(gallery.c.head)).scalar_one()

    def adopt(self, key: KeyEncryptionKey, sealed_signing_key: bytes) -> None:
        """Go on with the key that the gallery has just been rotated to."""
        self._sealed_signing_key = sealed_signing_key
        self.info = replace(self.info, key_id=key.id)
        self.key = key
        self.seals = RowSeals(key, self.info.uuid)

    def scrub(self) -> VultusError | None:
        """Take erased bytes out of the database's files. None when they are gone, else what is in the way.

        Nothing is raised for that: what asked for it is done already. The next scrub or opening tries again.
        """
        try:
            self.unscrubbed = self._scrub()
        except VultusError as error:
            self.unscrubbed = error
        return self.unscrubbed

    def _scrub(self) -> VultusError | None:
        with self.reading() as connection:
            before = connection.execute(select(gallery.c.head, gallery.c.audit_seq)).one()
        with self.database.friendly():
            why = self.database.scrub()
        if why is None:
            with self.writing() as write:
                since = (
                    select(changes.c.seq).where(
                        changes.c.seq > before.head, changes.c.kind.in_(("erase", "remove", "rebuild"))
                    ),
                    select(audit.c.seq).where(audit.c.seq > before.audit_seq, audit.c.kind.not_in(_LEAVE_NOTHING)),
                )
                # Where there is one, its scrub is still to come: it may have deleted what this one had passed already.
                if all(write.connection.execute(query.limit(1)).first() is None for query in since):
                    write.own(scrub_pending=False)
        return why


def _row_of(database: Database) -> Row:
    with _storable(), database.friendly(), database.reading() as connection:
        migrate.check_revision(migrate.revision(connection), database.label)
        return connection.execute(select(gallery)).one()


def _key_of(row: Row, key: Key, database: Database) -> KeyEncryptionKey:
    """The key that the gallery of this row is locked with."""
    kek = key if isinstance(key, KeyEncryptionKey) else load_key(key, row.uuid, row.key_id)
    if kek.id != row.key_id:
        raise ProtectionError(
            f"the key {kek.id} does not open gallery {database.label}, which was locked with {row.key_id}; "
            "give that one by --key or VULTUS_GALLERY_KEY",
            code="wrong_key",
            key=row.key_id,
        )
    return kek


def default_actor() -> str:
    """Who acts, for the audit log: $VULTUS_ACTOR, or the operating system's user."""
    named = os.environ.get("VULTUS_ACTOR")
    if named:
        return named
    try:
        return f"user:{getpass.getuser()}"
    except (KeyError, OSError):  # a container without a user of this number
        return f"uid:{os.getuid()}"


def _printable(actor: str) -> str:
    """As the log can hold it: an environment variable may be in another encoding, and neither bound is the user's."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in actor)[:200]


@contextmanager
def _storable() -> Iterator[None]:
    """Turn what no database can hold or compare into one line."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise VultusError(
            f"a text holds the half character {error.object[error.start]!r}, which cannot be stored; remove it"
        ) from None
    except (NoResultFound, MultipleResultsFound, json.JSONDecodeError) as error:
        why = " ".join(str(error).split())[:80]
        raise VultusError(
            f"the gallery's tables hold what no gallery wrote ({why}); restore a backup", code="damaged"
        ) from None
    except OverflowError:
        raise VultusError("a number is too large: those of a gallery have at most 64 bits") from None


def bound_to_gallery(store: Store, what: str) -> bytes:
    """What a key of the whole gallery is bound to."""
    return _bound(store.info.uuid, what)


def _bound(gallery_uuid: str, what: str) -> bytes:
    return f"vultus gallery {gallery_uuid} {what}".encode()


def _key_for_new(key: Key, gallery_uuid: str) -> tuple[KeyEncryptionKey, Path | None]:
    """The key of a gallery about to be made, and the file that was made for it."""
    if isinstance(key, KeyEncryptionKey):
        return key, None
    if key is not None or os.environ.get("VULTUS_GALLERY_KEY"):
        return load_key(key, gallery_uuid), None
    made = make_default_key(gallery_uuid)
    log.warning(
        "a key was made for the new gallery: %s; keep a copy elsewhere, whoever loses it loses the gallery", made[1]
    )
    return made


def _may_be_made(database: Database, gallery_uuid: str) -> bool:
    """Whether the database was made though its making failed to say so; True where nobody can tell."""
    try:
        if not database.exists(settled=True):
            return False
        with database.friendly(), database.reading() as connection:
            return connection.execute(select(gallery.c.uuid)).scalar_one() == gallery_uuid
    except Exception:  # whatever it is: a key can be deleted later, and never be had back
        return True
