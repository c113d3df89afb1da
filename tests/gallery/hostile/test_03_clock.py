"""A wrong clock, even for one moment, erases nobody and keeps nobody for ever."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.custody import ConsentGiven
from vultus.gallery.store import clock


@pytest.fixture
def gallery(place, recognizer):
    settings = {"gates": False, "retention_days": 30, "purpose": "door"}
    with Gallery.open(place, model=recognizer, settings=settings) as made:
        yield made


@pytest.fixture
def it_is(monkeypatch):
    """Set the clock; None sets it right."""
    right = clock.now

    def put(time: str | timedelta | None) -> None:
        if isinstance(time, timedelta):
            time = clock.as_text(datetime.now(UTC) + time)
        monkeypatch.setattr(clock, "now", right if time is None else lambda: f"{time[:10]}T12:00:00+00:00")

    return put


def command(place, *words: str) -> tuple[int, dict]:
    """Exit code and document of a command, run as `main` runs it."""
    answer = CliRunner().invoke(app, ["gallery", *words, "--gallery", str(place), "--json"])
    if isinstance(answer.exception, VultusError):
        return 2, {"error": answer.exception.to_dict()}
    return answer.exit_code, json.loads(answer.stdout)


def people(gallery: Gallery) -> set[str]:
    return {one.external_id for one in gallery.persons()}


def seen(gallery: Gallery, person: str) -> str:
    return gallery.custody.person(person).person.last_seen


def refused(gallery: Gallery, step) -> None:
    with pytest.raises(VultusError) as error:
        step()
    assert error.value.code == "clock_doubtful"


@pytest.mark.parametrize("probe", [0, 99])
def test_one_search_under_a_clock_of_2099(gallery, place, picture, it_is, probe, caplog):
    gallery.enroll("alice", picture(0))
    gallery.enroll("bob", picture(1))
    it_is("2099-06-01")
    gallery.identify(picture(probe, 7), fpir=0.01)
    refused(gallery, lambda: gallery.custody.sweep(dry_run=False))
    assert any(record.levelname == "WARNING" and "clock" in record.getMessage() for record in caplog.records)
    it_is(None)
    refused(gallery, lambda: gallery.custody.sweep(dry_run=False))
    status, answer = command(place, "sweep", "--erase")
    assert (status, answer["error"]["code"]) == (2, "clock_doubtful")
    assert command(place, "sweep")[1]["doubt"]["since"] > 0
    consent = gallery.custody.record_consent("bob", basis="b", expires_at="2098-01-01")
    assert consent.recorded_at < "2090"
    status, answer = command(place, "sweep", "--erase", "--confirm-time")
    assert status == 0 and answer["erased"] == [] and people(gallery) == {"alice", "bob"}
    assert seen(gallery, "alice") < "2090"
    confirmed = gallery.custody.log(kind="time_confirmed")[0].details
    assert confirmed["repaired"].get("persons.last_seen", 0) == (probe == 0)
    assert gallery.custody.sweep(dry_run=False).receipts == ()
    assert gallery.custody.verify_log() == []


@pytest.mark.parametrize("back", ["1970-01-05", timedelta(days=-40)])
def test_one_enrollment_under_a_clock_of_the_past(gallery, place, picture, it_is, back):
    gallery.enroll("alice", picture(0))
    it_is(back)
    gallery.enroll("bob", picture(1), consent=ConsentGiven("b"))
    it_is(None)
    assert [one.external_id for one in gallery.custody.due()] == ["bob"]
    refused(gallery, lambda: gallery.custody.sweep(dry_run=False))
    status, counted = command(place, "repair-times")
    assert status == 0 and not counted["done"] and counted["times"]["persons.last_seen"] == 1
    assert counted["times"]["consents.given_at"] == 1
    assert gallery.custody.sweep(dry_run=False, confirm_time=True).receipts == ()
    assert people(gallery) == {"alice", "bob"} and gallery.custody.due() == []
    assert gallery.custody.person("bob").consents[0].given_at[:4] == str(datetime.now(UTC).year)


def test_who_is_due_by_the_right_clock_is_erased_once_it_is_confirmed(gallery, picture, it_is):
    it_is(timedelta(days=-50))
    gallery.enroll("alice", picture(0))
    it_is(None)
    gallery.enroll("bob", picture(1))  # 50 days later: no doubt
    assert gallery.custody.repair_times().doubt is None
    it_is("2099-06-01")
    gallery.identify(picture(99), fpir=0.01)
    it_is(None)
    gone = gallery.custody.sweep(dry_run=False, confirm_time=True).receipts
    assert people(gallery) == {"bob"} and len(gone) == 1 and gone[0].erased_at < "2090"


def test_a_gallery_that_was_not_used_for_a_year_asks_once(gallery, place, picture, it_is):
    it_is(timedelta(days=-365))
    gallery.enroll("alice", picture(0))
    it_is(None)
    dry = gallery.custody.sweep()
    assert dry.doubt is not None and [one.external_id for one in dry.due] == ["alice"]
    refused(gallery, lambda: gallery.custody.sweep(dry_run=False))
    status, done = command(place, "repair-times", "--confirm-time")
    assert status == 0 and done["done"] and done["times"] == {}
    assert len(gallery.custody.sweep(dry_run=False).receipts) == 1


def test_no_consent_lapses_by_a_wrong_clock(gallery, picture, it_is):
    gallery.enroll("alice", picture(0), consent=ConsentGiven("b", expires_at="2098-01-01"))
    gallery.configure(require_consent=True)
    it_is("2099-06-01")
    assert gallery.identify(picture(0, 7), fpir=0.01)[0].decision.person is None
    refused(gallery, gallery.custody.suspend_lapsed)
    it_is(None)
    refused(gallery, gallery.custody.suspend_lapsed)
    assert gallery.identify(picture(0, 7), fpir=0.01)[0].decision.person == "alice"
    gallery.custody.repair_times(dry_run=False)
    assert gallery.custody.suspend_lapsed() == []
    assert gallery.custody.person("alice").person.status == "active"


def test_who_is_overdue_as_well_is_suspended_when_consent_ends(gallery, picture, it_is):
    """The longest overdue reason must not hide the other."""
    it_is(timedelta(days=-40))
    end = clock.as_text(datetime.now(UTC) - timedelta(days=1))
    gallery.enroll("alice", picture(0), consent=ConsentGiven("b", expires_at=end))
    it_is(None)
    gallery.configure(require_consent=True)
    assert gallery.custody.suspend_lapsed() == ["alice"]


def test_a_clock_some_seconds_off_is_no_doubt(gallery, picture, monkeypatch):
    gallery.enroll("alice", picture(0))
    before = clock.as_text(datetime.now(UTC) - timedelta(seconds=5))
    with monkeypatch.context() as patched:
        patched.setattr(clock, "now", lambda: before)
        gallery.enroll("bob", picture(1))
    assert gallery.custody.repair_times().doubt is None
    assert gallery.custody.log(kind="clock_doubted") == []
