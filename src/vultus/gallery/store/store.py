"""The truth of a gallery: one SQL database in which every write also appends to the change sequence and the audit log."""

from __future__ import annotations

import contextlib
import getpass
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Row, insert, select, update

from vultus.errors import VultusError
from vultus.gallery.audit import GENESIS
from vultus.gallery.protection import (
    KeyEncryptionKey,
    ProtectionError,
    SigningKey,
    load_key,
    make_default_key,
)
from vultus.gallery.store import clock, migrate
from vultus.gallery.store.database import Database, database_at
from vultus.gallery.store.schema import gallery
from vultus.gallery.store.write import Write

Key = str | KeyEncryptionKey | None


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
            signing = SigningKey.new()
            at = clock.now()
            connection.execute(
                insert(gallery).values(
                    id=1,
                    uuid=made,
                    created=at,
                    key_id=kek.id,
                    public_key=signing.public,
                    sealed_signing_key=kek.wrap(signing.private, _bound(made, "signing key")),
                    sealed_audit_key=kek.wrap(os.urandom(32), _bound(made, "audit key")),
                    head=0,
                    audit_seq=0,
                    audit_mac=GENESIS,
                    last_at=at,
                    scrub_pending=False,
                )
            )

        try:
            fresh = database.create(fill)
        except BaseException:
            _drop(kept)
            raise
        finally:
            database.close()
        if not fresh:
            _drop(kept)
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
            with database.friendly(), database.reading() as connection:
                migrate.check_revision(migrate.revision(connection), database.label)
                row = connection.execute(select(gallery)).one()
            info = StoreInfo(row.uuid, row.created, row.key_id, row.public_key)
            kek = key if isinstance(key, KeyEncryptionKey) else load_key(key, info.uuid)
            if kek.id != info.key_id:
                raise ProtectionError(
                    f"the key {kek.id} does not open gallery {database.label}, which was locked with {info.key_id}; "
                    "give that one by --key or VULTUS_GALLERY_KEY"
                )
            store = cls(database, info, kek, row, actor or default_actor())
            if row.scrub_pending:  # an erasure was cut short
                with contextlib.suppress(VultusError):  # a reader without write access leaves it to the next
                    store.scrub()
        except BaseException:
            database.close()
            raise
        return store

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
        return SigningKey.from_private(self.key.unwrap(self._sealed_signing_key, _bound(self.info.uuid, "signing key")))

    @property
    def audit_key(self) -> bytes:
        return self._audit_key

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with self.database.friendly(), self.database.reading() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Write]:
        """A transaction; when the block ends, all of it is durable, and when it raises, nothing of it is."""
        with self.database.friendly(), self.database.writing() as connection, connection.begin():
            self.database.lock(connection)
            write = Write(connection, self.actor, self._audit_key)
            yield write
            write.finish()

    def head(self) -> int:
        """The last number of the change sequence."""
        with self.reading() as connection:
            return connection.execute(select(gallery.c.head)).scalar_one()

    def scrub(self) -> bool:
        """Take erased bytes out of the database's files; False where somebody is in the way, to be tried again."""
        with self.database.friendly():
            done = self.database.scrub()
        if done:
            with self.writing() as write:
                write.connection.execute(update(gallery).values(scrub_pending=False))
        return done


def default_actor() -> str:
    """Who acts, for the audit log: $VULTUS_ACTOR, or the operating system's user."""
    named = os.environ.get("VULTUS_ACTOR")
    if named:
        return named[:200]
    try:
        return f"user:{getpass.getuser()}"[:200]
    except (KeyError, OSError):  # a container without a user of this number
        return f"uid:{os.getuid()}"


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
    return make_default_key(gallery_uuid)


def _drop(made: Path | None) -> None:
    if made is not None:
        made.unlink(missing_ok=True)
