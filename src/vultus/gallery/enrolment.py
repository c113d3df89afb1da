"""Enrolling: everything that is asked of a person and of their photographs before a template is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vultus.errors import CalibrationError, VultusError
from vultus.evaluation import Calibration, Threshold
from vultus.gallery.binding import Binding
from vultus.gallery.custody import ConsentGiven, check_consent, record_in, valid_consent
from vultus.gallery.guards import Duplicate, doubtful_templates, far_templates, find_duplicates, mated_threshold
from vultus.gallery.live import Current
from vultus.gallery.names import clean_name
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

if TYPE_CHECKING:
    from vultus.gallery.engines import EngineCurrent

FAR = "not_like_the_others"
"""Code of a photograph that does not fit its person's others."""


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
    doubtful: tuple[Skipped, ...] = ()
    """Photographs that were enrolled, but fit the person worse than nearly all photographs of one person do."""
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
    alike: frozenset[int] = frozenset()
    if calibration is None:
        fit, warnings = None, ["no calibration: neither odd photographs nor people enrolled twice were looked for"]
    else:
        fit, warnings = _fit(current.collection, calibration)
        duplicates, alike = lookalikes(binding, current, person_id, rows, calibration)
        warnings += _doubts(current.collection, duplicates)
    with store.writing() as write:
        collection = collections.refreshed(store, write.connection, current.collection)
        binding.require_contract(request.contract_id, collection)
        found = persons.find(write.connection, collection, person_id)
        asked = ""
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
        kept, refused, doubtful = _consistent(binding, write, collection, person, rows, request, fit, alike)
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
            tuple(doubtful),
            position=write.head,
        )
        details = {
            "templates": done.templates,
            "repeated": done.repeated,
            "skipped": len(done.skipped),
            "doubtful": len(done.doubtful),
            "new": not found,
        }
        write.audit("enrolled", collection.uuid, key.pseudonym, details)
        if request.client_key is not None:
            # What is remembered names nobody: paths of photographs often do, and look-alikes are other people.
            kept_answer = replace(
                done, duplicates=(), skipped=_nameless(done.skipped), doubtful=_nameless(done.doubtful)
            )
            remember(write, collection, person, request.client_key, asked, kept_answer.to_dict())
    return done


def lookalikes(
    binding: Binding, current: Current | EngineCurrent, person_id: str, rows: np.ndarray, calibration: Calibration
) -> tuple[tuple[Lookalike, ...], frozenset[int]]:
    """Who else the new rows look like, by the collection's rate of false alarms; and which rows do."""
    collection, view = current.collection, current.view
    rate = collection.settings.duplicate_fpir
    if rate is None or not len(view) or not len(rows):
        return (), frozenset()
    hits = view.search(collection.rotation.apply(rows), 3)
    with binding.store.reading() as connection:
        own = persons.find(connection, collection, person_id)
        alike = find_duplicates(hits, own.id if own else None, calibration, rate, len(view))
        known = persons.by_id(connection, [duplicate.person_id for duplicate in alike])
        if collection.settings.require_consent:
            agreed = (collection.settings.purpose, clock.now())
            known = {i: one for i, one in known.items() if valid_consent(connection, one, *agreed)}
    named = tuple(_lookalike(known[d.person_id], d) for d in alike if d.person_id in known)
    return named, frozenset(row for one in alike for row in one.rows)


def _lookalike(person: Person, found: Duplicate) -> Lookalike:
    return Lookalike(person.external_id, person.name, found.score, found.threshold.fpir)


@dataclass(frozen=True)
class _Fit:
    """What a template must score with its person's others."""

    least: Threshold
    """Below it, it is refused."""
    usual: Threshold | None
    """Below it, it is doubtful."""


def _fit(collection: Collection, calibration: Calibration) -> tuple[_Fit | None, list[str]]:
    """What a template must score with its person's others, or why that is not known."""
    rate = collection.settings.outlier_fmr
    try:
        least = None if rate is None else calibration.threshold_at(rate)
    except CalibrationError as error:
        return None, [f"odd photographs were not looked for: {error}"]
    return (None if least is None else _Fit(least, mated_threshold(calibration))), []


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
    fit: _Fit | None,
    alike: frozenset[int],
) -> tuple[list[int], list[Skipped], list[Skipped]]:
    """Which samples fit the person's others, which do not, and which of the first are doubtful.

    VultusError (codes not_like_the_others, like_somebody_else) for one that does not fit, unless the bad are skipped.
    """
    if fit is None:
        return list(range(len(rows))), [], []
    known = templates.rows_of_person(binding.store, write.connection, collection, person)
    rotated = collection.rotation.apply(rows)
    refused = {
        one.row: Skipped(request.images[one.row], str(one), (FAR,)) for one in far_templates(rotated, known, fit.least)
    }
    doubtful: list[Skipped] = []
    kept = [row for row in range(len(rows)) if row not in refused]
    if fit.usual is not None and kept:
        among = frozenset(place for place, row in enumerate(kept) if row in alike)
        for one in doubtful_templates(rotated[kept], known, fit.usual, among):
            told = Skipped(request.images[kept[one.row]], one.reason, (one.code,))
            if one.like_another:
                refused[kept[one.row]] = told
            else:
                doubtful.append(told)
    if refused and (not request.skip_bad or len(refused) == len(rows)):
        first = refused[min(refused)]
        raise VultusError(f"{first.image}: {first.reason}", first.codes[0], image=first.image)
    return [row for row in kept if row not in refused], [refused[row] for row in sorted(refused)], doubtful


def _nameless(told: Sequence[Skipped]) -> tuple[Skipped, ...]:
    return tuple(
        replace(one, image=f"photograph {number}", reason=one.reason.replace(one.image, "it"))
        for number, one in enumerate(told, 1)
    )


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
    for name in ("skipped", "doubtful"):
        plain[name] = tuple(Skipped(**{**one, "codes": tuple(one["codes"])}) for one in plain.get(name, ()))
    plain["duplicates"] = ()
    plain["warnings"] = tuple(plain["warnings"])
    return Enrolled(**plain)
