"""Templates: the rotated embedding of one sample, sealed with its person's key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, Select, func, select

from vultus.errors import ContractError, VultusError
from vultus.gallery.names import clean_metadata
from vultus.gallery.protection import DataKey, ProtectionError, Rotation
from vultus.gallery.store.collections import Collection
from vultus.gallery.store.persons import AT_ONCE, Person, open_key
from vultus.gallery.store.schema import crops, person_keys, persons, templates
from vultus.gallery.store.store import Store
from vultus.gallery.store.write import Write

UNIT_TOLERANCE = 1e-3
"""How far the length of an embedding may be from 1; float32 rounding stays below 1e-6."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A template about to be stored."""

    embedding: np.ndarray
    """(D,) float32, unit length, as the recogniser gave it."""
    source: bytes | None = None
    """What it was made from (the crop's pixels): the same is stored once a person. Only a keyed digest is kept."""
    crop_png: bytes | None = None
    """The aligned crop, to be kept sealed."""
    box: Sequence[float] | None = None
    quality: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TemplateInfo:
    """What may be told of a template without opening it."""

    id: int
    created: str
    contract_id: str
    box: tuple[float, ...] | None
    quality: Mapping[str, Any] | None
    provenance: Mapping[str, Any]


def add(
    write: Write,
    collection: Collection,
    person: Person,
    key: DataKey,
    samples: Sequence[Sample],
    *,
    rotation: Rotation | None = None,
    contract_id: str | None = None,
    announce: bool = True,
) -> list[int | None]:
    """Store `samples`; the new template's id for each, None for one that the person had already.

    With `rotation` and `contract_id` the templates are of the collection's next model, and `announce=False` keeps them
    out of the change sequence until the cut-over.
    """
    if not samples:
        return []
    contract_id = contract_id or collection.contract_id
    rotated = (rotation or collection.rotation).apply(np.stack([s.embedding for s in samples]))
    known = select(templates.c.source_digest).where(
        templates.c.person_id == person.id, templates.c.contract_id == contract_id
    )
    seen = set(write.connection.execute(known).scalars())
    made: list[int | None] = []
    for sample, row in zip(samples, rotated, strict=True):
        digest = None if sample.source is None else key.digest(sample.source)
        if digest is not None and digest in seen:
            made.append(None)
            continue
        seen.add(digest)
        template_id = write.insert(
            templates,
            person_id=person.id,
            collection_id=collection.id,
            contract_id=contract_id,
            sealed=key.seal(row.astype("<f4").tobytes(), template_bound(person.uuid, contract_id)),
            source_digest=digest,
            box=None if sample.box is None else [float(value) for value in sample.box],
            quality=None if sample.quality is None else clean_metadata(sample.quality),
            provenance=clean_metadata(sample.provenance),
            created=write.now,
        )
        if announce:
            write.append("enrol", collection.id, person.id, template_id)
        if sample.crop_png is not None and digest is not None:
            keep_crop(write, person, key, digest, sample.crop_png)
        made.append(template_id)
    return made


def keep_crop(write: Write, person: Person, key: DataKey, digest: str, png: bytes) -> None:
    there = select(crops.c.id).where(crops.c.person_id == person.id, crops.c.source_digest == digest)
    if write.connection.execute(there).scalar() is None:
        sealed = key.seal(png, crop_bound(person.uuid))
        write.insert(crops, person_id=person.id, source_digest=digest, sealed=sealed, created=write.now)


def crops_of(connection: Connection, person: Person, key: DataKey) -> Iterator[tuple[str, bytes]]:
    """(source digest, PNG) of each kept crop."""
    query = select(crops).where(crops.c.person_id == person.id).order_by(crops.c.id)
    for row in connection.execute(query).all():
        yield row.source_digest, key.open(row.sealed, crop_bound(person.uuid))


def remove(write: Write, collection: Collection, person: Person, template_id: int) -> None:
    """Delete one template, and the crop that nothing else was made from; VultusError where the person has none such."""
    mine = (templates.c.id == template_id) & (templates.c.person_id == person.id)
    digest = write.connection.execute(select(templates.c.source_digest).where(mine)).one_or_none()
    if digest is None:
        raise VultusError(f"{person.external_id!r} has no template {template_id}; see `vultus gallery show`")
    write.delete(templates, mine)
    others = select(func.count()).where(templates.c.person_id == person.id, templates.c.source_digest == digest[0])
    if write.connection.execute(others).scalar_one() == 0:
        write.delete(crops, crops.c.person_id == person.id, crops.c.source_digest == digest[0])
    write.append("remove", collection.id, person.id, template_id)


def of_person(connection: Connection, collection: Collection, person: Person) -> list[TemplateInfo]:
    """Those in use, in the order of enrolment."""
    query = (
        select(templates)
        .where(templates.c.person_id == person.id, templates.c.contract_id == collection.contract_id)
        .order_by(templates.c.id)
    )
    return [
        TemplateInfo(r.id, r.created, r.contract_id, tuple(r.box) if r.box else None, r.quality, r.provenance)
        for r in connection.execute(query)
    ]


def active(collection: Collection) -> Select:
    """What is searched: the templates in use of people who are not suspended."""
    return sealed_rows(collection, collection.contract_id).where(persons.c.status == "active")


def sealed_rows(collection: Collection, contract_id: str) -> Select:
    """Id, person, sealed row and sealed key of every template of a contract, in the order of their ids."""
    return (
        select(
            templates.c.id,
            templates.c.person_id,
            templates.c.contract_id,
            templates.c.sealed,
            persons.c.uuid,
            person_keys.c.sealed.label("sealed_key"),
        )
        .join(persons, persons.c.id == templates.c.person_id)
        .join(person_keys, person_keys.c.person_id == templates.c.person_id)
        .where(
            templates.c.collection_id == collection.id,
            templates.c.contract_id == contract_id,
        )
        .order_by(templates.c.id)
    )


def opened(
    store: Store, connection: Connection, collection: Collection, query: Select
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(template ids, person ids, (N, D) float32 rotated rows) of an `active` query, opened."""
    rows = connection.execute(query.execution_options(yield_per=10_000))
    return _open_all(store, rows, collection.dim)


def rows_of(
    store: Store, connection: Connection, collection: Collection, ids: Iterable[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for these template ids, as far as they are still searched; in ascending order."""
    wanted = sorted({int(i) for i in ids})
    parts = [
        opened(store, connection, collection, active(collection).where(templates.c.id.in_(wanted[at : at + AT_ONCE])))
        for at in range(0, len(wanted), AT_ONCE)
    ]
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, collection.dim), np.float32)
    return tuple(np.concatenate(pieces) for pieces in zip(*parts, strict=True))  # pyright: ignore[reportReturnType]


def rows_of_person(store: Store, connection: Connection, collection: Collection, person: Person) -> np.ndarray:
    """(N, D) float32 rotated rows of one person's templates in use; none of somebody suspended."""
    return opened(store, connection, collection, active(collection).where(persons.c.id == person.id))[2]


def check_embeddings(embeddings: np.ndarray | Sequence[np.ndarray], dim: int) -> np.ndarray:
    """`embeddings` as (N, dim) float32; (dim,) is one of them.

    Raises ContractError for another dimension, what is no real number, NaN, or a length other than 1.
    """
    try:
        given = np.asarray(embeddings)
        if given.dtype.kind == "c":
            raise TypeError("the imaginary part would be lost")
        with np.errstate(over="ignore"):  # infinite is found below
            array = given.astype(np.float32, copy=False)
    except (TypeError, ValueError):
        raise ContractError(f"embeddings must be one array (N, {dim}) of float32") from None
    if array.size == 0:
        return np.empty((0, dim), np.float32)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != dim:
        raise ContractError(f"embeddings have shape {array.shape}; this gallery needs (N, {dim})")
    lengths = np.sqrt(np.einsum("nd,nd->n", array, array, dtype=np.float64))
    bad = np.flatnonzero(~(np.abs(lengths - 1) <= UNIT_TOLERANCE))  # written so that NaN is bad
    if len(bad):
        raise ContractError(f"embedding {bad[0]} has length {lengths[bad[0]]:.4g}, not 1; divide it by its length")
    return array


def crop_bound(person_uuid: str) -> bytes:
    return f"vultus person {person_uuid} crop".encode()


def template_bound(person_uuid: str, contract_id: str) -> bytes:
    """What a template is bound to: rows cannot be swapped between people or models."""
    return f"vultus person {person_uuid} template {contract_id}".encode()


def _open_all(store: Store, rows: Iterable[Row], dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ids: list[int] = []
    people: list[int] = []
    matrix = bytearray()  # grows in place: a million rows are 2 GB, which must not be there twice
    keys: dict[int, DataKey] = {}
    for row in rows:
        key = keys.get(row.person_id)
        if key is None:
            if len(keys) > 10_000:
                keys.clear()
            key = keys[row.person_id] = open_key(store, row.uuid, row.sealed_key)
        try:
            plain = key.open(row.sealed, template_bound(row.uuid, row.contract_id))
        except ProtectionError:
            plain = b""
        if len(plain) != 4 * dim:
            raise VultusError(
                f"gallery {store.label}: template {row.id} is damaged or was tampered with; restore the gallery from a "
                "backup, or erase and enrol that person again"
            )
        ids.append(row.id)
        people.append(row.person_id)
        matrix += plain
    found = np.frombuffer(matrix, "<f4").reshape(len(ids), dim).astype(np.float32, copy=False)
    return np.array(ids, np.int64), np.array(people, np.int64), found
