"""Searching: probes to decisions, each written to the audit log before it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection

from vultus.errors import VultusError
from vultus.evaluation import Calibration, Threshold
from vultus.faces import Face
from vultus.faces.quality import Quality, Reason
from vultus.gallery.binding import Binding
from vultus.gallery.custody import check_consent, valid_consent
from vultus.gallery.decision import (
    Candidate,
    Decision,
    Kind,
    Verified,
    decide,
    decide_claim,
    low_quality,
    search_threshold,
)
from vultus.gallery.index import Hit
from vultus.gallery.investigation import Investigation, investigation
from vultus.gallery.live import Current
from vultus.gallery.names import clean_line
from vultus.gallery.store import Person, Store, Write, clock, persons

if TYPE_CHECKING:
    from vultus.gallery.engines import EngineCurrent


@dataclass(frozen=True, eq=False)
class Identified:
    """One face of a photograph, and who it is."""

    face: Face
    decision: Decision
    quality: Quality | None = None


@dataclass(frozen=True, eq=False)
class Investigated:
    """One face of a photograph, and whom it looks like."""

    face: Face
    investigation: Investigation


@dataclass(frozen=True, eq=False)
class Probe:
    """What is looked up, or why it is not."""

    row: np.ndarray | None
    """(D,) float32, unit length."""
    reasons: tuple[Reason, ...] = ()


def identify(
    binding: Binding,
    current: Current | EngineCurrent | None,
    probes: Sequence[Probe],
    contract_id: str,
    calibration: Calibration,
    fpir: float | None,
    k: int,
    where: Mapping[str, Any] | None,
) -> list[Decision]:
    """A decision a probe; each is in the audit log when this returns, if the collection keeps one of searches.

    Raises ContractError where the probes, by `contract_id`, are not of the model that the collection has by now.
    """
    if k < 1:
        raise VultusError(f"k is the number of candidates to list and at least 1, not {k}")
    if current is None:
        threshold = search_threshold(calibration, fpir, 0)
        return [_decided([], probe, threshold, calibration, 0, 0) for probe in probes]
    binding.require_contract(contract_id, current.collection)
    binding.require_contract(calibration.contract_id, current.collection)
    among = _among(binding, current, where)
    searched = current.view.count(among)
    threshold = search_threshold(calibration, fpir, searched)
    fpir = threshold.fpir
    # The second best decides between match and ambiguous, so it is always looked at.
    hits = _search(current, probes, max(2, k), among)

    def answer(connection: Connection) -> tuple[list[Decision], dict[str, Person]]:
        people = _known(connection, current, hits)
        decisions = [
            _decided(_candidates(found, people), probe, threshold, calibration, searched, current.view.position)
            for found, probe in zip(hits, probes, strict=True)
        ]
        return decisions, {person.external_id: person for person in people.values()}

    store = binding.store
    if current.collection.settings.audit_searches:
        with store.writing() as write:
            decisions, people = answer(write.connection)
            _log(store, write, current, decisions, people, fpir)
        return decisions
    with store.reading() as connection:
        decisions, _ = answer(connection)
    if any(decision.matches for decision in decisions):
        with store.writing() as write:
            decisions, people = answer(write.connection)  # again: somebody may have been erased in between
            _log(store, write, current, [decision for decision in decisions if decision.matches], people, fpir)
    return decisions


def verify(
    binding: Binding,
    current: Current | EngineCurrent,
    person_id: str,
    row: np.ndarray,
    contract_id: str,
    calibration: Calibration,
    fmr: float,
) -> Verified:
    """Whether `row` is the enrolled person; against the best of all their templates. ContractError as `identify`."""
    binding.require_contract(contract_id, current.collection)
    binding.require_contract(calibration.contract_id, current.collection)
    store = binding.store
    with store.reading() as connection:
        person = persons.require(store, connection, current.collection, person_id)
    among = np.array([person.id], np.int64)
    templates = current.view.count(among)
    hits = current.view.search(current.collection.rotation.apply(row[None]), 1, among=among)[0]
    with store.writing() as write:
        person = persons.require(store, write.connection, current.collection, person_id)
        check_consent(write.connection, current.collection, person, write.now)
        if not hits or hits[0].person_id != person.id:
            why = "suspended, because consent was withdrawn" if person.status == "suspended" else "without a template"
            raise VultusError(f"{person.external_id!r} is {why}; nobody can be verified as them")
        best = Candidate(person.external_id, hits[0].score, hits[0].template_id, person.name)
        result = decide_claim(best, fmr, templates, calibration, position=current.view.position)
        at = {"fmr": fmr, "threshold": result.threshold.score, "score": round(best.score, 4)}
        key = persons.key_of(store, write.connection, person)
        write.audit("verified", current.collection.uuid, key.pseudonym, {"match": result.match, **at})
        if result.match:
            persons.seen(write, [person.id])
    return result


def investigate(
    binding: Binding,
    current: Current | EngineCurrent,
    rows: np.ndarray,
    contract_id: str,
    calibration: Calibration | None,
    k: int,
    where: Mapping[str, Any] | None,
    reason: str,
) -> list[Investigation]:
    """The `k` most alike a row, without a threshold. That it was done, why, and who was listed is always in the log."""
    if k < 1:
        raise VultusError(f"k is the number of candidates to list and at least 1, not {k}")
    binding.require_contract(contract_id, current.collection)
    among = _among(binding, current, where)
    hits = _search(current, [Probe(row) for row in rows], k, among)
    searched, position = current.view.count(among), current.view.position
    reason, store = clean_line(reason, "the reason"), binding.store
    with store.writing() as write:
        people = _known(write.connection, current, hits)
        details = {"probes": len(rows), "searched": searched, "listed": k, "reason": reason, "position": position}
        number = write.audit("investigated", current.collection.uuid, None, details)
        for person_id, score in sorted(_best(hits, people).items()):
            subject = persons.key_of(store, write.connection, people[person_id]).pseudonym
            told = {"investigation": number, "score": round(score, 4)}
            write.audit("listed", current.collection.uuid, subject, told)
    return [
        investigation(_candidates(found, people), calibration, searched=searched, position=position) for found in hits
    ]


def _among(binding: Binding, current: Current | EngineCurrent, where: Mapping[str, Any] | None) -> np.ndarray | None:
    if not where:
        return None
    with binding.store.reading() as connection:
        return persons.matching(connection, current.collection, where)


def _search(
    current: Current | EngineCurrent, probes: Sequence[Probe], k: int, among: np.ndarray | None
) -> list[list[Hit]]:
    rows = [probe.row for probe in probes if probe.row is not None]
    if not rows:
        return [[] for _ in probes]
    rotated = current.collection.rotation.apply(np.stack(rows))
    found = iter(current.view.search(rotated, k, fusion=current.collection.settings.fusion, among=among))
    return [[] if probe.row is None else next(found) for probe in probes]


def _known(
    connection: Connection, current: Current | EngineCurrent, hits: Sequence[Sequence[Hit]]
) -> dict[int, Person]:
    """Whom the hits may name: who was not erased since, and whose consent, where it is required, has not run out."""
    people = persons.by_id(connection, [hit.person_id for found in hits for hit in found])
    settings = current.collection.settings
    if settings.require_consent:
        at = clock.now()
        people = {i: p for i, p in people.items() if valid_consent(connection, p, settings.purpose, at)}
    return people


def _candidates(found: Sequence[Hit], people: Mapping[int, Person]) -> list[Candidate]:
    """With names; without those who were erased while the search ran."""
    return [
        Candidate(people[hit.person_id].external_id, hit.score, hit.template_id, people[hit.person_id].name)
        for hit in found
        if hit.person_id in people
    ]


def _best(hits: Sequence[Sequence[Hit]], people: Mapping[int, Person]) -> dict[int, float]:
    """The best score of each person who is listed."""
    best: dict[int, float] = {}
    for hit in (hit for found in hits for hit in found if hit.person_id in people):
        best[hit.person_id] = max(hit.score, best.get(hit.person_id, -1.0))
    return best


def _decided(
    candidates: Sequence[Candidate],
    probe: Probe,
    threshold: Threshold,
    calibration: Calibration,
    searched: int,
    position: int,
) -> Decision:
    if probe.row is None:
        return low_quality([str(reason) for reason in probe.reasons], threshold, position=position)
    return decide(candidates, threshold, calibration, searched=searched, position=position)


def _log(
    store: Store,
    write: Write,
    current: Current | EngineCurrent,
    decisions: Sequence[Decision],
    people: Mapping[str, Person],
    fpir: float | None,
) -> None:
    """An entry a decision; where it names several people, one about each of them."""
    for decision in decisions:
        details = {
            "decision": decision.kind.value,
            "fpir": fpir,
            "threshold": round(decision.threshold.score, 6),
            "score": None if decision.score is None else round(decision.score, 4),
            "searched": decision.searched,
            "position": decision.position,
        }
        for candidate in decision.matches:
            person = people[candidate.person]
            subject = persons.key_of(store, write.connection, person).pseudonym
            write.audit("identified", current.collection.uuid, subject, {**details, "score": round(candidate.score, 4)})
            if decision.kind is Kind.MATCH:
                persons.seen(write, [person.id])
        if not decision.matches:
            write.audit("identified", current.collection.uuid, None, details)
