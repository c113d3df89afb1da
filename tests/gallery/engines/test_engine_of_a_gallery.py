"""Milvus as the index of a gallery in SQLite and in PostgreSQL: fed by its follower, searched beside the index here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from vultus.errors import ContractError, VultusError
from vultus.gallery.engines import EngineLive, MilvusEngine, positions
from vultus.gallery.engines.mark import rows_name
from vultus.gallery.store import Sample, Store, collections, persons, templates
from vultus.gallery.store.schema import collections as collection_rows
from vultus.gallery.store.schema import templates as template_rows

from .people import DIM, People, units


@pytest.fixture
def people(place, milvus) -> Iterator[People]:
    made = People(place, milvus.uri)
    yield made
    made.live.close()
    client = MilvusEngine(milvus.uri, "vultus_tidy", DIM)
    client.drop_others(f"vultus_{made.collection.uuid.replace('-', '')}")
    client.drop()
    client.close()
    made.store.close()


def test_it_searches_like_the_index_in_the_process(people) -> None:
    people.enrol(range(20))
    with pytest.raises(VultusError, match="start its follower"):
        people.live.current(patience=0)
    with people.follower() as follower:
        assert follower.catch_up() == people.store.head()
        people.agrees()
        reached, at = positions(people.store, people.collection)[people.address]
        assert reached == people.store.head() and at

        # What the engine has not heard of is waited for, or said.
        people.enrol([2, 30], each=3)
        with pytest.raises(VultusError, match=f"got to {reached} of the change sequence, not yet to"):
            people.live.current(patience=0)
        assert positions(people.store, people.collection)[people.address][0] == reached
        follower.catch_up()
        people.agrees()
        with pytest.raises(VultusError, match="not yet to"):
            people.live.current(at_least=people.store.head() + 1, patience=0)

        # Who was erased, or whose consent is withdrawn, is found no more, also by a view taken before.
        before = people.live.current(patience=0)
        probes = before.collection.rotation.apply(units(6, 5))
        first = people.person(5)
        probe = before.collection.rotation.apply(units(1, 5))
        assert before.view.search(probe, 1)[0][0].person_id == first.id
        people.erase(5)
        people.set_status(6, "suspended")
        gone = {first.id, people.person(6).id}
        assert not gone & {hit.person_id for hits in before.view.search(probes, 500) for hit in hits}
        follower.catch_up()
        people.agrees()
        people.set_status(6, "active")
        follower.catch_up()
        people.agrees()

        bad = probes.copy()
        bad[0, 0] = np.nan
        for wrong in (bad, 2 * probes, probes[:, :8]):
            with pytest.raises(ContractError):
                before.view.search(wrong, 1)


@pytest.mark.slow
def test_a_follower_keeps_up_until_it_is_told_to_stop(people) -> None:
    stop = threading.Event()
    with people.follower() as follower:
        thread = threading.Thread(target=follower.keep_up, args=(stop,), kwargs={"compact_s": 0})
        thread.start()
        try:
            for number in range(3, 6):
                people.enrol(range(number))
                assert people.live.current(at_least=people.store.head(), patience=60).view.position
            people.erase(4)
            assert len(people.live.current(patience=60).view) == len(people.here())
        finally:
            stop.set()
            thread.join(60)
        assert not thread.is_alive()
    people.agrees()


@pytest.mark.slow
def test_another_model_gets_rows_of_its_own(people, milvus) -> None:
    people.enrol(range(8))
    with people.follower() as follower:
        follower.catch_up()
        people.agrees()
        before = people.live.current(patience=0)
        old = rows_name(before.collection)
        cut_over(people, dim=32)
        # A view of the model before does not pass for one of the model now.
        with pytest.raises(VultusError, match="moved to another model"):
            before.view.search(before.collection.rotation.apply(units(1, 3)), 3)
        with pytest.raises(VultusError, match="start its follower"):
            people.live.current(patience=0)
        follower.catch_up()
        assert people.live.current(patience=0).view.dim == 32
        people.agrees()
        names = follower._opened()._client.list_collections()
        assert old not in names and rows_name(people.refreshed()) in names


def cut_over(people: People, dim: int) -> None:
    """As custody does it: new templates for everybody, said in the change sequence behind the word that all is new."""
    collection, store = people.collection, people.store
    with store.writing() as write:
        values = {"contract_id": "contract-b", "dim": dim}
        write.update(collection_rows, collection_rows.c.id == collection.id, **values)
        write.delete(template_rows, template_rows.c.collection_id == collection.id)
        write.append("rebuild", collection.id)
        moved = collections.refreshed(store, write.connection, collection)
        for info in persons.listed(write.connection, collection):
            person = persons.require(store, write.connection, collection, info.external_id)
            key = persons.key_of(store, write.connection, person)
            templates.add(write, moved, person, key, [Sample(units(1, person.id, dim)[0])])


@pytest.mark.slow
def test_a_restored_backup_is_not_taken_for_the_same_past(tmp_path, milvus) -> None:
    people = People(tmp_path / "people.db", milvus.uri)
    people.enrol(range(6))
    people.store.close()
    backup = (tmp_path / "people.db").read_bytes()
    people.store = Store.open(tmp_path / "people.db")
    people.enrol([6], each=1)
    with people.follower(at_once=1000) as follower:
        follower.catch_up()
    head = people.store.head()
    people.store.close()
    (tmp_path / "people.db").write_bytes(backup)
    people.store = Store.open(tmp_path / "people.db")
    people.live = EngineLive(people.store, people.collection, people.address)
    people.enrol([7], each=1)
    # The same numbers, kind and ids, and if it is quick the same second, of somebody else.
    assert people.store.head() == head
    with pytest.raises(VultusError, match="start its follower"):
        people.live.current(patience=0)
    with people.follower(at_once=1000) as follower:
        follower.catch_up()
        people.agrees()
        follower._opened().drop()
    people.store.close()


FOLLOW = """
import sys
from vultus.gallery.engines import EngineFollower
from vultus.gallery.store import Store, collections
store = Store.open(sys.argv[1])
with store.reading() as connection:
    collection = collections.get(store, connection, "staff")
with EngineFollower(store, collection, sys.argv[2], at_once=2) as follower:
    follower.catch_up(told=lambda position: print(position, flush=True))
"""


@pytest.mark.slow
def test_a_killed_follower_goes_on_where_it_was(people, place) -> None:
    people.enrol(range(40))
    reached = []
    for rows in (1, 3, 8):
        words = [sys.executable, "-c", FOLLOW, str(place), people.address]
        with subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        ) as it:
            assert it.stdout
            told = [int(it.stdout.readline()) for _ in range(rows)]
            it.send_signal(signal.SIGKILL)
        reached.append(told[-1])
        if len(reached) > 1:
            assert told[0] > reached[-2]  # not from the beginning
    end = time.monotonic() + 10
    while True:  # the server takes a moment to see that the session that had the lock is gone
        try:
            with people.follower(at_once=1000) as follower:
                follower.catch_up()
            break
        except VultusError:
            assert time.monotonic() < end
            time.sleep(0.1)
    people.agrees()
