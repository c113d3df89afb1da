"""A collection as an engine shows it: searched like the view of the index in the process."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sqlalchemy import select

from vultus.errors import VultusError
from vultus.gallery.engines.address import open_engine
from vultus.gallery.engines.mark import holds, rows_name
from vultus.gallery.engines.milvus import MilvusEngine
from vultus.gallery.engines.rescoring import search_rescored
from vultus.gallery.engines.truth import Truth
from vultus.gallery.index import Hit, checked_probes
from vultus.gallery.store import Collection, Store, collections
from vultus.gallery.store.schema import gallery

PATIENCE = 10.0
"""Seconds that a search waits for its follower."""


class EngineView:
    """What `vultus.gallery.index.View` does, with candidates of an engine and scores of the truth's rows.

    Not frozen: it finds whoever is there when it searches, and nobody who has been erased or suspended by then.
    """

    def __init__(self, store: Store, collection: Collection, engine: MilvusEngine, position: int) -> None:
        self.position = position
        """The engine has followed the change sequence at least so far."""
        self.dim = collection.dim
        self._store, self._collection, self._engine = store, collection, engine

    def __len__(self) -> int:
        """Number of templates in the engine."""
        return self._size

    @cached_property
    def _size(self) -> int:
        return self._engine.count()

    def count(self, among: np.ndarray | None = None) -> int:
        """How many templates a search looks at."""
        return self._size if among is None else self._engine.count(among)

    def search(
        self, probes: np.ndarray, k: int = 5, *, fusion: int = 1, among: np.ndarray | None = None
    ) -> list[list[Hit]]:
        """The `k` best persons for each probe (Q, D) float32 unit rows, rotated as the templates are, best first.

        As exact as the engine's index: with FLAT what scoring every template in float32 gives. `fusion` and `among` are
        those of `View.search`. Raises ContractError for probes that do not fit, VultusError for an engine that is away
        or a collection that was moved to another model meanwhile.
        """
        probes = checked_probes(probes, self.dim)
        if k < 1 or fusion < 1:
            raise ValueError("k and fusion are at least 1")
        rows = _Fresh(self._store, self._collection)
        return search_rescored(self._engine, probes, k, rows, fusion=fusion, among=among)


class _Fresh:
    """The truth, read anew each time: after the engine answered, so that nobody erased before that is returned."""

    def __init__(self, store: Store, collection: Collection) -> None:
        self._store, self._collection = store, collection

    def of_templates(self, ids: np.ndarray):
        with self._store.reading() as connection:
            return self._truth(connection).of_templates(ids)

    def of_persons(self, ids: np.ndarray):
        with self._store.reading() as connection:
            return self._truth(connection).of_persons(ids)

    def _truth(self, connection) -> Truth:
        now = collections.refreshed(self._store, connection, self._collection)
        if rows_name(now) != rows_name(self._collection):
            raise VultusError(f"the collection {now.name!r} was moved to another model during the search; search again")
        return Truth(self._store, connection, self._collection)


@dataclass(frozen=True, eq=False)
class EngineCurrent:
    """A collection and its view; they belong together."""

    collection: Collection
    view: EngineView


class EngineLive:
    """What `vultus.gallery.live.Live` is for the index in the process. Thread-safe.

    Every call asks database and engine how far they have got. A view is only given where the engine has followed every
    change of the collection, so that nobody who was acknowledged is missed silently.
    """

    def __init__(self, store: Store, collection: Collection, address: str) -> None:
        self._store, self._collection, self._address = store, collection, address
        self._engine: MilvusEngine | None = None
        self._lock = threading.Lock()

    def current(self, at_least: int | None = None, patience: float = PATIENCE) -> EngineCurrent:
        """As it is now; not before the change sequence has got to `at_least`.

        Raises VultusError where the engine is away, or has not followed within `patience` seconds.
        """
        end = time.monotonic() + patience
        while True:
            try:
                found, reached, wanted = self._now(at_least)
                if found is not None:
                    return found
                line = f"the engine of collection {self._collection.name!r} has got to {reached} of the change sequence"
                late = VultusError(f"{line}, not yet to {wanted}; start its follower, or wait for it")
            except VultusError as error:
                late = error
            if time.monotonic() >= end:
                raise late
            time.sleep(0.05)

    def close(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def _now(self, at_least: int | None) -> tuple[EngineCurrent | None, int, int]:
        with self._store.reading() as connection:
            collection = collections.refreshed(self._store, connection, self._collection)
            head = connection.execute(select(gallery.c.head)).scalar_one()
            wanted = max(collections.last_change(connection, collection), at_least or 0)
            engine = self._opened(collection)
            mark = engine.mark
            if mark is None or not holds(self._store, connection, collection, mark):
                return None, 0, wanted
            if mark.position < wanted:
                # What is behind the last change of the collection, to the head, does not concern it.
                return None, mark.position, wanted
        view = EngineView(self._store, collection, engine, max(head, mark.position))
        return EngineCurrent(collection, view), mark.position, wanted

    def _opened(self, collection: Collection) -> MilvusEngine:
        with self._lock:
            if self._engine is None or self._engine.collection != rows_name(collection):
                self._engine = open_engine(self._address, collection, make=False)
            self._collection = collection
            return self._engine
