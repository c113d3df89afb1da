"""A write that is repeated under the same key is answered, not done again."""

from __future__ import annotations

import pytest

from vultus.errors import VultusError
from vultus.gallery.store import persons
from vultus.gallery.store.idempotency import remember, remembered
from vultus.gallery.store.schema import writes

from .people import enrol, enrol_in, new_collection

RESULT = {"person": "ada", "templates": 2, "skipped": [{"image": "ü.jpg", "reason": None}], "score": 0.1}


def test_an_answer_is_remembered(store, collection):
    with store.writing() as write:
        assert remembered(write.connection, collection, "key 1", "a" * 64) is None
        person, _ = enrol_in(store, write, collection, "ada", 2)
        remember(write, collection, person, "key 1", "a" * 64, RESULT)
    other = new_collection(store, "other")
    with store.reading() as connection:
        assert remembered(connection, collection, "key 1", "a" * 64) == RESULT
        assert remembered(connection, collection, "key 2", "a" * 64) is None
        assert remembered(connection, other, "key 1", "a" * 64) is None
        with pytest.raises(VultusError, match="'key 1' was used for another request in collection 'people'"):
            remembered(connection, collection, "key 1", "b" * 64)


def test_what_failed_is_not_remembered(store, collection):
    with pytest.raises(ZeroDivisionError), store.writing() as write:
        person, _ = enrol_in(store, write, collection, "ada", 2)
        remember(write, collection, person, "key 1", "a", RESULT)
        raise ZeroDivisionError
    with store.reading() as connection:
        assert remembered(connection, collection, "key 1", "a") is None


def test_an_erased_person_is_forgotten_in_answers_too(store, collection):
    person, _ = enrol(store, collection, "ada")
    with store.writing() as write:
        remember(write, collection, person, "key 1", "a", RESULT)
    with store.writing() as write:
        persons.remove(write, collection, person)
    with store.reading() as connection:
        assert connection.execute(writes.select()).all() == []


def test_odd_keys_are_refused(store, collection):
    person, _ = enrol(store, collection, "ada")
    for key in ("", "a\nb", "a\0b", "x" * 201, "x" * 10_000, None, 7):
        with pytest.raises(VultusError, match="client key"), store.reading() as connection:
            remembered(connection, collection, key, "a")
        with pytest.raises(VultusError, match="client key"), store.writing() as write:
            remember(write, collection, person, key, "a", RESULT)
