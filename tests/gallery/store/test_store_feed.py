"""Who follows the change sequence has what the truth has, in whatever steps."""

from __future__ import annotations

import random

import numpy as np
import pytest

from vultus.gallery.delta import Delta
from vultus.gallery.index import Table
from vultus.gallery.store import Collection, Store, collections, follow, persons, templates
from vultus.gallery.store.schema import collections as collection_table

from .people import DIM, enrol, enrol_in, new_collection


def everything(table: Table) -> dict[int, tuple[int, bytes]]:
    """template id -> (person id, row)."""
    return {
        int(template): (int(person), row.tobytes())
        for part in table.view().parts
        for template, person, row in zip(part.template_ids, part.person_ids, part.rows, strict=True)
    }


def ask(store: Store, collection: Collection, position: int | None, limit: int | None = None) -> Delta:
    with store.reading() as connection:
        collection = collections.refreshed(store, connection, collection)
        return follow(store, connection, collection, position, limit)


def catch_up(store: Store, collection: Collection, table: Table, position: int | None, limit: int | None) -> None:
    """Follow to the end in steps of at most `limit` changes."""
    for _ in range(1000):
        delta = ask(store, collection, position, limit)
        if limit is not None and not delta.rebuild:
            assert len(delta.removed_templates) + len(delta.removed_persons) <= limit
        table.apply(delta)
        if delta.position == position:
            return
        position = delta.position
    raise AssertionError("it does not come to an end")


def test_a_delta_tells_what_happened(store, collection):
    ada, first = enrol(store, collection, "ada", 2)
    other = new_collection(store, "other")
    enrol(store, other, "somebody else", 2)
    bob, second = enrol(store, collection, "bob", 1)
    whole = ask(store, collection, None)
    assert whole.rebuild and whole.position == store.head() == 5
    assert whole.template_ids.tolist() == [*first, *second] and whole.person_ids.tolist() == [ada.id, ada.id, bob.id]
    assert whole.embeddings.dtype == np.float32 and whole.embeddings.shape == (3, DIM)
    with store.writing() as write:
        templates.remove(write, collection, ada, first[0])
        persons.remove(write, collection, bob)
        eve, third = enrol_in(store, write, collection, "eve", 1)
    delta = ask(store, collection, 5)
    assert (delta.rebuild, delta.position) == (False, 8)
    assert delta.template_ids.tolist() == third and delta.person_ids.tolist() == [eve.id]
    assert delta.removed_templates.tolist() == [first[0]] and delta.removed_persons.tolist() == [bob.id]
    nothing = ask(store, collection, 8)
    assert (nothing.rebuild, nothing.position, len(nothing.template_ids)) == (False, 8, 0)
    assert nothing.embeddings.shape == (0, DIM)


def test_who_is_suspended_is_not_searched_until_resumed(store, collection):
    ada, made = enrol(store, collection, "ada", 2)
    with store.writing() as write:
        persons.set_status(write, collection, ada, "suspended")
    assert ask(store, collection, 2).removed_persons.tolist() == [ada.id]
    assert len(ask(store, collection, None).template_ids) == 0
    with store.writing() as write:
        ada = persons.require(store, write.connection, collection, "ada")
        persons.set_status(write, collection, ada, "active")
    back = ask(store, collection, 3)
    assert back.template_ids.tolist() == made and back.removed_persons.tolist() == [ada.id]


def test_a_position_ahead_of_a_restored_database_means_all_of_it(store, collection):
    enrol(store, collection, "ada", 2)
    for limit in (None, 10):
        assert ask(store, collection, 99, limit).rebuild
    assert ask(store, collection, 99).position == 2


class History:
    """Random writes to a collection."""

    def __init__(self, store: Store, collection: Collection, seed: int) -> None:
        self.store, self.collection = store, collection
        self.random = random.Random(seed)
        self.number = 0

    def step(self) -> None:
        """One transaction of one to three changes."""
        with self.store.writing() as write:
            self.collection = collections.refreshed(self.store, write.connection, self.collection)
            for _ in range(self.random.randint(1, 3)):
                known = [one.external_id for one in persons.listed(write.connection, self.collection)]
                kinds = ["add", "add", "more", "remove", "erase", "suspend", "resume", "rebuild"]
                kind = self.random.choices(kinds, [3, 3, 2, 3, 2, 2, 2, 0.4])[0] if known else "add"
                if kind == "add":
                    self.number += 1
                    enrol_in(self.store, write, self.collection, f"p{self.number}", self.random.randint(0, 4))
                elif kind == "rebuild":
                    self.rebuild(write)
                    break
                else:
                    self.change(kind, write, self.random.choice(known))

    def change(self, kind, write, name) -> None:
        person = persons.require(self.store, write.connection, self.collection, name)
        if kind == "more":
            key = persons.key_of(self.store, write.connection, person)
            row = np.eye(DIM, dtype=np.float32)[self.random.randrange(DIM)]
            templates.add(write, self.collection, person, key, [templates.Sample(row)])
        elif kind == "remove":
            there = templates.of_person(write.connection, self.collection, person)
            if there:
                templates.remove(write, self.collection, person, self.random.choice(there).id)
        elif kind == "erase":
            persons.remove(write, self.collection, person)
        else:
            persons.set_status(write, self.collection, person, "suspended" if kind == "suspend" else "active")

    def rebuild(self, write) -> None:
        """A cut-over: some people have a template of the next model, the others must be enrolled again."""
        contract = f"vultus1-{self.random.randrange(10**9)}"
        for one in persons.listed(write.connection, self.collection):
            person = persons.require(self.store, write.connection, self.collection, one.external_id)
            if self.random.random() < 0.7:
                key = persons.key_of(self.store, write.connection, person)
                row = np.eye(DIM, dtype=np.float32)[self.random.randrange(DIM)]
                templates.add(write, self.collection, person, key, [templates.Sample(row)], contract_id=contract,
                              announce=False)  # fmt: skip
        mine = collection_table.c.id == self.collection.id
        write.update(collection_table, mine, contract_id=contract)
        write.append("rebuild", self.collection.id)
        write.announce(self.collection.id)


@pytest.mark.parametrize("seed", [0, 2])
def test_random_histories_followed_in_any_steps_give_what_a_rebuild_gives(store, collection, seed):
    history = History(store, collection, seed)
    eager, lazy, paged, stale = (Table(DIM, tail=6) for _ in range(4))
    position = late = None
    for step in range(30):
        history.step()
        delta = ask(store, collection, position)
        eager.apply(delta)
        position = delta.position
        truth = Table(DIM)
        truth.apply(ask(store, collection, None))
        assert everything(eager) == everything(truth), f"seed {seed}, step {step}"
        assert position == truth.position == store.head()
        if step % 7 == 3:
            catch_up(store, collection, lazy, lazy.position if step > 3 else None, 1 + step % 4)
            assert everything(lazy) == everything(truth), f"in steps, seed {seed}, step {step}"
        if step % 5 == 0:  # one that is never up to date: each step is told after more has happened
            delta = ask(store, collection, late, 3)
            stale.apply(delta)
            late = delta.position
    catch_up(store, collection, stale, late, 3)
    catch_up(store, collection, paged, None, 2)
    assert everything(stale) == everything(truth) == everything(paged)
    assert len(everything(truth)) > 3


def test_a_delta_applied_twice_gives_the_same(store, collection):
    history = History(store, collection, 7)
    table, deltas, position = Table(DIM), [], None
    for _ in range(15):
        history.step()
        deltas.append(ask(store, collection, position))
        position = deltas[-1].position
        table.apply(deltas[-1])
        before = everything(table)
        table.apply(deltas[-1])
        assert everything(table) == before
