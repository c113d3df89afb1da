"""Where a gallery's tables lie: a path is a SQLite file, postgresql://… a server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine

from vultus.errors import VultusError
from vultus.gallery.store.sqlite import SQLite


class Database(Protocol):
    """What the store asks of either. Methods that talk to the database raise what `friendly` makes of its errors."""

    @property
    def dialect(self) -> str: ...

    @property
    def label(self) -> str:
        """For messages; without a password."""
        ...

    @property
    def engine(self) -> Engine: ...

    def state_folder(self, uuid: str) -> Path: ...

    def exists(self, settled: bool = False) -> bool:
        """`settled`: once nobody is making one any more."""
        ...

    def create(self, fill: Callable[[Connection], None]) -> bool: ...

    def reading(self) -> Connection: ...

    def writing(self) -> Connection: ...

    def lock(self, connection: Connection) -> None: ...

    def scrub(self) -> VultusError | None:
        """Take deleted bytes out of the files; None when they are gone, else what is in the way, with a code."""
        ...

    def friendly(self, raw: bool = False) -> AbstractContextManager[None]: ...

    def close(self) -> None: ...


def database_at(place: str | Path) -> Database:
    """The database at a path or an address; nothing is opened or made yet."""
    address = str(place)
    if address.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        from vultus.gallery.store.postgresql import PostgreSQL

        return PostgreSQL(address.replace("postgres://", "postgresql://", 1))
    if "://" in address and not address.startswith("sqlite:///"):
        kind = address.split("://")[0]
        raise VultusError(f"a gallery lies in a SQLite file or at postgresql://…, not {kind}://")
    return SQLite(Path(address.removeprefix("sqlite:///")))
