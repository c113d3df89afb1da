"""Another key-encryption key for a gallery, without touching a template."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from vultus.errors import VultusError
from vultus.gallery.protection import (
    KeyEncryptionKey,
    ProtectionError,
    RowSeals,
    default_key_path,
    load_key,
    make_default_key,
)
from vultus.gallery.protection.keys import VARIABLE
from vultus.gallery.store import Key, Store, Write
from vultus.gallery.store.collections import rotation_bound, snapshot_bound
from vultus.gallery.store.persons import key_bound
from vultus.gallery.store.schema import collections, gallery, person_keys, persons
from vultus.gallery.store.sealing import seal_all
from vultus.gallery.store.store import bound_to_gallery

log = logging.getLogger(__name__)

AT_ONCE = 5_000
"""Wrapped keys that are held in memory."""

Progress = Callable[[int, int], object]
"""Called with (keys wrapped, keys in all)."""


@dataclass(frozen=True)
class Rotated:
    """What a rotation of the key did."""

    old_id: str
    new_id: str
    keys: int
    """How many were wrapped anew."""
    path: Path | None
    """The new key's file, where one was made."""
    removed: Path | None
    """The old key's file, where it was to be removed."""
    unscrubbed: VultusError | None = None
    """What keeps the old wrappings in the database's files, as `Store.unscrubbed`; the next opening tries again."""

    @property
    def scrubbed(self) -> bool:
        """Whether the old wrappings are out of the database's files."""
        return self.unscrubbed is None


def rotate_key(
    store: Store, new_key: Key = None, *, remove_old: bool = False, progress: Progress | None = None
) -> Rotated:
    """Lock the gallery with another key-encryption key; the store goes on with it.

    Every key that the old one wraps (one a person; rotation, snapshot, signing and audit keys) is wrapped by the new
    one, in one transaction: whatever happens, the gallery opens with the old key or with the new one. No template is
    sealed again, so whoever had both the old key and a copy of the database still reads that copy. Processes that have
    the gallery open are refused until they open it again. Backups made before need the old key: keep it as long as
    them, and no longer.

    Args:
        new_key: the key, or where it is ("env:NAME", "file:PATH", "command:WORDS"). None makes one in the user's
            configuration folder, in a file of its own, which is found there from then on.
        remove_old: whether the old key's file in that folder is deleted.

    Raises VultusError where None would make a key that nobody looks for, or the new key is the old one.
    """
    old = store.key
    old_path = _default_file_of(store)
    new, made = _new(store, new_key)
    if new.id == old.id:
        raise VultusError(f"gallery {store.label} is locked with the key {old.id} already; give another")
    try:
        with store.writing() as write:
            count, signing_key = _rewrap(store, write, new, progress)
            write.own(key_id=new.id, scrub_pending=True)
            write.audit("key_rotated", None, None, {"old": old.id, "new": new.id, "keys": count})
    except BaseException:
        if made is not None:
            if _locked_with(store, new):
                log.warning("the gallery may be locked with the new key all the same; it stays in %s", made)
            else:
                made.unlink(missing_ok=True)
        raise
    store.adopt(new, signing_key)
    unscrubbed = store.scrub()
    removed = old_path if remove_old else None
    if removed is not None:
        try:
            removed.unlink(missing_ok=True)
        except OSError as error:  # the rotation is done all the same
            log.warning("the old key's file %s could not be deleted (%s); delete it", removed, error.strerror)
            removed = None
    return Rotated(old.id, new.id, count, made, removed, unscrubbed)


def _new(store: Store, new_key: Key) -> tuple[KeyEncryptionKey, Path | None]:
    """The new key, and the file that was made for it."""
    if isinstance(new_key, KeyEncryptionKey):
        return new_key, None
    if new_key is not None:
        return load_key(new_key, store.info.uuid), None
    if os.environ.get(VARIABLE, "").strip():
        raise VultusError(
            f"the gallery's key is looked for in ${VARIABLE}; make the new one beside it and say where it is "
            "(file:PATH, command:WORDS or env:NAME)"
        )
    return make_default_key(store.info.uuid, rotated=True)


def _rewrap(store: Store, write: Write, new: KeyEncryptionKey, progress: Progress | None) -> tuple[int, bytes]:
    """Wrap every key and seal every row anew; how many keys, and the signing key's new wrapping."""
    connection = write.connection

    def again(sealed: bytes, bound: bytes) -> bytes:
        return new.wrap(store.key.unwrap(sealed, bound), bound)

    total = connection.execute(select(func.count()).select_from(person_keys)).scalar_one()
    done, last = 0, 0
    query = (
        select(person_keys, persons.c.uuid)
        .join(persons, persons.c.id == person_keys.c.person_id)
        .order_by(person_keys.c.person_id)
        .limit(AT_ONCE)
    )
    while rows := connection.execute(query.where(person_keys.c.person_id > last)).all():
        wrapped = [{"id": row.person_id, "sealed": again(row.sealed, key_bound(row.uuid))} for row in rows]
        write.change(person_keys, wrapped)
        last, done = rows[-1].person_id, done + len(rows)
        if progress is not None:
            progress(done, total)
    for row in connection.execute(select(collections)).all():
        bounds = {
            "sealed_rotation_key": rotation_bound(row.uuid),
            "sealed_snapshot_key": snapshot_bound(row.uuid),
            "next_rotation_key": rotation_bound(row.uuid),
        }
        wrapped_here = [name for name in bounds if row._mapping[name] is not None]
        values = {name: again(row._mapping[name], bounds[name]) for name in wrapped_here}
        write.update(collections, collections.c.id == row.id, **values)
        done += len(values)
    own = connection.execute(select(gallery)).one()
    values = {
        "sealed_signing_key": again(own.sealed_signing_key, bound_to_gallery(store, "signing key")),
        "sealed_audit_key": again(own.sealed_audit_key, bound_to_gallery(store, "audit key")),
    }
    write.own(**values)
    before, write.seals = write.seals, RowSeals(new, store.info.uuid)
    write.tally = seal_all(connection, write.seals, before)
    return done + len(values), values["sealed_signing_key"]


def _default_file_of(store: Store) -> Path | None:
    """The file in the user's configuration folder that holds the store's key, if one does."""
    for path in (
        default_key_path(store.info.uuid, store.key.id),
        default_key_path(store.info.uuid),
    ):
        if path.exists():
            try:
                if load_key(f"file:{path}", store.info.uuid).id == store.key.id:
                    return path
            except ProtectionError:
                continue
    return None


def _locked_with(store: Store, key: KeyEncryptionKey) -> bool:
    """Whether the transaction was committed though its end was not heard of; True where nobody can tell."""
    try:
        with store.database.friendly(), store.database.writing() as connection, connection.begin():
            store.database.lock(connection)  # a lost connection's COMMIT may still be under way
            return connection.execute(select(gallery.c.key_id)).scalar_one() == key.id
    except Exception:
        return True
