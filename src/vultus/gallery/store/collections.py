"""Collections: people that are searched together, bound to one recogniser's contract."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from sqlalchemy import Connection, Row, func, select

from vultus.errors import VultusError
from vultus.gallery.names import clean_name, unknown_name
from vultus.gallery.protection import Rotation
from vultus.gallery.settings import Settings
from vultus.gallery.store.schema import changes, collections, persons, templates
from vultus.gallery.store.sealing import checked
from vultus.gallery.store.store import Store
from vultus.gallery.store.write import Write

DEFAULT = "default"
"""The collection of whoever names none."""


@dataclass(frozen=True)
class Successor:
    """The model that a collection is being moved to; its templates lie beside those in use."""

    model: str
    contract_id: str
    dim: int
    rotation: Rotation


@dataclass(frozen=True, eq=False)
class Collection:
    """As it was when it was read."""

    id: int
    uuid: str
    name: str
    model: str
    """The recogniser as the user named it: a name of the zoo or a path."""
    contract_id: str
    dim: int
    created: str
    settings: Settings
    rotation_key: bytes = field(repr=False)
    snapshot_key: bytes | None = field(repr=False)
    """Of the index's snapshot file; None where an erasure has just destroyed it, or none was written yet."""
    next_model: str | None
    next_contract_id: str | None
    next_dim: int | None
    next_rotation_key: bytes | None = field(repr=False)
    calibration_digest: str | None
    """Of the calibration that decides here, `Calibration.digest`; None until the first decision."""

    stamp: tuple = field(default=(), repr=False)
    """The row that this was made of: while it is the same, so is the collection."""

    @property
    def rotation(self) -> Rotation:
        return _rotation(self.rotation_key, self.dim)

    @cached_property
    def successor(self) -> Successor | None:
        if self.next_model is None or self.next_contract_id is None or self.next_dim is None:
            return None
        assert self.next_rotation_key is not None, "written together"
        rotation = _rotation(self.next_rotation_key, self.next_dim)
        return Successor(self.next_model, self.next_contract_id, self.next_dim, rotation)


def create(
    store: Store,
    write: Write,
    name: str,
    model: str,
    contract_id: str,
    dim: int,
    settings: Settings,
    *,
    uuid_: str | None = None,
    calibration_digest: str | None = None,
) -> Collection:
    """Make a collection; VultusError where the name is taken."""
    name = clean_name(name)
    if _row(write.connection, name) is not None:
        raise VultusError(f"gallery {store.label} has a collection {name!r} already; choose another name")
    made = uuid_ or str(uuid.uuid4())
    write.insert(
        collections,
        uuid=made,
        name=name,
        model=model,
        contract_id=contract_id,
        dim=dim,
        created=write.now,
        settings=settings.model_dump(),
        sealed_rotation_key=store.key.wrap(os.urandom(32), rotation_bound(made)),
        calibration_digest=calibration_digest,
    )
    details = {"contract": contract_id, "calibration": calibration_digest, "settings": settings.model_dump()}
    write.audit("collection_created", made, None, details)
    return get(store, write.connection, name)


def get(store: Store, connection: Connection, name: str) -> Collection:
    """VultusError, with the nearest name, where there is none of that name."""
    name = clean_name(name)
    row = _row(connection, name)
    if row is None:
        known = list(connection.execute(select(collections.c.name)).scalars())
        listed = f"there are {', '.join(sorted(known)[:10])}" if known else "it has none yet"
        raise VultusError(f"gallery {store.label} has no collection {name!r}; {listed}")
    return _collection(store, connection, row)


def find(store: Store, connection: Connection, name: str) -> Collection | None:
    row = _row(connection, clean_name(name))
    return None if row is None else _collection(store, connection, row)


def refreshed(store: Store, connection: Connection, known: Collection) -> Collection:
    """`known` as it is now: the same object where nothing changed; VultusError where it was deleted."""
    row = connection.execute(select(collections).where(collections.c.id == known.id)).one_or_none()
    if row is None:
        raise VultusError(f"gallery {store.label} no longer has the collection {known.name!r}")
    return known if tuple(row) == known.stamp else _collection(store, connection, row)


def every(store: Store, connection: Connection) -> list[Collection]:
    rows = connection.execute(select(collections).order_by(collections.c.name)).all()
    return [_collection(store, connection, row) for row in rows]


def counts(connection: Connection, collection: Collection) -> tuple[int, int]:
    """(persons, templates in use), suspended people included."""
    people = select(func.count()).select_from(persons).where(persons.c.collection_id == collection.id)
    rows = (
        select(func.count())
        .select_from(templates)
        .where(templates.c.collection_id == collection.id, templates.c.contract_id == collection.contract_id)
    )
    return connection.execute(people).scalar_one(), connection.execute(rows).scalar_one()


def set_settings(write: Write, collection: Collection, settings: Settings) -> None:
    """Store them, and say in the audit log what changed."""
    before, after = collection.settings.model_dump(), settings.model_dump()
    changed: Mapping = {name: [before[name], after[name]] for name in after if before[name] != after[name]}
    write.update(collections, collections.c.id == collection.id, settings=after)
    write.audit("settings_changed", collection.uuid, None, changed)


def bind_calibration(write: Write, collection: Collection, digest: str | None) -> None:
    """Let the calibration of this digest decide from now on; the audit log says which one did before."""
    write.update(collections, collections.c.id == collection.id, calibration_digest=digest)
    if collection.calibration_digest is None:
        write.audit("calibration_bound", collection.uuid, None, {"to": digest})
    else:
        write.audit("calibration_changed", collection.uuid, None, {"from": collection.calibration_digest, "to": digest})


def last_change(connection: Connection, collection: Collection) -> int:
    """The last number of the change sequence that concerns the collection; 0 for none."""
    query = select(func.max(changes.c.seq)).where(changes.c.collection_id == collection.id)
    return connection.execute(query).scalar() or 0


def rotation_bound(collection_uuid: str) -> bytes:
    return f"vultus collection {collection_uuid} rotation key".encode()


def snapshot_bound(collection_uuid: str) -> bytes:
    return f"vultus collection {collection_uuid} snapshot key".encode()


def new_snapshot_key(store: Store, write: Write, collection: Collection) -> bytes:
    """A fresh key for the next snapshot file; the last one is destroyed."""
    secret = os.urandom(32)
    sealed = store.key.wrap(secret, snapshot_bound(collection.uuid))
    write.update(collections, collections.c.id == collection.id, sealed_snapshot_key=sealed)
    return secret


def destroy_snapshot_key(write: Write, collection_id: int) -> None:
    """What a snapshot file holds can no longer be read."""
    write.update(collections, collections.c.id == collection_id, sealed_snapshot_key=None)


def unknown_person(name: str, connection: Connection, collection: Collection, label: str) -> VultusError:
    """The error for a person that is not enrolled, with the nearest that is."""
    known = select(persons.c.external_id).where(persons.c.collection_id == collection.id).limit(100_000)
    return unknown_name(name, connection.execute(known).scalars(), label)


def _row(connection: Connection, name: str) -> Row | None:
    return connection.execute(select(collections).where(collections.c.name == name)).one_or_none()


def _collection(store: Store, connection: Connection, row: Row) -> Collection:
    checked(connection, collections, row)

    def opened(sealed: bytes | None, bound: bytes) -> bytes | None:
        return None if sealed is None else store.unwrap(sealed, bound)

    rotation = opened(row.sealed_rotation_key, rotation_bound(row.uuid))
    assert rotation is not None
    return Collection(
        row.id,
        row.uuid,
        row.name,
        row.model,
        row.contract_id,
        row.dim,
        row.created,
        Settings.parse(row.settings),
        rotation,
        opened(row.sealed_snapshot_key, snapshot_bound(row.uuid)),
        row.next_model,
        row.next_contract_id,
        row.next_dim,
        opened(row.next_rotation_key, rotation_bound(row.uuid)),
        row.calibration_digest,
        tuple(row),
    )


@lru_cache(maxsize=8)
def _rotation(key: bytes, dim: int) -> Rotation:
    """Making the matrix takes longer than a search."""
    return Rotation(key, dim)
