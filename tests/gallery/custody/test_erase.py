"""Erasing people: all or none, with a receipt, and made good after a crash."""

from __future__ import annotations

import json
import os

import pytest
from sqlalchemy import func, select

from vultus.errors import VultusError
from vultus.gallery.custody import catch_up, erase, ledger, record_consent, verify_receipt
from vultus.gallery.custody.erase import erase_in
from vultus.gallery.protection import ProtectionError
from vultus.gallery.store import Store, collections, follow, persons, schema
from vultus.gallery.store.sqlite import SQLite


def counts(people) -> dict[str, int]:
    tables = ("persons", "person_keys", "consents", "templates", "crops", "writes", "erasures")
    with people.store.reading() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(schema.metadata.tables[name])).scalar_one()
            for name in tables
        }


def remember(people, external_id: str, client_key: str, result: dict) -> None:
    """An answer that is kept so that a repeated request gets it again."""
    with people.store.writing() as write:
        person = persons.require(people.store, write.connection, people.collection, external_id)
        values = {"collection_id": people.collection.id, "client_key": client_key, "person_id": person.id}
        values |= {"request": "0" * 64, "result": result, "at": write.now}
        write.connection.execute(schema.writes.insert().values(values))


def test_nothing_is_left_but_the_receipt(people):
    people.add("anna", 3)
    people.add("bert", 1)
    record_consent(people.store, "staff", "anna", basis="consent", purpose="door")
    remember(people, "anna", "k1", {"person": "anna"})
    anna, pseudonym, position = people.find("anna"), people.pseudonym("anna"), people.store.head()
    done = erase(people.store, "staff", ["anna"], "asked to")
    assert done.scrubbed and done.warnings == ()
    [receipt] = done.receipts
    assert verify_receipt(receipt, people.store.info.public_key) == receipt
    assert (receipt.person_uuid, receipt.templates, receipt.crops) == (anna.uuid, 3, 3)
    assert (receipt.gallery_id, receipt.collection_id) == (people.store.info.uuid, people.collection.uuid)
    left = {"persons": 1, "person_keys": 1, "templates": 1, "crops": 1}
    assert counts(people) == {**left, "consents": 0, "writes": 0, "erasures": 1}
    entry = people.log()[receipt.audit_seq - 1]
    assert (entry.kind, entry.subject, entry.details) == ("erased", pseudonym, {"templates": 3, "crops": 3})
    with people.store.reading() as connection:
        assert follow(people.store, connection, people.collection, position).removed_persons.tolist() == [anna.id]
        assert not connection.execute(select(schema.gallery.c.scrub_pending)).scalar_one()
    assert ledger.read(ledger.ledger_path(people.store)) == [receipt]


def test_an_id_is_never_used_again(people):
    people.add("anna")
    first = people.find("anna")
    erase(people.store, "staff", "anna")
    people.add("anna")
    assert people.find("anna").id > first.id and people.find("anna").uuid != first.uuid


def test_all_of_those_named_or_none(people):
    people.add("anna")
    people.add("bert")
    with pytest.raises(VultusError, match=r"'berta' is not enrolled .*; did you mean 'bert'"):
        erase(people.store, "staff", ["anna", "berta"])
    assert counts(people)["persons"] == 2 and counts(people)["erasures"] == 0
    assert len(erase(people.store, "staff", ["anna", "bert", "anna"]).receipts) == 2
    with pytest.raises(VultusError, match="nobody to erase"):
        erase(people.store, "staff", [])


def test_the_snapshot_loses_its_key_and_its_file(people):
    people.add("anna")
    with people.store.writing() as write:
        collections.new_snapshot_key(people.store, write, people.collection)
    people.store.state.mkdir(parents=True, exist_ok=True)
    snapshot = people.store.state / f"{people.collection.uuid}.index"
    snapshot.write_bytes(b"sealed")
    assert people.collection.snapshot_key is not None
    erase(people.store, "staff", "anna")
    assert people.collection.snapshot_key is None and not snapshot.exists()


def test_a_damaged_key_keeps_nobody_from_being_erased(people):
    people.add("anna")
    people.add("bert")
    with people.store.writing() as write:
        mine = schema.person_keys.c.person_id == people.find("anna").id
        write.update(schema.person_keys, mine, sealed=b"\0" * 60)
        mine = schema.person_keys.c.person_id == people.find("bert").id
        write.delete(schema.person_keys, mine)
    assert len(erase(people.store, "staff", ["anna", "bert"]).receipts) == 2
    assert [entry.subject for entry in people.log()[-2:]] == [None, None]


def test_the_reason_must_not_name_the_person(people):
    people.add("anna", name="Anna Muster")
    for reason in ("anna asked", "Because ANNA MUSTER left"):
        with pytest.raises(VultusError, match="the reason names the person"):
            erase(people.store, "staff", "anna", reason)
    with pytest.raises(VultusError, match="at most 500"):
        erase(people.store, "staff", "anna", "x" * 501)
    assert erase(people.store, "staff", "anna", " annaliese's\nwish ").receipts[0].reason == "annaliese's wish"


def test_a_crash_after_the_commit_is_made_good_by_the_next_opening(people):
    people.add("anna")
    with people.store.writing() as write:
        collections.new_snapshot_key(people.store, write, people.collection)
    with people.store.writing() as write:
        bound = people.collection
        anna = persons.require(people.store, write.connection, bound, "anna")
        receipt = erase_in(people.store, write, bound, anna, "")
    snapshot = people.store.state / f"{people.collection.uuid}.index"
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    snapshot.write_bytes(b"sealed")
    people.store.close()  # here the process was killed
    people.store = Store.open(people.place)
    with people.store.reading() as connection:
        assert not connection.execute(select(schema.gallery.c.scrub_pending)).scalar_one()
    assert catch_up(people.store) == 1 and catch_up(people.store) == 0
    assert ledger.read(ledger.ledger_path(people.store)) == [receipt]
    assert not snapshot.exists()


def test_a_ledger_that_cannot_be_written_is_a_warning(people):
    people.add("anna")
    people.store.state.mkdir(parents=True, exist_ok=True)
    ledger.ledger_path(people.store).mkdir()
    assert catch_up(people.store) == 0
    done = erase(people.store, "staff", "anna")
    assert len(done.receipts) == 1 and people.find("anna") is None
    assert done.scrubbed and "not in the ledger yet" in done.warnings[0]
    ledger.ledger_path(people.store).rmdir()
    assert ledger.catch_up(people.store) == 1


def test_an_erasure_holds_although_somebody_reads_meanwhile(people):
    if people.store.database.dialect != "sqlite":
        pytest.skip("readers are in nobody's way on PostgreSQL")
    people.add("anna")
    people.store.database = SQLite(people.place, busy_timeout=0.1)
    with people.store.reading() as connection:
        connection.execute(select(schema.persons)).all()
        done = erase(people.store, "staff", "anna")
    assert not done.scrubbed and "still in the database's files" in done.warnings[0]
    people.store.close()
    people.store = Store.open(people.place)
    with people.store.reading() as connection:
        assert not connection.execute(select(schema.gallery.c.scrub_pending)).scalar_one()


def test_a_receipt_is_verified_from_a_file_or_its_text(people, tmp_path):
    people.add("anna")
    [receipt] = erase(people.store, "staff", "anna").receipts
    path = tmp_path / "receipt.json"
    path.write_text(receipt.to_json())
    for given in (path, str(path), receipt.to_json(), receipt.to_json().encode(), receipt):
        assert verify_receipt(given, people.store.info.public_key) == receipt
    changed = json.dumps({**json.loads(receipt.to_json()), "templates": 0})
    with pytest.raises(ProtectionError, match="changed after it was signed"):
        verify_receipt(changed)
    with pytest.raises(ProtectionError, match="another key"):
        verify_receipt(path, "A" * 43 + "=")
    with pytest.raises(VultusError, match=f"cannot read the receipt .*{os.sep}none"):
        verify_receipt(tmp_path / "none")
