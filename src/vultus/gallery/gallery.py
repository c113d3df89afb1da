"""Enrol people, find them again, forget them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation import Threshold
from vultus.faces import Face
from vultus.faces.face import Select
from vultus.gallery.binding import Binding
from vultus.gallery.decision import (
    FMR,
    FPIR,
    Decision,
    Verified,
    claim_threshold,
    decide,
    require_calibration,
    search_threshold,
)
from vultus.gallery.names import clean_name, unknown_name
from vultus.gallery.old_index import Snapshot
from vultus.gallery.old_store import PersonInfo, Sample, StoreInfo, check_embeddings
from vultus.gallery.reference import Embedder

Image = str | Path | bytes | np.ndarray


@dataclass(frozen=True)
class Skipped:
    """A photograph that was not enrolled, and why."""

    image: str
    reason: str


@dataclass(frozen=True)
class Enrolled:
    """What an enrolment did."""

    person: str
    templates: int
    """New templates stored."""
    repeated: int
    """Crops that this person had already."""
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, eq=False)
class Identified:
    """One face of a photograph, and who it is."""

    face: Face
    decision: Decision


class Gallery:
    """People in one database file, bound to one recogniser's contract. Thread-safe; several processes may share it.

    A write that returned survives kill -9 and a power cut. The file is made, with mode 0600, by the first enrolment.
    """

    def __init__(self, binding: Binding) -> None:
        """Use `open`."""
        self._binding = binding

    @classmethod
    def open(
        cls,
        path: str | Path,
        model: str | Path | Embedder | None = None,
        *,
        models_dir: str | Path | None = None,
        create: bool = True,
    ) -> Gallery:
        """Open the gallery at `path`.

        Args:
            model: a recogniser, its name ("sface") or its .onnx file. Needed for a new gallery; of an existing one
                only if its model moved. The gallery refuses any but the one it was made with.
            models_dir: where model files lie.
            create: whether a missing file is a new gallery or a mistake.

        Raises:
            VultusError: no such gallery, or a file that is none, damaged, or of a newer vultus.
            ContractError: the gallery was made with another model.
        """
        return cls(Binding.open(Path(path), model, models_dir, create))

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._binding.close()

    @property
    def path(self) -> Path:
        return self._binding.path

    @property
    def info(self) -> StoreInfo:
        """Model, contract and dimension that the gallery is bound to, or will be once its file is made."""
        return self._binding.info

    @property
    def recognizer(self) -> Embedder:
        """The gallery's recogniser, loaded on first use; ContractError if the gallery was made with another."""
        return self._binding.recognizer

    def enroll(
        self,
        name: str,
        *images: Image,
        select: str | None = None,
        skip_bad: bool = False,
    ) -> Enrolled:
        """Enrol photographs of one person: all of them, or none if one is bad.

        Args:
            images: paths, encoded bytes, or (H, W, 3) uint8 RGB arrays.
            select: which face is meant where there are several, "largest" or "center"; None makes that an error.
            skip_bad: enrol the good photographs and list the others; an error only if all are bad.

        Raises:
            VultusError: a photograph is unreadable or does not show one face, or the name is impossible.
        """
        name = clean_name(name)
        if not images:
            raise VultusError(f"nothing to enrol for {name!r}; give at least one photograph")
        faces: list[Face] = []
        skipped: list[Skipped] = []
        for number, image in enumerate(images, 1):
            try:
                faces.append(self._one_face(image, number, select))
            except VultusError as error:
                if not skip_bad:
                    raise
                skipped.append(Skipped(_image_name(image, number), str(error)))
        if not faces:
            raise VultusError(f"no photograph of {name!r} could be enrolled; the first: {skipped[0].reason}")
        rows = self.recognizer.embed(faces)
        digests = [_digest(face) for face in faces]
        done = self.enroll_embeddings(
            name,
            rows,
            self.recognizer.contract.id,
            source_digests=digests,
            detection_scores=[float(face.score) for face in faces],
        )
        return Enrolled(done.person, done.templates, done.repeated, tuple(skipped))

    def enroll_embeddings(
        self,
        name: str,
        embeddings: np.ndarray,
        contract_id: str,
        *,
        source_digests: Sequence[str | None] | None = None,
        detection_scores: Sequence[float | None] | None = None,
    ) -> Enrolled:
        """Enrol (N, D) float32 unit rows that the recogniser with `contract_id` made; all or none.

        Raises ContractError where they are another recogniser's or no unit rows.
        """
        name = clean_name(name)
        self._binding.require_contract(contract_id)
        rows = check_embeddings(embeddings, self.info.dim)
        nothing = [None] * len(rows)
        pieces = zip(rows, source_digests or nothing, detection_scores or nothing, strict=True)
        samples = [Sample(*piece) for piece in pieces]
        if not samples:
            raise VultusError(f"nothing to enrol for {name!r}; give at least one embedding")
        added = self._binding.store_or_new().add(name, samples)
        return Enrolled(name, added, len(samples) - added)

    def identify(self, image: Image, fpir: float = FPIR, k: int = 5) -> list[Identified]:
        """Who is in a photograph: every face found, with its decision; empty where no face was found.

        Args:
            fpir: how often a stranger may be named, for example 0.001; the threshold follows from it, the recogniser's
                calibration and the number of templates enrolled (`search_threshold`).
            k: candidates listed a face, at least 2.

        Raises:
            CalibrationError: the calibration does not support so low a rate at this size.
        """
        faces = self.recognizer.faces(image)
        rows = self.recognizer.embed(faces)
        decisions = self.identify_embeddings(rows, self.recognizer.contract.id, fpir, k)
        return [Identified(face, decision) for face, decision in zip(faces, decisions, strict=True)]

    def identify_embeddings(
        self, embeddings: np.ndarray, contract_id: str, fpir: float = FPIR, k: int = 5
    ) -> list[Decision]:
        """A decision for each of (Q, D) float32 unit rows; see `identify`."""
        if k < 1:
            raise VultusError(f"k is the number of candidates to list and at least 1, not {k}")
        self._binding.require_contract(contract_id)
        snapshot = self._binding.snapshot()
        threshold = self._search_threshold(fpir, snapshot)
        rows = check_embeddings(embeddings, self.info.dim)
        # The second best decides between match and ambiguous, so it is always looked at.
        found = snapshot.search(rows, max(2, k)) if snapshot else [[] for _ in rows]
        return [decide(candidates, threshold) for candidates in found]

    def threshold(self, fpir: float = FPIR) -> Threshold:
        """The threshold that `identify` would use now."""
        return self._search_threshold(fpir, self._binding.snapshot())

    def verify(self, name: str, image: Image, fmr: float = FMR, *, select: str | None = None) -> Verified:
        """Whether a photograph of one face shows the enrolled person `name`.

        Args:
            fmr: how often an impostor may pass, for the claim as a whole: the more templates the person has, the
                stricter each comparison (`claim_threshold`).

        Raises:
            VultusError: unknown name, or not one face.
            CalibrationError: the calibration does not support so low a rate.
        """
        _, templates = self._binding.existing_store().templates_of(name)
        recognizer = self.recognizer
        calibration = require_calibration(recognizer.calibration, recognizer.name, recognizer.contract.id)
        threshold = claim_threshold(calibration, fmr, len(templates))
        rows = check_embeddings(recognizer.embed([self._one_face(image, 1, select)]), self.info.dim)
        score = float(np.clip(templates @ rows[0], -1, 1).max())
        return Verified(score >= threshold.score, clean_name(name), score, threshold, fmr, len(templates))

    def persons(self) -> list[PersonInfo]:
        """Everyone enrolled, by name. Needs no model."""
        store = self._binding.store
        return store.persons() if store else []

    def describe(self) -> str:
        """One line: how many people and templates, and of which model."""
        people = self.persons()
        templates = sum(person.templates for person in people)
        counts = f"{_count(len(people), 'person', 'people')}, {_count(templates, 'template', 'templates')}"
        return f"{self.path}: {counts}, model {self.info.model}"

    def forget(self, *names: str) -> int:
        """Erase people, all or none; the number of templates removed. Needs no model.

        Rows are deleted, and their bytes leave the database and its write-ahead log. Backups, file-system snapshots and
        worn-out blocks of a flash disk are beyond reach. Warns where another process kept the file too busy to take the
        bytes out; opening the gallery again does it then.
        """
        if not names:
            raise VultusError("nobody to forget; give a name")
        store = self._binding.store
        if store is None:
            raise unknown_name(clean_name(names[0]), (), str(self.path))
        removed, clean = store.remove(names)
        self._binding.snapshot()  # out of this process's index as well
        if not clean:
            warnings.warn(
                f"forgotten, but {self.path} was too busy to take the old bytes out; open the gallery again to do it",
                stacklevel=2,
            )
        return removed

    def _search_threshold(self, fpir: float, snapshot: Snapshot | None) -> Threshold:
        recognizer = self.recognizer
        calibration = require_calibration(recognizer.calibration, recognizer.name, recognizer.contract.id)
        return search_threshold(calibration, fpir, len(snapshot) if snapshot else 0)

    def _one_face(self, image: Image, number: int, select: str | None) -> Face:
        if select not in (None, "largest", "center"):
            raise VultusError(f"unknown selection {select!r}; choose largest or center")
        faces = self.recognizer.faces(image, cast(Select, select or "all"))
        if len(faces) != 1:
            where = _image_name(image, number)
            if not faces:
                raise VultusError(f"{where}: no face found; use a clearer photograph")
            raise VultusError(
                f"{where}: {len(faces)} faces found where one is needed; crop the photograph, or select the largest or "
                "the one at the center"
            )
        return faces[0]


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _image_name(image: Image, number: int) -> str:
    return str(image) if isinstance(image, str | Path) else f"image {number}"


def _digest(face: Face) -> str | None:
    return None if face.crop is None else hashlib.sha256(np.ascontiguousarray(face.crop).tobytes()).hexdigest()
