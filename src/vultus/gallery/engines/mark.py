"""Which moment of which truth an engine's collection shows."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from sqlalchemy import Connection, select

from vultus.gallery.store import Collection, Store
from vultus.gallery.store.schema import audit, changes, gallery


class Mark(NamedTuple):
    """Written by an engine after the rows that it tells of."""

    position: int
    """The number in the change sequence up to which the rows tell."""
    entry: int = 0
    """The last number of the audit log then."""
    origin: int = 0
    """`origin_of` the two: of another gallery, or of one restored from a backup, it differs."""


def mark_at(store: Store, connection: Connection, collection: Collection, position: int) -> Mark:
    """What an engine is to write once it has got to `position`."""
    entry = connection.execute(select(gallery.c.audit_seq)).scalar_one()
    return Mark(position, entry, origin_of(store, connection, collection, position, entry))


def holds(store: Store, connection: Connection, collection: Collection, mark: Mark) -> bool:
    """Whether what an engine followed up to its mark is the past of this collection of this gallery."""
    return mark.origin == origin_of(store, connection, collection, mark.position, mark.entry)


def origin_of(store: Store, connection: Connection, collection: Collection, position: int, entry: int) -> int:
    """A 63-bit digest of the gallery, of what a row of the collection is, and of a change and an entry of the audit
    log, which is chained to all before it.

    After a backup is restored both are written anew from an earlier number, and what an engine followed before must not
    pass for the same past.
    """
    query = select(changes.c.collection_id, changes.c.kind, changes.c.person_id, changes.c.template_id, changes.c.at)
    change = connection.execute(query.where(changes.c.seq == position)).one_or_none()
    mac = connection.execute(select(audit.c.mac).where(audit.c.seq == entry)).scalar()
    about = [store.info.uuid, collection.uuid, collection.contract_id, str(position), *map(str, change or ()), str(mac)]
    return int.from_bytes(hashlib.sha256("\n".join(about).encode()).digest()[:8], "little") >> 1


def rows_name(collection: Collection) -> str:
    """What an engine calls the collection: its opaque id, and a digest of contract and rotation.

    After a change of model or rotation the rows go to a new place: who still searches the old one finds all of it or
    an error, never half of the new.
    """
    digest = hashlib.sha256(
        b"vultus engine rows " + f"{collection.contract_id} {collection.dim} ".encode() + collection.rotation_key
    )
    return f"{rows_prefix(collection)}{digest.hexdigest()[:12]}"


def rows_prefix(collection: Collection) -> str:
    return f"vultus_{collection.uuid.replace('-', '')}_"
