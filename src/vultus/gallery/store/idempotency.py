"""Writes that a client may repeat: under the same key they are answered, and not done a second time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from vultus.errors import VultusError
from vultus.gallery.store.collections import Collection
from vultus.gallery.store.persons import Person
from vultus.gallery.store.schema import writes
from vultus.gallery.store.sealing import checked
from vultus.gallery.store.write import Write

MOST_CHARACTERS = 200


def remembered(
    connection: Connection, collection: Collection, client_key: str, request_digest: str
) -> dict[str, Any] | None:
    """The result of the write that was done under this key in this collection; None for a new key.

    Asked inside the transaction that would do the write, so that of two requests at once one waits for the other's
    answer. `request_digest` says what is asked for, at most 64 characters, keyed (`DataKey.digest`): the table outlives
    the request. What is remembered of a person goes with them when they are erased.

    Raises VultusError for a key that was used for another request, is empty, or has more than 200 characters.
    """
    client_key = _checked(client_key)
    query = select(writes).where(writes.c.collection_id == collection.id, writes.c.client_key == client_key)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    checked(connection, writes, row)
    if row.request != request_digest:
        raise VultusError(
            f"the key {client_key[:60]!r} was used for another request in collection {collection.name!r}; "
            "use a new key for each new request"
        )
    return row.result


def remember(
    write: Write,
    collection: Collection,
    person: Person,
    client_key: str,
    request_digest: str,
    result: Mapping[str, Any],
) -> None:
    """Keep `result`, plain JSON, as the answer to this request, in the transaction that does what it tells."""
    write.insert(
        writes,
        collection_id=collection.id,
        client_key=_checked(client_key),
        person_id=person.id,
        request=request_digest,
        result=dict(result),
        at=write.now,
    )


def _checked(client_key: str) -> str:
    if not isinstance(client_key, str) or not client_key or not client_key.isprintable():
        raise VultusError("a client key must be printable text that is not empty, for example a uuid")
    if len(client_key) > MOST_CHARACTERS:
        raise VultusError(f"a client key has {len(client_key):,} characters; at most {MOST_CHARACTERS} are kept")
    return client_key
