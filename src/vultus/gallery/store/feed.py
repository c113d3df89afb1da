"""The change sequence of a collection as deltas: what indexes and engines follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from sqlalchemy import Connection, func, select

from vultus.gallery.delta import Delta
from vultus.gallery.store import templates as rows
from vultus.gallery.store.collections import Collection
from vultus.gallery.store.persons import AT_ONCE
from vultus.gallery.store.schema import changes, gallery, templates
from vultus.gallery.store.store import Store


def follow(
    store: Store, connection: Connection, collection: Collection, position: int | None, limit: int | None = None
) -> Delta:
    """What happened in `collection` after `position`, read from one state of the database.

    Everything there is for None, for a position ahead of the database (a restored backup), or where the collection was
    rebuilt since. With `limit` (1 or more) at most so many changes are told at once, and the position says up to where:
    follow on from there until it no longer moves. Rows are told as they are now, so one that a later change takes away
    may be missing already; who has followed to the end has exactly what there is.
    """
    head = connection.execute(select(gallery.c.head)).scalar_one()
    if position is not None and position > head:
        position = None
    rebuilt = None
    if position is None:
        if limit is None:
            return Delta(
                head, True, *rows.opened(store, connection, collection, rows.active(collection)), _ids(), _ids()
            )
        rebuilt = _last_rebuild(connection, collection, 0) or 0
    elif position < head:
        rebuilt = _last_rebuild(connection, collection, position)
        if rebuilt is not None and limit is None:
            return follow(store, connection, collection, None)
    start = position if rebuilt is None else rebuilt
    recent = (
        select(changes.c.seq, changes.c.kind, changes.c.person_id, changes.c.template_id)
        .where(changes.c.collection_id == collection.id, changes.c.seq > start, changes.c.seq <= head)
        .order_by(changes.c.seq)
        .limit(limit)
    )
    told: dict[str, set[int]] = defaultdict(set)
    until = head
    for number, row in enumerate(connection.execute(recent), start=1):
        told[row.kind].add(row.template_id if row.kind in ("enrol", "remove") else row.person_id)
        if number == limit:
            until = row.seq
    back = _templates_of(connection, told["resume"])
    found = rows.rows_of(store, connection, collection, told["enrol"].union(back))
    gone = told["erase"] | told["suspend"] | told["resume"]
    return Delta(until, rebuilt is not None, *found, _ids(told["remove"]), _ids(gone))


def _last_rebuild(connection: Connection, collection: Collection, position: int) -> int | None:
    query = select(func.max(changes.c.seq)).where(
        changes.c.collection_id == collection.id, changes.c.seq > position, changes.c.kind == "rebuild"
    )
    return connection.execute(query).scalar()


def _templates_of(connection: Connection, people: Iterable[int]) -> list[int]:
    wanted, found = sorted(people), []
    for at in range(0, len(wanted), AT_ONCE):
        query = select(templates.c.id).where(templates.c.person_id.in_(wanted[at : at + AT_ONCE]))
        found += connection.execute(query).scalars()
    return found


def _ids(values: Iterable[int] = ()) -> np.ndarray:
    return np.array(sorted(values), np.int64)
