"""Enrol people, find them again, forget them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation import Threshold
from vultus.gallery import enrolment, moving, photographs, searching
from vultus.gallery.binding import Binding, Info, Place
from vultus.gallery.custodian import Custodian
from vultus.gallery.custody import ConsentGiven
from vultus.gallery.decision import FMR, Decision, Verified, search_threshold
from vultus.gallery.enrolment import Enrolled, Request
from vultus.gallery.moving import Moved
from vultus.gallery.names import clean_metadata, clean_name
from vultus.gallery.photographs import Image
from vultus.gallery.protection import Receipt
from vultus.gallery.rates import templates_in_words
from vultus.gallery.reembed import Progress
from vultus.gallery.reference import Embedder
from vultus.gallery.searching import Identified, Investigated, Probe
from vultus.gallery.settings import Settings
from vultus.gallery.store import DEFAULT, Key, PersonInfo, Sample, check_embeddings, collections, persons


class Gallery:
    """People in one collection of a database, bound to one recogniser's contract.

    Thread-safe; several processes may share it. A write that returned survives kill -9 and a power cut, and every
    search sees what any process wrote before. The database is made, a file with mode 0600, by the first enrolment.
    """

    def __init__(self, binding: Binding) -> None:
        """Use `open`."""
        self._binding = binding

    @classmethod
    def open(
        cls,
        place: str | Path,
        model: str | Path | Embedder | None = None,
        *,
        collection: str = DEFAULT,
        key: Key = None,
        actor: str | None = None,
        engine: str | None = None,
        models_dir: str | Path | None = None,
        create: bool = True,
        settings: Mapping[str, Any] | None = None,
    ) -> Gallery:
        """Open a collection of the gallery at `place`.

        Args:
            place: the path of a SQLite file, or postgresql://USER@HOST/DATABASE.
            model: a recogniser, its name ("sface") or its .onnx file. Needed for a new collection; of an existing one
                only if its model moved. The collection refuses any but the one it was made with.
            collection: people that are searched together; a database holds any number.
            key: the key-encryption key, or where it is ("env:NAME", "file:PATH", "command:COMMAND"). None: the
                environment's VULTUS_GALLERY_KEY, or else a file in the user's configuration folder, made with a new
                gallery. Whoever loses it loses the gallery.
            actor: who acts, for the audit log; None: VULTUS_ACTOR or the system's user.
            engine: milvus:http://HOST:PORT, searched in place of the index in this process; a follower must keep it in
                step (docs/scaling.md).
            models_dir: where model files lie.
            create: whether a missing gallery is a new one or a mistake.
            settings: of a new collection, see `Settings`; an existing one's are changed with `configure`.

        Raises:
            VultusError: no such gallery, or a file that is none, damaged, or of another version.
            ProtectionError: without its key, or with another.
            ContractError: the collection was made with another model.
        """
        where = Place(str(place), collection, key, actor, engine)
        return cls(Binding.open(where, model, models_dir, create, settings))

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Write a snapshot of a large index for the next start, and let the database go."""
        self._binding.close()

    @property
    def label(self) -> str:
        """The database's place, for messages; without a password."""
        return self._binding.label

    @property
    def info(self) -> Info:
        """What the collection is bound to, or will be once it is made; and its settings."""
        return self._binding.info

    @property
    def recognizer(self) -> Embedder:
        """The collection's recogniser, loaded on first use; ContractError if it was made with another."""
        return self._binding.recognizer

    @cached_property
    def custody(self) -> Custodian:
        """Consent, retention, export, erasure, audit, keys, backups."""
        return Custodian(self._binding)

    def create(self) -> bool:
        """Make database and collection now, not with the first enrolment; False where they are there already."""
        there = self._binding.live is not None
        self._binding.make()
        return not there

    def configure(self, **changes: Any) -> Settings:
        """Change settings of the collection by name; the new ones. VultusError for one there is not."""
        store = self._binding.make()
        with store.writing() as write:
            collection = collections.get(store, write.connection, self._binding.place.collection)
            settings = collection.settings.changed(changes)
            collections.set_settings(write, collection, settings)
        return settings

    def accept_calibration(self) -> str | None:
        """Let the calibration that the model holds now decide, in place of the one that did; its digest, None for none.

        A collection decides by one calibration: another one is refused (CalibrationError, code calibration_changed)
        until it is accepted here, which the audit log tells.
        """
        return self._binding.accept_calibration()

    def enroll(
        self,
        person: str,
        *images: Image,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        consent: ConsentGiven | None = None,
        select: str | None = None,
        skip_bad: bool = False,
        new_only: bool = False,
        client_key: str | None = None,
    ) -> Enrolled:
        """Enrol photographs of one person: all of them, or none if one is bad.

        Args:
            person: an id of yours, unique in the collection: up to 200 characters.
            images: paths, encoded bytes, or (H, W, 3) uint8 RGB arrays.
            name: what people call them; the id where there is none. Given for somebody enrolled, it replaces theirs.
            metadata: JSON, up to 16 KB; searches can be limited by it. Replaces what is there.
            consent: recorded with the enrolment; needed where the collection requires one.
            select: which face is meant where there are several, "largest" or "center"; None makes that an error.
            skip_bad: enrol the good photographs and list the others; an error only if all are bad.
            new_only: refuse who is enrolled by then (code enrolled_already).
            client_key: the same request repeated under the same key is answered, and not done a second time.

        Raises:
            VultusError: a photograph is unreadable, does not show one face, is too bad, or does not look like the
                person's others; the name is impossible; consent is missing.
        """
        if not images:
            raise VultusError(f"nothing to enrol for {clean_name(person)!r}; give at least one photograph")
        settings, recognizer = self.info.settings, self.recognizer
        shots, skipped = photographs.shoot(recognizer, images, select, settings.gate_of_enrolment, skip_bad)
        if not shots:
            raise VultusError(f"no photograph of {person!r} could be enrolled; the first: {skipped[0].reason}")
        rows = recognizer.embed([shot.face for shot in shots])
        samples = [photographs.sample_of(shot, row, settings.keep_crops) for shot, row in zip(shots, rows, strict=True)]
        about = (name, metadata, consent, client_key, skip_bad, tuple(skipped), new_only)
        return self._enrol(Request(person, samples, [shot.image for shot in shots], recognizer.contract.id, *about))

    def enroll_embeddings(
        self,
        person: str,
        embeddings: np.ndarray,
        contract_id: str,
        *,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        consent: ConsentGiven | None = None,
        provenance: Mapping[str, Any] | None = None,
        skip_bad: bool = False,
        client_key: str | None = None,
    ) -> Enrolled:
        """Enrol (N, D) float32 unit rows that the recogniser with `contract_id` made; see `enroll`.

        Raises ContractError where they are another recogniser's or no unit rows.
        """
        info = self.info
        self._binding.require_contract(contract_id, info)
        about = {"from": "embedding", **clean_metadata(provenance or {})}
        samples = [Sample(row, provenance=about) for row in check_embeddings(embeddings, info.dim)]
        labels = [f"embedding {number}" for number in range(len(samples))]
        return self._enrol(Request(person, samples, labels, contract_id, name, metadata, consent, client_key, skip_bad))

    def identify(
        self,
        image: Image,
        fpir: float | None = None,
        k: int = 5,
        *,
        where: Mapping[str, Any] | None = None,
        at_least: int | None = None,
    ) -> list[Identified]:
        """Who is in a photograph: every face found, with its decision; empty where no face was found.

        Args:
            fpir: how often a stranger may be named, for example 0.001; the threshold follows from it, the recogniser's
                calibration and the number of templates searched. Without it 0.001, or where the calibration supports
                none so low at this size, the lowest that it does: `decision.threshold.fpir` (`search_threshold`).
            k: candidates listed a face, at least 2.
            where: search only people whose metadata has these values.
            at_least: a number of the change sequence that the search must have seen.

        Raises:
            CalibrationError: no calibration, or none that supports so low a rate at this size.
        """
        calibration, gate = self._binding.calibration, self.info.settings.gate_of_probes
        recognizer = self.recognizer
        faces = recognizer.faces(image)
        measured = photographs.qualities(faces) if gate else [None] * len(faces)
        reasons = [photographs.faults(quality, gate) for quality in measured]
        good = [face for face, bad in zip(faces, reasons, strict=True) if not bad]
        rows = iter(recognizer.embed(good) if good else ())
        probes = [Probe(None, bad) if bad else Probe(next(rows)) for bad in reasons]
        current, contract = self._binding.current(at_least), recognizer.contract.id
        found = searching.identify(self._binding, current, probes, contract, calibration, fpir, k, where)
        return [Identified(*item) for item in zip(faces, found, measured, strict=True)]

    def identify_embeddings(
        self,
        embeddings: np.ndarray,
        contract_id: str,
        fpir: float | None = None,
        k: int = 5,
        *,
        where: Mapping[str, Any] | None = None,
        at_least: int | None = None,
    ) -> list[Decision]:
        """A decision for each of (Q, D) float32 unit rows; see `identify`."""
        self._binding.require_contract(contract_id, self.info)
        probes = [Probe(row) for row in check_embeddings(embeddings, self.info.dim)]
        current = self._binding.current(at_least)
        calibration = self._binding.calibration
        return searching.identify(self._binding, current, probes, contract_id, calibration, fpir, k, where)

    def threshold(self, fpir: float | None = None) -> Threshold:
        """The threshold that `identify` would use now."""
        current = self._binding.current()
        return search_threshold(self._binding.calibration, fpir, len(current.view) if current else 0)

    def verify(self, person: str, image: Image, fmr: float = FMR, *, select: str | None = None) -> Verified:
        """Whether a photograph of one face shows the enrolled `person`; the best of all their templates decides.

        Args:
            fmr: how often an impostor may pass, for the claim as a whole: the more templates the person has, the
                stricter each comparison (`claim_threshold`).

        Raises:
            VultusError: unknown person, not one face, or one of too bad a quality.
            CalibrationError: no calibration, or none that supports so low a rate.
        """
        current, recognizer, calibration = self._binding.existing(), self.recognizer, self._binding.calibration
        gate = current.collection.settings.gate_of_probes
        (shot,), _ = photographs.shoot(recognizer, [image], select, gate, skip_bad=False)
        row = check_embeddings(recognizer.embed([shot.face]), current.collection.dim)[0]
        return searching.verify(self._binding, current, person, row, recognizer.contract.id, calibration, fmr)

    def investigate(
        self, image: Image, k: int = 20, *, where: Mapping[str, Any] | None = None, reason: str = ""
    ) -> list[Investigated]:
        """For a trained examiner: whom each face looks most like, ranked, with no threshold and no decision.

        `reason` goes into the audit log. Bad photographs are searched too: what they are worth the examiner must see.
        """
        current, recognizer = self._binding.existing(), self.recognizer
        faces = recognizer.faces(image)
        rows = check_embeddings(recognizer.embed(faces) if faces else [], current.collection.dim)
        contract, calibration = recognizer.contract.id, self._binding.calibration_if_any
        found = searching.investigate(self._binding, current, rows, contract, calibration, k, where, reason)
        return [Investigated(face, item) for face, item in zip(faces, found, strict=True)]

    def reembed(
        self,
        model: str | Path | Embedder,
        images: Mapping[str, Sequence[Image]] | None = None,
        *,
        leave_behind: bool = False,
        progress: Progress | None = None,
        compatible: str | Path | None = None,
    ) -> Moved:
        """Move the collection to another model: see `moving.move`."""
        return moving.move(self._binding, model, images or {}, leave_behind, progress, compatible)

    def persons(
        self, where: Mapping[str, Any] | None = None, *, after: str = "", limit: int | None = None
    ) -> list[PersonInfo]:
        """Everyone enrolled, by id; those after `after`, at most `limit`. Needs no model."""
        bound = self._binding.collection()
        if bound is None:
            return []
        with self._binding.store.reading() as connection:
            return persons.listed(connection, bound, where, after=after, limit=limit)

    def describe(self) -> str:
        """One line: how many people and templates, and of which model."""
        bound, counts = self._binding.collection(), (0, 0)
        if bound is not None:
            with self._binding.store.reading() as connection:
                counts = collections.counts(connection, bound)
        people = f"{counts[0]:,} {'person' if counts[0] == 1 else 'people'}"
        return f"{self.label}: {people}, {templates_in_words(counts[1])}, model {self.info.model}"

    def erase(self, *people: str, reason: str = "") -> list[Receipt]:
        """Erase people for good, all or none of those named; a signed receipt each. Needs no model.

        Their keys, rows and index entries go, and the bytes leave the database's files. Copies that lie elsewhere are
        beyond reach (docs/protection.md). Warns where somebody kept the database too busy to take the bytes out:
        opening the gallery again does it then.
        """
        done = self.custody.erase(*people, reason=reason)
        with suppress(VultusError):  # they are erased, even if the database is lost right now
            self._binding.follow()  # out of this process's index as well
        for warning in done.warnings:
            warnings.warn(warning, stacklevel=2)
        return list(done.receipts)

    def _enrol(self, request: Request) -> Enrolled:
        return enrolment.enrol(self._binding, request, self._binding.calibration_if_any)
