"""What people agreed to: recorded, withdrawn, expired. Where a collection requires consent, nobody is searched for
without one (GDPR art. 7 and 9(2)(a): demonstrable, for a purpose, as easy to withdraw as to give)."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, Row, or_, select

from vultus.errors import VultusError
from vultus.gallery.names import MAX_LENGTH
from vultus.gallery.protection import DataKey
from vultus.gallery.store import Collection, Person, Store, Write, collections, persons
from vultus.gallery.store.clock import as_text, parse_time
from vultus.gallery.store.schema import consents
from vultus.gallery.store.schema import persons as people
from vultus.gallery.store.sealing import checked

Time = str | datetime | date
"""ISO 8601 text, or a date or time; UTC where it names no zone, and a date is its first moment."""


@dataclass(frozen=True)
class ConsentGiven:
    """What somebody agreed to, about to be recorded."""

    basis: str
    """The legal ground, for example "GDPR art. 9(2)(a)"; up to 200 characters."""
    text: str | bytes | None = None
    """The words that were agreed to. Only their SHA-256 is kept: keep the text itself, to show what it belongs to."""
    purpose: str | None = None
    """None: the collection's."""
    given_at: Time | None = None
    """None: now."""
    expires_at: Time | None = None
    """None: until it is withdrawn."""
    if_lacking: bool = False
    """Whether an enrollment records it only with who has no valid consent to its purpose and never withdrew the last
    one, as an import does that may be repeated: it must not undo a withdrawal."""


@dataclass(frozen=True)
class Consent:
    """One record. Times are UTC, ISO 8601."""

    purpose: str
    basis: str
    text_digest: str | None
    """SHA-256 in hex of the text that was agreed to."""
    given_at: str
    expires_at: str | None
    withdrawn_at: str | None
    recorded_at: str

    def valid(self, now: str) -> bool:
        return self.withdrawn_at is None and (self.expires_at is None or self.expires_at > now)


def record_consent(
    store: Store,
    collection: str,
    external_id: str,
    *,
    purpose: str | None = None,
    basis: str,
    text: str | bytes | None = None,
    given_at: Time | None = None,
    expires_at: Time | None = None,
) -> Consent:
    """Record that somebody enrolled agreed; who was suspended for want of it is searched again.

    See `ConsentGiven` for the arguments. Raises VultusError for an unknown person or collection, no purpose, or times
    that cannot be.
    """
    with store.writing() as write:
        bound = collections.get(store, write.connection, collection)
        person = persons.require(store, write.connection, bound, external_id)
        key = persons.key_of(store, write.connection, person)
        return record_in(write, bound, person, key, ConsentGiven(basis, text, purpose, given_at, expires_at))


def record_in(write: Write, collection: Collection, person: Person, key: DataKey, given: ConsentGiven) -> Consent:
    """The same within a transaction, such as the person's first enrolment. `person`: as this transaction reads it."""
    given_at = write.now if given.given_at is None else moment(given.given_at, "the time of the consent")
    expires_at = None if given.expires_at is None else moment(given.expires_at, "the end of the consent")
    if given_at > write.now:
        raise VultusError(f"a consent given at {given_at} lies in the future; it is {write.now} now")
    if expires_at is not None and expires_at <= write.now:
        raise VultusError(f"the consent would have expired at {expires_at}; ask for a new one")
    made = Consent(
        purpose=_purpose(collection, given.purpose),
        basis=_line(given.basis, "the basis of a consent"),
        text_digest=_digest(given.text),
        given_at=given_at,
        expires_at=expires_at,
        withdrawn_at=None,
        recorded_at=write.now,
    )
    write.insert(consents, person_id=person.id, **vars(made))
    write.audit("consent_recorded", collection.uuid, key.pseudonym, _told(collection, made))
    settings = collection.settings
    if not settings.require_consent or valid_consent(write.connection, person, settings.purpose, write.now):
        persons.set_status(write, collection, person, "active")
    return made


def may_record(write: Write, collection: Collection, person: Person, given: ConsentGiven) -> tuple[bool, bool]:
    """Whether `given` is to be recorded with somebody, and whether it is not because they withdrew the last one."""
    if not given.if_lacking:
        return True, False
    purpose = _purpose(collection, given.purpose)
    known = [one for one in consents_of(write.connection, person) if one.purpose == purpose]
    if any(one.valid(write.now) for one in known):
        return False, False
    withdrawn = bool(known and known[-1].withdrawn_at)
    return not withdrawn, withdrawn


def withdraw_consent(store: Store, collection: str, external_id: str, purpose: str | None = None) -> list[Consent]:
    """Withdraw somebody's consents to `purpose`, or all; those that were withdrawn.

    Where the collection requires consent and none is left, the person is suspended: no index holds them from now on.
    They are not erased; `sweep` does that, or `erase`. Raises VultusError where there is nothing to withdraw.
    """
    with store.writing() as write:
        bound = collections.get(store, write.connection, collection)
        person = persons.require(store, write.connection, bound, external_id)
        key = persons.key_of(store, write.connection, person)
        wanted = [consents.c.person_id == person.id, consents.c.withdrawn_at.is_(None)]
        if purpose is not None:
            wanted.append(consents.c.purpose == _line(purpose, "a purpose"))
        rows = write.connection.execute(select(consents).where(*wanted).order_by(consents.c.id)).all()
        write.update(consents, *wanted, withdrawn_at=write.now)
        suspended = suspend_without(write, bound, person)
        if not rows and not suspended:
            what = "consent" if purpose is None else f"consent to {purpose!r}"
            raise VultusError(f"{person.external_id!r} has given no {what} that is not withdrawn already")
        withdrawn = [Consent(**{**vars(_consent(row)), "withdrawn_at": write.now}) for row in rows]
        told = [_told(bound, consent) for consent in withdrawn]
        write.audit("consent_withdrawn", bound.uuid, key.pseudonym, {"consents": told, "suspended": suspended})
    return withdrawn


def consents_of(connection: Connection, person: Person) -> list[Consent]:
    """All that were ever recorded, the oldest first."""
    query = select(consents).where(consents.c.person_id == person.id).order_by(consents.c.id)
    return [_consent(checked(connection, consents, row)) for row in connection.execute(query)]


def valid_consent(connection: Connection, person: Person, purpose: str, now: str) -> bool:
    """Whether the person agrees to `purpose` at this time: neither withdrawn nor expired."""
    query = select(consents).where(consents.c.person_id == person.id, *is_valid(purpose, now)).limit(1)
    row = connection.execute(query).one_or_none()
    return row is not None and bool(checked(connection, consents, row))


def is_valid(purpose: str, now: str) -> tuple:
    """Conditions on a row of `consents`."""
    return (
        consents.c.purpose == purpose,
        consents.c.withdrawn_at.is_(None),
        or_(consents.c.expires_at.is_(None), consents.c.expires_at > now),
    )


def check_consent(connection: Connection, collection: Collection, person: Person, now: str) -> None:
    """Whether the person may be enrolled at this time; VultusError where they have not consented, as they must."""
    settings = collection.settings
    if settings.require_consent and not valid_consent(connection, person, settings.purpose, now):
        before = any(consent.purpose == settings.purpose for consent in consents_of(connection, person))
        why = "has withdrawn consent, or it expired" if before else "has not consented"
        raise VultusError(
            f"{person.external_id!r} {why}, which this collection requires for {settings.purpose!r}; record their "
            "consent as they are enrolled (--consent-basis), or, if they are, by `vultus gallery consent add`"
        )
    status = connection.execute(select(people.c.status).where(people.c.id == person.id)).scalar()
    if status == "suspended":
        raise VultusError(f"{person.external_id!r} is suspended: consent was withdrawn; record a new one to go on")


def suspend_without(write: Write, collection: Collection, person: Person) -> bool:
    """Suspend an active person without the consent that the collection requires; whether that was so."""
    settings = collection.settings
    if (
        not settings.require_consent
        or person.status == "suspended"
        or valid_consent(write.connection, person, settings.purpose, write.now)
    ):
        return False
    persons.set_status(write, collection, person, "suspended")
    return True


def moment(time: Time, what: str) -> str:
    """A time as the database keeps it; VultusError naming `what` for anything else."""
    try:
        return as_text(parse_time(time if isinstance(time, str) else time.isoformat(), what))
    except (AttributeError, OverflowError):
        raise VultusError(f"{what} is no time that can be kept: {time!r}; give for example 2030-12-31") from None


def _purpose(collection: Collection, purpose: str | None) -> str:
    if purpose is None and not collection.settings.purpose:
        raise VultusError(f"collection {collection.name!r} has no purpose; say what the consent is for, or set purpose")
    return _line(purpose or collection.settings.purpose, "a purpose")


def _line(text: str, what: str) -> str:
    cleaned = unicodedata.normalize("NFC", text).strip() if isinstance(text, str) else ""
    if not cleaned or len(cleaned) > MAX_LENGTH or any(unicodedata.category(c) in ("Cc", "Cs") for c in cleaned):
        raise VultusError(f"{what} is one line of 1 to {MAX_LENGTH} characters, not {str(text)[:40]!r}")
    return cleaned


def _digest(text: str | bytes | None) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str | bytes):
        raise VultusError(f"the text of a consent must be text or bytes, not {type(text).__name__}")
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def _told(collection: Collection, consent: Consent) -> dict[str, str | None]:
    """What the log may keep for ever: no words of the user's that might name somebody."""
    purpose = consent.purpose if consent.purpose == collection.settings.purpose else "another"
    return {"purpose": purpose, "given_at": consent.given_at, "expires_at": consent.expires_at}


def _consent(row: Row) -> Consent:
    return Consent(
        row.purpose, row.basis, row.text_digest, row.given_at, row.expires_at, row.withdrawn_at, row.recorded_at
    )
