"""A SQLite gallery that may only be read is read, and nothing is left beside it."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vultus.errors import VultusError
from vultus.gallery.protection import KeyEncryptionKey
from vultus.gallery.settings import Settings
from vultus.gallery.store import Store, collections, persons

KEY = KeyEncryptionKey(b"k" * 32)


@pytest.fixture
def folder():
    """Pytest's own folders are closed to other users."""
    made = Path(tempfile.mkdtemp(prefix="vultus-read-only-"))
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


@pytest.fixture
def place(folder) -> Path:
    path = folder / "people.db"
    store = Store.create(path, KEY)
    with store.writing() as write:
        bound = collections.create(store, write, "default", "m", "c-1", 32, Settings.parse({"purpose": "door"}))
        persons.add(store, write, bound, "ada", "Ada", {})
    store.close()
    path.chmod(0o444)
    return path


def as_nobody(act: Callable[[], object]) -> str:
    """What a process that is not root answers, or the code of its error."""
    to, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                nobody = pwd.getpwnam("nobody")
                os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
                os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
            answer = str(act())
        except VultusError as error:
            answer = error.code
        except BaseException as error:
            answer = repr(error)
        os.write(told, answer.encode())
        os._exit(0)
    os.close(told)
    with open(to, encoding="utf-8") as answers:
        said = answers.read()
    os.waitpid(child, 0)
    return said


def who(path: Path) -> str:
    store = Store.open(path, KEY)
    with store.reading() as connection:
        bound = collections.get(store, connection, "default")
        found = persons.require(store, connection, bound, "ada").name
    store.close()
    return found


def write(path: Path) -> None:
    store = Store.open(path, KEY)
    try:
        with store.writing() as write:
            write.audit("listed", None, None, {})
    finally:
        store.close()


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o555])
def test_reading_leaves_nothing_beside_the_file(folder, place, mode):
    folder.chmod(mode)
    assert as_nobody(lambda: who(place)) == "Ada"
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["people.db"]
    assert as_nobody(lambda: write(place)) == "read_only"
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["people.db"]


def test_a_folder_that_may_not_be_written_is_read_too(folder, place):
    place.chmod(0o666)
    folder.chmod(0o555)
    assert as_nobody(lambda: who(place)) == "Ada"
    assert as_nobody(lambda: write(place)) == "read_only"
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["people.db"]


def test_what_the_owner_writes_is_read_with_the_owners_log(folder, place):
    place.chmod(0o644)
    folder.chmod(0o777)
    owner = Store.open(place, KEY)
    with owner.writing() as write_:
        bound = collections.get(owner, write_.connection, "default")
        persons.describe(write_, persons.require(owner, write_.connection, bound, "ada"), "Ada L.", None)
    assert as_nobody(lambda: who(place)) == "Ada L."
    owner.close()
    assert as_nobody(lambda: who(place)) == "Ada L."
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["people.db"]


def test_one_that_was_not_closed_is_for_its_owner_to_open(folder, place):
    place.chmod(0o644)
    with sqlite3.connect(place) as owner:
        owner.execute("SELECT count(*) FROM persons").fetchall()
        owner.execute("PRAGMA wal_autocheckpoint = 0")
        owner.execute("UPDATE gallery SET id = 1")
        owner.commit()
        shutil.copy(f"{place}-wal", folder / "crashed.db-wal")
        shutil.copy(place, folder / "crashed.db")
    (folder / "crashed.db").chmod(0o444)
    folder.chmod(0o777)
    before = {path.name for path in folder.iterdir()}
    assert as_nobody(lambda: who(folder / "crashed.db")) == "read_only"
    assert {path.name for path in folder.iterdir()} == before
    owner.close()
