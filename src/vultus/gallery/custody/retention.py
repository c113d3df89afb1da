"""How long people are kept, and whose time is up (GDPR art. 5(1)(e), storage limitation)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, and_, case, func, or_, select

from vultus.errors import VultusError
from vultus.gallery.custody.consent import Time, is_valid, moment, suspend_without
from vultus.gallery.custody.erase import erase_in, note, still_there
from vultus.gallery.protection import Receipt
from vultus.gallery.store import Collection, Store, Write, clock, collections
from vultus.gallery.store import persons as stored
from vultus.gallery.store.clock import BEHIND, Doubt, as_text, parse_time
from vultus.gallery.store.schema import audit, consents, gallery, persons

AT_ONCE = 500
"""Times that are compared in one statement."""
STAMPED = ((persons, "created"), (persons, "last_seen"), *((consents, c) for c in ("given_at", "withdrawn_at")),
           (consents, "recorded_at"))  # fmt: skip
"""Times that a write takes from the clock and by which people are kept, erased or suspended."""


@dataclass(frozen=True)
class Due:
    """Somebody whose time is up."""

    external_id: str
    name: str
    reason: str
    """"retain_until passed", "retention_days passed", "consent withdrawn" or "consent expired"."""
    since: str
    """UTC, ISO 8601."""


@dataclass(frozen=True)
class Swept:
    """What a sweep found and did."""

    due: tuple[Due, ...]
    receipts: tuple[Receipt, ...] = ()
    """Of those who were erased; none in a dry run."""
    failed: tuple[tuple[str, str], ...] = ()
    """(external id, what went wrong) of those who could not be."""
    unscrubbed: VultusError | None = None
    """What keeps the bytes in the database's files, as `Store.unscrubbed`; the next opening or erasure tries again."""
    warnings: tuple[str, ...] = ()
    doubt: Doubt | None = None
    """Why times are in doubt, in a dry run: it would refuse to erase anybody."""

    @property
    def scrubbed(self) -> bool:
        """Whether the bytes are out of the database's files."""
        return self.unscrubbed is None


@dataclass(frozen=True)
class Repaired:
    """Times that a wrong clock stamped."""

    doubt: Doubt | None
    """Why they were looked for; None where times are trusted, so that only those in the future count."""
    times: dict[str, int]
    """How many, by table and column ("persons.last_seen")."""
    done: bool
    """Whether they were set to the time of now, and times are trusted from now on."""


def due(store: Store, collection: str) -> list[Due]:
    """Who is to be erased now, the longest overdue first.

    That is whoever passed their own `retain_until`; or, having none, was last enrolled or matched `retention_days`
    before; or, where consent is required, withdrew it or let it expire. People who were never asked for the consent
    that is required are not due: ask them.
    """
    with store.reading() as connection:
        bound = collections.get(store, connection, collection)
        return [found for _, found in _due(connection, bound, clock.now())]


def doubt(store: Store) -> Doubt | None:
    """Why nobody would be erased or suspended because of a time now; None where times are trusted."""
    with store.reading() as connection:
        row = connection.execute(select(gallery.c.last_at, gallery.c.doubted_since)).mappings().one()
    return clock.doubt(dict(row), clock.now())


def repair_times(store: Store, *, dry_run: bool = True) -> Repaired:
    """Confirm that the clock is right now, and set what it stamped when it was wrong to the time of now.

    That are times of people and consents in the future, and those that were stamped since the doubt began and are not
    between the last entry of the audit log before it and now. So nobody is erased early because of them, and nobody
    kept longer than somebody seen today. Times that somebody gave, such as `retain_until`, stay. A dry run only counts.
    """
    if dry_run:
        with store.reading() as connection:
            row = dict(connection.execute(select(gallery)).mappings().one())
            at = clock.now()
            wrong = _wrong_times(connection, row["doubted_since"], at)
            return Repaired(clock.doubt(row, at), {name: len(ids) for name, ids in wrong.items() if ids}, False)
    with store.writing() as write:
        return _confirm(write)


def _confirm(write: Write) -> Repaired:
    before = write.doubt
    wrong = _wrong_times(write.connection, before.since if before else None, write.now)
    for table, column in STAMPED:
        ids = wrong[f"{table.name}.{column}"]
        write.change(table, [{"id": i, column: write.now} for i in ids])
    times = {name: len(ids) for name, ids in wrong.items() if ids}
    write.trust_times({"now": write.now, "repaired": times})
    return Repaired(before, times, True)


def _wrong_times(connection: Connection, since: int | None, at: str) -> dict[str, list[int]]:
    """Ids of the rows with a time that cannot be, by table and column."""
    latest = as_text(parse_time(at, "now") + BEHIND)
    stamps: list[str] = []
    if since is not None:
        entries = select(audit.c.at).where(audit.c.seq < since).order_by(audit.c.seq.desc()).limit(1)
        last = connection.execute(entries).scalar() or connection.execute(select(gallery.c.created)).scalar_one()
        earliest = as_text(parse_time(min(last, at), "the last time before the doubt") - BEHIND)
        # All that one transaction stamps has one time, that of its entries in the log.
        outside = or_(audit.c.at < earliest, audit.c.at > latest)
        stamps = list(connection.execute(select(audit.c.at).distinct().where(audit.c.seq >= since, outside)).scalars())
    found: dict[str, list[int]] = {}
    for table, column in STAMPED:
        time = table.c[column]
        wanted = [time > latest] + [time.in_(stamps[i : i + AT_ONCE]) for i in range(0, len(stamps), AT_ONCE)]
        ids = {i for one in wanted for i in connection.execute(select(table.c.id).where(one)).scalars()}
        found[f"{table.name}.{column}"] = sorted(ids)
    return found


def sweep(store: Store, collection: str, *, dry_run: bool = True, confirm_time: bool = False) -> Swept:
    """Erase who is due, each in a transaction of their own; a dry run only tells who that is.

    Raises ClockDoubtfulError, and erases nobody, where the gallery's times are in doubt, unless `confirm_time` says
    that the clock is right: then `repair_times` comes first.

    Interrupted, it leaves some erased and the others as they were: run it again. Who was seen or consented anew since
    the list was made is left alone.
    """
    if dry_run:
        return Swept(tuple(due(store, collection)), doubt=doubt(store))
    with store.writing() as write:
        if confirm_time:
            _confirm(write)
        write.require_time()
    listed = due(store, collection)
    receipts: list[Receipt] = []
    failed: list[tuple[str, str]] = []
    warnings: dict[str, None] = {}
    for one in listed:
        try:
            with store.writing() as write:
                write.require_time()
                bound = collections.get(store, write.connection, collection)
                person = stored.find(write.connection, bound, one.external_id)
                still = _due(write.connection, bound, write.now, person.id) if person else []
                if not person or not still:
                    continue
                receipt = erase_in(store, write, bound, person, still[0][1].reason)
        except VultusError as error:
            failed.append((one.external_id, str(error)))
            continue
        receipts.append(receipt)
        warnings |= dict.fromkeys(note(store, [receipt]))
    unscrubbed = None
    if receipts:  # once, at the end: it may rewrite the whole file
        unscrubbed = store.scrub()
        warnings |= dict.fromkeys(still_there(store))
    return Swept(tuple(listed), tuple(receipts), tuple(failed), unscrubbed, tuple(warnings))


def suspend_lapsed(store: Store, collection: str) -> list[str]:
    """Take out of every index whose consent expired, without erasing them; their external ids.

    A consent expires by itself, and nothing writes at that moment: to be called now and then, as by a service. Raises
    ClockDoubtfulError where times are in doubt; a search names nobody whose consent ran out by the clock all the same.
    """
    lapsed: list[str] = []
    with store.writing() as write:
        write.require_time()
        bound = collections.get(store, write.connection, collection)
        if not bound.settings.require_consent:
            return []
        mine = persons.c.collection_id == bound.id
        ended = write.connection.execute(_lapsed(bound.settings.purpose, write.now).where(mine))
        overdue = [row.id for row in ended]
        for person in stored.by_id(write.connection, overdue).values():
            if suspend_without(write, bound, person):
                key = stored.key_of(store, write.connection, person)
                write.audit("suspended", bound.uuid, key.pseudonym, {"because": "consent expired"})
                lapsed.append(person.external_id)
    return lapsed


def has_lapsed(connection: Connection, collection: Collection, at: str) -> bool:
    """Whether somebody who is searched no longer has a valid consent, where one is required: see `suspend_lapsed`."""
    if not collection.settings.require_consent:
        return False
    query = _lapsed(collection.settings.purpose, at).where(
        persons.c.collection_id == collection.id, persons.c.status == "active"
    )
    return connection.execute(query.limit(1)).first() is not None


def retain_until(store: Store, collection: str, external_id: str, when: Time | None) -> str | None:
    """Keep somebody until `when`, whatever the collection's `retention_days`; None: as the collection says again.

    Returns the time as it is kept. VultusError for an unknown person or a time that has passed.
    """
    until = None if when is None else moment(when, "the end of retention")
    with store.writing() as write:
        bound = collections.get(store, write.connection, collection)
        person = stored.require(store, write.connection, bound, external_id)
        if until is not None and until <= write.now:
            raise VultusError(f"{until} has passed; give a later time, or erase the person")
        write.update(persons, persons.c.id == person.id, retain_until=until)
        key = stored.key_of(store, write.connection, person)
        write.audit("retention_changed", bound.uuid, key.pseudonym, {"retain_until": until})
    return until


_WITHDRAWN, _EXPIRED = "consent withdrawn", "consent expired"


def _due(
    connection: Connection, collection: Collection, at: str, person_id: int | None = None
) -> list[tuple[int, Due]]:
    """(person's id, why) at the time `at`; of one person only where `person_id` says so."""
    settings = collection.settings
    asked = [persons.c.collection_id == collection.id]
    if person_id is not None:
        asked.append(persons.c.id == person_id)
    passed = persons.c.retain_until <= at
    days = timedelta(days=settings.retention_days or 0)
    if settings.retention_days is not None:
        oldest = as_text(parse_time(at, "now") - days)
        passed = or_(passed, and_(persons.c.retain_until.is_(None), persons.c.last_seen <= oldest))
    found: dict[int, Due] = {}
    for row in connection.execute(select(persons).where(*asked, passed)):
        kept_by_date = row.retain_until is not None
        since = row.retain_until if kept_by_date else as_text(parse_time(row.last_seen, "last_seen") + days)
        reason = "retain_until passed" if kept_by_date else "retention_days passed"
        found[row.id] = Due(row.external_id, row.name, reason, since)
    if settings.require_consent:
        for row in connection.execute(_lapsed(settings.purpose, at).where(*asked)):
            one = Due(row.external_id, row.name, _WITHDRAWN if row.withdrawn else _EXPIRED, row.since)
            known = found.get(row.id)
            if known is None or one.since < known.since:
                found[row.id] = one
    return sorted(found.items(), key=lambda item: (item[1].since, item[1].external_id))


def _lapsed(purpose: str, at: str):
    """People with consents to the purpose, none of which is valid; and since when."""
    ended = case(
        (consents.c.withdrawn_at.is_(None), consents.c.expires_at),
        (consents.c.expires_at < consents.c.withdrawn_at, consents.c.expires_at),
        else_=consents.c.withdrawn_at,
    )
    valid = select(consents.c.person_id).where(*is_valid(purpose, at))
    return (
        select(
            persons.c.id,
            persons.c.external_id,
            persons.c.name,
            func.max(ended).label("since"),
            func.max(consents.c.withdrawn_at).label("withdrawn"),
        )
        .join(consents, consents.c.person_id == persons.c.id)
        .where(consents.c.purpose == purpose, persons.c.id.not_in(valid))
        .group_by(persons.c.id, persons.c.external_id, persons.c.name)
    )
