"""Whoever has a gallery open while its key is rotated is told so, and not that it is damaged."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.gallery.custody.rekey import rotate_key
from vultus.gallery.protection import KeyEncryptionKey, ProtectionError
from vultus.gallery.settings import Settings
from vultus.gallery.store import Sample, Store, collections, follow, persons, store, templates
from vultus.gallery.store.persons import Person


@pytest.fixture
def opened(place):
    """One store that rotates, and another that has the gallery open meanwhile, with what it read before."""
    key = KeyEncryptionKey.generate()
    first = Store.create(place, key)
    with first.writing() as write:
        bound = collections.create(first, write, "default", "m", "c-1", 32, Settings.parse({"purpose": "door"}))
        person, data_key = persons.add(first, write, bound, "ada", "Ada", {})
        templates.add(write, bound, person, data_key, [Sample(np.eye(1, 32, dtype=np.float32)[0])])
    other = Store.open(place, key)
    yield first, other, bound, person
    first.close()
    other.close()


def read_a_collection(other: Store, bound, person: Person) -> None:
    with other.reading() as connection:
        collections.get(other, connection, "default")


def open_a_key(other: Store, bound, person: Person) -> None:
    with other.reading() as connection:
        persons.key_of(other, connection, person)


def follow_the_changes(other: Store, bound, person: Person) -> None:
    with other.reading() as connection:
        follow(other, connection, bound, 0)


def write_something(other: Store, bound, person: Person) -> None:
    with other.writing() as write:
        persons.describe(write, person, "Ada L.", None)


@pytest.mark.parametrize("use", [read_a_collection, open_a_key, follow_the_changes, write_something])
def test_others_are_told_of_the_new_key(opened, use):
    first, other, bound, person = opened
    use(other, bound, person)
    new = KeyEncryptionKey.generate()
    assert rotate_key(first, new).new_id == new.id
    with pytest.raises(ProtectionError) as told:
        use(other, bound, person)
    assert told.value.code == "key_rotated" and told.value.fields["key"] == new.id
    use(first, bound, person)
    assert first.signing_key.public == first.info.public_key


def test_whoever_opens_during_a_rotation_finds_the_new_key(place, tmp_path, monkeypatch):
    """The row is read before the rotation, and the old key's file is deleted by it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("VULTUS_GALLERY_KEY", raising=False)
    first = Store.create(place)
    load, done = store.load_key, []

    def rotated_meanwhile(*given):
        if not done:
            done.append(rotate_key(first, remove_old=True))
        return load(*given)

    monkeypatch.setattr(store, "load_key", rotated_meanwhile)
    late = Store.open(place)
    assert late.info.key_id == done[0].new_id
    late.close()
    first.close()


def test_a_rotation_whose_bytes_stay_is_done(place, monkeypatch):
    """The scrub's connection is lost: the rotation is told all the same, with what keeps the bytes."""

    def lost():
        raise VultusError("the line was cut", code="unreachable")

    key, new = KeyEncryptionKey.generate(), KeyEncryptionKey.generate()
    first = Store.create(place, key)
    with monkeypatch.context() as patched:
        patched.setattr(first.database, "scrub", lost)
        done = rotate_key(first, new)
    assert not done.scrubbed and done.unscrubbed is not None and done.unscrubbed.code == "unreachable"
    first.close()
    opened = Store.open(place, new)
    assert opened.unscrubbed is None
    opened.close()
    with pytest.raises(ProtectionError) as told:
        Store.open(place, key)
    assert told.value.code == "wrong_key"
