"""A gallery is made once, opened with its key, and anything else is told in one line."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from vultus.errors import VultusError
from vultus.gallery.audit import GENESIS
from vultus.gallery.protection import KeyEncryptionKey, ProtectionError
from vultus.gallery.protection.keys import default_key_path
from vultus.gallery.store import Store, log, migrate, verification
from vultus.gallery.store.schema import gallery

from ..databases import PostgreSQLServer
from .people import at_once


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_gallery_that_was_made_opens_as_the_same(place):
    made = Store.create(place)
    made.close()
    opened = Store.open(place)
    assert opened.info == made.info and opened.audit_key == made.audit_key
    assert opened.signing_key.public == made.info.public_key
    assert opened.head() == 0
    opened.close()


def test_making_it_again_opens_it_and_leaves_no_second_key(place):
    first = Store.create(place)
    second = Store.create(place)
    assert first.info == second.info
    with second.reading() as connection:
        assert [entry.kind for entry in log.entries(connection)] == ["gallery_created"]
    keys = default_key_path(first.info.uuid).parent
    assert [path.name for path in keys.iterdir()] == [f"{first.info.uuid}.key"]
    first.close()
    second.close()


def test_a_gallery_that_is_not_there_is_not_made_by_opening(place):
    with pytest.raises(VultusError, match="does not exist") as error:
        Store.open(place)
    assert "password" not in one_line(error)
    with pytest.raises(VultusError, match="does not exist"):
        Store.open(place)


def test_another_key_opens_nothing(place):
    right, wrong = KeyEncryptionKey.generate(), KeyEncryptionKey.generate()
    Store.create(place, right).close()
    with pytest.raises(ProtectionError, match=right.id) as error:
        Store.open(place, wrong)
    assert wrong.encoded not in one_line(error)
    with pytest.raises(ProtectionError, match="no key for gallery"):
        Store.open(place)


def test_a_newer_and_an_older_gallery_are_told(place, monkeypatch):
    Store.create(place).close()
    monkeypatch.setattr(migrate, "HEAD", "0000")
    with pytest.raises(VultusError, match=r"newer vultus.*update"):
        Store.open(place)
    monkeypatch.setattr(migrate, "HEAD", "0009")
    with pytest.raises(VultusError, match=r"older vultus.*upgrade"):
        Store.open(place)


def test_files_that_are_no_gallery_are_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("milk, bread, and a file long enough to be more than a header" * 20)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    empty = tmp_path / "empty.db"
    empty.touch()
    for path in (text, other, empty):
        before = path.read_bytes()
        for attempt in (Store.open, Store.create):
            with pytest.raises(VultusError, match="no vultus gallery") as error:
                attempt(path)
            assert str(path) in one_line(error)
        assert path.read_bytes() == before
    with pytest.raises(VultusError, match="is a folder"):
        Store.open(tmp_path)
    with pytest.raises(VultusError, match=r"folder .* does not exist"):
        Store.create(tmp_path / "missing" / "people.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db", "notes.txt", "other.db"]


def test_a_database_of_another_program_is_left_alone(postgresql: PostgreSQLServer):
    address = postgresql.fresh()
    postgresql.execute(address, "CREATE TABLE gallery (name TEXT)")
    for attempt in (Store.open, Store.create):
        with pytest.raises(VultusError, match="unexpected tables"):
            attempt(address)
    assert postgresql.execute(address, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]


def test_an_address_that_leads_nowhere_is_told_without_its_password(postgresql: PostgreSQLServer):
    cases = {
        postgresql.address("nobody_made_it"): "does not exist",
        postgresql.address("postgres", password="hunter2"): "password authentication failed",
        "postgresql://somebody:hunter2@127.0.0.1:1/people": "cannot be reached",
        "postgresql://somebody:hunter2@127.0.0.1:port/people": "not one of PostgreSQL",
        "mysql://somebody:hunter2@127.0.0.1/people": "SQLite file or at postgresql",
    }
    for address, said in cases.items():
        with pytest.raises(VultusError, match=said) as error:
            Store.open(address)
        assert "hunter2" not in one_line(error) and postgresql.password not in one_line(error)


def test_the_file_is_for_its_owner_alone(tmp_path):
    store = Store.create(tmp_path / "people.db")
    for path in tmp_path.glob("people.db*"):
        assert path.stat().st_mode & 0o077 == 0, path
    store.close()


def test_two_processes_making_it_at_once_make_one(place):
    def make() -> str:
        store = Store.create(place)
        store.close()
        return store.info.uuid

    told = at_once(make, make)
    assert told[0] == told[1]
    store = Store.open(place)
    with store.reading() as connection:
        assert [entry.kind for entry in log.entries(connection)] == ["gallery_created"]
    assert verification.verify_gallery(store) == []
    store.close()
    assert len(list(Path(os.environ["XDG_CONFIG_HOME"]).glob("vultus/keys/*"))) == 1


def test_a_gallery_made_only_in_part_is_none(place, monkeypatch):
    def broken(connection):
        raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(migrate, "migrate", lambda connection: (_migrate(connection), broken(connection)))
        with pytest.raises(RuntimeError):
            Store.create(place)
    if isinstance(place, Path):
        assert list(place.parent.iterdir()) == []
    assert not list(Path(os.environ["XDG_CONFIG_HOME"]).glob("vultus/keys/*"))
    store = Store.create(place)
    with store.reading() as connection:
        row = connection.execute(gallery.select()).one()
    assert row.audit_seq == 1 and row.audit_mac != GENESIS
    store.close()


_migrate = migrate.migrate
