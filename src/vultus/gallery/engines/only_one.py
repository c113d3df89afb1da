"""One follower a collection: a lock that the operating system or PostgreSQL takes back from whoever dies."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from vultus.errors import VultusError
from vultus.gallery.store import Collection, Store


class Lock(Protocol):
    def require(self) -> None:
        """Raises VultusError where somebody else took the lock meanwhile."""


@contextmanager
def only_one(store: Store, collection: Collection) -> Iterator[Lock]:
    """Hold the lock of a collection's follower; VultusError where another process or thread has it.

    On PostgreSQL an advisory lock of a session of its own, good for all hosts; on SQLite a file beside the gallery.
    """
    taken = (
        f"gallery {store.label}: another process already keeps an engine in step with {collection.name!r}; "
        "stop it first, one is enough"
    )
    lock = (_Session if store.database.dialect == "postgresql" else _File)(store, collection, taken)
    try:
        lock.take()
        yield lock
    finally:
        lock.release()


class _File:
    def __init__(self, store: Store, collection: Collection, taken: str) -> None:
        self._folder, self._path, self._taken = store.state, store.state / f"{collection.uuid}.follower", taken
        self._handle: int | None = None

    def take(self) -> None:
        import fcntl

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VultusError(self._taken) from None

    def require(self) -> None:
        """An open file keeps its lock."""

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)


class _Session:
    def __init__(self, store: Store, collection: Collection, taken: str) -> None:
        self._database, self._taken = store.database, taken
        digest = hashlib.sha256(f"vultus follower {store.info.uuid} {collection.uuid}".encode()).digest()
        self._number = int.from_bytes(digest[:8], "little", signed=True)
        self._connection: Connection | None = None
        self._backend: int | None = None

    def take(self) -> None:
        with self._database.friendly():
            # No transaction stays open: the server ends sessions that idle in one.
            self._connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            query = text("SELECT pg_try_advisory_lock(:number), pg_backend_pid()")
            held, self._backend = self._connection.execute(query, {"number": self._number}).one()
        if not held:
            raise VultusError(self._taken)

    def require(self) -> None:
        """The lock ended where the session did (the server was started again, say): then it is taken anew."""
        with contextlib.suppress(SQLAlchemyError):
            if self._connection is not None:
                query = text("SELECT pg_backend_pid()")  # another one where SQLAlchemy has connected again
                if self._connection.execute(query).scalar_one() == self._backend:
                    return
        self.release()
        self.take()

    def release(self) -> None:
        """At once, and then its session, which does not go back to the pool."""
        if self._connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": self._number})
            with contextlib.suppress(SQLAlchemyError):
                self._connection.invalidate()
            with contextlib.suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None
