"""Moving a collection to another model: new templates beside the old ones, and then all at once."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import Connection, func, select

from vultus.errors import ContractError, VultusError
from vultus.faces import Face
from vultus.gallery.protection import DataKey, ProtectionError
from vultus.gallery.reference import Embedder, reference_of
from vultus.gallery.store import Collection, Sample, Store, Write, check_embeddings, collections, persons, templates
from vultus.gallery.store.collections import destroy_snapshot_key, rotation_bound
from vultus.gallery.store.schema import collections as collection_rows
from vultus.gallery.store.schema import crops
from vultus.gallery.store.schema import persons as person_rows
from vultus.gallery.store.schema import templates as template_rows
from vultus.gallery.successors import (
    REPLACES,
    IncompleteError,
    Missing,
    beyond,
    last_in_use,
    missing_of,
    of_next,
    people_with_pending,
)

log = logging.getLogger(__name__)

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
    """Who would lose nothing by the cut-over."""
    templates: int
    """Of the new model."""
    missing: tuple[Missing, ...]
    """By external id: who would, and what. New photographs of them stand for templates without a kept crop."""


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
    """After `begin`: new templates of each kept crop that has none. Interrupted, it goes on where it was.

    A crop that does not open or is no picture is passed over with a warning in the log; `state` goes on to name it.
    """
    after, done = 0, 0
    with store.reading() as connection:
        total = len(people_with_pending(connection, collections.get(store, connection, name), 0, None))
    while True:
        with store.reading() as connection:
            collection = collections.get(store, connection, name)
            batch = people_with_pending(connection, collection, after, AT_ONCE)
            work = [(person, list(_pending(store, connection, collection, person))) for person in batch]
        if not batch:
            break
        faces = [face for _, theirs in work for face in theirs]
        rows = iter(recognizer.embed(faces) if faces else ())
        for person, theirs in work:
            samples = [_sample(next(rows), face) for face in theirs]
            _store_kept(store, name, person, recognizer, samples)
        after, done = batch[-1].id, done + len(batch)
        if progress is not None:
            progress(done, max(done, total))
    return state(store, name)


def replaceable(store: Store, name: str, external_id: str) -> int:
    """The last template that somebody has in use, to be asked before photographs that replace theirs are embedded; 0
    for none. VultusError for an unknown person.
    """
    with store.reading() as connection:
        collection = collections.get(store, connection, name)
        person = persons.require(store, connection, collection, external_id)
        return last_in_use(connection, collection, person)


def from_samples(
    store: Store,
    name: str,
    external_id: str,
    recognizer: Embedder,
    samples: Sequence[Sample],
    replaces: int | None = None,
) -> int:
    """After `begin`: new templates of somebody from new photographs; how many were new.

    They stand for the person's templates without a kept crop up to the number `replaces`, see `replaceable`; None: for
    all that there are by now. The same photographs given again stand for what there is then.
    """
    rows = check_embeddings([sample.embedding for sample in samples], recognizer.contract.dim)
    with store.reading() as connection:
        persons.require(store, connection, collections.get(store, connection, name), external_id)
    given = [replace(sample, embedding=row) for sample, row in zip(samples, rows, strict=True)]
    return _store_given(store, name, external_id, recognizer, given, replaces)


def state(store: Store, name: str) -> Reembedding:
    """How far it has got. VultusError where no change of model is under way."""
    with store.reading() as connection:
        return _state(connection, collections.get(store, connection, name))


def cut_over(
    store: Store, name: str, *, leave_behind: Sequence[Missing] = (), contract_id: str | None = None
) -> Reembedding:
    """Search the new templates from now on, and delete the old ones; in one transaction.

    Every process follows with its next search. What is named in `leave_behind`, as `state` told it, is given up: people
    who have nothing else stay enrolled, are found by nobody, and must be enrolled again.

    Raises IncompleteError where anything else has no successor, so also what was enrolled since `state` was asked; and
    VultusError where the move was given up meanwhile, or is now to another model than that of `contract_id`.
    """
    with store.writing() as write:
        collection = collections.get(store, write.connection, name)
        before = _state(write.connection, collection, contract_id)
        lost = beyond(before.missing, leave_behind)
        if lost:
            raise IncompleteError(
                f"{len(lost)} of {before.persons} people would lose templates or kept crops, the first "
                f"{lost[0].person!r}, because there is none of {before.model!r} in their place yet; enroll them again "
                "from new photographs, or leave them behind",
                lost,
            )
        if not before.templates:
            raise VultusError(
                f"nobody has a template of {before.model!r} yet; embed the kept crops or new photographs",
                code="move_empty",
            )
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
        left = sum(len(one.templates) for one in before.missing)
        details = {"contract": before.contract_id, "templates": before.templates, "left_behind": left}
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
        write.delete(template_rows, of_next(collection))
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
    missing = missing_of(connection, collection)
    total = connection.execute(_count(collection)).scalar_one()
    made = select(func.count()).select_from(template_rows).where(of_next(collection))
    return Reembedding(model, contract, total, total - len(missing), connection.execute(made).scalar_one(), missing)


def _nothing_next() -> dict[str, None]:
    return dict.fromkeys(("next_model", "next_contract_id", "next_dim", "next_rotation_key"))


def _store_given(
    store: Store, name: str, external_id: str, recognizer: Embedder, samples: Sequence[Sample], replaces: int | None
) -> int:
    """Templates of photographs, which say which templates they stand for."""
    with store.writing() as write:
        collection = collections.get(store, write.connection, name)
        person = persons.find(write.connection, collection, external_id)
        if person is None or not samples:  # erased meanwhile
            return 0
        if replaces is None:
            replaces = last_in_use(write.connection, collection, person)
        told = [replace(one, provenance={**one.provenance, REPLACES: replaces}) for one in samples]
        key = persons.key_of(store, write.connection, person)
        made = _add(write, collection, person, key, recognizer, told)
        for sample, new in zip(told, made, strict=True):
            if new is None and sample.source is not None:  # the same photograph again
                mine = template_rows.c.person_id == person.id
                same = template_rows.c.source_digest == key.digest(sample.source)
                write.update(template_rows, of_next(collection), mine, same, provenance=dict(sample.provenance))
        return sum(one is not None for one in made)


def _store_kept(
    store: Store, name: str, before: persons.Person, recognizer: Embedder, samples: Sequence[Sample]
) -> None:
    """Templates of kept crops, of those that are still kept: the person may have been erased meanwhile, and somebody
    else enrolled under the id, or a template removed together with its crop."""
    with store.writing() as write:
        collection = collections.get(store, write.connection, name)
        person = persons.by_id(write.connection, [before.id]).get(before.id)
        if person is None or not samples:
            return
        key = persons.key_of(store, write.connection, person)
        kept = set(
            write.connection.execute(select(crops.c.source_digest).where(crops.c.person_id == person.id)).scalars()
        )
        still = [one for one in samples if one.source is not None and key.digest(one.source) in kept]
        _add(write, collection, person, key, recognizer, still)


def _add(
    write: Write,
    collection: Collection,
    person: persons.Person,
    key: DataKey,
    recognizer: Embedder,
    samples: Sequence[Sample],
) -> list[int | None]:
    """Store templates of the next model; ContractError where that is no longer `recognizer`."""
    successor = collection.successor
    if successor is None or successor.contract_id != recognizer.contract.id:
        raise ContractError(f"collection {collection.name!r} is no longer being moved to {recognizer.name!r}")
    told = {"rotation": successor.rotation, "contract_id": successor.contract_id, "announce": False}
    made = templates.add(write, collection, person, key, samples, **told)
    details = {"templates": sum(one is not None for one in made)}
    write.audit("reembedded", collection.uuid, key.pseudonym, details)
    return made


def _pending(store: Store, connection: Connection, collection: Collection, person: persons.Person) -> Iterator[Face]:
    """The crops that no new template was made of yet, as far as they can be read."""
    made = select(template_rows.c.source_digest).where(template_rows.c.person_id == person.id, of_next(collection))
    known = set(connection.execute(made).scalars())
    try:
        for digest, png in templates.crops_of(connection, person, persons.key_of(store, connection, person)):
            if digest not in known:
                yield _face(png)
    except (ProtectionError, OSError, ValueError, SyntaxError) as error:  # the last three are Pillow's
        log.warning("gallery %s: crops of person %d cannot be read: %s", store.label, person.id, error)


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
