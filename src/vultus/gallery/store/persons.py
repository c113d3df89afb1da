"""People of a collection: who they are, and the key that their templates are sealed with."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, and_, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.expression import TextClause

from vultus.errors import VultusError
from vultus.gallery.names import clean_metadata, clean_name
from vultus.gallery.protection import DataKey
from vultus.gallery.store.collections import Collection, unknown_person
from vultus.gallery.store.schema import person_keys, persons, templates
from vultus.gallery.store.sealing import checked
from vultus.gallery.store.store import Store
from vultus.gallery.store.write import Write

AT_ONCE = 500
"""Ids asked for in one statement; SQLite and psycopg bound the number of parameters."""


@dataclass(frozen=True)
class Person:
    """Somebody enrolled."""

    id: int
    uuid: str
    external_id: str
    name: str
    metadata: Mapping[str, Any]
    status: str
    """active, or suspended: not searched, because consent was withdrawn."""
    created: str
    last_seen: str
    """Last enrolled or matched."""
    retain_until: str | None


@dataclass(frozen=True)
class PersonInfo:
    """One line of a list: who, how many templates, since when (UTC)."""

    external_id: str
    name: str
    templates: int
    status: str
    created: str
    last_seen: str
    metadata: Mapping[str, Any]


def find(connection: Connection, collection: Collection, external_id: str) -> Person | None:
    query = select(persons).where(
        persons.c.collection_id == collection.id, persons.c.external_id == clean_name(external_id)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _person(checked(connection, persons, row))


def require(store: Store, connection: Connection, collection: Collection, external_id: str) -> Person:
    """VultusError, with the nearest name, for somebody who is not enrolled."""
    found = find(connection, collection, external_id)
    if found is None:
        raise unknown_person(clean_name(external_id), connection, collection, store.label)
    return found


def add(
    store: Store,
    write: Write,
    collection: Collection,
    external_id: str,
    name: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> tuple[Person, DataKey]:
    """Make a person with a key of their own; VultusError, and an end of the write, for a second one of that id."""
    made, key = str(uuid.uuid4()), DataKey.new()
    external_id = clean_name(external_id)
    values = {
        "uuid": made,
        "collection_id": collection.id,
        "external_id": external_id,
        "name": clean_name(name) if name else external_id,
        "metadata": clean_metadata(metadata or {}),
        "status": "active",
        "created": write.now,
        "last_seen": write.now,
    }
    try:
        person_id = write.insert(persons, **values)
    except IntegrityError:
        raise VultusError(
            f"{external_id!r} is enrolled in {store.label} already; look for them in the transaction that adds them"
        ) from None
    assert person_id is not None, "persons are numbered"
    write.insert(person_keys, person_id=person_id, sealed=store.key.wrap(key.secret, key_bound(made)))
    return Person(person_id, retain_until=None, **{k: v for k, v in values.items() if k != "collection_id"}), key


def key_of(store: Store, connection: Connection, person: Person) -> DataKey:
    sealed = connection.execute(select(person_keys.c.sealed).where(person_keys.c.person_id == person.id)).scalar_one()
    return open_key(store, person.uuid, sealed)


def open_key(store: Store, person_uuid: str, sealed: bytes) -> DataKey:
    return DataKey(store.unwrap(sealed, key_bound(person_uuid)))


def key_bound(person_uuid: str) -> bytes:
    """What a person's wrapped key is bound to."""
    return f"vultus person {person_uuid} data key".encode()


def describe(write: Write, person: Person, name: str | None, metadata: Mapping[str, Any] | None) -> None:
    """Change the display name or the metadata; None leaves it."""
    values: dict[str, Any] = {}
    if name is not None:
        values["name"] = clean_name(name)
    if metadata is not None:
        values["metadata"] = clean_metadata(metadata)
    if values:
        write.update(persons, persons.c.id == person.id, **values)


def seen(write: Write, ids: Iterable[int]) -> None:
    """Restart the retention clock of people who were just matched."""
    write.change(persons, [{"id": int(i), "last_seen": write.now} for i in dict.fromkeys(ids)])


def set_status(write: Write, collection: Collection, person: Person, status: str) -> None:
    """active or suspended, and into the change sequence, so that every index follows."""
    if status != person.status:
        write.update(persons, persons.c.id == person.id, status=status)
        write.append("suspend" if status == "suspended" else "resume", collection.id, person.id)


def remove(write: Write, collection: Collection, person: Person, *, tallied: bool = True) -> None:
    """Delete the row and, by the database's rules, key, templates, crops, consents and remembered writes.

    `tallied`: whether the gallery wrote these rows.
    """
    write.delete(persons, persons.c.id == person.id, tallied=tallied)
    write.append("erase", collection.id, person.id)


def listed(
    connection: Connection,
    collection: Collection,
    where: Mapping[str, Any] | None = None,
    *,
    after: str = "",
    limit: int | None = None,
) -> list[PersonInfo]:
    """People by external id, those after `after`, at most `limit`; `where` as in `matching`.

    VultusError for a limit below 0, which is "all" to SQLite and an error to PostgreSQL.
    """
    if limit is not None and limit < 0:
        raise VultusError(f"a list of {limit} people cannot be made; give a limit of 0 or more, or none")
    used = and_(templates.c.person_id == persons.c.id, templates.c.contract_id == collection.contract_id)
    query = (
        select(persons, func.count(templates.c.id).label("used"))
        .join(templates, used, isouter=True)
        .where(persons.c.collection_id == collection.id, persons.c.external_id > after, *_conditions(connection, where))
        .group_by(persons.c.id)
        .order_by(persons.c.external_id)
        .limit(limit)
    )
    return [
        PersonInfo(r.external_id, r.name, r.used, r.status, r.created, r.last_seen, r.metadata)
        for r in connection.execute(query)
    ]


def by_id(connection: Connection, ids: Sequence[int] | np.ndarray) -> dict[int, Person]:
    """The people of these ids that are still there."""
    wanted = sorted({int(i) for i in ids})
    found: dict[int, Person] = {}
    for at in range(0, len(wanted), AT_ONCE):
        query = select(persons).where(persons.c.id.in_(wanted[at : at + AT_ONCE]))
        found |= {row.id: _person(checked(connection, persons, row)) for row in connection.execute(query)}
    return found


def matching(connection: Connection, collection: Collection, where: Mapping[str, Any]) -> np.ndarray:
    """Sorted int64 ids of the people whose metadata has these values at its top level.

    A value is text, a number (1 and 1.0 are the same), true, false or null; VultusError for another.
    """
    query = select(persons.c.id).where(persons.c.collection_id == collection.id, *_conditions(connection, where))
    return np.array(sorted(connection.execute(query).scalars()), np.int64)


_SAME_ON_POSTGRESQL = "persons.metadata -> :key{at} = CAST(:value{at} AS jsonb)"
# What is wanted goes through SQLite's own reading of JSON, as what is stored did.
_SAME_ON_SQLITE = """EXISTS (
    SELECT 1 FROM json_each(persons.metadata) AS item, json_each('[' || :value{at} || ']') AS wanted
    WHERE item.key = :key{at} AND item.value IS wanted.value
    AND (item.type = wanted.type OR item.type IN ('integer', 'real') AND wanted.type IN ('integer', 'real'))
)"""


def _conditions(connection: Connection, where: Mapping[str, Any] | None) -> list[TextClause]:
    """Equal by value and by kind, in both databases: "1" is not 1, and 1 is not true."""
    conditions = []
    for at, (key, value) in enumerate(clean_metadata(where or {}).items()):
        if isinstance(value, dict | list):
            raise VultusError(f"people cannot be filtered by {key!r}: give text, a number, true, false or null")
        given = {f"key{at}": key, f"value{at}": json.dumps(value)}
        sql = _SAME_ON_POSTGRESQL if connection.dialect.name == "postgresql" else _SAME_ON_SQLITE
        conditions.append(text(sql.format(at=at)).bindparams(**given))
    return conditions


def _person(row: Row) -> Person:
    return Person(
        row.id,
        row.uuid,
        row.external_id,
        row.name,
        row.metadata,
        row.status,
        row.created,
        row.last_seen,
        row.retain_until,
    )
