"""One write after the other: numbers in the order of commits, all of a write or nothing, from threads and processes."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from vultus.errors import VultusError
from vultus.gallery.store import Store, collections, log, persons, verification
from vultus.gallery.store.schema import audit, changes, erasures, gallery
from vultus.gallery.store.schema import persons as people

from .people import at_once, enrol, enrol_in


def sequence(store: Store) -> list[tuple[int, str, int]]:
    with store.reading() as connection:
        return [(row.seq, row.kind, row.person_id) for row in connection.execute(select(changes).order_by("seq"))]


def test_numbers_are_without_gaps_and_in_the_order_of_commits(place, store, collection):
    def write_many(writer: str) -> list[int]:
        own = Store.open(place)
        heads = []
        for i in range(6):
            with own.writing() as write:
                enrol_in(own, write, collection, f"{writer} {i}", 2)
                write.audit("enrolled", collection.uuid, None, {"writer": writer})
                heads.append(write.head)
            assert own.head() >= heads[-1]
        own.close()
        return heads

    def four_threads(process: str) -> list[int]:
        heads: list[int] = []
        threads = [
            threading.Thread(target=lambda name=f"{process} {t}": heads.extend(write_many(name))) for t in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return heads

    first, second = at_once(lambda: four_threads("a"), lambda: four_threads("b"))
    assert sorted(first + second) == [2 * i for i in range(1, 25)]
    told = sequence(store)
    assert [seq for seq, _, _ in told] == list(range(1, 49))
    ids = [person_id for _, _, person_id in told]
    assert ids == sorted(ids), "ids and numbers were given in the same order"
    assert store.head() == 48
    with store.reading() as connection:
        assert collections.counts(connection, collection) == (24, 48)
    assert verification.verify_gallery(store) == []


def test_threads_may_share_a_store(store, collection):
    failed: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for i in range(5):
                enrol(store, collection, f"{name} {i}")
                with store.reading() as connection:
                    assert persons.require(store, connection, collection, f"{name} {i}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(f"thread {t}",)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [seq for seq, _, _ in sequence(store)] == list(range(1, 21))


def test_a_write_that_fails_leaves_nothing(store, collection):
    enrol(store, collection, "kept")
    before, info = sequence(store), log.log_anchor(store)
    with pytest.raises(ZeroDivisionError), store.writing() as write:
        person, _ = enrol_in(store, write, collection, "never there", 3)
        write.audit("enrolled", collection.uuid, None)
        persons.set_status(write, collection, person, "suspended")
        raise ZeroDivisionError
    assert sequence(store) == before and log.log_anchor(store) == info
    with store.reading() as connection:
        assert persons.find(connection, collection, "never there") is None
        assert collections.counts(connection, collection) == (1, 1)
    enrol(store, collection, "later")
    assert [seq for seq, _, _ in sequence(store)] == [1, 2]


def test_what_is_written_is_not_seen_before_the_end(place, store, collection):
    other = Store.open(place)
    with store.writing() as write:
        enrol_in(store, write, collection, "someone")
        assert other.head() == 0
        with other.reading() as connection:
            assert persons.find(connection, collection, "someone") is None
    assert other.head() == 1
    other.close()


def test_a_reader_sees_one_state(place, store, collection):
    other = Store.open(place)
    with store.reading() as connection:
        assert collections.counts(connection, collection) == (0, 0)
        enrol(other, collection, "someone")
        assert collections.counts(connection, collection) == (0, 0)
        assert connection.execute(select(gallery.c.head)).scalar_one() == 0
    other.close()


def test_two_processes_enrolling_the_same_person(place, store, collection):
    def add() -> str:
        own = Store.open(place)
        with own.writing() as write:
            enrol_in(own, write, collection, "same person")
        own.close()
        return "done"

    told = sorted(at_once(add, add), key=len)
    assert told[0] == "done"
    assert told[1].startswith("VultusError: 'same person' is enrolled in") and "\n" not in told[1]
    assert len(sequence(store)) == 1
    with store.reading() as connection:
        assert collections.counts(connection, collection) == (1, 1)


def test_ids_are_not_used_twice(store, collection):
    person, made = enrol(store, collection, "first", 2)
    with store.writing() as write:
        persons.remove(write, collection, person)
    again, later = enrol(store, collection, "first", 2)
    assert again.id > person.id and min(later) > max(made) and again.uuid != person.uuid


def test_a_clock_that_jumps_back_cannot_reorder_the_log(store, collection):
    later = "2999-01-01T00:00:00+00:00"
    with store.writing() as write:
        write.now = later  # as if the clock had been there
        write.audit("enrolled", collection.uuid, None)
    person, _ = enrol(store, collection, "someone")
    with store.writing() as write:
        write.audit("enrolled", collection.uuid, None)
    assert person.created == later
    with store.reading() as connection:
        times = [entry.at for entry in log.entries(connection)]
        assert times == sorted(times) and times[-1] == later
    assert verification.verify_gallery(store) == []


def test_what_was_logged_can_be_added_to_only(store, collection):
    enrol(store, collection, "someone")
    with store.writing() as write:
        values = {"person_uuid": "u", "at": write.now, "receipt": "{}"}
        write.insert(erasures, **values)
    for table in (audit, changes, erasures):
        statements = [update(table).values(at="2000-01-01T00:00:00+00:00"), delete(table)]
        if store.database.dialect == "postgresql":
            statements.append(text(f"TRUNCATE {table.name}"))
        for statement in statements:
            with pytest.raises(VultusError, match=f"{table.name} is append-only"), store.writing() as write:
                write.connection.execute(statement)


def test_the_tables_refuse_what_makes_no_sense(store, collection):
    person, _ = enrol(store, collection, "someone")
    for statement in (
        insert(gallery).from_select(list(gallery.c.keys()), select(gallery)),
        update(people).values(status="unknown").where(people.c.id == person.id),
        insert(changes).values(seq=99, collection_id=1, kind="guess", at=""),
    ):
        with pytest.raises(VultusError), store.writing() as write:
            write.connection.execute(statement)
    with store.database.writing() as connection, pytest.raises(DBAPIError), connection.begin():
        connection.execute(update(people).values(collection_id=77))
        connection.commit()
