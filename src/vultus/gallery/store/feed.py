"""The change sequence of a collection as deltas: what indexes and engines follow."""

from __future__ import annotations

import numpy as np
from sqlalchemy import Connection, func, select

from vultus.gallery.delta import Delta
from vultus.gallery.store import templates as rows
from vultus.gallery.store.collections import Collection
from vultus.gallery.store.schema import changes, gallery, templates
from vultus.gallery.store.store import Store


def follow(
    store: Store, connection: Connection, collection: Collection, position: int | None, limit: int | None = None
) -> Delta:
    """What happened in `collection` after `position`, read from one state of the database.

    Everything there is for None, for a position ahead of the database (a restored backup), or where the collection was
    rebuilt since. With `limit` at most so many changes are told at once, and the position says up to where: follow on
    from there until it no longer moves.
    """
    head = connection.execute(select(gallery.c.head)).scalar_one()
    mine = changes.c.collection_id == collection.id
    rebuilt = connection.execute(select(func.max(changes.c.seq)).where(mine, changes.c.kind == "rebuild")).scalar()
    rebuild = position is None or position > head or (rebuilt is not None and position < rebuilt)
    if rebuild and limit is None:
        ids, people, matrix = rows.opened(store, connection, collection, rows.active(collection))
        return Delta(head, True, ids, people, matrix, _ids(()), _ids(()))
    start = (rebuilt or 0) if rebuild else position
    until = head
    if limit is not None:
        window = select(changes.c.seq).where(mine, changes.c.seq > start).order_by(changes.c.seq).limit(limit)
        told = connection.execute(window).scalars().all()
        until = told[-1] if len(told) == limit else head
    recent = select(changes.c.person_id, changes.c.template_id).where(
        mine, changes.c.seq > start, changes.c.seq <= until
    )
    resumed = [row.person_id for row in connection.execute(recent.where(changes.c.kind == "resume"))]
    gone = [row.person_id for row in connection.execute(recent.where(changes.c.kind.in_(("erase", "suspend"))))]
    removed = [row.template_id for row in connection.execute(recent.where(changes.c.kind == "remove"))]
    enrolled = [row.template_id for row in connection.execute(recent.where(changes.c.kind == "enrol"))]
    if resumed:
        back = select(templates.c.id).where(templates.c.person_id.in_(resumed))
        enrolled += list(connection.execute(back).scalars())
    ids, people, matrix = rows.rows_of(store, connection, collection, enrolled)
    return Delta(until, rebuild, ids, people, matrix, _ids(removed), _ids([*gone, *resumed]))


def _ids(values: object) -> np.ndarray:
    return np.array(sorted(set(values)), np.int64)  # pyright: ignore[reportArgumentType]
