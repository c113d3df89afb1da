"""The databases that a gallery can lie in: a SQLite file, and a PostgreSQL server that can be stopped and killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

USER = "vultus"
PATIENCE = 60.0
"""Seconds for the server to start or stop; it takes a fraction of one."""


class PostgreSQLServer:
    """A server of this machine's PostgreSQL on the loopback, with a password, over a folder that is deleted with it.

    The server refuses to run as root; where the tests do, it runs as Debian's user `postgres`.
    """

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.root = Path(tempfile.mkdtemp(prefix="vultus-postgresql-"))  # pytest's own folders are closed to that user
        self.log = self.root / "log"
        self.password = secrets.token_urlsafe(12)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._free: list[str] = []
        self._as: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.root, account.pw_uid, account.pw_gid)
            self._as = ["runuser", "-u", "postgres", "--"]
        password = self.root / "password"
        password.write_text(self.password)
        if self._as:
            os.chown(password, account.pw_uid, account.pw_gid)
        self._run("initdb", f"--pgdata={self.root / 'data'}", f"--username={USER}", f"--pwfile={password}",
                  "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")  # fmt: skip

    def start(self) -> None:
        settings = {
            "fsync": "on",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "32MB",
            "max_prepared_transactions": "2",
        }
        words = [str(self.binaries / "postgres"), "-D", str(self.root / "data"), "-p", str(self.port)]
        words += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        if shutil.which("setpriv"):  # the server ends with the tests even where those are killed
            user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"] if self._as else []
            words = ["setpriv", *user, "--pdeathsig=INT", "--", *words]
        else:
            words = [*self._as, *words]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(words, cwd=self.root, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ask it to end: SIGINT rolls open transactions back, SIGQUIT leaves all as it is, as a crash would."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(PATIENCE)
            finally:
                self.process.kill()
                self.process = None

    def kill(self) -> None:
        """SIGKILL to the server and each of its processes: as if the machine stopped, but for the disk's cache."""
        if self.process is not None:
            family = [self.process.pid, *_children(self.process.pid)]
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
            self.process = None
            end = time.monotonic() + PATIENCE
            while any(Path(f"/proc/{pid}").exists() for pid in family) and time.monotonic() < end:
                time.sleep(0.01)

    def address(self, database: str, password: str | None = None) -> str:
        return f"postgresql://{USER}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def fresh(self) -> str:
        """The address of an empty database: a new one, or one that was given back."""
        if self._free:
            return self._free.pop()
        name = f"gallery_{next(self._numbers)}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return self.address(name)

    def give_back(self, address: str) -> None:
        """Empty a database for the next test, which is much quicker than to drop it and to make another."""
        name = address.rpartition("/")[2]
        self.execute("postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        self.execute(address, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        self._free.append(address)

    def execute(self, database: str, statement: str) -> list[tuple]:
        """Run one statement as the superuser, outside a transaction; its rows, if it has any."""
        import psycopg

        address = database if "://" in database else self.address(database)
        with psycopg.connect(address, autocommit=True) as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)  # nothing has to be saved
        shutil.rmtree(self.root, ignore_errors=True)

    def _answers(self) -> bool:
        done = subprocess.run(
            [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
        )
        return done.returncode == 0

    def _run(self, name: str, *words: str) -> None:
        done = subprocess.run(
            [*self._as, str(self.binaries / name), *words], cwd=self.root, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return opened.getsockname()[1]


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def _binaries() -> Path | None:
    """Debian keeps them out of the PATH, one folder a version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQLServer]:
    """A running server. Whoever stops it in a test starts it again."""
    binaries = _binaries()
    try:
        import psycopg  # noqa: F401
    except ImportError:
        binaries = None
    if binaries is None:
        if os.environ.get("VULTUS_REQUIRE_SERVERS"):
            pytest.fail("a PostgreSQL server is required here: install the package postgresql, and psycopg")
        pytest.skip("no PostgreSQL server here: install the package postgresql, and psycopg")
    server = PostgreSQLServer(binaries)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str | Path]]:
    """Makes places where a gallery can be made: paths of files that do not exist, or addresses of empty databases."""
    made: list[str] = []
    server: PostgreSQLServer | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")

    def make() -> str | Path:
        made.append(server.fresh() if server else "")
        return made[-1] or tmp_path / f"people-{len(made)}.db"

    yield make
    if server is not None:
        for address in made:
            server.give_back(address)


@pytest.fixture
def place(new_place: Callable[[], str | Path]) -> str | Path:
    """One such place."""
    return new_place()
