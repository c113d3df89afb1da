"""A small gallery of invented people, searched in an engine and in the process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus.gallery.engines import EngineFollower, EngineLive
from vultus.gallery.index import Table, View
from vultus.gallery.settings import Settings
from vultus.gallery.store import Collection, Sample, Store, collections, follow, persons, templates

DIM = 64


def units(count: int, seed: int, dim: int = DIM) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


class People:
    """A gallery whose people are numbers, each with templates near a direction of their own."""

    def __init__(self, place, uri: str) -> None:
        self.store = Store.create(place)
        with self.store.writing() as write:
            self.collection = collections.create(self.store, write, "staff", "m", "contract-a", DIM, Settings.parse({}))
        self.address = f"milvus:{uri}"
        self.live = EngineLive(self.store, self.collection, self.address)

    def enrol(self, numbers: Sequence[int], each: int = 2) -> None:
        with self.store.writing() as write:
            for number in numbers:
                person = persons.find(write.connection, self.collection, f"p{number}")
                if person is None:
                    person, key = persons.add(self.store, write, self.collection, f"p{number}")
                else:
                    key = persons.key_of(self.store, write.connection, person)
                rows = units(1, number) + 0.8 * units(each, 1000 * number + write.head)
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
                templates.add(write, self.collection, person, key, [Sample(row) for row in rows])
                write.audit("enrol", self.collection.uuid, key.pseudonym, {})

    def person(self, number: int) -> persons.Person:
        with self.store.reading() as connection:
            return persons.require(self.store, connection, self.collection, f"p{number}")

    def erase(self, number: int) -> None:
        person = self.person(number)
        with self.store.writing() as write:
            persons.remove(write, self.collection, person)

    def set_status(self, number: int, status: str) -> None:
        person = self.person(number)
        with self.store.writing() as write:
            persons.set_status(write, self.collection, person, status)

    def follower(self, at_once: int = 7) -> EngineFollower:
        return EngineFollower(self.store, self.collection, self.address, at_once=at_once)

    def refreshed(self) -> Collection:
        with self.store.reading() as connection:
            return collections.refreshed(self.store, connection, self.collection)

    def here(self) -> View:
        """The index in the process."""
        collection = self.refreshed()
        with self.store.reading() as connection:
            delta = follow(self.store, connection, collection, None)
        table = Table(collection.dim)
        table.apply(delta)
        return table.view()

    def agrees(self) -> None:
        current, here = self.live.current(patience=0), self.here()
        view, collection = current.view, current.collection
        assert (view.dim, view.position, len(view)) == (here.dim, here.position, len(here)) and len(view)
        probes = collection.rotation.apply(units(5, 77, collection.dim))
        for k, fusion in ((3, 1), (2, 2), (500, 1)):
            assert view.search(probes, k, fusion=fusion) == here.search(probes, k, fusion=fusion)
        some = np.array([self.person(number).id for number in (2, 3)] + [9999])
        assert view.search(probes, 3, among=some) == here.search(probes, 3, among=some)
        assert view.count(some) == here.count(some) > 0
        assert view.search(probes[:1], 3, among=np.empty(0, np.int64)) == [[]]
