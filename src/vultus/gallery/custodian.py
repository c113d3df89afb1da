"""What is kept about people and how it goes away again, for one collection: `Gallery.custody`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vultus.errors import VultusError
from vultus.gallery import custody
from vultus.gallery.audit import Entry, Finding
from vultus.gallery.binding import Binding
from vultus.gallery.custody.consent import Time
from vultus.gallery.custody.erase import drop_snapshots
from vultus.gallery.live import Live
from vultus.gallery.protection import KeyEncryptionKey
from vultus.gallery.store import (
    Collection,
    Person,
    TemplateInfo,
    anchors,
    clock,
    collections,
    log,
    persons,
    templates,
    verification,
)
from vultus.gallery.store.templates import Damaged


@dataclass(frozen=True)
class PersonDetail:
    """Somebody enrolled, with all but the templates themselves."""

    person: Person
    consents: tuple[custody.Consent, ...]
    templates: tuple[TemplateInfo, ...]


class Custodian:
    """Consent, retention, export, erasure, the audit log, keys and backups of a gallery.

    Needs no model. Everything that changes something is written to the audit log in the same transaction.
    """

    def __init__(self, binding: Binding) -> None:
        """`binding`: of the gallery."""
        self._binding = binding
        self._collection = binding.place.collection

    def person(self, person: str) -> PersonDetail:
        """What is stored about somebody. VultusError, with the nearest id, for who is not enrolled."""
        store = self._binding.store
        with store.reading() as connection:
            collection = collections.get(store, connection, self._collection)
            found = persons.require(store, connection, collection, person)
            agreed = custody.consents_of(connection, found)
            return PersonDetail(found, tuple(agreed), tuple(templates.of_person(connection, collection, found)))

    def enrolled(self, person: str) -> bool:
        """Whether there is such a person; of one who is suspended too."""
        bound = self._binding.collection()
        if bound is None:
            return False
        with self._binding.store.reading() as connection:
            return persons.find(connection, bound, person) is not None

    def update(self, person: str, *, name: str | None = None, metadata: Mapping[str, Any] | None = None) -> Person:
        """Change what somebody is called, or their metadata as a whole; None leaves it."""
        store = self._binding.store
        with store.writing() as write:
            collection = collections.get(store, write.connection, self._collection)
            found = persons.require(store, write.connection, collection, person)
            persons.describe(write, found, name, metadata)
            told = {"name": name is not None, "metadata": metadata is not None}
            write.audit("described", collection.uuid, persons.key_of(store, write.connection, found).pseudonym, told)
            return persons.require(store, write.connection, collection, person)

    def remove_template(self, person: str, template_id: int) -> None:
        """Delete one template, and the crop that only it was made from; their bytes leave the files as by `erase`."""
        store = self._binding.store
        with store.writing() as write:
            collection = collections.get(store, write.connection, self._collection)
            found = persons.require(store, write.connection, collection, person)
            templates.remove(write, collection, found, template_id)
            key = persons.key_of(store, write.connection, found)
            collections.destroy_snapshot_key(write, collection.id)
            write.own(scrub_pending=True)
            write.audit("template_removed", collection.uuid, key.pseudonym, {"template": template_id})
        drop_snapshots(store)
        store.scrub()

    def record_consent(
        self,
        person: str,
        *,
        basis: str,
        purpose: str | None = None,
        text: str | bytes | None = None,
        given_at: Time | None = None,
        expires_at: Time | None = None,
    ) -> custody.Consent:
        """See `ConsentGiven`. Somebody who was suspended for want of consent is searched again."""
        return custody.record_consent(
            self._binding.store,
            self._collection,
            person,
            basis=basis,
            purpose=purpose,
            text=text,
            given_at=given_at,
            expires_at=expires_at,
        )

    def withdraw_consent(self, person: str, purpose: str | None = None) -> list[custody.Consent]:
        """What was withdrawn. Where the collection requires consent, the person leaves every index at once."""
        return custody.withdraw_consent(self._binding.store, self._collection, person, purpose)

    def retain(self, person: str, until: Time | None) -> str | None:
        """Keep somebody until then, whatever the collection's retention is; None: as the collection says."""
        return custody.retain_until(self._binding.store, self._collection, person, until)

    def due(self) -> list[custody.Due]:
        """Who would be erased by `sweep` now, and why."""
        return custody.due(self._binding.store, self._collection)

    def sweep(self, *, dry_run: bool = True, confirm_time: bool = False) -> custody.Swept:
        """Erase who is due: consent withdrawn or run out, or kept long enough. By default it only says who.

        ClockDoubtfulError where the clock jumped, until `confirm_time` or `repair_times` says that it is right.
        """
        return custody.sweep(self._binding.store, self._collection, dry_run=dry_run, confirm_time=confirm_time)

    def repair_times(self, *, dry_run: bool = True) -> custody.Repaired:
        """Say that the clock is right now, after it was wrong, and mend what it stamped; of the whole database."""
        return custody.repair_times(self._binding.store, dry_run=dry_run)

    def export(self, person: str, path: str | Path) -> Path:
        """Write everything held about somebody into a .zip (GDPR art. 15 and 20); it is personal data."""
        return custody.export_person(self._binding.store, self._collection, person, path)

    def erase(self, *people: str, reason: str = "") -> custody.Erased:
        """Erase people for good, all or none of those named: see `Gallery.erase`."""
        return custody.erase(self._binding.store, self._collection, people, reason)

    def erase_returned(self) -> custody.Erased:
        """Erase again whoever had been erased and is there again, in every collection: see `custody.erase_returned`."""
        return custody.erase_returned(self._binding.store)

    def log(
        self, *, after: int | None = None, person: str | None = None, kind: str | None = None, limit: int | None = None
    ) -> list[Entry]:
        """Entries of the audit log by ascending number, of one person or one kind: the first `limit` after the number
        `after`, or without it the newest `limit`."""
        store = self._binding.store
        with store.reading() as connection:
            subject = None
            if person is not None:
                found = persons.require(store, connection, self._found(), person)
                subject = persons.key_of(store, connection, found).pseudonym
            return list(log.entries(connection, after, subject, kind, limit))

    def verify_log(self, kept: Sequence[str] = ()) -> list[Finding]:
        """Everything that is wrong with the audit log and the rows; empty if they are whole. `kept`: see `anchor`."""
        return verification.verify_gallery(self._binding.store, kept)

    def damaged(self) -> list[Damaged]:
        """Templates in use that are set aside while the others are searched, because they do not open or do not fit.

        Each one is opened, which takes as long as filling an index.
        """
        store = self._binding.store
        with store.reading() as connection:
            return templates.damaged(store, connection, collections.get(store, connection, self._collection))

    def anchor(self) -> str:
        """The log's end as a short text to keep elsewhere: it shows a later rollback of the whole database."""
        return log.log_anchor(self._binding.store)

    def send_anchor(self, targets: Sequence[str]) -> str:
        """Send the log's end to file:PATH, syslog or https://… addresses; the anchor. VultusError: anchor_not_sent."""
        text = self.anchor()
        for target in targets:
            anchors.send(text, self._binding.store.info.uuid, clock.now(), target)
        return text

    def accept_rollback(self, reason: str) -> None:
        """Go on with a database that was put back to an earlier state, which is noted in the log."""
        log.accept_rollback(self._binding.store, reason)

    def mend_log(self, reason: str) -> list[Finding]:
        """Go on after a log, or rows, that were tampered with: rows are taken as they are, and that is noted."""
        return verification.mend(self._binding.store, reason)

    def backup(self, path: str | Path, *, overwrite: bool = False) -> custody.BackupInfo:
        """Copy the whole database into one file, from one moment; all collections. The key is not in it."""
        return custody.backup(self._binding.store, Path(path), overwrite=overwrite)

    def rotate_key(self, new: str | KeyEncryptionKey | None = None, *, remove_old: bool = False) -> custody.Rotated:
        """Lock the whole database with another key-encryption key; None makes one in the configuration folder."""
        return custody.rotate_key(self._binding.store, new, remove_old=remove_old)

    def renew(self) -> custody.Renewed:
        """Turn the collection's rows by a new secret rotation. Every index is rebuilt."""
        return custody.renew(self._binding.store, self._collection)

    def snapshot(self) -> Path:
        """Write the index's snapshot file, for a quick start."""
        self._binding.existing()
        live = self._binding.live
        if not isinstance(live, Live):
            raise VultusError("an engine keeps its own files; only the index in the process has a snapshot")
        return live.save()

    def positions(self) -> dict[str, tuple[int, str]]:
        """How far each engine has followed the change sequence, and when: {address: (number, UTC)}."""
        from vultus.gallery.engines import positions

        return positions(self._binding.store, self._found())

    def suspend_lapsed(self) -> list[str]:
        """Take out of every index whose consent ran out; to be called now and then where consent is required."""
        return custody.suspend_lapsed(self._binding.store, self._collection)

    def _found(self) -> Collection:
        found = self._binding.collection()
        if found is None:
            raise self._binding.missing()
        return found
