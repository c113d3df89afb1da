"""Moving a collection to another model: new templates beside the old ones, and then all at once."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, exists, func, select

from vultus.errors import ContractError, VultusError
from vultus.faces import Face
from vultus.gallery.reference import Embedder, reference_of
from vultus.gallery.store import Collection, Sample, Store, check_embeddings, collections, persons, templates
from vultus.gallery.store.collections import destroy_snapshot_key, rotation_bound
from vultus.gallery.store.schema import collections as collection_rows
from vultus.gallery.store.schema import crops
from vultus.gallery.store.schema import persons as person_rows
from vultus.gallery.store.schema import templates as template_rows

AT_ONCE = 32
"""Persons whose crops are embedded together."""

Progress = Callable[[int, int], None]
"""Told (persons done, persons in all)."""


@dataclass(frozen=True)
class Reembedding:
    """How far a change of model has got."""

    model: str
    contract_id: str
    persons: int
    """In the collection."""
    ready: int
    """With at least one template of the new model."""
    templates: int
    """Of the new model."""
    missing: tuple[str, ...]
    """Ids of people without one: they must be enrolled again, from new photographs."""


def begin(store: Store, name: str, recognizer: Embedder, reference: str | None = None) -> Collection:
    """Say which model comes next; where that was said before, go on. The templates in use stay in use.

    Raises VultusError where the collection has this model already or is on its way to another one.
    """
    contract = recognizer.contract
    with store.writing() as write:
        collection = collections.get(store, write.connection, name)
        if contract.id == collection.contract_id:
            raise VultusError(
                f"collection {name!r} is of model {collection.model!r} already; give the model to move to"
            )
        if collection.next_contract_id not in (None, contract.id):
            raise VultusError(
                f"collection {name!r} is being moved to {collection.next_model!r}; finish that, or abandon it first"
            )
        if collection.next_contract_id is None:
            key = store.key.wrap(os.urandom(32), rotation_bound(collection.uuid))
            values = {
                "next_model": reference or reference_of(recognizer),
                "next_contract_id": contract.id,
                "next_dim": contract.dim,
                "next_rotation_key": key,
            }
            write.update(collection_rows, collection_rows.c.id == collection.id, **values)
            write.audit("reembedding_begun", collection.uuid, None, {"contract": contract.id})
        return collections.get(store, write.connection, name)


def from_crops(store: Store, name: str, recognizer: Embedder, progress: Progress | None = None) -> Reembedding:
    """After `begin`: new templates of everybody whose crops were kept. Interrupted, it goes on where it was."""
    after, done = 0, 0
    while True:
        with store.reading() as connection:
            collection = collections.get(store, connection, name)
            total = connection.execute(_count(collection)).scalar_one()
            batch = _people_with_crops(connection, collection, after)
            work = [(person, _pending(store, connection, collection, person)) for person in batch]
        if not batch:
            break
        faces = [_face(png) for _, pngs in work for png in pngs]
        rows = iter(recognizer.embed(faces) if faces else ())
        pixels = iter(faces)
        for person, pngs in work:
            samples = [_sample(next(rows), next(pixels)) for _ in pngs]
            _store(store, name, person.external_id, recognizer, samples)
        after, done = batch[-1].id, done + len(batch)
        if progress is not None:
            progress(done, total)
    return state(store, name)


def from_samples(store: Store, name: str, external_id: str, recognizer: Embedder, samples: Sequence[Sample]) -> int:
    """After `begin`: new templates of somebody from new photographs; how many were new."""
    check_embeddings([sample.embedding for sample in samples], recognizer.contract.dim)
    with store.reading() as connection:
        persons.require(store, connection, collections.get(store, connection, name), external_id)
    return _store(store, name, external_id, recognizer, samples)


def state(store: Store, name: str) -> Reembedding:
    """How far it has got. VultusError where no change of model is under way."""
    with store.reading() as connection:
        return _state(connection, collections.get(store, connection, name))


def cut_over(store: Store, name: str, *, leave_behind: bool = False, contract_id: str | None = None) -> Reembedding:
    """Search the new templates from now on, and delete the old ones; in one transaction.

    Every process follows with its next search. Raises VultusError while somebody has no new template, unless they may
    be left behind: they stay enrolled, are found by nobody, and must be enrolled again; and where the move was given up
    meanwhile, or is now to another model than that of `contract_id`.
    """
    with store.writing() as write:
        collection = collections.get(store, write.connection, name)
        before = _state(write.connection, collection, contract_id)
        missing = before.missing
        if missing and not leave_behind:
            raise VultusError(
                f"{len(missing)} of {before.persons} people have no template of {before.model!r}, the first "
                f"{missing[0]!r}; enrol them again from new photographs, or leave them behind"
            )
        if not before.templates:
            raise VultusError(f"nobody has a template of {before.model!r} yet; embed the kept crops or new photographs")
        write.delete(
            template_rows,
            template_rows.c.collection_id == collection.id,
            template_rows.c.contract_id != before.contract_id,
        )
        values = {
            "model": collection.next_model,
            "contract_id": collection.next_contract_id,
            "dim": collection.next_dim,
            "sealed_rotation_key": store.key.wrap(collection.next_rotation_key or b"", rotation_bound(collection.uuid)),
            "calibration_digest": None,  # the new model's is bound with its first decision
            **_nothing_next(),
        }
        write.update(collection_rows, collection_rows.c.id == collection.id, **values)
        destroy_snapshot_key(write, collection.id)
        write.append("rebuild", collection.id)
        write.announce(collection.id)
        write.own(scrub_pending=True)
        details = {"contract": before.contract_id, "templates": before.templates, "left_behind": len(missing)}
        write.audit("cut_over", collection.uuid, None, details)
    store.scrub()
    return before


def abandon(store: Store, name: str, *, contract_id: str | None = None) -> None:
    """Give the change of model up; the new templates are deleted, the old ones stay in use.

    VultusError where none is under way, or one to another model than that of `contract_id`.
    """
    with store.writing() as write:
        collection = collections.get(store, write.connection, name)
        _check_move(collection, contract_id)
        write.delete(template_rows, _of_next(collection))
        write.update(collection_rows, collection_rows.c.id == collection.id, **_nothing_next())
        write.own(scrub_pending=True)
        write.audit("reembedding_abandoned", collection.uuid, None, {"contract": collection.next_contract_id})
    store.scrub()


def _check_move(collection: Collection, contract_id: str | None) -> tuple[str, str]:
    """The model that it is being moved to, and its contract: that of `contract_id`, where one is given."""
    if collection.next_model is None or collection.next_contract_id is None:
        raise VultusError(f"collection {collection.name!r} is not being moved to another model")
    if contract_id not in (None, collection.next_contract_id):
        raise VultusError(
            f"collection {collection.name!r} is now being moved to {collection.next_model!r}, not to the model of "
            f"contract {contract_id}; begin again"
        )
    return collection.next_model, collection.next_contract_id


def _state(connection: Connection, collection: Collection, contract_id: str | None = None) -> Reembedding:
    model, contract = _check_move(collection, contract_id)
    missing = tuple(connection.execute(_without(collection)).scalars())
    total = connection.execute(_count(collection)).scalar_one()
    made = select(func.count()).select_from(template_rows).where(_of_next(collection))
    return Reembedding(model, contract, total, total - len(missing), connection.execute(made).scalar_one(), missing)


def _nothing_next() -> dict[str, None]:
    return dict.fromkeys(("next_model", "next_contract_id", "next_dim", "next_rotation_key"))


def _store(store: Store, name: str, external_id: str, recognizer: Embedder, samples: Sequence[Sample]) -> int:
    if not samples:
        return 0
    with store.writing() as write:
        collection = collections.get(store, write.connection, name)
        successor = collection.successor
        if successor is None or successor.contract_id != recognizer.contract.id:
            raise ContractError(f"collection {name!r} is no longer being moved to {recognizer.name!r}")
        person = persons.find(write.connection, collection, external_id)
        if person is None:  # erased meanwhile
            return 0
        key = persons.key_of(store, write.connection, person)
        made = templates.add(
            write,
            collection,
            person,
            key,
            samples,
            rotation=successor.rotation,
            contract_id=successor.contract_id,
            announce=False,
        )
        new = sum(one is not None for one in made)
        write.audit("reembedded", collection.uuid, key.pseudonym, {"templates": new})
        return new


def _people_with_crops(connection: Connection, collection: Collection, after: int) -> list[persons.Person]:
    query = (
        select(person_rows.c.id)
        .where(person_rows.c.collection_id == collection.id, person_rows.c.id > after)
        .where(exists().where(crops.c.person_id == person_rows.c.id))
        .order_by(person_rows.c.id)
        .limit(AT_ONCE)
    )
    ids = list(connection.execute(query).scalars())
    found = persons.by_id(connection, ids)
    return [found[i] for i in ids]


def _pending(store: Store, connection: Connection, collection: Collection, person: persons.Person) -> list[bytes]:
    """The crops that no new template was made of yet."""
    made = select(template_rows.c.source_digest).where(template_rows.c.person_id == person.id, _of_next(collection))
    known = set(connection.execute(made).scalars())
    key = persons.key_of(store, connection, person)
    return [png for digest, png in templates.crops_of(connection, person, key) if digest not in known]


def _of_next(collection: Collection):
    return (template_rows.c.collection_id == collection.id) & (
        template_rows.c.contract_id == collection.next_contract_id
    )


def _without(collection: Collection):
    has = exists().where(template_rows.c.person_id == person_rows.c.id, _of_next(collection))
    return (
        select(person_rows.c.external_id)
        .where(person_rows.c.collection_id == collection.id, ~has)
        .order_by(person_rows.c.external_id)
    )


def _count(collection: Collection):
    return select(func.count()).select_from(person_rows).where(person_rows.c.collection_id == collection.id)


def _face(png: bytes) -> Face:
    from PIL import Image

    crop = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    height, width = crop.shape[:2]
    return Face(np.array([0, 0, width, height], np.float32), np.zeros((5, 2), np.float32), 1.0, crop)


def _sample(row: np.ndarray, face: Face) -> Sample:
    assert face.crop is not None
    return Sample(row, source=np.ascontiguousarray(face.crop).tobytes(), provenance={"from": "kept crop"})
