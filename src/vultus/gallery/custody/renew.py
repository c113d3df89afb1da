"""Another rotation for a collection's templates: old and new rows cannot be compared (ISO/IEC 24745: renewability)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sqlalchemy import func, select

from vultus.errors import VultusError
from vultus.gallery.custody.erase import drop_snapshots
from vultus.gallery.protection import Rotation
from vultus.gallery.store import Collection, Store, Write, collections
from vultus.gallery.store import templates as template_rows
from vultus.gallery.store.collections import rotation_bound
from vultus.gallery.store.schema import collections as collection_rows
from vultus.gallery.store.schema import templates

AT_ONCE = 2_000
"""Templates that are held in memory."""

Progress = Callable[[int, int], object]
"""Called with (templates turned, templates in all)."""


@dataclass(frozen=True)
class Renewed:
    """What a renewal did."""

    templates: int
    """How many were turned and sealed again."""
    position: int
    """Number in the change sequence from which on followers have the new rows."""
    unscrubbed: VultusError | None = None
    """What keeps the old rows in the database's files, as `Store.unscrubbed`; the next opening tries again."""

    @property
    def scrubbed(self) -> bool:
        """Whether the old rows are out of the database's files."""
        return self.unscrubbed is None


def renew(store: Store, collection: str, *, progress: Progress | None = None) -> Renewed:
    """Draw a new rotation key for the collection and turn every template to it, in one transaction.

    Cosines, thresholds and decisions stay. Rows that leaked from memory, a snapshot or a vector engine before can no
    longer be compared with single rows of now; they keep what they told by themselves, and whoever has both collections
    whole finds the rotation between them (docs/protection.md). Every index and engine starts afresh; the old snapshot
    file is deleted and its key destroyed. Suspended people's templates, and those that a change of model is preparing,
    are turned as well.

    Raises VultusError where there is no such collection; code template_damaged for a template that cannot be searched.
    """
    with store.writing() as write:
        bound = collections.get(store, write.connection, collection)
        values: dict[str, bytes | None] = {"sealed_snapshot_key": None}
        parts = []
        key = os.urandom(32)
        values["sealed_rotation_key"] = store.key.wrap(key, rotation_bound(bound.uuid))
        parts.append((bound.contract_id, bound.rotation.change_to(Rotation(key, bound.dim))))
        if bound.successor is not None:
            key = os.urandom(32)
            values["next_rotation_key"] = store.key.wrap(key, rotation_bound(bound.uuid))
            change = bound.successor.rotation.change_to(Rotation(key, bound.successor.dim))
            parts.append((bound.successor.contract_id, change))
        count = _turn(store, write, bound, parts, progress)
        write.append("rebuild", bound.id)
        write.announce(bound.id)
        write.update(collection_rows, collection_rows.c.id == bound.id, **values)
        write.own(scrub_pending=True)
        write.audit("collection_renewed", bound.uuid, None, {"templates": count})
        position = write.head
    drop_snapshots(store)
    return Renewed(count, position, store.scrub())


def _turn(
    store: Store,
    write: Write,
    bound: Collection,
    parts: list[tuple[str, np.ndarray]],
    progress: Progress | None,
) -> int:
    """Seal every template anew, turned by its contract's matrix; how many."""
    mine = templates.c.collection_id == bound.id
    which = mine & templates.c.contract_id.in_([contract for contract, _ in parts])
    total = write.connection.execute(select(func.count()).select_from(templates).where(which)).scalar_one()
    done = 0
    for contract, matrix in parts:
        last = 0
        wanted = template_rows.sealed_rows(bound, contract).limit(AT_ONCE)
        while rows := write.connection.execute(wanted.where(templates.c.id > last)).all():
            keys, plain = zip(*(template_rows.open_row(store, row, len(matrix)) for row in rows), strict=True)
            bounds = [template_rows.template_bound(row.uuid, contract) for row in rows]
            turned = np.frombuffer(b"".join(plain), "<f4").reshape(len(rows), -1) @ matrix
            turned /= np.linalg.norm(turned, axis=1, keepdims=True)  # rounding must not add up over renewals
            sealed = [
                {"id": row.id, "sealed": key.seal(one.tobytes(), bind)}
                for row, key, one, bind in zip(rows, keys, turned.astype("<f4"), bounds, strict=True)
            ]
            write.change(templates, sealed)
            last, done = rows[-1].id, done + len(rows)
            if progress is not None:
                progress(done, total)
    return done
