"""The index of one collection, kept in step with the change sequence."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from vultus.errors import VultusError
from vultus.gallery.index import SnapshotError, Table, View
from vultus.gallery.store import Collection, Store, collections, follow
from vultus.gallery.store.schema import gallery

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that a search waits for a sequence number it demands."""
WORTH_A_SNAPSHOT = 20_000
"""Templates from which on opening one by one takes seconds; fewer are read from the database."""


@dataclass(frozen=True, eq=False)
class Current:
    """A collection and its templates at one moment; they belong together."""

    collection: Collection
    view: View


class Live:
    """Follows one collection. Thread-safe.

    Every call first asks the database how far it has got, so what any process wrote before is seen. The rows come from
    a snapshot file where there is a fitting one, and else out of the database.
    """

    def __init__(self, store: Store, collection: Collection) -> None:
        self._store = store
        self._collection = collection
        self._lock = threading.Lock()
        self._table: Table | None = None
        self._current: Current | None = None
        self._saved: int | None = None
        """Position of the snapshot file, as far as it is known."""

    def current(self, at_least: int | None = None, patience: float = PATIENCE) -> Current:
        """As it is now; not before the change sequence has got to `at_least`.

        Raises VultusError where that does not come about within `patience` seconds.
        """
        end = time.monotonic() + patience
        while True:
            found = self._now()
            if at_least is None or found.view.position >= at_least:
                return found
            if time.monotonic() >= end:
                raise VultusError(
                    f"gallery {self._store.label} has got to sequence {found.view.position}, not yet to {at_least}; "
                    "wait for it, or check that the number is of this gallery"
                )
            time.sleep(0.02)

    def save(self) -> Path:
        """Write the snapshot file, sealed with a key of its own that the next erasure destroys; returns its path."""
        path = self.snapshot_path
        with self._lock:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._store.writing() as write:  # nobody is erased between what it holds and its key
                found = self._follow(write.connection)
                key = collections.new_snapshot_key(self._store, write, found.collection)
            assert self._table is not None, "_follow made it"
            self._table.save(path, key, self._about(found.collection))
            self._saved = found.view.position
        return path

    def save_if_worth_it(self) -> bool:
        """At the end of a process: a snapshot where the next start would be slow without."""
        found = self._current
        if found is None or len(found.view) < WORTH_A_SNAPSHOT:
            return False
        if self._saved is not None and self.snapshot_path.exists() and self._saved >= found.view.position:
            return False
        self.save()
        return True

    @property
    def snapshot_path(self) -> Path:
        return self._store.state / f"{self._collection.uuid}.index"

    def _now(self) -> Current:
        with self._store.reading() as connection:
            known = self._current
            if known is not None and self._fresh(connection, known):
                return known
        with self._lock, self._store.reading() as connection:
            return self._follow(connection)

    def _fresh(self, connection: Connection, known: Current) -> bool:
        head = connection.execute(select(gallery.c.head)).scalar_one()
        same = collections.refreshed(self._store, connection, known.collection) is known.collection
        return same and head == known.view.position

    def _follow(self, connection: Connection) -> Current:
        collection = collections.refreshed(self._store, connection, self._collection)
        if self._table is None:
            self._table = self._from_snapshot(collection)
        elif _rows_differ(collection, self._collection):
            self._table = None  # moved to another model or rotation: nothing of it is of use
        position = None if self._table is None else self._table.position
        delta = follow(self._store, connection, collection, position)
        if self._table is None:
            self._table = Table(collection.dim)
        self._table.apply(delta)
        self._collection = collection
        self._current = Current(collection, self._table.view())
        return self._current

    def _from_snapshot(self, collection: Collection) -> Table | None:
        path = self.snapshot_path
        if not os.path.exists(path) or collection.snapshot_key is None:
            return None
        try:
            table = Table.load(path, collection.snapshot_key, self._about(collection))
        except SnapshotError as error:
            log.warning("the index is read from the database, because of its snapshot: %s", error)
            return None
        self._saved = table.position
        return table

    def _about(self, collection: Collection) -> dict[str, str | int]:
        return {
            "gallery": self._store.info.uuid,
            "collection": collection.uuid,
            "contract": collection.contract_id,
        }


def _rows_differ(a: Collection, b: Collection) -> bool:
    return (a.contract_id, a.dim, a.rotation_key) != (b.contract_id, b.dim, b.rotation_key)
