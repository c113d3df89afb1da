"""Erasing people: key, rows, index entries, bytes. What remains is a signed receipt that names nobody."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import NoResultFound

from vultus.errors import VultusError
from vultus.files import drop_leftovers
from vultus.gallery.custody import ledger
from vultus.gallery.protection import ProtectionError, Receipt
from vultus.gallery.store import Collection, Person, Store, Write, collections, persons
from vultus.gallery.store.schema import collections as collection_rows
from vultus.gallery.store.schema import crops, erasures, templates
from vultus.gallery.store.schema import persons as person_rows

log = logging.getLogger(__name__)

MAX_REASON = 500


@dataclass(frozen=True)
class Erased:
    """What an erasure did. It holds, whatever the warnings say: they tell what is still to be made good."""

    receipts: tuple[Receipt, ...]
    unscrubbed: VultusError | None = None
    """What keeps the bytes in the database's files, as `Store.unscrubbed`; the next opening or erasure tries again."""
    warnings: tuple[str, ...] = ()

    @property
    def scrubbed(self) -> bool:
        """Whether the bytes are out of the database's files."""
        return self.unscrubbed is None


def erase(store: Store, collection: str, external_ids: Sequence[str] | str, reason: str = "") -> Erased:
    """Erase people, all or none of those named, and take their bytes out of the files.

    Args:
        reason: kept in the receipt for ever, so it must not name the person; up to 500 characters.

    Raises VultusError for somebody who is not enrolled, with the nearest who is; nobody is erased then.
    """
    named = [external_ids] if isinstance(external_ids, str) else list(dict.fromkeys(external_ids))
    if not named:
        raise VultusError("nobody to erase; name at least one person")
    sweep_leftovers(store)
    with store.writing() as write:
        bound = collections.get(store, write.connection, collection)
        found = {p.id: p for p in (persons.require(store, write.connection, bound, name) for name in named)}
        receipts = [erase_in(store, write, bound, person, reason) for person in found.values()]
    return finish(store, receipts)


def erase_in(store: Store, write: Write, collection: Collection, person: Person, reason: str) -> Receipt:
    """Erase one person within a transaction; `finish` does the rest once that is committed."""
    reason = _checked_reason(reason, person)
    pseudonym = _pseudonym(store, write, person)
    rows, kept = (
        write.connection.execute(
            select(func.count()).select_from(table).where(table.c.person_id == person.id)
        ).scalar_one()
        for table in (templates, crops)
    )
    receipt = Receipt.sign(
        store.signing_key,
        gallery_id=store.info.uuid,
        collection_id=collection.uuid,
        person_uuid=person.uuid,
        erased_at=write.now,
        reason=reason,
        templates=rows,
        crops=kept,
        audit_seq=write.audit("erased", collection.uuid, pseudonym, {"templates": rows, "crops": kept}),
    )
    persons.remove(write, collection, person)
    collections.destroy_snapshot_key(write, collection.id)
    _record(write, receipt)
    write.own(scrub_pending=True)
    return receipt


def erase_returned(store: Store) -> Erased:
    """Erase again everybody, in every collection, whom the ledger or the database says was erased.

    They come back where a copy of the database, or of rows, from before is put in its place: see `refusals`. The
    receipts that the database lacks are added to it, and a damaged ledger is made anew; the result holds the receipts
    of those who were there again or whose erasure was forgotten.
    """
    sweep_leftovers(store)
    told = {receipt.person_uuid: receipt for receipt in ledger.salvaged(store)}
    with store.writing() as write:
        known = ledger.known(write.connection)
        lost = told.keys() - known
        for uuid in sorted(lost):
            _record(write, told[uuid])
        again = persons.by_id(write.connection, ledger.returned(write.connection))
        told |= ledger.stored(write.connection, [person.uuid for person in again.values()])
        of = _collections_of(store, write, again)
        subjects = {person.uuid: _pseudonym(store, write, person) for person in again.values()}
        for person in again.values():
            # Whose erasure the database knows was put in by somebody else, and is in no tally of the gallery's rows.
            persons.remove(write, of[person.id], person, tallied=person.uuid not in known)
            collections.destroy_snapshot_key(write, of[person.id].id)
        if again:
            write.own(scrub_pending=True)
        receipts = [told[uuid] for uuid in sorted(lost | {person.uuid for person in again.values()})]
        for receipt in receipts:
            subject = subjects.get(receipt.person_uuid)
            write.audit("erasure_replayed", receipt.collection_id, subject, {"erased_by": receipt.audit_seq})
    try:
        ledger.renew(store)
        warnings = []
    except VultusError as error:
        warnings = [f"erased, but the receipts are not in the ledger yet: {error}"]
    done = finish(store, [])
    return Erased(tuple(receipts), done.unscrubbed, (*warnings, *done.warnings))


def _record(write: Write, receipt: Receipt) -> None:
    write.insert(erasures, person_uuid=receipt.person_uuid, at=receipt.erased_at, receipt=receipt.to_json())


def _pseudonym(store: Store, write: Write, person: Person) -> str | None:
    """What the log calls them; None where their key is damaged, which keeps nobody from being erased."""
    try:
        return persons.key_of(store, write.connection, person).pseudonym
    except (ProtectionError, NoResultFound):
        return None


def _collections_of(store: Store, write: Write, people: Iterable[int]) -> dict[int, Collection]:
    """By person's id."""
    by_id = {one.id: one for one in collections.every(store, write.connection)}
    rows = write.connection.execute(select(person_rows.c.id, person_rows.c.collection_id)) if people else ()
    return {row.id: by_id[row.collection_id] for row in rows if row.id in people}


def finish(store: Store, receipts: Sequence[Receipt]) -> Erased:
    """After the commit: the ledger, the snapshot files, the bytes. A crash before its end is made good by the next
    opening (`catch_up`, `Store.open`)."""
    warnings = note(store, receipts)
    return Erased(tuple(receipts), store.scrub(), (*warnings, *still_there(store)))


def note(store: Store, receipts: Sequence[Receipt]) -> list[str]:
    """The first part of `finish`, quick: ledger and snapshot files; warnings."""
    warnings = []
    try:
        ledger.append(store, receipts)
    except VultusError as error:
        warnings.append(f"erased, but the receipts are not in the ledger yet: {error}")
    drop_snapshots(store)
    return warnings


def still_there(store: Store) -> list[str]:
    """The warning where the last scrub left bytes in the database's files."""
    if store.unscrubbed is None:
        return []
    why = store.unscrubbed
    return [f"erased, but deleted bytes are still in the database's files ({why}); open it again to retry"]


def drop_snapshots(store: Store) -> None:
    """Delete the snapshot files whose key an erasure destroyed."""
    keyless = select(collection_rows.c.uuid).where(collection_rows.c.sealed_snapshot_key.is_(None))
    with store.reading() as connection:
        uuids = list(connection.execute(keyless).scalars())
    for uuid in uuids:
        with contextlib.suppress(OSError):  # nobody can read it without the key
            (store.state / f"{uuid}.index").unlink(missing_ok=True)


def catch_up(store: Store) -> int:
    """What a crash kept somebody from: to be called when a gallery is opened, as `Store.open` does for the bytes.

    Returns how many receipts the ledger lacked. A ledger that cannot be written is a warning in the log, not an error:
    whoever only reads can do without.
    """
    sweep_leftovers(store)
    drop_snapshots(store)
    try:
        return ledger.mend(store)
    except (VultusError, OSError) as error:
        log.warning("the ledger of erasures is incomplete: %s", error)
        return 0


def refusals(store: Store) -> list[VultusError]:
    """Why nobody may be searched or enrolled in this gallery as it is; empty where all is well.

    To be asked when it is opened, after `catch_up`. It takes two queries whose cost grows with the number of erasures,
    and reads the ledger with one check of a signature. Codes: those of `ledger.refusals`, and rolled_back.
    """
    return [*ledger.refusals(store), *([store.rollback] if store.rollback else ())]


def sweep_leftovers(store: Store) -> None:
    """Delete what killed processes left unfinished in the state folder, and beside it, where a SQLite file lies."""
    drop_leftovers(store.state)
    drop_leftovers(store.state.parent)


def verify_receipt(receipt: Receipt | str | bytes | Path, public_key: str | None = None) -> Receipt:
    """The receipt, if its signature holds; `receipt` is the path of a file, its JSON, or the receipt.

    `public_key`: the gallery's, as it was published; without it the receipt only proves that nobody changed it.
    Raises ProtectionError for one that was changed or is another gallery's, VultusError for a file that is not there.
    """
    if isinstance(receipt, Path) or (isinstance(receipt, str) and not receipt.lstrip().startswith("{")):
        try:
            receipt = Path(receipt).read_bytes()
        except OSError as error:
            raise VultusError(f"cannot read the receipt {receipt}: {error.strerror}; give the file's path") from None
    made = receipt if isinstance(receipt, Receipt) else Receipt.from_json(receipt)
    made.verify(public_key)
    return made


def _checked_reason(reason: str, person: Person) -> str:
    reason = " ".join(reason.split())
    if len(reason) > MAX_REASON:
        raise VultusError(f"the reason has {len(reason):,} characters; at most {MAX_REASON} are kept")
    for name in (person.external_id, person.name):
        if len(name) > 2 and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", reason, re.IGNORECASE):
            raise VultusError("the reason names the person, and would be kept in the receipt; word it without")
    return reason
