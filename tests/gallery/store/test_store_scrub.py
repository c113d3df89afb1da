"""Taking erased bytes out of the files: done once for each erasure, also where it was cut short."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import event, select

from vultus.errors import VultusError
from vultus.gallery.store import Store, persons, sqlite, verification
from vultus.gallery.store.schema import gallery

from ..databases import PostgreSQLServer
from .people import at_once, enrol, new_collection


def pending(store: Store) -> bool:
    with store.reading() as connection:
        return connection.execute(select(gallery.c.scrub_pending)).scalar_one()


def erase(store: Store, collection, name: str) -> None:
    with store.writing() as write:
        persons.remove(write, collection, persons.require(store, write.connection, collection, name))
        write.own(scrub_pending=True)


def test_an_erasure_that_was_cut_short_is_made_good_by_who_opens_next(place, store, collection):
    enrol(store, collection, "ada", 3)
    erase(store, collection, "ada")
    assert pending(store)
    store.database.close()  # its connections, as if the process had ended
    Store.open(place).close()
    assert not pending(store)


def test_an_erasure_during_a_scrub_waits_for_its_own(place, store, collection, monkeypatch):
    enrol(store, collection, "ada", 3)
    enrol(store, collection, "bob", 3)
    erase(store, collection, "ada")
    scrub = store.database.scrub

    def slow() -> VultusError | None:
        done = scrub()
        erase(other, collection, "bob")
        return done

    other = Store.open(place)
    monkeypatch.setattr(store.database, "scrub", slow)
    assert store.scrub() is None and pending(store)
    other.close()
    monkeypatch.undo()
    assert store.scrub() is None and not pending(store)


@pytest.mark.parametrize(("kind", "left"), [("key_rotated", True), ("something_new", True), ("identified", False)])
def test_what_asks_for_a_scrub_without_a_change_waits_for_its_own(place, store, collection, monkeypatch, kind, left):
    scrub = store.database.scrub

    def slow() -> VultusError | None:
        done = scrub()
        with other.writing() as write:
            write.audit(kind, collection.uuid, None)
            write.own(scrub_pending=True)
        return done

    other = Store.open(place)
    monkeypatch.setattr(store.database, "scrub", slow)
    assert store.scrub() is None and pending(store) is left
    other.close()
    monkeypatch.undo()
    assert store.scrub() is None and not pending(store)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are seen in Linux's /proc")
@pytest.mark.parametrize("in_memory", [True, False])
def test_the_copy_that_sqlite_rewrites_a_file_by_is_in_memory_or_beside_it(tmp_path, monkeypatch, in_memory):
    folder = tmp_path / "it's the gallery's"
    folder.mkdir()
    store = Store.create(folder / "people.db")
    collection = new_collection(store)
    for i in range(20):
        enrol(store, collection, f"person {i:02}", 20)
    erase(store, collection, "person 03")
    seen = set()

    def look() -> int:
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                seen.add(os.readlink(f"/proc/self/fd/{name}"))
        return 0

    @event.listens_for(store.database.engine, "connect")
    def watch(connection, record) -> None:
        connection.execute("PRAGMA cache_size = 5")  # so that the copy does not stay in the cache
        connection.set_progress_handler(look, 100)

    store.database.engine.dispose()
    monkeypatch.setattr(sqlite, "IN_MEMORY_UP_TO", 1 << 30 if in_memory else 0)
    assert store.scrub() is None and not pending(store)
    temporary = {Path(name).parent for name in seen if "etilqs_" in name}
    assert temporary == (set() if in_memory else {folder})
    with sqlite3.connect(":memory:") as other:
        assert other.execute("PRAGMA temp_store_directory").fetchall() in ([], [("",)]), "others keep their own folder"
    store.close()


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_scrub_without_room_is_told_and_made_good(tmp_path, monkeypatch, limit):
    """The pages that a file may have stand for the disk."""
    monkeypatch.setattr(sqlite, "IN_MEMORY_UP_TO", limit)
    store = Store.create(tmp_path / "people.db")
    collection = new_collection(store)
    for i in range(20):
        enrol(store, collection, f"person {i:02}", 20)
    erase(store, collection, "person 03")
    store.close()

    def scrubbed() -> str:
        size = (tmp_path / "people.db").stat().st_size
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 4, size // 4))
        held = Store.open(tmp_path / "people.db").scrub()
        return held.code if held else "done"

    [told] = at_once(scrubbed)
    assert told in ("disk_full", "disk_error")
    store = Store.open(tmp_path / "people.db")  # there is room again
    assert not pending(store) and verification.verify_gallery(store) == []
    store.close()


def test_galleries_in_two_schemas_of_a_database_are_two(postgresql: PostgreSQLServer):
    address = postgresql.fresh()
    stores = []
    for name in ("first", "second"):
        postgresql.execute(address, f"CREATE SCHEMA {name}")
        stores.append(Store.create(f"{address}?options=-csearch_path%3D{name}"))
        enrol(stores[-1], new_collection(stores[-1]), name)
    assert stores[0].info.uuid != stores[1].info.uuid
    assert [store.head() for store in stores] == [1, 1]
    assert all(store.scrub() is None for store in stores)
    for store in stores:
        store.close()
    for name in ("first", "second"):
        postgresql.execute(address, f"DROP SCHEMA {name} CASCADE")
    postgresql.give_back(address)
