"""The audit log in the database: whoever changes it is found, and erasing goes on all the same."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, insert, text, update

from vultus.errors import VultusError
from vultus.gallery.audit import GENESIS
from vultus.gallery.store import Store, anchors, log, persons, verification
from vultus.gallery.store.schema import audit, gallery

from .people import enrol


@pytest.fixture
def logged(store, collection) -> Store:
    for i in range(8):
        with store.writing() as write:
            write.audit("identified", collection.uuid, f"subject {i % 2}", {"i": i, "score": 0.1 + 0.2, "name": "é"})
    return store


def tamper(store: Store, *statements) -> None:
    """As somebody would who may write to the database and is no user of vultus."""
    with store.database.writing() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))  # no triggers
        else:
            for verb in ("UPDATE", "DELETE"):
                connection.execute(text(f"DROP TRIGGER IF EXISTS audit_no_{verb}"))
        for statement in statements:
            connection.execute(statement)


def test_a_log_is_read_and_whole(logged):
    with logged.reading() as connection:
        everything = list(log.entries(connection))
        assert [entry.seq for entry in everything] == list(range(1, 11))
        assert everything[-1].details == {"i": 7, "score": 0.1 + 0.2, "name": "é"}
        assert everything[-1].actor == "test"
        assert [entry.seq for entry in log.entries(connection, after=5, kind="identified", limit=2)] == [6, 7]
        assert [entry.seq for entry in log.entries(connection, subject="subject 0")] == [3, 5, 7, 9]
    assert verification.verify_gallery(logged) == []
    assert verification.verify_gallery(logged, [log.log_anchor(logged)]) == []


def test_tampering_is_found(logged):
    with logged.reading() as connection:
        rows = [dict(row._mapping) for row in connection.execute(audit.select())]
        [head] = connection.execute(gallery.select())
    is_seven = update(gallery).values(audit_seq=7, audit_mac=rows[6]["mac"])
    fourth = update(audit).where(audit.c.seq == 4)
    cases = [
        ([fourth.values(details='{"i": 99}')], 4, "changed or forged"),
        ([fourth.values(details="no JSON")], 4, "changed or forged"),
        ([fourth.values(details=audit.c.details + " ")], 4, "changed or forged"),
        ([fourth.values(details='{"i": NaN}')], 4, "changed or forged"),
        ([fourth.values(subject="somebody else")], 4, "changed or forged"),
        ([delete(audit).where(audit.c.seq == 4)], 4, "missing"),
        ([fourth.values(seq=-4)], 4, "missing"),
        ([delete(audit).where(audit.c.seq > 7)], 8, "missing"),
        ([update(gallery).values(audit_mac=GENESIS)], 10, "head"),
        ([update(gallery).values(audit_seal="0" * 64)], 10, "seal"),
        ([delete(audit).where(audit.c.seq > 7), is_seven], 7, "seal"),
        ([delete(audit), update(gallery).values(audit_seq=0, audit_mac=GENESIS)], 0, "seal"),
    ]
    for statements, seq, problem in cases:
        tamper(logged, *statements)
        found = verification.verify_gallery(logged)
        assert any(finding.seq == seq and problem in finding.problem for finding in found), (str(statements[0]), found)
        tamper(logged, delete(audit), insert(audit).values(rows), update(gallery).values(head._mapping))
        assert verification.verify_gallery(logged) == []


def test_a_database_that_was_rolled_back_is_found_by_an_anchor(logged, collection):
    with logged.reading() as connection:
        before = connection.execute(gallery.select()).one()._mapping
    with logged.writing() as write:
        write.audit("searched", collection.uuid, None)
    anchor = log.log_anchor(logged)
    tamper(logged, delete(audit).where(audit.c.seq == 11), update(gallery).values(dict(before)))
    assert [finding.code for finding in verification.verify_gallery(logged)] == ["rolled_back"]  # this host saw more
    (logged.state / anchors.NAME).unlink()  # another host never did
    assert verification.verify_gallery(logged) == []
    assert [finding.code for finding in verification.verify_gallery(logged, [anchor])] == ["anchor"]


def test_a_log_whose_end_was_changed_is_not_added_to_until_it_is_mended(logged, collection):
    person, _ = enrol(logged, collection, "ada")
    anchor = log.log_anchor(logged)
    with pytest.raises(VultusError, match="is whole"):
        verification.mend(logged, "no reason")
    tamper(logged, delete(audit).where(audit.c.seq > 7), update(gallery).values(audit_mac=GENESIS))
    with pytest.raises(VultusError, match="tampered with, so nothing was written") as error, logged.writing() as write:
        persons.remove(write, collection, person)
    assert "\n" not in str(error.value)
    with logged.reading() as connection:  # reading and searching go on
        assert persons.find(connection, collection, "ada") == person
    found = verification.mend(logged, "an administrator deleted rows")
    assert found
    with logged.writing() as write:
        persons.remove(write, collection, person)
        write.audit("described", collection.uuid, None)
    with logged.reading() as connection:
        assert persons.find(connection, collection, "ada") is None
        *_, mended, erased = log.entries(connection)
    assert (mended.kind, mended.details["findings"], mended.details["reason"]) == (
        "log_mended", len(found), "an administrator deleted rows")  # fmt: skip
    assert mended.seq == 11 and erased.seq == 12
    after = verification.verify_gallery(logged, [anchor])
    assert [str(finding) for finding in after] == [
        "entry 8: missing: entries 8 to 10, before entry 11",
        "entry 10: missing: an anchor recorded it, the log ends with entry 12: it was rolled back",
    ]


def test_a_log_can_be_mended_whatever_its_head_says(logged):
    for seq in (-1, 3, 2**62, 2**63 - 1):
        tamper(logged, update(gallery).values(audit_seq=seq))
        verification.mend(logged, "test")
        with logged.writing() as write:
            write.audit("searched", None, None)
        assert verification.verify_gallery(logged) == []
