"""Enrol many people from a folder or a table; what is unfit is told, and the rest is enrolled."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.errors import ImageError, VultusError
from vultus.terminal import track
from vultus.workflows.bulk_sources import Entry, Photo, open_source

if TYPE_CHECKING:
    from vultus.gallery import Enrolled, Gallery
    from vultus.gallery.custody import ConsentGiven

GIVE_UP = 20
"""So many people in a row who fail for another reason than their photographs: something is wrong with the gallery."""
LISTED = 20
"""Lines that a summary keeps; the report holds all."""
CODES = (
    ("no face found", "no_face"),
    ("faces found where one", "several_faces"),
    ("does not exist", "no_file"),
    ("is broken or no photograph", "unreadable"),
    ("cannot be read", "unreadable"),
    ("is empty", "unreadable"),
    ("pixels allowed", "too_large"),
)
"""Codes of what is refused for another reason than its quality, told by the words of the reason."""
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
    interrupted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "reasons": dict(self.reasons.most_common())}


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
    people = open_source(source)
    total = people.check()
    settings = gallery.info.settings
    if settings.require_consent and consent is None and not new_only:
        raise VultusError("this collection requires consent; say on what it rests, for example with --consent-basis")
    _ = gallery.recognizer  # a wrong model is told once, not of every person
    done, failed = Summary(), 0
    with _noting(done, report) as notes:
        for path in people.loose():
            notes.skipped("", path, "it lies in nobody's folder", ("no_person",))
        try:
            for entry in track(people, "enrolling", total, "people"):
                known = is_enrolled(gallery, entry.person)
                if known and new_only:
                    done.left_out += 1
                    continue
                given = _lacking(gallery, entry.person, consent, notes) if known else consent
                fault = _Person(gallery, entry, select, given, done, notes).enrol()
                failed = failed + 1 if fault else 0
                if failed == GIVE_UP:
                    raise VultusError(f"stopped, because {GIVE_UP} people in a row were refused; the last: {fault}")
        except KeyboardInterrupt:
            done.interrupted = True
    return done


def is_enrolled(gallery: Gallery, person: str) -> bool:
    """Whether the collection has somebody of this id; an impossible id is nobody's."""
    try:
        return gallery.custody.enrolled(person)
    except VultusError:
        return False


def _lacking(gallery: Gallery, person: str, given: ConsentGiven | None, notes: Notes) -> ConsentGiven | None:
    """The consent to record with somebody enrolled: None where they have a valid one to the same purpose already."""
    if given is None:
        return None
    from vultus.gallery.store import clock

    purpose, now = given.purpose or gallery.info.settings.purpose, clock.now()
    known = [one for one in gallery.custody.person(person).consents if one.purpose == purpose]
    if any(one.valid(now) for one in known):
        return None
    if known and known[-1].withdrawn_at:
        notes.warning(person, "consent was withdrawn, so none is recorded; if they agreed again, use `consent add`")
        return None
    return given


class Notes:
    """What is told of single photographs and people: counted, the first ones kept, all of them written."""

    def __init__(self, done: Summary, write: Any = None) -> None:
        self._done = done
        self._write = write

    def skipped(self, person: str, image: object, reason: str, codes: tuple[str, ...] = ()) -> None:
        reason = reason.removeprefix(f"{image} ")
        codes = codes or (next((code for text, code in CODES if text in reason), "refused"),)
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


@dataclass
class _Person:
    """The enrolment of one person."""

    gallery: Gallery
    entry: Entry
    select: str | None
    consent: ConsentGiven | None
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
        )

    def _keep(self, made: Enrolled) -> None:
        if not self.taken:
            for other in made.duplicates:
                self.notes.lookalike(self.entry.person, other.person, other.score)
            if self.done.templates + self.done.repeated == 0:
                for text in made.warnings:  # the same for everyone
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
    part = report.with_name(f"{report.name}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise VultusError(f"cannot write the report {report}: {error.strerror}; choose another path") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            write = csv.writer(file).writerow
            write(HEADER)
            yield Notes(done, write)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise VultusError(f"cannot write the report {report}: {error.strerror}; make room") from None
    finally:
        if part.exists():
            os.replace(part, report)
