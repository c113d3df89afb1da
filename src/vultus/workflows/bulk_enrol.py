"""Enrol many people from a folder or a table; what is unfit is told, and the rest is enrolled."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.errors import ImageError, VultusError
from vultus.files import refuse_same, writing
from vultus.terminal import exit_code, track
from vultus.workflows.bulk_sources import Entry, Photo, open_source

if TYPE_CHECKING:
    from vultus.gallery import Enrolled, Gallery
    from vultus.gallery.custody import ConsentGiven

GIVE_UP = 20
"""So many people in a row who fail for another reason than their photographs: something is wrong with the gallery."""
LISTED = 20
"""Lines that a summary keeps; the report holds all."""
HEADER = ("what", "person", "image", "reason", "codes")


@dataclass
class Summary:
    """What came of it."""

    people: int = 0
    """Who was gone through."""
    enrolled: int = 0
    """Of them, who has a template of these photographs now, new or not."""
    templates: int = 0
    """New ones."""
    repeated: int = 0
    """Photographs that were enrolled before."""
    left_out: int = 0
    """People who were enrolled already and were not looked at."""
    skipped: int = 0
    """Photographs that were not enrolled."""
    lookalikes: int = 0
    """Warnings that somebody looks like a person enrolled under another id."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why photographs were skipped: how many, by code."""
    listed: list[dict[str, str]] = field(default_factory=list)
    """The first lines of the report."""
    position: int = 0
    """Of the change sequence: a search that demands at least this one sees everyone enrolled."""
    interrupted: int = 0
    """The exit code that a shell expects where the work was stopped, see `terminal.exit_code`; else 0."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "reasons": dict(self.reasons.most_common()), "interrupted": bool(self.interrupted)}


def bulk_enrol(
    gallery: Gallery,
    source: Path,
    *,
    select: str | None = None,
    consent: ConsentGiven | None = None,
    new_only: bool = False,
    report: Path | None = None,
) -> Summary:
    """Enrol everyone of `source`: a folder with one folder a person, or a CSV file with the columns person and image.

    Each person is one transaction, so an interruption loses nothing that was done, and repeating it stores nothing
    twice. Memory does not grow with the number of photographs. Of a person with more good photographs than the
    collection keeps templates, the first ones are taken.

    Args:
        select: which face is meant where a photograph shows several ("largest", "center"); else it is skipped.
        consent: recorded with everyone who has no valid one to its purpose: who is new, who was enrolled without, whose
            consent ran out. Not with who has withdrawn it, which is noted: a repeated import must not undo that.
        new_only: leave out, without reading their photographs, who is enrolled already.
        report: a CSV file to write, mode 0600: what was skipped, and who looks like somebody else.

    Raises:
        VultusError: a source or a model that is none, before anybody is enrolled; or `GIVE_UP` people in a row who
            fail for another reason than their photographs.
    """
    if select not in (None, "largest", "center"):
        raise VultusError(f"unknown selection {select!r}; choose largest or center")
    refuse_same(report, source, gallery.label)
    people = open_source(source)
    total = people.check()
    settings = gallery.info.settings
    if settings.require_consent and consent is None and not new_only:
        raise VultusError("this collection requires consent; say on what it rests, for example with --consent-basis")
    if consent is not None:
        consent = replace(consent, if_lacking=True)
    _ = gallery.recognizer  # a wrong model is told once, not of every person
    done, failed = Summary(), 0
    with _noting(done, report) as notes:
        for path in people.loose():
            notes.skipped("", path, "it lies in nobody's folder", ("no_person",))
        try:
            for entry in track(people, "enrolling", total, "people"):
                if new_only and is_enrolled(gallery, entry.person):
                    done.left_out += 1
                    continue
                try:
                    fault = _Person(gallery, entry, select, consent, new_only, done, notes).enrol()
                except _EnrolledMeanwhile:
                    done.left_out += 1
                    continue
                failed = failed + 1 if fault else 0
                if failed == GIVE_UP:
                    raise VultusError(f"stopped, because {GIVE_UP} people in a row were refused; the last: {fault}")
        except KeyboardInterrupt as stop:
            done.interrupted = exit_code(stop)
    return done


def is_enrolled(gallery: Gallery, person: str) -> bool:
    """Whether the collection has somebody of this id; an impossible id is nobody's."""
    try:
        return gallery.custody.enrolled(person)
    except VultusError:
        return False


class Notes:
    """What is told of single photographs and people: counted, the first ones kept, all of them written."""

    def __init__(self, done: Summary, write: Any = None) -> None:
        self._done = done
        self._write = write

    def skipped(self, person: str, image: object, reason: str, codes: tuple[str, ...]) -> None:
        self._done.skipped += 1
        self._done.reasons.update(codes)
        self._add("skipped", person, str(image), reason, " ".join(codes))

    def lookalike(self, person: str, other: str, score: float) -> None:
        self._done.lookalikes += 1
        self._add("lookalike", person, "", f"looks like {other!r} (score {score:.3f}): one person enrolled twice?", "")

    def warning(self, person: str, text: str) -> None:
        self._add("warning", person, "", text, "")

    def _add(self, *cells: str) -> None:
        if len(self._done.listed) < LISTED:
            self._done.listed.append(dict(zip(HEADER, cells, strict=True)))
        if self._write is not None:
            self._write(cells)


class _EnrolledMeanwhile(Exception):
    """Somebody who was new when the import looked, and is not any more."""


@dataclass
class _Person:
    """The enrolment of one person."""

    gallery: Gallery
    entry: Entry
    select: str | None
    consent: ConsentGiven | None
    new_only: bool
    done: Summary
    notes: Notes
    taken: int = 0
    fault: str | None = None

    def enrol(self) -> str | None:
        """Enrol the photographs that are fit. What kept all of them out, if it was none of the photographs."""
        most, photos = self.gallery.info.settings.max_templates, list(self.entry.photos)
        if not photos:
            self.notes.skipped(self.entry.person, "", "no photographs", ("no_photographs",))
        while photos and self.taken < most:  # as many as there is room for; each that is unfit makes room for another
            _, same = next(groupby(photos[: most - self.taken], key=lambda photo: photo.select))
            chosen = list(same)
            photos = photos[len(chosen) :]
            self._several(chosen)
        for photo in photos:
            reason = f"{most} templates of this person are enrolled, as many as the collection keeps"
            self.notes.skipped(self.entry.person, photo.path, reason, ("too_many_templates",))
        self.done.people += 1
        self.done.enrolled += self.taken > 0
        return None if self.taken else self.fault

    def _several(self, photos: list[Photo]) -> None:
        try:
            self._keep(self._ask(photos, skip_bad=len(photos) > 1))
        except VultusError as error:
            if error.code == "enrolled_already":
                raise _EnrolledMeanwhile from None
            if len(photos) > 1:  # not one could be enrolled, or together they cannot: each tells its own reason
                for photo in photos:
                    self._several([photo])
                return
            self._refused(photos[0], error)

    def _ask(self, photos: list[Photo], skip_bad: bool) -> Enrolled:
        first = not self.taken
        return self.gallery.enroll(
            self.entry.person,
            *(photo.path for photo in photos),
            name=self.entry.name if first else None,
            metadata=self.entry.metadata if first else None,
            consent=self.consent if first else None,
            select=photos[0].select or self.select,
            skip_bad=skip_bad,
            new_only=self.new_only and first,
        )

    def _keep(self, made: Enrolled) -> None:
        if not self.taken:
            for other in made.duplicates:
                self.notes.lookalike(self.entry.person, other.person, other.score)
            for other in made.namesakes:
                self.notes.warning(self.entry.person, f"its id looks like that of {other!r}: a second spelling?")
            if self.done.templates + self.done.repeated == 0:
                for text in made.warnings:  # the same for everyone
                    self.notes.warning(self.entry.person, text)
        if made.consent_withheld:
            text = "consent was withdrawn, so none is recorded; if they agreed again, use `consent add`"
            self.notes.warning(self.entry.person, text)
        self.taken += made.templates + made.repeated
        self.done.templates += made.templates
        self.done.repeated += made.repeated
        self.done.position = max(self.done.position, made.position)
        for one in made.doubtful:
            self.notes.warning(self.entry.person, f"{one.image} {one.reason}")
        for one in made.skipped:
            self.notes.skipped(self.entry.person, one.image, one.reason, one.codes)

    def _refused(self, photo: Photo, error: VultusError) -> None:
        from vultus.gallery.photographs import skipped

        told = skipped(error, photo.path, 1)
        if not isinstance(error, ImageError):
            self.fault = str(error)
        self.notes.skipped(self.entry.person, photo.path, told.reason, told.codes)


@contextmanager
def _noting(done: Summary, report: Path | None) -> Iterator[Notes]:
    """Notes that are written to `report` as well; it appears whole, also after an interruption."""
    if report is None:
        yield Notes(done)
        return
    interrupted: BaseException | None = None
    with writing(report, mode=0o600, text=True) as file:
        try:
            write = csv.writer(file).writerow
            write(HEADER)
            yield Notes(done, write)
        except BaseException as error:
            interrupted = error
    if isinstance(interrupted, OSError):
        told = f"cannot write the report {report}: {interrupted.strerror}; make room"
        raise VultusError(told, code="unwritable", path=report) from None
    if interrupted is not None:
        raise interrupted
