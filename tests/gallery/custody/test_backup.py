"""A backup holds every row of one moment, is sealed as a whole, and is whole or not there."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from vultus.errors import VultusError
from vultus.gallery.custody.backup import backup, describe_backup, opened_copy, unsealed
from vultus.gallery.protection import KeyEncryptionKey, ProtectionError
from vultus.gallery.settings import Settings
from vultus.gallery.store import Sample, Store, collections, persons, templates
from vultus.gallery.store.schema import metadata

DIM = 8


def filled(store: Store, names: list[str], collection: str = "default") -> None:
    rng = np.random.default_rng(len(names))
    with store.writing() as write:
        bound = collections.find(store, write.connection, collection)
        if bound is None:
            bound = collections.create(store, write, collection, "m", "contract", DIM, Settings.parse({}))
        for name in names:
            person, key = persons.add(store, write, bound, name, f"Name of {name}", {"site": "Berlin"})
            row = rng.standard_normal(DIM).astype(np.float32)
            sample = Sample(row / np.linalg.norm(row), name.encode(), b"png of " + name.encode(), (1, 2, 3, 4))
            templates.add(write, bound, person, key, [sample])
            write.audit("enrolled", bound.uuid, key.pseudonym, {"templates": 1})


@pytest.fixture
def store(place: str | Path) -> Iterator[Store]:
    made = Store.create(place)
    filled(made, ["ada", "bob", "cy"])
    yield made
    made.close()


def test_a_backup_holds_every_row(store: Store, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    made = backup(store, tmp_path / "b.vultus", progress=lambda done, total: told.append((done, total)))
    assert (made.persons, made.templates, made.gallery) == (3, 3, store.info.uuid)
    assert told[-1][0] == told[-1][1] > 10
    with (
        unsealed(made.path, store.key, tmp_path) as (_, plain),
        opened_copy(plain) as copy,
        store.reading() as source,
    ):
        for table in metadata.sorted_tables:
            query = select(table).order_by(*table.primary_key.columns)
            mine = [tuple(row) for row in copy.execute(query)]
            theirs = [tuple(row) for row in source.execute(query)]
            if table.name == "gallery":
                assert mine[0][:4] == theirs[0][:4]
            elif table.name == "audit":
                assert mine == theirs[:-1]
                assert theirs[-1][2] == "backup_made"
            else:
                assert mine == theirs


def test_nothing_of_a_person_can_be_read_in_it(store: Store, tmp_path: Path) -> None:
    made = backup(store, tmp_path / "b.vultus")
    content = made.path.read_bytes()
    for text in (b"Name of", b"Berlin", b"SQLite format", store.key.encoded.encode()):
        assert text not in content
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
    with (
        pytest.raises(ProtectionError, match="made under"),
        unsealed(made.path, KeyEncryptionKey.generate(), tmp_path),
    ):
        raise AssertionError


def test_a_changed_backup_is_refused(store: Store, tmp_path: Path) -> None:
    made = backup(store, tmp_path / "b.vultus")
    content = bytearray(made.path.read_bytes())
    for at in (20, 100, len(content) // 2, len(content) - 1):
        content[at] ^= 1
        made.path.write_bytes(content)
        with pytest.raises(ProtectionError), unsealed(made.path, store.key, tmp_path):
            raise AssertionError
        content[at] ^= 1


def test_a_file_that_is_there_stays(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "b.vultus"
    path.write_text("mine")
    with pytest.raises(VultusError, match="there already"):
        backup(store, path)
    assert path.read_text() == "mine"
    backup(store, path, overwrite=True)
    assert describe_backup(path).persons == 3


def test_a_folder_that_is_not_there_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(VultusError, match="cannot write"):
        backup(store, tmp_path / "no" / "b.vultus")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ProtectionError):
        describe_backup(tmp_path / "text")


def test_who_is_enrolled_meanwhile_is_not_in_it(store: Store, tmp_path: Path) -> None:
    """All tables are read from one state of the database."""
    done = False

    def meanwhile(_: int, __: int) -> None:
        nonlocal done
        if not done:
            done = True
            filled(store, ["dee"])

    made = backup(store, tmp_path / "b.vultus", progress=meanwhile)
    assert done and (made.persons, made.templates) == (3, 3)


def test_a_full_disk_is_said_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    """The bound on a file's size stands for the disk's end."""
    import resource
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    made = backup(store, tmp_path / "b.vultus")
    for size in (20_000, made.size - 50_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            with pytest.raises(VultusError):
                backup(store, tmp_path / "c.vultus")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)
    assert sorted(one.name for one in tmp_path.iterdir() if "vultus" in one.name) == ["b.vultus"]
    assert backup(store, tmp_path / "c.vultus").persons == 3
