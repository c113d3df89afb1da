"""Full disks, locks, damaged files and servers that stop: one line each, and nothing that was acknowledged is lost."""

from __future__ import annotations

import resource
import signal
import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event

from vultus.errors import VultusError
from vultus.gallery.store import Store, collections, persons, sqlite, verification
from vultus.gallery.store import postgresql as server
from vultus.gallery.store.persons import listed

from ..databases import PostgreSQLServer
from .people import at_once, enrol, enrol_in, new_collection


def names(store: Store) -> list[str]:
    with store.reading() as connection:
        return [one.external_id for one in listed(connection, collections.get(store, connection, "people"))]


def one_line(error: pytest.ExceptionInfo[BaseException], store: Store) -> str:
    text = str(error.value)
    assert "\n" not in text and store.label in text and len(text) < 400, text
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.db"
    store = Store.create(path)
    new_collection(store)
    store.close()
    return path


def test_a_disk_that_is_full_refuses_a_write_people_of(file):
    store = Store.open(file)
    collection = people_of(store)

    @event.listens_for(store.database.engine, "connect")
    def limit(connection, record) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")

    store.database.engine.dispose()
    done = []
    with pytest.raises(VultusError, match="the disk is full; nothing was changed") as error:
        for i in range(100):
            enrol(store, collection, f"person {i:03}", 10)
            done.append(f"person {i:03}")
    one_line(error, store)
    assert done and names(store) == done and verification.verify_gallery(store) == []
    store.close()
    store = Store.open(file)  # there is room again
    enrol(store, collection, "person 999", 10)
    assert names(store) == [*done, "person 999"]
    store.close()


def test_a_file_that_may_not_grow_loses_nothing(file):
    """A limit on the size of files: the write itself fails, in the write-ahead log or in the file."""
    size = file.stat().st_size

    def fill() -> tuple[list[str], str]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200_000, size + 200_000))
        own = Store.open(file)
        done: list[str] = []
        try:
            for i in range(1000):
                enrol(own, people_of(own), f"person {i:03}", 20)
                done.append(f"person {i:03}")
        except VultusError as error:
            return done, str(error)
        return done, ""

    [(done, said)] = at_once(fill)
    assert done and "\n" not in said and ("disk error" in said or "disk is full" in said), said
    store = Store.open(file)
    assert names(store) == done and verification.verify_gallery(store) == []
    store.close()


def test_who_waits_for_another_process_in_vain_is_told(file, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.1)
    store = Store.open(file)
    collection = people_of(store)
    enrol(store, collection, "before")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(VultusError, match="locked by another process; try again") as error:
        enrol(store, collection, "during")
    one_line(error, store)
    assert names(store) == ["before"], "reading goes on"
    other.execute("ROLLBACK")
    other.close()
    enrol(store, collection, "later")
    assert names(store) == ["before", "later"]
    store.close()


def test_a_scrub_gives_way_and_is_made_good(file, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.1)
    store = Store.open(file)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM gallery").fetchall()
    assert store.scrub() is not None
    other.close()
    assert store.scrub() is None
    store.close()


@pytest.mark.parametrize("damage", ["header", "middle", "all but the first page", "cut", "cut in a page", "emptied"])
def test_a_damaged_file_is_told(file, damage):
    store = Store.open(file)
    for i in range(5):
        enrol(store, people_of(store), f"person {i}", 10)
    store.close()
    content = bytearray(file.read_bytes())
    page = 8192
    if damage == "header":
        content[:100] = b"\xff" * 100
    elif damage == "middle":
        content[3 * page : 9 * page] = b"\xa5" * (6 * page)
    elif damage == "all but the first page":
        content[page:] = b"\0" * (len(content) - page)
    elif damage == "cut":
        del content[len(content) // page // 2 * page :]
    elif damage == "cut in a page":
        del content[5 * page + 100 :]
    else:
        content.clear()
    file.write_bytes(content)
    with pytest.raises(VultusError, match=r"damaged|no vultus gallery|unexpected tables") as error:
        opened = Store.open(file)
        try:
            names(opened)
            verification.verify_gallery(opened)
            with opened.reading() as connection:
                for one in listed(connection, people_of(opened)):
                    persons.require(opened, connection, people_of(opened), one.external_id)
            enrol(opened, people_of(opened), "new", 10)
        finally:
            opened.close()
    assert "\n" not in str(error.value) and str(file) in str(error.value)


@pytest.fixture
def served(postgresql: PostgreSQLServer):
    address = postgresql.fresh()
    store = Store.create(address)
    new_collection(store)
    yield store
    store.close()
    postgresql.give_back(address)


def people_of(store: Store) -> collections.Collection:
    with store.reading() as connection:
        return collections.get(store, connection, "people")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL], ids=lambda how: how.name)
def test_a_server_that_stops_and_comes_back(postgresql: PostgreSQLServer, served, how):
    collection = people_of(served)
    enrol(served, collection, "before")
    try:
        with pytest.raises(VultusError) as during, served.writing() as write:
            enrol_in(served, write, collection, "during")
            if how is signal.SIGKILL:
                postgresql.kill()
            else:
                postgresql.stop(how)
        one_line(during, served)
        with pytest.raises(VultusError, match="cannot be reached") as error:
            names(served)
        assert postgresql.password not in one_line(error, served)
        with pytest.raises(VultusError, match="cannot be reached"):
            enrol(served, collection, "while it is away")
    finally:
        if postgresql.process is None:
            postgresql.start()
    assert names(served) == ["before"]
    enrol(served, collection, "later")
    assert names(served) == ["before", "later"] and verification.verify_gallery(served) == []


def test_a_connection_that_is_cut_costs_its_transaction_only(postgresql: PostgreSQLServer, served):
    collection = people_of(served)
    database = served.label.rpartition("/")[2]
    with pytest.raises(VultusError) as error, served.writing() as write:
        enrol_in(served, write, collection, "during")
        postgresql.execute(
            "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        )
    one_line(error, served)
    enrol(served, collection, "later")
    assert names(served) == ["later"] and verification.verify_gallery(served) == []


def test_who_waits_for_another_server_in_vain_is_told(postgresql: PostgreSQLServer, served, monkeypatch):
    monkeypatch.setattr(server, "LOCK_TIMEOUT", 0.2)
    address = postgresql.address(served.label.rpartition("/")[2])
    store = Store.open(address)
    collection = people_of(store)
    with psycopg.connect(address) as other:
        other.execute("SELECT id FROM gallery FOR UPDATE")
        with pytest.raises(VultusError, match="locked by another process; try again") as error:
            enrol(store, collection, "during")
        one_line(error, store)
        assert names(store) == [], "reading goes on"
        assert store.scrub() is not None
    enrol(store, collection, "later")
    assert names(store) == ["later"] and store.scrub() is None
    store.close()


def test_a_database_that_may_only_be_read(postgresql: PostgreSQLServer, served):
    database = served.label.rpartition("/")[2]
    collection = people_of(served)
    enrol(served, collection, "before")
    postgresql.execute("postgres", f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    served.database.engine.dispose()
    try:
        with pytest.raises(VultusError, match="cannot be written") as error:
            enrol(served, collection, "during")
        one_line(error, served)
        assert names(served) == ["before"]
    finally:
        postgresql.execute("postgres", f"ALTER DATABASE {database} RESET default_transaction_read_only")


def test_more_threads_than_connections_wait_for_each_other(store, collection):
    done = threading.Barrier(25)
    failed: list[BaseException] = []

    def read() -> None:
        try:
            done.wait(30)
            with store.reading() as connection:
                collections.counts(connection, collection)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
