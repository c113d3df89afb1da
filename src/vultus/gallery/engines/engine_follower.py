"""Keeps an engine in step with a collection of a gallery, and says in the database how far it has got."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from sqlalchemy import insert, select, update

from vultus.gallery.delta import Delta
from vultus.gallery.engines.address import open_engine
from vultus.gallery.engines.follower import Follower
from vultus.gallery.engines.mark import Mark, holds, mark_at, rows_name, rows_prefix
from vultus.gallery.engines.milvus import MilvusEngine
from vultus.gallery.engines.only_one import only_one
from vultus.gallery.store import Collection, Store, clock, collections, follow
from vultus.gallery.store.schema import followers

AT_ONCE = 10_000
"""Changes told at once: 20 MiB of rows of 512 numbers, and what a follower that was killed does again."""
POLL_S = 0.2
"""How often the database is asked for news: what is enrolled is searchable within a second."""
COMPACT_S = 600
"""Erased rows wait no longer for a compaction, which reads and writes the segments that they are in."""


class EngineFollower:
    """Use it as a context: it holds the lock of the collection's only follower.

    An engine that belongs to another gallery, a backup restored since, another contract or rotation is filled anew.
    """

    def __init__(self, store: Store, collection: Collection, address: str, *, at_once: int = AT_ONCE) -> None:
        self._store, self._collection, self._address, self._at_once = store, collection, address, at_once
        self._engine: MilvusEngine | None = None
        self._mark: Mark | None = None
        self._recorded: int | None = None
        self._erased = False
        """Whether rows were taken out since the last compaction; after a start it is not known, so True then."""
        self._held = ExitStack()

    def __enter__(self) -> EngineFollower:
        self._lock = self._held.enter_context(only_one(self._store, self._collection))
        self._erased = True
        return self

    def __exit__(self, *exc: object) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        self._held.close()

    def catch_up(self, patience: float = 0, told: Callable[[int], None] | None = None) -> int:
        """Follow until nothing is left; the position then reached, of which `told` hears on the way.

        What fails (the engine or the database starts again, say) is tried again for `patience` seconds; then its
        VultusError is raised.
        """
        self._told = told
        while True:
            try:
                reached = Follower(self._feed, self).catch_up(patience)
            except _Moved:
                continue
            self._record(reached)
            self._opened().drop_others(rows_prefix(self._collection))
            return reached

    def keep_up(self, stop: threading.Event, patience: float = 600, compact_s: float = COMPACT_S) -> None:
        """`catch_up` again and again until `stop` is set, and `compact` where rows were erased."""
        compacted = time.monotonic() - compact_s
        while not stop.wait(POLL_S):
            self.catch_up(patience)
            if self._erased and time.monotonic() - compacted >= compact_s:
                self.compact()
                compacted = time.monotonic()

    def compact(self) -> None:
        """Make the engine write its files anew without what was erased, see docs/scaling.md."""
        self._opened().compact()
        self._erased = False

    @property
    def position(self) -> int | None:
        mark = self._opened().mark
        if mark is None:
            return None
        with self._store.reading() as connection:
            return mark.position if holds(self._store, connection, self._collection, mark) else None

    def apply(self, delta: Delta) -> None:
        self._lock.require()
        self._opened().apply(delta, self._mark)
        self._erased |= bool(len(delta.removed_persons) or len(delta.removed_templates))
        self._record(delta.position)
        if self._told is not None:
            self._told(delta.position)

    def _feed(self, position: int | None) -> Delta:
        with self._store.reading() as connection:
            now = collections.refreshed(self._store, connection, self._collection)
            if rows_name(now) != rows_name(self._collection):
                self._collection = now
                raise _Moved
            self._collection = now
            delta = follow(self._store, connection, now, position, limit=self._at_once)
            self._mark = mark_at(self._store, connection, now, delta.position)
        return delta

    def _opened(self) -> MilvusEngine:
        if self._engine is None or self._engine.collection != rows_name(self._collection):
            self._engine = open_engine(self._address, self._collection, make=True)
        return self._engine

    def _record(self, position: int) -> None:
        if position == self._recorded:
            return
        name = self._address.partition("?")[0][:200]
        mine = (followers.c.collection_id == self._collection.id) & (followers.c.name == name)
        values = {"position": position, "at": clock.now()}
        database = self._store.database
        # No gallery lock and no change: writers do not wait for this.
        with database.friendly(), database.writing() as connection, connection.begin():
            if not connection.execute(update(followers).where(mine).values(values)).rowcount:
                key = {"collection_id": self._collection.id, "name": name}
                connection.execute(insert(followers).values(key | values))
        self._recorded = position


class _Moved(Exception):
    """The collection has another contract or rotation than a moment ago."""


def positions(store: Store, collection: Collection) -> dict[str, tuple[int, str]]:
    """How far each follower of a collection has got and since when: address to (position, UTC time)."""
    with store.reading() as connection:
        query = select(followers).where(followers.c.collection_id == collection.id)
        return {row.name: (row.position, row.at) for row in connection.execute(query)}
