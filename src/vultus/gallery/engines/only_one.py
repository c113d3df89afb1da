"""One follower a collection: a lock that the operating system or PostgreSQL takes back from whoever dies."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from vultus.errors import VultusError
from vultus.gallery.store import Collection, Store


class Lock(Protocol):
    def require(self) -> None:
        """Raises VultusError where the lock was lost meanwhile."""


@contextmanager
def only_one(store: Store, collection: Collection) -> Iterator[Lock]:
    """Hold the lock of a collection's follower; VultusError where another process or thread has it.

    On PostgreSQL an advisory lock of a session of its own, good for all hosts; on SQLite a file beside the gallery.
    """
    taken = VultusError(
        f"gallery {store.label}: another process already keeps an engine in step with {collection.name!r}; "
        "stop it first, one is enough"
    )
    with (
        _advisory(store, collection, taken)
        if store.database.dialect == "postgresql"
        else _file(store, collection, taken) as lock
    ):
        yield lock


class _Held:
    def require(self) -> None:
        """An open file keeps its lock."""


class _Session:
    def __init__(self, store: Store, connection) -> None:
        self.store, self.connection = store, connection

    def require(self) -> None:
        """The lock ends with the session."""
        with self.store.database.friendly():
            self.connection.exec_driver_sql("SELECT 1")


@contextmanager
def _file(store: Store, collection: Collection, taken: VultusError) -> Iterator[Lock]:
    store.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(store.state / f"{collection.uuid}.follower", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise taken from None
        yield _Held()
    finally:
        os.close(handle)


@contextmanager
def _advisory(store: Store, collection: Collection, taken: VultusError) -> Iterator[Lock]:
    digest = hashlib.sha256(f"vultus follower {store.info.uuid} {collection.uuid}".encode()).digest()
    number = int.from_bytes(digest[:8], "little", signed=True)
    with store.database.friendly():
        # No transaction stays open: the server ends sessions that idle in one.
        connection = store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with store.database.friendly():
            held = connection.execute(text("SELECT pg_try_advisory_lock(:number)"), {"number": number}).scalar_one()
        if not held:
            raise taken
        yield _Session(store, connection)
    finally:
        try:
            connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": number})
        except DBAPIError:
            connection.invalidate()
        connection.close()
