"""SQLite: durable, private, erasing connections to one file, and its errors in one line each."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from vultus.errors import FileError, VultusError
from vultus.files import publish, working_folder
from vultus.gallery.store.forks import own_connections

APPLICATION_ID = 0x56554C54
"""SQLite's application id of a gallery file: "VULT"."""
BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process's transaction; ours last milliseconds."""

IN_MEMORY_UP_TO = 64 << 20
"""Bytes of a file that is rewritten in memory; a larger one is by way of a temporary file beside it."""

_CONNECTION_PRAGMAS = (
    "foreign_keys = ON",
    "synchronous = FULL",  # an acknowledged write is on the disk, not in its cache
    "fullfsync = ON",  # the same on macOS, where fsync alone does not reach the disk
    "secure_delete = ON",  # deleted content is overwritten with zeros
    "trusted_schema = OFF",
    "cell_size_check = ON",
)


class SQLite:
    """One file in WAL mode.

    One that may not be written, or beside which nothing may be, is read as it lies, and no -wal or -shm is left there:
    nobody else may write it meanwhile.
    """

    dialect = "sqlite"

    def __init__(self, path: Path, busy_timeout: float | None = None) -> None:
        self.path = path
        self.label = str(path)
        self._busy_timeout = BUSY_TIMEOUT if busy_timeout is None else busy_timeout
        self.engine = _engine(path, self._busy_timeout)

    def state_folder(self, uuid: str) -> Path:
        """Where what belongs to the gallery but not into its database lies: beside the file."""
        return self.path.parent / f"{self.path.name}.state"

    def exists(self, settled: bool = False) -> bool:
        """Whether there is a gallery; VultusError for something else of this name."""
        try:
            if self.path.is_dir():
                raise VultusError(
                    f"gallery {self.path} is a folder; give a file, for example {self.path / 'people.db'}"
                )
            if not self.path.exists():
                return False
        except OSError as error:  # for example a name that is too long
            raise VultusError(f"gallery {self.path} cannot be opened: {error.strerror}; choose another path") from None
        with self.friendly(), self.engine.connect() as connection:
            if connection.exec_driver_sql("PRAGMA application_id").scalar() != APPLICATION_ID:
                raise VultusError(f"{self.path} is no vultus gallery; give the path of one, or of a new file")
        return True

    def create(self, fill: Callable[[Connection], None]) -> bool:
        """Make the file, mode 0600, filled by `fill`; it appears whole or not at all.

        False, and nothing changed, where another process was quicker. Biometric data is for the owner alone, and SQLite
        gives -wal and -shm the mode of the database.
        """
        path = self.path
        if not path.parent.is_dir():
            raise VultusError(
                f"cannot create the gallery {path}: the folder {path.parent} does not exist; make it first"
            )
        with working_folder(path.parent, path.name) as folder:
            made = folder / "new.db"
            os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            with self.friendly():
                engine = _engine(made, self._busy_timeout)
                with engine.connect().execution_options(bare=True) as connection:
                    connection.exec_driver_sql("PRAGMA page_size = 8192")  # three 512-number templates a page, not one
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
                with engine.connect().execution_options(write=True) as connection, connection.begin():
                    fill(connection)
                engine.dispose()  # the last connection empties the write-ahead log into the file
            try:
                publish(made, path, overwrite=False)
            except FileError as error:
                if error.code == "exists":
                    return False
                raise
        return True

    def reading(self) -> Connection:
        """A connection whose transactions read from one snapshot."""
        return self.engine.connect()

    def writing(self) -> Connection:
        """A connection whose transactions hold the write lock from their beginning, so that none fails half-way."""
        return self.engine.connect().execution_options(write=True)

    def lock(self, connection: Connection) -> None:
        """BEGIN IMMEDIATE has taken it."""

    def scrub(self) -> VultusError | None:
        """Take deleted bytes out of the file and the write-ahead log. None when it is done, else why not.

        `secure_delete` overwrites a deleted row where it last lay. When SQLite balances its tree it can leave an older
        copy of a row in the unused part of a page (seen here with random enrolments and erasures), so the file is
        rewritten. The old log goes too. What the file system, the disk or a backup still holds is beyond reach.

        The rewriting makes a copy, names in clear included: in memory, or for a file above `IN_MEMORY_UP_TO` in an
        unnamed file of mode 0600 in the gallery's folder, which needs the room. Where SQLite was built without
        `temp_store_directory`, that file is in SQLite's own choice of folder: $SQLITE_TMPDIR, $TMPDIR, /var/tmp.
        """
        try:
            with self.friendly(raw=True), self.engine.connect().execution_options(bare=True) as connection:
                connection.detach()  # closed at the end, and with it what it held in memory
                with self._beside(connection):
                    connection.exec_driver_sql("VACUUM")
                busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        except DBAPIError as error:
            return self._explained(error.orig)
        if busy:
            return VultusError(
                f"another process still reads an older state of {self.path}", code="older_transaction", holder=None
            )
        return None

    @contextmanager
    def _beside(self, connection: Connection) -> Iterator[None]:
        """Keep temporary files in memory or in the gallery's folder, and out of others' disks."""
        pages, size = (connection.exec_driver_sql(f"PRAGMA page_{one}").scalar_one() for one in ("count", "size"))
        if pages * size <= IN_MEMORY_UP_TO:
            connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
            yield
            return
        folder = os.path.abspath(self.path.parent).replace("'", "''")
        # The setting is the whole process's: one scrub at a time, and taken back at the end.
        with _TEMPORARY_FOLDER:
            with contextlib.suppress(DBAPIError, UnicodeError):  # one that may not be written: VACUUM says so itself
                connection.exec_driver_sql(f"PRAGMA temp_store_directory = '{folder}'")
            try:
                yield
            finally:
                connection.exec_driver_sql("PRAGMA temp_store_directory = ''")

    @contextmanager
    def friendly(self, raw: bool = False) -> Iterator[None]:
        """Turn what SQLite says into one line: what is wrong with the gallery, and what to do."""
        try:
            yield
        except DBAPIError as error:
            if raw:
                raise
            raise self._explained(error.orig) from None
        except sqlite3.Error as error:
            raise self._explained(error) from None

    def close(self) -> None:
        self.engine.dispose()

    def _explained(self, error: BaseException | None) -> VultusError:
        name = getattr(error, "sqlite_errorname", "")
        name = name or type(error).__name__
        for start, (code, advice) in _ADVICE.items():
            if name.startswith(start):
                return VultusError(f"gallery {self.path} {advice}", code=code)
        return VultusError(f"gallery {self.path}: {error} ({name}); check the file", code="database", sqlite=name)


_TEMPORARY_FOLDER = threading.Lock()

_ADVICE = {
    "SQLITE_BUSY": ("locked", "is locked by another process; try again when that is done"),
    "SQLITE_LOCKED": ("locked", "is locked by another process; try again when that is done"),
    "SQLITE_READONLY": ("read_only", "cannot be written; change its permissions or those of its folder, or use a copy"),
    "SQLITE_NOTADB": ("not_a_gallery", "is no vultus gallery; give the path of one, or of a new file"),
    "SQLITE_CORRUPT": ("damaged", "is damaged; restore it from a backup"),
    "SQLITE_FULL": ("disk_full", "cannot grow: the disk is full; nothing was changed, make room and try again"),
    "SQLITE_IOERR": (
        "disk_error",
        "could not be read or written (disk error); nothing was acknowledged, check the disk",
    ),
    "SQLITE_CANTOPEN": (
        "unreadable",
        "cannot be opened; check that it exists and that you may write to it and to its folder",
    ),
    "SQLITE_PERM": ("unreadable", "cannot be opened; check its permissions"),
    "SQLITE_ERROR": (
        "damaged",
        "has unexpected tables; it is damaged or was changed by another program, restore it from a backup",
    ),
}


def _engine(path: Path, busy_timeout: float) -> Engine:
    def open_file() -> sqlite3.Connection:
        uri = f"file:{quote(os.path.abspath(path))}?{_mode(path)}"  # never creates one
        connection = sqlite3.connect(uri, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
        for pragma in _CONNECTION_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    if _mode(path) == _AS_IT_LIES:  # a connection never notices what others write
        return _begun(create_engine("sqlite://", creator=open_file, poolclass=NullPool))
    return _begun(create_engine("sqlite://", creator=open_file, poolclass=QueuePool, max_overflow=-1))


def _begun(engine: Engine) -> Engine:
    """With transactions that begin as their connection was asked for."""

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("bare"):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("write") else "BEGIN")

    return own_connections(engine)


class NamelessCopy(SQLite):
    """Tables of a gallery in a SQLite file that has no name: kill -9 frees it with the process.

    `file` is its content, to be sealed, or to be filled before the tables are first read.
    """

    def __init__(self, folder: Path) -> None:
        """`folder`: where its bytes lie meanwhile; until the name is gone there is nothing in it."""
        handle, name = tempfile.mkstemp(dir=folder)
        self.file = os.fdopen(handle, "r+b", buffering=0)
        super().__init__(folder)
        self._raw = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
        os.unlink(name)
        for pragma in ("page_size = 8192", "journal_mode = MEMORY", "temp_store = MEMORY", "synchronous = OFF"):
            self._raw.execute(f"PRAGMA {pragma}")  # no other file beside it
        self.engine = _begun(create_engine("sqlite://", creator=lambda: self._raw, poolclass=StaticPool))

    def close(self) -> None:
        super().close()
        self._raw.close()
        self.file.close()


_AS_IT_LIES = "mode=ro&immutable=1"


def _mode(path: Path) -> str:
    """How the file may be opened, as an URI says it."""
    log_there = os.path.exists(f"{path}-wal")  # somebody has it open, or did not close it
    if not os.path.exists(path) or (os.access(path, os.W_OK) and (log_there or os.access(path.parent, os.W_OK))):
        return "mode=rw"
    if not log_there:
        return _AS_IT_LIES
    if not os.path.exists(f"{path}-shm"):
        raise VultusError(
            f"gallery {path} was not closed, and cannot be mended, since it may not be written; let its owner open it "
            "once",
            code="read_only",
        )
    return "mode=ro"
