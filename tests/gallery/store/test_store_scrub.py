"""Taking erased bytes out of the files: done once for each erasure, also where it was cut short."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from vultus.gallery.store import Store, persons
from vultus.gallery.store.schema import gallery

from ..databases import PostgreSQLServer
from .people import enrol, new_collection


def pending(store: Store) -> bool:
    with store.reading() as connection:
        return connection.execute(select(gallery.c.scrub_pending)).scalar_one()


def erase(store: Store, collection, name: str) -> None:
    with store.writing() as write:
        persons.remove(write, collection, persons.require(store, write.connection, collection, name))
        write.connection.execute(update(gallery).values(scrub_pending=True))


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

    def slow() -> bool:
        done = scrub()
        erase(other, collection, "bob")
        return done

    other = Store.open(place)
    monkeypatch.setattr(store.database, "scrub", slow)
    assert store.scrub() and pending(store)
    other.close()
    monkeypatch.undo()
    assert store.scrub() and not pending(store)


@pytest.mark.parametrize(("kind", "left"), [("key_rotated", True), ("something_new", True), ("identified", False)])
def test_what_asks_for_a_scrub_without_a_change_waits_for_its_own(place, store, collection, monkeypatch, kind, left):
    scrub = store.database.scrub

    def slow() -> bool:
        done = scrub()
        with other.writing() as write:
            write.audit(kind, collection.uuid, None)
            write.connection.execute(update(gallery).values(scrub_pending=True))
        return done

    other = Store.open(place)
    monkeypatch.setattr(store.database, "scrub", slow)
    assert store.scrub() and pending(store) is left
    other.close()
    monkeypatch.undo()
    assert store.scrub() and not pending(store)


def test_galleries_in_two_schemas_of_a_database_are_two(postgresql: PostgreSQLServer):
    address = postgresql.fresh()
    stores = []
    for name in ("first", "second"):
        postgresql.execute(address, f"CREATE SCHEMA {name}")
        stores.append(Store.create(f"{address}?options=-csearch_path%3D{name}"))
        enrol(stores[-1], new_collection(stores[-1]), name)
    assert stores[0].info.uuid != stores[1].info.uuid
    assert [store.head() for store in stores] == [1, 1]
    assert all(store.scrub() for store in stores)
    for store in stores:
        store.close()
    for name in ("first", "second"):
        postgresql.execute(address, f"DROP SCHEMA {name} CASCADE")
    postgresql.give_back(address)
