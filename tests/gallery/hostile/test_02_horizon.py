"""An erasure is scrubbed only once no transaction of the cluster can still see the rows."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import select

from vultus.gallery.store import Store
from vultus.gallery.store.schema import gallery


@pytest.fixture
def store(postgresql, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    address = postgresql.fresh()
    opened = Store.create(address)
    yield opened
    opened.close()
    postgresql.give_back(address)


def pending(store: Store) -> bool:
    with store.reading() as connection:
        return connection.execute(select(gallery.c.scrub_pending)).scalar_one()


def test_an_older_transaction_in_another_database_holds_the_mark(postgresql, store):
    with psycopg.connect(postgresql.address("postgres")) as other:
        other.execute("SELECT txid_current()")
        why = store.scrub()
        assert why is not None and str(other.info.backend_pid) in why
    assert store.scrub() is None


def test_an_older_snapshot_of_this_database_holds_it(postgresql, store):
    address = store.database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT count(*) FROM pg_class")
        with store.writing() as write:
            write.audit("key_rotated", None, None, {})
        assert store.scrub() is not None
    assert store.scrub() is None
