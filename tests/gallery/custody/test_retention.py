"""Whose time is up: told first, erased only when asked to, one at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from vultus.errors import VultusError
from vultus.gallery.custody import (
    Due,
    due,
    ledger,
    record_consent,
    retain_until,
    retention,
    suspend_lapsed,
    sweep,
    withdraw_consent,
)
from vultus.gallery.store import persons, schema


def text(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")


def set_person(people, name: str, **values) -> None:
    with people.store.writing() as write:
        write.update(schema.persons, schema.persons.c.external_id == name, **values)


def expire(people, name: str, when: str) -> None:
    with people.store.writing() as write:
        mine = schema.consents.c.person_id == people.find(name).id
        write.update(schema.consents, mine, expires_at=when)


def test_nobody_is_due_where_nothing_is_said(people):
    people.add("anna")
    set_person(people, "anna", last_seen="2001-01-01T00:00:00+00:00")
    assert due(people.store, "staff") == []


def test_days_count_from_when_somebody_was_last_seen_unless_they_have_a_date_of_their_own(new_people):
    people = new_people(retention_days=30)
    for name in ("anna", "bert", "cleo", "dora"):
        people.add(name, name=name.title())
    old = text(-31)
    for name in ("anna", "bert"):
        set_person(people, name, last_seen=old)
    assert retain_until(people.store, "staff", "bert", "2999-12-31") == "2999-12-31T00:00:00+00:00"
    set_person(people, "cleo", retain_until=text(-40))
    set_person(people, "dora", last_seen=text(-29.99))
    assert due(people.store, "staff") == [
        Due("cleo", "Cleo", "retain_until passed", people.find("cleo").retain_until),
        Due("anna", "Anna", "retention_days passed", (datetime.fromisoformat(old) + timedelta(30)).isoformat()),
    ]
    assert retain_until(people.store, "staff", "bert", None) is None
    assert [one.external_id for one in due(people.store, "staff")] == ["cleo", "anna", "bert"]
    people.configure(retention_days=36_500)
    assert [one.external_id for one in due(people.store, "staff")] == ["cleo"]


def test_consent_that_ended_is_a_reason_where_it_is_required(new_people):
    people = new_people(purpose="door")
    for name in ("never", "valid", "withdrew", "expired", "renewed", "elsewhere"):
        people.add(name)
    for name in ("valid", "withdrew", "expired", "renewed"):
        record_consent(people.store, "staff", name, basis="consent")
    record_consent(people.store, "staff", "elsewhere", basis="consent", purpose="newsletter")
    for name in ("withdrew", "elsewhere"):
        withdraw_consent(people.store, "staff", name)
    past = text(-3)
    expire(people, "expired", past)
    expire(people, "renewed", past)
    record_consent(people.store, "staff", "renewed", basis="consent")
    assert due(people.store, "staff") == []
    people.configure(require_consent=True)
    found = due(people.store, "staff")
    assert [(one.external_id, one.reason) for one in found] == [
        ("expired", "consent expired"),
        ("withdrew", "consent withdrawn"),
    ]
    assert found[0].since == past


def test_who_let_consent_expire_can_be_suspended_before_the_sweep(new_people):
    people = new_people(require_consent=True, purpose="door")
    for name in ("anna", "bert"):
        people.add(name)
        record_consent(people.store, "staff", name, basis="consent", expires_at=text(1))
    expire(people, "anna", text(-1))
    assert suspend_lapsed(people.store, "staff") == ["anna"]
    assert suspend_lapsed(people.store, "staff") == []
    assert (people.find("anna").status, people.find("bert").status) == ("suspended", "active")
    assert people.log()[-1].subject == people.pseudonym("anna")


def noted_receipts(store):
    return list(ledger.read(ledger.ledger_path(store), store.info.uuid, store.info.public_key).receipts)


def test_a_dry_run_changes_nothing_and_a_sweep_erases_who_is_due(new_people):
    people = new_people(retention_days=1)
    for name in ("anna", "bert", "cleo"):
        people.add(name)
    for name in ("anna", "cleo"):
        set_person(people, name, last_seen=text(-2))
    before, head = people.log(), people.store.head()
    dry = sweep(people.store, "staff")
    assert {one.external_id for one in dry.due} == {"anna", "cleo"} and dry.receipts == ()
    assert people.log() == before and people.store.head() == head
    done = sweep(people.store, "staff", dry_run=False)
    assert len(done.receipts) == 2 and done.failed == () and done.scrubbed and done.warnings == ()
    assert {receipt.reason for receipt in done.receipts} == {"retention_days passed"}
    assert people.find("anna") is None and people.find("bert") is not None and people.find("cleo") is None
    assert noted_receipts(people.store) == list(done.receipts)
    assert sweep(people.store, "staff", dry_run=False).receipts == ()


def test_an_interrupted_sweep_goes_on_where_it_was(new_people, monkeypatch):
    people = new_people(retention_days=1)
    for name in ("anna", "bert", "cleo"):
        people.add(name)
        set_person(people, name, last_seen=text(-2))
    note, noted = retention.note, []

    def interrupted(store, receipts):
        if noted:
            raise KeyboardInterrupt
        noted.extend(receipts)
        return note(store, receipts)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(retention, "note", interrupted)
        sweep(people.store, "staff", dry_run=False)
    assert len(due(people.store, "staff")) == 1
    with people.store.reading() as connection:
        assert connection.execute(select(schema.gallery.c.scrub_pending)).scalar_one()
    assert len(sweep(people.store, "staff", dry_run=False).receipts) == 1
    assert ledger.mend(people.store) == 1
    assert len(noted_receipts(people.store)) == 3


def test_who_was_seen_after_the_list_was_made_is_kept(new_people, monkeypatch):
    people = new_people(retention_days=1)
    for name in ("anna", "bert", "cleo"):
        people.add(name)
        set_person(people, name, last_seen=text(-2))
    listed = due(people.store, "staff")
    with people.store.writing() as write:
        persons.seen(write, [people.find("anna").id])
        write.delete(schema.persons, schema.persons.c.external_id == "bert")
    monkeypatch.setattr(retention, "due", lambda store, collection: listed)
    done = sweep(people.store, "staff", dry_run=False)
    assert len(done.due) == 3 and len(done.receipts) == 1
    assert people.find("anna") is not None and people.find("cleo") is None


def test_a_date_that_passed_or_is_none_is_refused(people):
    people.add("anna")
    with pytest.raises(VultusError, match=r"2003-12-31T00:00:00.00:00 has passed; give a later time"):
        retain_until(people.store, "staff", "anna", "2003-12-31")
    with pytest.raises(VultusError, match="the end of retention is no date or time: 'soon'"):
        retain_until(people.store, "staff", "anna", "soon")
    with pytest.raises(VultusError, match="did you mean 'anna'"):
        retain_until(people.store, "staff", "annna", "2999-12-31")
    retain_until(people.store, "staff", "anna", datetime.now(UTC).date() + timedelta(days=3))
    assert people.find("anna").retain_until == f"{datetime.now(UTC).date() + timedelta(days=3)}T00:00:00+00:00"
    assert people.log()[-1].kind == "retention_changed"
