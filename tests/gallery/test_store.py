from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from vultus.errors import ContractError, VultusError
from vultus.gallery import Store, StoreInfo
from vultus.gallery.old_store import Sample


def samples(rows, digest: str | None = None):
    return [Sample(row, digest and f"{digest}{i}") for i, row in enumerate(rows)]


def dump(path: Path) -> list:
    with closing(sqlite3.connect(path)) as raw:
        tables = ("gallery", "persons", "templates", "changes")
        return [raw.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables]


def test_what_was_added_comes_back_exactly(new_store, unit_rows):
    store, rows = new_store(), unit_rows(3)
    assert store.add("alice", samples(rows)) == 3
    store.close()
    again = Store.open(store.path)
    assert again.info == Store.open(store.path).info
    assert np.array_equal(again.templates_of("alice")[1], rows)
    assert [(p.name, p.templates) for p in again.persons()] == [("alice", 3)]


def test_only_the_owner_may_read_the_files(new_store, unit_rows):
    store = new_store()
    store.add("alice", samples(unit_rows(1)))
    files = list(store.path.parent.glob("people.db*"))
    assert len(files) == 3, "database, write-ahead log and its index"
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_connections_are_durable_and_erasing(new_store):
    with new_store()._engine.connect() as connection:
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 10000}
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
    assert found == wanted


def test_every_write_is_in_the_change_sequence(new_store, unit_rows):
    store = new_store()
    store.add("alice", samples(unit_rows(2)))
    store.add("bob", samples(unit_rows(1, seed=1)))
    store.remove(["alice"])
    _, _, _, changes = dump(store.path)
    assert [row[1:4] for row in changes] == [
        ("enrol", 1, 1),
        ("enrol", 1, 2),
        ("enrol", 2, 3),
        ("forget", 1, None),
    ]


def test_ids_are_never_used_again(new_store, unit_rows):
    store = new_store()
    store.add("alice", samples(unit_rows(2)))
    store.remove(["alice"])
    store.add("alice", samples(unit_rows(2)))
    assert set(store.templates_of("alice")[0]) == {3, 4}


def test_the_same_crop_is_kept_once_a_person(new_store, unit_rows):
    store, rows = new_store(), unit_rows(2)
    assert store.add("alice", samples(rows, "d")) == 2
    assert store.add("alice", samples(rows, "d")) == 0
    assert store.add("bob", samples(rows, "d")) == 2
    assert store.add("eve", [*samples(rows[:1], "d"), *samples(rows[:1], "d")]) == 1


@pytest.mark.parametrize("spoil", [lambda r: r * 2, lambda r: r * np.nan, lambda r: r * 0, lambda r: r[:, :-1]])
def test_one_bad_embedding_stores_nothing(new_store, unit_rows, spoil):
    store, rows = new_store(), unit_rows(3)
    before = dump(store.path)
    with pytest.raises(ContractError):
        store.add("alice", samples([*rows[:2], spoil(rows)[2]]))
    assert dump(store.path) == before


def test_forgetting_several_is_all_or_nothing(new_store, unit_rows):
    store = new_store()
    store.add("alice", samples(unit_rows(1)))
    with pytest.raises(VultusError, match="did you mean 'alice'"):
        store.remove(["alice", "alicia"])
    assert [p.name for p in store.persons()] == ["alice"]


def one_line(path: Path, **options) -> str:
    with pytest.raises(VultusError) as error:
        Store.open(path, **options).persons()
    message = str(error.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_files_that_are_no_gallery(tmp_path):
    assert "does not exist" in one_line(tmp_path / "missing.db")
    (tmp_path / "text.db").write_text("hello " * 1000)
    assert "no vultus gallery" in one_line(tmp_path / "text.db")
    (tmp_path / "empty.db").touch()
    assert "no vultus gallery" in one_line(tmp_path / "empty.db")
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as raw:
        raw.execute("CREATE TABLE t(a)")
    assert "no vultus gallery" in one_line(tmp_path / "foreign.db")
    (tmp_path / "folder.db").mkdir()
    assert "folder" in one_line(tmp_path / "folder.db")
    assert (tmp_path / "empty.db").stat().st_size == 0, "looking at a file changes nothing"
    assert not (tmp_path / "missing.db").exists()


def test_a_newer_format_is_refused(new_store):
    store = new_store()
    store.close()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as raw:
        raw.execute("UPDATE gallery SET format = 2")
    assert "update" in one_line(store.path)


def test_a_damaged_file_is_named(new_store, unit_rows):
    store = new_store()
    store.add("alice", samples(unit_rows(100)))
    store.close()
    content = bytearray(store.path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    store.path.write_bytes(content)
    assert "damaged" in one_line(store.path)


def test_a_damaged_template_is_named(new_store, unit_rows):
    store = new_store()
    store.add("alice", samples(unit_rows(2)))
    with closing(sqlite3.connect(store.path, isolation_level=None)) as raw:
        raw.execute("UPDATE templates SET embedding = zeroblob(8) WHERE id = 2")
    with pytest.raises(VultusError, match="template 2 of 'alice' is damaged"):
        store.follow(None)


def test_a_locked_gallery_reads_but_does_not_write(new_store, unit_rows):
    path = new_store().path
    store = Store.open(path, busy_timeout=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        assert store.persons() == []
        with pytest.raises(VultusError, match="locked"):
            store.add("alice", samples(unit_rows(1)))
    assert store.add("alice", samples(unit_rows(1))) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to become")
def test_a_gallery_of_somebody_else_is_a_one_line_error(unit_rows):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        os.chmod(folder, 0o755)
        _write_as_nobody(Path(folder) / "people.db", unit_rows)


def _write_as_nobody(path: Path, unit_rows) -> None:
    store = Store.create(path, StoreInfo("people", "pixels", "vultus1-test", 32))
    store.add("alice", samples(unit_rows(1)))
    store.close()
    store.path.chmod(0o444)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # only system calls and SQLite in here: never return into pytest
        try:
            os.setuid(65534)
            try:
                Store.open(store.path).add("bob", samples(unit_rows(1)))
                os.write(writing, b"written")
            except VultusError as error:
                os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    message = os.read(reading, 10_000).decode()
    os.close(reading)
    assert "people.db" in message
    assert "permissions" in message or "may write" in message
    assert [p.name for p in Store.open(store.path).persons()] == ["alice"]


def test_creating_needs_a_folder_and_never_replaces(tmp_path, new_store, unit_rows):
    info = StoreInfo("people", "pixels", "vultus1-other", 8)
    with pytest.raises(VultusError, match="does not exist"):
        Store.create(tmp_path / "nowhere" / "people.db", info)
    store = new_store()
    store.add("alice", samples(unit_rows(1)))
    assert Store.create(store.path, info).info.contract_id == "vultus1-test"
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


WRITER = """
import sys
from pathlib import Path
import numpy as np
from vultus.gallery import Store, StoreInfo
from vultus.gallery.old_store import Sample
path, who = Path(sys.argv[1]), sys.argv[2]
store = Store.create(path, StoreInfo("people", "pixels", "vultus1-test", 32))
rows = np.random.default_rng(int(who)).normal(size=(40, 32)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
for i, row in enumerate(rows):
    store.add(f"own {who} {i}", [Sample(row)])
    store.add("shared", [Sample(row)])
"""


def test_two_processes_create_and_enrol_at_once(tmp_path):
    path = tmp_path / "people.db"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, str(who)], stderr=subprocess.PIPE) for who in range(2)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors.decode()
    people = {person.name: person.templates for person in Store.open(path).persons()}
    assert people == {f"own {who} {i}": 1 for who in range(2) for i in range(40)} | {"shared": 80}
    _, _, templates, changes = dump(path)
    assert [row[0] for row in changes] == list(range(1, 161)), "no gap, no double"
    assert {row[3] for row in changes} == {row[0] for row in templates}
