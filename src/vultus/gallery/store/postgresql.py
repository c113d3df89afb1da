"""PostgreSQL through psycopg 3: the same promises as the SQLite file, for several servers at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vultus.errors import VultusError
from vultus.gallery.store.forks import own_connections

LOCK_TIMEOUT = 10
"""Seconds to wait for another writer; ours last milliseconds."""
_CREATION_LOCK = 0x56554C54
"""Advisory lock of whoever makes the tables: "VULT"."""


class PostgreSQL:
    """One gallery in one database (or schema, by the address's options)."""

    dialect = "postgresql"

    def __init__(self, address: str) -> None:
        try:
            url = make_url(address)
            url = url.set(drivername="postgresql+psycopg")
            engine = create_engine(
                url,
                pool_pre_ping=True,  # a server that was started again costs no failed request
                connect_args={
                    "connect_timeout": 10,
                    "application_name": "vultus",
                    "options": f"{url.query.get('options', '')} -c lock_timeout={LOCK_TIMEOUT}s -c "
                    "synchronous_commit=on -c idle_in_transaction_session_timeout=60s -c client_min_messages=error",
                },
            )
        except (ArgumentError, ValueError) as error:
            raise VultusError(
                f"the gallery's address is not one of PostgreSQL ({type(error).__name__}); give postgresql://USER@HOST/DATABASE"
            ) from None
        except ModuleNotFoundError as error:
            if error.name != "psycopg":
                raise
            raise VultusError("a gallery on PostgreSQL needs psycopg: uv add 'vultus[postgresql]'") from None
        self.engine = own_connections(engine)
        self.label = URL.create("postgresql", host=url.host, port=url.port, database=url.database).render_as_string()

    def state_folder(self, uuid: str) -> Path:
        """Where what belongs to the gallery but not into its database lies: in the user's state folder."""
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(home) / "vultus" / uuid

    def exists(self, settled: bool = False) -> bool:
        """Whether there is a gallery; `settled` waits for whoever is just making one, a lost connection of ours too."""
        with self.friendly(), self.engine.connect() as connection:
            if settled:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATION_LOCK})
            return connection.execute(text("SELECT to_regclass('gallery') IS NOT NULL")).scalar_one()

    def create(self, fill: Callable[[Connection], None]) -> bool:
        """Make the tables, filled by `fill`, all or none. False where another process was quicker."""
        with self.friendly(), self.engine.connect() as connection, connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CREATION_LOCK})
            if connection.execute(text("SELECT to_regclass('gallery') IS NOT NULL")).scalar_one():
                return False
            fill(connection)
        return True

    def reading(self) -> Connection:
        """A connection whose transactions read from one snapshot."""
        return self.engine.connect().execution_options(isolation_level="REPEATABLE READ")

    def writing(self) -> Connection:
        return self.engine.connect().execution_options(isolation_level="READ COMMITTED")

    def lock(self, connection: Connection) -> None:
        """Writers go one after the other, so that numbers grow in the order of commits."""
        connection.execute(text("SELECT id FROM gallery WHERE id = 1 FOR UPDATE"))

    def scrub(self) -> VultusError | None:
        """Rewrite the tables of keys and names, and the sealed ones unless they are large; those are vacuumed.

        None when it is done, else why not. A rewriting keeps each row that an older transaction of the cluster might
        still see, so it begins only when none is left; `SCRUB_PATIENCE` seconds are waited for one to end.

        What PostgreSQL's write-ahead log, its archive, replicas and backups still hold of an erased person is a key
        that is wrapped, and text sealed with it: see docs/protection.md for how long they keep it.
        """
        try:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.detach()  # closed at the end: its impatience is its own, and it may be lost half-way
                connection.execute(text("SET lock_timeout = '2s'"))
                if (why := _held(connection)) is not None:
                    return why
                for table in (*_REWRITTEN, *_SEALED):
                    size = connection.execute(text(f"SELECT pg_total_relation_size('{table}')")).scalar_one()
                    full = table in _REWRITTEN or size <= _REWRITE_UP_TO
                    connection.execute(text(f"VACUUM {'(FULL) ' if full else ''}{table}"))
                if _may_checkpoint(connection):
                    connection.execute(text("CHECKPOINT"))
        except DBAPIError as error:
            return self._explained(error.orig)
        return None

    @contextmanager
    def friendly(self, raw: bool = False) -> Iterator[None]:
        """Turn what PostgreSQL says into one line: what is wrong with the gallery, and what to do."""
        try:
            yield
        except DBAPIError as error:
            if raw:
                raise
            raise self._explained(error.orig) from None
        except PoolTimeout:
            raise VultusError(f"gallery {self.label} has no free connection; fewer at once, or try again") from None

    def close(self) -> None:
        self.engine.dispose()

    def _explained(self, error: BaseException | None) -> VultusError:
        state = getattr(error, "sqlstate", None) or ""
        for start, (code, advice) in _ADVICE.items():
            if state.startswith(start):
                return VultusError(f"gallery {self.label} {advice}", code=code)
        # Not the details, which quote rows.
        said = " ".join((getattr(getattr(error, "diag", None), "message_primary", None) or str(error)).split())[:200]
        if not state and "FATAL:" in said:
            said = said.rpartition("FATAL:")[2].strip()
            return VultusError(
                f"gallery {self.label} refuses the connection ({said}); check the address and the rights",
                code="no_rights",
            )
        if not state:
            return VultusError(
                f"gallery {self.label} cannot be reached ({said}); check that the server runs and the address",
                code="unreachable",
            )
        return VultusError(f"gallery {self.label}: {said} (SQLSTATE {state})", code="database", sqlstate=state)


def _held(connection: Connection) -> VultusError | None:
    """Who may still see rows that were deleted before now; None once nobody can."""
    bound = connection.execute(text("SELECT txid_current()")).scalar_one()  # later than each erasure
    end = time.monotonic() + SCRUB_PATIENCE
    while True:
        found = connection.execute(text(_HOLDERS), {"bound": bound}).one_or_none()
        if found is None:
            return None
        if time.monotonic() > end:
            return VultusError(found.said, code=found.code, holder=found.holder)
        time.sleep(0.05)


def _may_checkpoint(connection: Connection) -> bool:
    version: tuple = connection.dialect.server_version_info or (0,)
    granted = "rolsuper" if version[0] < 15 else "rolsuper OR pg_has_role(current_user, 'pg_checkpoint', 'USAGE')"
    return bool(connection.execute(text(f"SELECT {granted} FROM pg_roles WHERE rolname = current_user")).scalar())


SCRUB_PATIENCE = 2.0
"""Seconds that a scrub waits for older transactions; ours last milliseconds."""
_HOLDERS = """
WITH bound AS (SELECT age((CAST(:bound AS bigint) & 4294967295)::text::xid) AS age)
SELECT code, holder, said FROM (
    SELECT 1 AS rank, 'older_transaction' AS code, pid::text AS holder,
           format('process %s (%s) has an older transaction', pid, concat_ws(', ', 'database ' || datname,
           'user ' || usename, state, 'since ' || xact_start)) AS said
    FROM pg_stat_activity, bound
    WHERE pid <> pg_backend_pid() AND backend_type IS DISTINCT FROM 'walsender' AND (
        age(backend_xid) > bound.age OR age(backend_xmin) > bound.age AND datname = current_database())
    UNION ALL
    SELECT 2, 'prepared_transaction', gid,
           format('prepared transaction %s of database %s is open since %s', gid, database, prepared)
    FROM pg_prepared_xacts, bound WHERE age(transaction) > bound.age
    UNION ALL
    SELECT 3, 'replication_slot', slot_name, format('replication slot %s keeps older rows', slot_name)
    FROM pg_replication_slots, bound WHERE age(xmin) > bound.age
    UNION ALL
    SELECT 4, 'replica', pid::text, format('the replica of process %s keeps older rows (hot-standby feedback)', pid)
    FROM pg_stat_replication, bound WHERE age(backend_xmin) > bound.age
    UNION ALL
    SELECT 5, 'older_transaction', NULL, 'a transaction of the cluster is older'
    WHERE txid_snapshot_xmin(txid_current_snapshot()) < CAST(:bound AS bigint)
) AS holders ORDER BY rank LIMIT 1
"""
"""A rewriting keeps what a snapshot of this database, or a transaction with a number in any, might see. Every role may
see both numbers of every process. A slot's catalog_xmin holds only the catalogs, where no person is."""

_REWRITTEN = ("person_keys", "collections", "gallery", "persons", "consents", "writes")
"""Tables with keys and names. A VACUUM alone leaves deleted bytes in the free room of a page until it is used again."""
_SEALED = ("templates", "crops")
"""What the destroyed keys sealed, and much more of it."""
_REWRITE_UP_TO = 256 << 20
"""Bytes of a sealed table, its indexes included, that are rewritten with every erasure; about 100,000 templates."""


_ADVICE = {
    "28": ("no_rights", "refuses the user or the password; check them and the server's pg_hba.conf"),
    "3D000": ("no_database", "does not exist; make the database first: createdb"),
    "42501": ("no_rights", "may not be read or written by this user; grant it the rights on the schema"),
    "22P05": ("unstorable", "cannot store the character 0; remove it"),
    "23": (
        "conflict",
        "refuses a row that does not fit what it holds; somebody else may just have written it, try again",
    ),
    "42P01": (
        "damaged",
        "has unexpected tables; it is damaged or was changed by another program, restore it from a backup",
    ),
    "42P07": ("not_a_gallery", "has tables of another program; give an empty database"),
    "42703": (
        "damaged",
        "has unexpected tables; it is damaged or was changed by another program, restore it from a backup",
    ),
    "53100": ("disk_full", "cannot grow: the disk is full; nothing was changed, make room and try again"),
    "53300": ("too_many_connections", "has too many connections; close some or raise max_connections"),
    "55P03": ("locked", "is locked by another process; try again when that is done"),
    "25006": ("read_only", "cannot be written: the server is a read-only replica; give the primary's address"),
    "57P": ("unreachable", "is being shut down or started; nothing was acknowledged, try again"),
    "57014": ("too_slow", "took too long; nothing was acknowledged, try again"),
    "08": ("unreachable", "lost its connection; what was acknowledged is there, try again"),
    "XX001": ("damaged", "is damaged; restore it from a backup"),
}
