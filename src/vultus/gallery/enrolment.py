"""Enrolling: everything that is asked of a person and of their photographs before a template is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from vultus.errors import CalibrationError, VultusError
from vultus.evaluation import Calibration, Threshold
from vultus.gallery.binding import Binding
from vultus.gallery.custody import ConsentGiven, check_consent, record_in, valid_consent
from vultus.gallery.guards import Duplicate, far_templates, find_duplicates
from vultus.gallery.live import Current
from vultus.gallery.names import alike, clean_name
from vultus.gallery.photographs import Skipped
from vultus.gallery.protection.canonical import canonical
from vultus.gallery.store import (
    Collection,
    Person,
    Sample,
    Write,
    check_embeddings,
    clock,
    collections,
    persons,
    templates,
)
from vultus.gallery.store.idempotency import remember, remembered
from vultus.gallery.store.schema import persons as person_rows

if TYPE_CHECKING:
    from vultus.gallery.engines import EngineCurrent


@dataclass(frozen=True)
class Lookalike:
    """Somebody enrolled under another id whom the new templates look like."""

    person: str
    name: str
    score: float
    """Of the best pair of templates."""
    fpir: float | None
    """How often a stranger's enrolment is expected to warn so; above the collection's `duplicate_fpir` where the
    calibration supports no threshold for that."""


@dataclass(frozen=True)
class Enrolled:
    """What an enrolment did."""

    person: str
    templates: int
    """New templates stored."""
    repeated: int
    """Photographs that this person had already."""
    skipped: tuple[Skipped, ...] = ()
    duplicates: tuple[Lookalike, ...] = ()
    """Whom the person may be enrolled as already; a warning, to be looked into. Not repeated to a repeated request."""
    warnings: tuple[str, ...] = ()
    """Checks that could not be made."""
    namesakes: tuple[str, ...] = ()
    """Ids of others, enrolled already, that look like that of a new person (see `names.alike`); a warning, too."""
    position: int = 0
    """Of the change sequence: a search that demands at least this one sees the enrolment."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Request:
    """What somebody asks to be enrolled."""

    person: str
    samples: Sequence[Sample]
    images: Sequence[str]
    """What the samples are called in messages."""
    contract_id: str
    name: str | None = None
    metadata: Mapping[str, Any] | None = None
    consent: ConsentGiven | None = None
    client_key: str | None = None
    skip_bad: bool = False
    skipped: Sequence[Skipped] = field(default=())
    """Photographs that were given up before."""


def enrol(binding: Binding, request: Request, calibration: Calibration | None) -> Enrolled:
    """Store the samples, in one transaction: all of them or, unless the bad may be skipped, none.

    Raises ContractError for embeddings of another recogniser or none of unit length, VultusError for what is refused.
    """
    person_id = clean_name(request.person)
    info = binding.info
    binding.require_contract(request.contract_id, info)
    if not len(request.samples):
        raise VultusError(f"nothing to enrol for {person_id!r}; give at least one embedding")
    rows = check_embeddings([sample.embedding for sample in request.samples], info.dim)
    store = binding.make()
    current = binding.existing()
    duplicates: tuple[Lookalike, ...] = ()
    if calibration is None:
        fit, warnings = None, ["no calibration: neither odd photographs nor people enrolled twice were looked for"]
    else:
        fit, warnings = _fit(current.collection, calibration)
        duplicates = lookalikes(binding, current, person_id, rows, calibration)
        warnings += _doubts(current.collection, duplicates)
    with store.writing() as write:
        collection = collections.refreshed(store, write.connection, current.collection)
        binding.require_contract(request.contract_id, collection)
        found = persons.find(write.connection, collection, person_id)
        asked = ""
        namesakes = () if found is not None else _namesakes(write, collection, person_id)
        if found is None:
            person, key = persons.add(store, write, collection, person_id, request.name, request.metadata)
        else:
            person, key = found, persons.key_of(store, write.connection, found)
        if request.client_key is not None:
            asked = key.digest(_spelt(request, rows))
            before = remembered(write.connection, collection, request.client_key, asked)
            if before is not None:
                return _answer(before)
        if found is not None:
            persons.describe(write, person, request.name, request.metadata)
        if request.consent is not None:
            record_in(write, collection, person, key, request.consent)
        check_consent(write.connection, collection, person, write.now)
        kept, refused = _consistent(binding, write, collection, person, rows, request, fit)
        made = templates.add(write, collection, person, key, [request.samples[i] for i in kept])
        _check_room(write, collection, person)
        persons.seen(write, [person.id])
        done = Enrolled(
            person.external_id,
            sum(made_id is not None for made_id in made),
            sum(made_id is None for made_id in made),
            (*request.skipped, *refused),
            duplicates,
            tuple(warnings),
            namesakes,
            position=write.head,
        )
        details = {
            "templates": done.templates,
            "repeated": done.repeated,
            "skipped": len(done.skipped),
            "new": not found,
        }
        write.audit("enrolled", collection.uuid, key.pseudonym, details)
        if request.client_key is not None:
            # What is remembered names nobody: paths of photographs often do, and look-alikes are other people.
            nameless = [
                replace(one, image=f"photograph {number}", reason=one.reason.replace(one.image, "it"))
                for number, one in enumerate(done.skipped, 1)
            ]
            kept_answer = replace(done, duplicates=(), namesakes=(), skipped=tuple(nameless))
            remember(write, collection, person, request.client_key, asked, kept_answer.to_dict())
    return done


def _namesakes(write: Write, collection: Collection, person_id: str) -> tuple[str, ...]:
    """Ids of the collection that look like `person_id`."""
    ids = person_rows.c.external_id
    query = select(ids).where(person_rows.c.collection_id == collection.id, ids.in_(sorted(alike(person_id))))
    return tuple(sorted(write.connection.execute(query).scalars()))


def lookalikes(
    binding: Binding, current: Current | EngineCurrent, person_id: str, rows: np.ndarray, calibration: Calibration
) -> tuple[Lookalike, ...]:
    """Who else the new rows look like, by the collection's rate of false alarms."""
    collection, view = current.collection, current.view
    rate = collection.settings.duplicate_fpir
    if rate is None or not len(view) or not len(rows):
        return ()
    hits = view.search(collection.rotation.apply(rows), 3)
    with binding.store.reading() as connection:
        own = persons.find(connection, collection, person_id)
        alike = find_duplicates(hits, own.id if own else None, calibration, rate, len(view))
        known = persons.by_id(connection, [duplicate.person_id for duplicate in alike])
        if collection.settings.require_consent:
            agreed = (collection.settings.purpose, clock.now())
            known = {i: one for i, one in known.items() if valid_consent(connection, one, *agreed)}
    return tuple(_lookalike(known[d.person_id], d) for d in alike if d.person_id in known)


def _lookalike(person: Person, found: Duplicate) -> Lookalike:
    return Lookalike(person.external_id, person.name, found.score, found.threshold.fpir)


def _fit(collection: Collection, calibration: Calibration) -> tuple[Threshold | None, list[str]]:
    """What a template must score with its person's others, or why that is not known."""
    rate = collection.settings.outlier_fmr
    try:
        return (None if rate is None else calibration.threshold_at(rate)), []
    except CalibrationError as error:
        return None, [f"odd photographs were not looked for: {error}"]


def _doubts(collection: Collection, found: Sequence[Lookalike]) -> list[str]:
    asked = collection.settings.duplicate_fpir
    worst = max((one.fpir for one in found if one.fpir is not None), default=0.0)
    if asked is None or worst <= asked * 1.01:
        return []
    return [
        f"the calibration is too small for duplicate_fpir {asked:g} at this size: a stranger looks like somebody "
        f"enrolled in about {worst:.2g} of enrolments"
    ]


def _consistent(
    binding: Binding,
    write: Write,
    collection: Collection,
    person: Person,
    rows: np.ndarray,
    request: Request,
    fit: Threshold | None,
) -> tuple[list[int], list[Skipped]]:
    """Which samples fit the person's others; VultusError for one that does not, unless the bad are skipped."""
    everything = list(range(len(rows)))
    if fit is None:
        return everything, []
    known = templates.rows_of_person(binding.store, write.connection, collection, person)
    far = far_templates(collection.rotation.apply(rows), known, fit)
    refused = [Skipped(request.images[one.row], str(one), ("not_like_the_others",)) for one in far]
    if refused and (not request.skip_bad or len(refused) == len(rows)):
        first = refused[0]
        raise VultusError(f"{first.image}: {first.reason}", code=first.codes[0], reason=first.reason)
    gone = {one.row for one in far}
    return [i for i in everything if i not in gone], refused


def _check_room(write: Write, collection: Collection, person: Person) -> None:
    most = collection.settings.max_templates
    number = len(templates.of_person(write.connection, collection, person))
    if number > most:
        raise VultusError(
            f"{person.external_id!r} would have {number} templates; this collection keeps at most {most} a person: "
            "remove one, or set max_templates"
        )


def _spelt(request: Request, rows: np.ndarray) -> bytes:
    """What makes two requests the same."""
    made_of = [
        hashlib.sha256(row.astype("<f4").tobytes() if sample.source is None else sample.source).hexdigest()
        for sample, row in zip(request.samples, rows, strict=True)
    ]
    given = request.consent
    agreed = None if given is None else [given.basis, given.purpose, str(given.given_at), str(given.expires_at)]
    return canonical([request.person, request.name, dict(request.metadata or {}), made_of, agreed, request.skip_bad])


def _answer(result: Mapping[str, Any]) -> Enrolled:
    plain = dict(result)
    plain["skipped"] = tuple(Skipped(**{**one, "codes": tuple(one["codes"])}) for one in plain["skipped"])
    plain["duplicates"] = ()
    plain["warnings"] = tuple(plain["warnings"])
    return Enrolled(**plain)
