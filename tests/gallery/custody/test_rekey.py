"""After a rotation of the key the old one opens nothing, the new one everything, and nobody writes with the old."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from vultus.errors import VultusError
from vultus.gallery.custody.erase import erase, verify_receipt
from vultus.gallery.custody.rekey import rotate_key
from vultus.gallery.protection import KeyEncryptionKey, ProtectionError, default_key_path
from vultus.gallery.settings import Settings
from vultus.gallery.store import Sample, Store, collections, follow, persons, templates
from vultus.gallery.store.schema import collections as collection_rows
from vultus.gallery.store.schema import gallery, person_keys

DIM = 8


def filled(place: str | Path, count: int = 3) -> Store:
    store = Store.create(place)
    with store.writing() as write:
        bound = collections.create(store, write, "default", "m", "contract", DIM, Settings.parse({}))
        collections.new_snapshot_key(store, write, bound)
        for number in range(count):
            person, key = persons.add(store, write, bound, f"person-{number}")
            row = np.random.default_rng(number).standard_normal(DIM).astype(np.float32)
            templates.add(write, bound, person, key, [Sample(row / np.linalg.norm(row))])
    return store


def rows(store: Store) -> np.ndarray:
    with store.reading() as connection:
        return follow(store, connection, collections.get(store, connection, "default"), None).embeddings


def wrapped(store: Store) -> list[bytes]:
    """Everything that a key-encryption key wraps."""
    with store.reading() as connection:
        found = list(connection.execute(select(person_keys.c.sealed)).scalars())
        for table in (collection_rows, gallery):
            for row in connection.execute(select(table)).mappings():
                found += [value for name, value in row.items() if isinstance(value, bytes) and "key" in name]
    return found


def test_only_the_new_key_opens(place: str | Path) -> None:
    store = filled(place)
    old, before, sealed = store.key, rows(store), wrapped(store)
    told: list[tuple[int, int]] = []
    done = rotate_key(store, progress=lambda *at: told.append(at))
    assert (done.old_id, done.new_id, done.keys) == (old.id, store.key.id, len(sealed)) and done.scrubbed
    assert len(sealed) == 3 + 2 + 2 and told == [(3, 3)]
    assert not set(sealed) & set(wrapped(store))
    assert np.array_equal(rows(store), before)
    with pytest.raises(ProtectionError, match="does not open"):
        Store.open(place, old)
    again = Store.open(place)  # finds the file that was made
    assert np.array_equal(rows(again), before)
    [receipt] = erase(again, "default", "person-1").receipts
    verify_receipt(receipt, store.info.public_key)
    again.close()
    store.close()


def test_the_old_wrappings_leave_the_file(tmp_path: Path) -> None:
    store = filled(tmp_path / "a.db", 50)
    sealed = wrapped(store)
    assert rotate_key(store).scrubbed
    content = b"".join(one.read_bytes() for one in tmp_path.glob("a.db*") if one.is_file())
    assert not [one for one in sealed if one in content]
    assert all(one in content for one in wrapped(store))
    store.close()


def test_who_has_it_open_is_refused(place: str | Path) -> None:
    store, other = filled(place), Store.open(place)
    rotate_key(store)
    before = store.head()
    with pytest.raises(ProtectionError, match="open it again"), other.writing() as write:
        write.append("rebuild", 1)
    with pytest.raises(ProtectionError), other.reading() as connection:
        collections.get(other, connection, "default")
    assert store.head() == before
    other.close()
    store.close()


def test_a_rotation_that_fails_changes_nothing(place: str | Path) -> None:
    store = filled(place)
    sealed = wrapped(store)

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate_key(store, progress=stop)
    assert wrapped(store) == sealed
    assert list(default_key_path("x").parent.glob("*.key")) == [default_key_path(store.info.uuid)]
    Store.open(place).close()
    store.close()


def test_key_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path / "a.db")
    first = default_key_path(store.info.uuid)
    done = rotate_key(store)
    assert first.exists() and done.path == default_key_path(store.info.uuid, store.key.id)
    done = rotate_key(store, remove_old=True)
    assert done.removed and not done.removed.exists() and first.exists()
    (tmp_path / "new.key").write_text(KeyEncryptionKey.generate().encoded)
    (tmp_path / "new.key").chmod(0o600)
    spec = f"file:{tmp_path / 'new.key'}"
    assert rotate_key(store, spec).path is None
    with pytest.raises(VultusError, match="already"):
        rotate_key(store, spec)
    monkeypatch.setenv("VULTUS_GALLERY_KEY", spec)
    with pytest.raises(VultusError, match="VULTUS_GALLERY_KEY"):
        rotate_key(store)
    Store.open(tmp_path / "a.db").close()
    store.close()


def test_killed_at_any_point_it_opens_with_one_of_the_keys(tmp_path: Path) -> None:
    """Ten processes rotate and are killed; what is left opens with a key that lies in the folder."""
    store = filled(tmp_path / "a.db", 200)
    before, ids = rows(store), {store.info.key_id}
    store.close()
    program = (
        "import sys, os\n"
        "from vultus.gallery.store import Store\n"
        "from vultus.gallery.custody.rekey import rotate_key\n"
        "store = Store.open(sys.argv[1])\n"
        "print('go', flush=True)\n"
        "while True: rotate_key(store)\n"
    )
    rng = np.random.default_rng(0)
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "a.db")], stdout=subprocess.PIPE, env=os.environ
        )
        assert child.stdout and child.stdout.readline() == b"go\n"
        try:
            child.wait(rng.uniform(0.1, 0.8))
        except subprocess.TimeoutExpired:
            child.kill()
        child.wait()
        child.stdout.close()
        store = Store.open(tmp_path / "a.db")
        assert np.array_equal(rows(store), before)
        ids.add(store.info.key_id)
        store.close()
    assert len(ids) > 1
