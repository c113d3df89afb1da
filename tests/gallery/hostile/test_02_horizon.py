"""An erasure is scrubbed only once no transaction of the cluster can still see the rows."""

from __future__ import annotations

import json
import struct
import time

import psycopg
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.gallery.custody import erase
from vultus.gallery.settings import Settings
from vultus.gallery.store import Store, collections, persons
from vultus.gallery.store.schema import gallery

NAME = "Wilhelmina Featherstonehaugh"


@pytest.fixture
def address(postgresql, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("vultus.gallery.store.postgresql.SCRUB_PATIENCE", 0.2)
    made = postgresql.fresh()
    yield made
    postgresql.give_back(made)


@pytest.fixture
def store(address):
    opened = Store.create(address)
    with opened.writing() as write:
        bound = collections.create(opened, write, "default", "m", "c-1", 32, Settings.parse({"purpose": "door"}))
        persons.add(opened, write, bound, "ada", NAME, {})
        persons.add(opened, write, bound, "bob", "Bob", {})
    yield opened
    opened.close()


def pending(store: Store) -> bool:
    with store.reading() as connection:
        return connection.execute(select(gallery.c.scrub_pending)).scalar_one()


def in_files(postgresql, address: str) -> bool:
    """Whether the name is in the database's own files; the write-ahead log is another matter."""
    postgresql.execute(address, "CHECKPOINT")
    [[number]] = postgresql.execute(address, "SELECT oid::int FROM pg_database WHERE datname = current_database()")
    files = [path for path in (postgresql.root / "data" / "base" / str(number)).iterdir() if path.is_file()]
    assert files
    return any(NAME.encode() in path.read_bytes() for path in files)


def check_held(store: Store, code: str, holder: str) -> None:
    done = erase(store, "default", "ada")
    assert not done.scrubbed and done.unscrubbed is not None and pending(store)
    assert (done.unscrubbed.code, done.unscrubbed.fields["holder"]) == (code, holder)


def test_an_older_transaction_in_another_database_holds_the_bytes_and_the_mark(postgresql, address, store):
    with psycopg.connect(postgresql.address("postgres")) as other:
        other.execute("SELECT txid_current()")
        check_held(store, "older_transaction", str(other.info.backend_pid))
        assert in_files(postgresql, address)
        Store.open(address).close()  # tries again, in vain
        assert pending(store) and in_files(postgresql, address)
    assert store.scrub() is None and not pending(store)
    assert not in_files(postgresql, address)


def test_an_older_snapshot_of_this_database_holds_them(postgresql, address, store):
    with psycopg.connect(address) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM pg_class")
        check_held(store, "older_transaction", str(other.info.backend_pid))
        assert in_files(postgresql, address)
    assert store.scrub() is None and not in_files(postgresql, address)


def test_a_snapshot_of_another_database_holds_nothing(postgresql, address, store):
    with psycopg.connect(postgresql.address("postgres")) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM pg_class")
        assert erase(store, "default", "ada").scrubbed and not in_files(postgresql, address)


def test_a_prepared_transaction_holds_them(postgresql, address, store):
    with psycopg.connect(postgresql.address("postgres")) as other:
        other.execute("SELECT txid_current()")
        other.execute("PREPARE TRANSACTION 'forgotten'")
    try:
        check_held(store, "prepared_transaction", "forgotten")
        assert in_files(postgresql, address)
    finally:
        postgresql.execute("postgres", "ROLLBACK PREPARED 'forgotten'")
    assert store.scrub() is None and not in_files(postgresql, address)


def test_a_replication_slot_with_feedback_holds_them_and_one_without_does_not(postgresql, address, store):
    postgresql.execute("postgres", "SELECT pg_create_physical_replication_slot('replica', true)")
    try:
        [[start, xmin]] = postgresql.execute(
            "postgres", "SELECT pg_current_wal_lsn()::text, pg_snapshot_xmin(pg_current_snapshot())::text::int"
        )
        conninfo = f"{postgresql.address('postgres')}?replication=true"
        replica = psycopg.pq.PGconn.connect(conninfo.encode())
        try:
            replica.exec_(f"START_REPLICATION SLOT replica PHYSICAL {start}".encode())
            feedback = struct.pack("!cqIIII", b"h", 0, xmin, 0, 0, 0)  # as a replica with hot_standby_feedback sends it
            replica.put_copy_data(feedback)
            replica.flush()
            end = time.monotonic() + 10
            while postgresql.execute("postgres", "SELECT xmin FROM pg_replication_slots") == [(None,)]:
                assert time.monotonic() < end
                time.sleep(0.01)
        finally:
            replica.finish()
        check_held(store, "replication_slot", "replica")
        assert in_files(postgresql, address)
    finally:
        end = time.monotonic() + 10
        while postgresql.execute("postgres", "SELECT active FROM pg_replication_slots") == [(True,)]:
            assert time.monotonic() < end
            time.sleep(0.01)
        postgresql.execute("postgres", "SELECT pg_drop_replication_slot('replica')")
    assert store.scrub() is None and not in_files(postgresql, address)
    postgresql.execute("postgres", "SELECT pg_create_physical_replication_slot('idle', true)")
    try:
        assert erase(store, "default", "bob").scrubbed
    finally:
        postgresql.execute("postgres", "SELECT pg_drop_replication_slot('idle')")


def test_a_role_without_rights_sees_the_same(postgresql, address, tmp_path):
    """An idle process of another role is no hindrance; its snapshot is."""
    database = address.rpartition("/")[2]
    postgresql.execute("postgres", f"CREATE ROLE modest LOGIN PASSWORD '{postgresql.password}'")
    postgresql.execute("postgres", f"GRANT ALL ON DATABASE {database} TO modest")
    postgresql.execute(address, "GRANT ALL ON SCHEMA public TO modest")
    try:
        store = Store.create(address.replace("//vultus:", "//modest:"))
        with store.writing() as write:
            bound = collections.create(store, write, "default", "m", "c-1", 32, Settings.parse({"purpose": "door"}))
            persons.add(store, write, bound, "ada", NAME, {})
            persons.add(store, write, bound, "bob", "Bob", {})
        with psycopg.connect(address) as other:
            assert erase(store, "default", "bob").scrubbed
            other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            other.execute("SELECT count(*) FROM pg_class")
            done = erase(store, "default", "ada")
            assert done.unscrubbed is not None and done.unscrubbed.code == "older_transaction"
            assert done.unscrubbed.fields["holder"] == str(other.info.backend_pid)
            assert in_files(postgresql, address)
        assert store.scrub() is None and not in_files(postgresql, address)
        with psycopg.connect(postgresql.address("postgres")) as other:
            other.execute("SELECT txid_current()")
            held = store.scrub()
            assert held is not None and held.fields["holder"] == str(other.info.backend_pid)
        store.close()
    finally:
        postgresql.execute(address, "DROP OWNED BY modest CASCADE")
        postgresql.execute("postgres", "DROP ROLE modest")


@pytest.mark.parametrize("words", [("renew",), ("rotate-key",), ("erase", "ada", "--yes")])
def test_commands_say_what_holds_the_bytes(postgresql, address, store, words):
    with psycopg.connect(postgresql.address("postgres")) as other:
        other.execute("SELECT txid_current()")
        done = CliRunner().invoke(app, ["gallery", *words, "--gallery", address, "--json"])
        told = json.loads(done.stdout)
        assert told["scrubbed"] is False and told["unscrubbed"]["code"] == "older_transaction", done.output
        assert told["unscrubbed"]["holder"] == str(other.info.backend_pid)
    Store.open(address).close()
    assert not json.loads(CliRunner().invoke(app, ["gallery", "info", "--gallery", address, "--json"]).stdout)[
        "scrub_pending"
    ]
