"""A gallery with a few people of random embeddings, on either database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from vultus.gallery.audit import Entry, verify
from vultus.gallery.settings import Settings
from vultus.gallery.store import Collection, Person, Sample, Store, collections, persons, templates
from vultus.gallery.store.schema import audit, gallery

DIM = 32


class People:
    """A store with one collection, "staff"."""

    def __init__(self, place: str | Path, **settings) -> None:
        self.place = place
        self.store = Store.create(place)
        with self.store.writing() as write:
            parsed = Settings.parse(settings)
            collections.create(self.store, write, "staff", "model", "contract-1", DIM, parsed)

    def add(self, external_id: str, count: int = 1, seed: int = 0, **described) -> np.ndarray:
        """Enrol somebody new with `count` templates and crops; their embeddings."""
        rows = np.random.default_rng([seed, *external_id.encode()]).normal(size=(count, DIM)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        with self.store.writing() as write:
            bound = collections.get(self.store, write.connection, "staff")
            person, key = persons.add(self.store, write, bound, external_id, **described)
            samples = [Sample(row, row.tobytes(), b"\x89PNG " + row.tobytes(), provenance={"n": 1}) for row in rows]
            templates.add(write, bound, person, key, samples)
        return rows

    def configure(self, **changes) -> None:
        with self.store.writing() as write:
            bound = collections.get(self.store, write.connection, "staff")
            collections.set_settings(write, bound, bound.settings.changed(changes))

    @property
    def collection(self) -> Collection:
        with self.store.reading() as connection:
            return collections.get(self.store, connection, "staff")

    def find(self, external_id: str) -> Person | None:
        with self.store.reading() as connection:
            return persons.find(connection, self.collection, external_id)

    def pseudonym(self, external_id: str) -> str:
        with self.store.reading() as connection:
            person = persons.require(self.store, connection, self.collection, external_id)
            return persons.key_of(self.store, connection, person).pseudonym

    def log(self) -> list[Entry]:
        """The audit log, which must be whole."""
        import json

        with self.store.reading() as connection:
            rows = connection.execute(select(audit).order_by(audit.c.seq)).all()
            head = connection.execute(select(gallery)).one()
        entries = [Entry(**{**row._mapping, "details": json.loads(row.details)}) for row in rows]
        assert verify(self.store.audit_key, entries, head.audit_seq, head.audit_mac) == []
        return entries


@pytest.fixture
def new_people(new_place) -> Iterator[Callable[..., People]]:
    made: list[People] = []

    def make(**settings) -> People:
        made.append(People(new_place(), **settings))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


@pytest.fixture
def people(new_people) -> People:
    return new_people()
