"""The lock of a collection's follower."""

from __future__ import annotations

import time

import pytest

from vultus.errors import VultusError
from vultus.gallery.engines.only_one import only_one
from vultus.gallery.settings import Settings
from vultus.gallery.store import Collection, Store, collections


def made(place) -> tuple[Store, list[Collection]]:
    store = Store.create(place)
    with store.writing() as write:
        names = ("staff", "guests")
        return store, [
            collections.create(store, write, name, "m", "contract-a", 8, Settings.parse({})) for name in names
        ]


def enter(store: Store, collection: Collection) -> None:
    with only_one(store, collection):
        pass


def test_it_is_one_a_collection_and_given_back(place) -> None:
    store, (staff, guests) = made(place)
    with only_one(store, staff) as lock:
        lock.require()
        with pytest.raises(VultusError, match="another process already keeps an engine in step with 'staff'"):
            enter(store, staff)
        enter(store, guests)
        lock.require()
    enter(store, staff)
    store.close()


def end_sessions(postgresql, address: str) -> None:
    """Of everybody in the database, and wait until what they held is free."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    postgresql.execute(address, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    while postgresql.execute(address, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"):
        time.sleep(0.02)


def test_a_lock_lost_with_its_session_is_taken_anew_or_missed(postgresql) -> None:
    address = postgresql.fresh()
    store, (staff, _) = made(address)
    with only_one(store, staff) as lock:
        end_sessions(postgresql, address)
        lock.require()
        with pytest.raises(VultusError, match="already keeps"):
            enter(store, staff)
        end_sessions(postgresql, address)
        with only_one(store, staff), pytest.raises(VultusError, match="already keeps"):
            lock.require()
        lock.require()
    enter(store, staff)
    store.close()
