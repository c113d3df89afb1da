"""Consents: recorded with proof, withdrawn at once, expired by themselves."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from vultus.errors import VultusError
from vultus.gallery.custody import (
    ConsentGiven,
    check_consent,
    consents_of,
    record_consent,
    record_in,
    valid_consent,
    withdraw_consent,
)
from vultus.gallery.store import collections, follow, persons

BASIS = "GDPR art. 9(2)(a)"
TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def guarded(new_people):
    made = new_people(require_consent=True, purpose="door")
    made.add("anna", 2)
    made.add("bert")
    return made


def indexed(people) -> set[int]:
    with people.store.reading() as connection:
        return set(follow(people.store, connection, people.collection, None).person_ids.tolist())


def held(people, name):
    with people.store.reading() as connection:
        return consents_of(connection, persons.require(people.store, connection, people.collection, name))


def check(people, name, now=None):
    with people.store.writing() as write:
        person = persons.require(people.store, write.connection, people.collection, name)
        check_consent(write.connection, people.collection, person, now or write.now)


def test_only_the_digest_of_the_text_is_kept(guarded):
    made = record_consent(guarded.store, "staff", "anna", basis=BASIS, text="I agree, Änna.", expires_at=TOMORROW)
    assert made.text_digest == hashlib.sha256("I agree, Änna.".encode()).hexdigest()
    assert (made.purpose, made.basis, made.withdrawn_at) == ("door", BASIS, None)
    assert held(guarded, "anna") == [made]
    entry = guarded.log()[-1]
    assert (entry.kind, entry.subject) == ("consent_recorded", guarded.pseudonym("anna"))
    assert "anna" not in str(entry) and BASIS not in str(entry)


def test_enrolment_needs_a_consent_to_the_purpose(guarded):
    with pytest.raises(VultusError, match="'anna' has not consented, which this collection requires for 'door'"):
        check(guarded, "anna")
    record_consent(guarded.store, "staff", "anna", basis=BASIS, purpose="newsletter")
    with pytest.raises(VultusError, match="has not consented"):
        check(guarded, "anna")
    record_consent(guarded.store, "staff", "anna", basis=BASIS, expires_at=TOMORROW)
    check(guarded, "anna")
    with pytest.raises(VultusError, match="or it expired"):
        check(guarded, "anna", TOMORROW.isoformat(timespec="seconds"))


def test_without_the_requirement_nothing_is_asked(people):
    people.add("anna")
    check(people, "anna")
    with pytest.raises(VultusError, match="'staff' has no purpose"):
        record_consent(people.store, "staff", "anna", basis=BASIS)
    record_consent(people.store, "staff", "anna", basis=BASIS, purpose="door")
    withdraw_consent(people.store, "staff", "anna")
    assert people.find("anna").status == "active"


def test_consent_and_enrolment_are_one_transaction(guarded):
    with guarded.store.writing() as write:
        bound = collections.get(guarded.store, write.connection, "staff")
        person, key = persons.add(guarded.store, write, bound, "cleo")
        record_in(write, bound, person, key, ConsentGiven(BASIS))
        check_consent(write.connection, bound, person, write.now)
    assert [consent.purpose for consent in held(guarded, "cleo")] == ["door"]
    with pytest.raises(VultusError, match="future"), guarded.store.writing() as write:
        person, key = persons.add(guarded.store, write, bound, "dora")
        record_in(write, bound, person, key, ConsentGiven(BASIS, given_at=TOMORROW))
    assert guarded.find("dora") is None


def test_who_withdraws_leaves_every_index_and_comes_back_with_a_new_consent(guarded):
    anna = guarded.find("anna")
    record_consent(guarded.store, "staff", "anna", basis=BASIS)
    record_consent(guarded.store, "staff", "anna", basis=BASIS, purpose="newsletter")
    position = guarded.store.head()
    [withdrawn] = withdraw_consent(guarded.store, "staff", "anna", "door")
    assert withdrawn.withdrawn_at is not None
    assert guarded.find("anna").status == "suspended" and anna.id not in indexed(guarded)
    with guarded.store.reading() as connection:
        assert follow(guarded.store, connection, guarded.collection, position).removed_persons.tolist() == [anna.id]
    with pytest.raises(VultusError, match="has withdrawn consent"):
        check(guarded, "anna")
    assert [(e.kind, e.details["suspended"]) for e in guarded.log()[-1:]] == [("consent_withdrawn", True)]
    record_consent(guarded.store, "staff", "anna", basis=BASIS, purpose="newsletter")
    assert guarded.find("anna").status == "suspended"
    position = guarded.store.head()
    record_consent(guarded.store, "staff", "anna", basis=BASIS)
    assert guarded.find("anna").status == "active" and anna.id in indexed(guarded)
    with guarded.store.reading() as connection:
        assert len(follow(guarded.store, connection, guarded.collection, position).template_ids) == 2


def test_one_of_two_consents_is_enough_and_all_are_withdrawn_at_once(guarded):
    record_consent(guarded.store, "staff", "anna", basis=BASIS)
    withdraw_consent(guarded.store, "staff", "anna")
    record_consent(guarded.store, "staff", "anna", basis=BASIS)
    record_consent(guarded.store, "staff", "anna", basis="contract", purpose="newsletter")
    assert len(withdraw_consent(guarded.store, "staff", "anna", "newsletter")) == 1
    assert guarded.find("anna").status == "active"
    assert len(withdraw_consent(guarded.store, "staff", "anna")) == 1
    assert guarded.find("anna").status == "suspended"
    with pytest.raises(VultusError, match="'anna' has given no consent that is not withdrawn already"):
        withdraw_consent(guarded.store, "staff", "anna")


def test_who_was_never_asked_can_object(guarded):
    assert withdraw_consent(guarded.store, "staff", "bert") == []
    assert guarded.find("bert").status == "suspended"


def test_a_suspended_person_is_not_enrolled_even_where_consent_is_no_longer_required(guarded):
    withdraw_consent(guarded.store, "staff", "bert")
    guarded.configure(require_consent=False)
    with pytest.raises(VultusError, match="is suspended"):
        check(guarded, "bert")
    record_consent(guarded.store, "staff", "bert", basis=BASIS)
    check(guarded, "bert")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"expires_at": "2001-01-01"}, "would have expired at 2001-01-01T00:00:00"),
        ({"given_at": "soon"}, "the time of the consent is no date or time: 'soon'"),
        ({"given_at": "0001-01-01T00:00+05:00"}, "no time that can be kept"),
        ({"expires_at": 7}, "no time that can be kept: 7"),
        ({"basis": " "}, "the basis of a consent is one line"),
        ({"basis": "x" * 10_000}, "the basis of a consent is one line of 1 to 200 characters"),
        ({"purpose": "a\nb"}, "a purpose is one line"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(guarded, given, message):
    with pytest.raises(VultusError, match=message) as caught:
        record_consent(guarded.store, "staff", "anna", **{"basis": BASIS, **given})
    assert "\n" not in str(caught.value)
    assert held(guarded, "anna") == []


def test_an_unknown_person_is_named_with_the_nearest(guarded):
    with pytest.raises(VultusError, match="did you mean 'anna'"):
        record_consent(guarded.store, "staff", "ana", basis=BASIS)


def test_validity_ends_with_the_second_of_its_end(guarded):
    made = record_consent(guarded.store, "staff", "anna", basis=BASIS, expires_at=TOMORROW)
    assert made.expires_at is not None
    before = (TOMORROW - timedelta(seconds=1)).isoformat(timespec="seconds")
    with guarded.store.reading() as connection:
        anna = guarded.find("anna")
        assert valid_consent(connection, anna, "door", before) and made.valid(before)
        assert not valid_consent(connection, anna, "door", made.expires_at) and not made.valid(made.expires_at)
