"""Whatever is accepted can be searched, and one bad row keeps nobody else from being found."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from sqlalchemy import delete, select, update
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.errors import ContractError
from vultus.evaluation.scores import lengths_of, off_unit
from vultus.gallery import Gallery
from vultus.gallery.protection import ProtectionError
from vultus.gallery.store import check_embeddings, persons, schema, templates


@pytest.fixture
def gallery(place, recognizer):
    with Gallery.open(place, model=recognizer, settings={"gates": False}) as made:
        yield made


def accepted(row: np.ndarray) -> bool:
    try:
        check_embeddings(row, row.shape[-1])
    except ContractError:
        return False
    return True


def test_every_accepted_length_can_be_searched_from_every_process(gallery, place, recognizer, unit_rows):
    contract, rows = recognizer.contract.id, unit_rows(8)
    lengths = (1.0007, 0.9993, 1.00099, 0.99901, 1.0004999, 0.9994999, 1.0, 1.0005001)
    for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        gallery.enroll_embeddings(f"p{number}", row * np.float32(length), contract)
    with Gallery.open(place, model=recognizer) as other:
        for one in (gallery, other):
            found = one.identify_embeddings(rows * np.float32(1.0008), contract, fpir=0.01)
            assert [decision.person for decision in found] == [f"p{number}" for number in range(len(rows))]
            assert max(candidate.score for decision in found for candidate in decision.candidates) <= 1


def test_rows_rounded_to_three_decimals_are_all_searched_or_refused(gallery, recognizer, unit_rows):
    contract = recognizer.contract.id
    rounded = np.round(unit_rows(60, seed=3), 3)
    taken = [row for row in rounded if accepted(row)]
    for number, row in enumerate(taken):
        gallery.enroll_embeddings(f"p{number}", row, contract)
    assert gallery.identify_embeddings(taken[0], contract, fpir=0.01)[0].person == "p0"


def test_what_is_stored_is_of_unit_length_to_float32(gallery, recognizer, unit_rows):
    for number, row in enumerate(unit_rows(5)):
        gallery.enroll_embeddings(f"p{number}", row * np.float32(1.0009), recognizer.contract.id)
    store, bound = gallery._binding.store, gallery._binding.collection()
    assert bound is not None
    with store.reading() as connection:
        rows = templates.opened(store, connection, bound, templates.active(bound))[2]
    assert np.abs(lengths_of(rows) - 1).max() < 3e-7


def test_there_is_one_test_of_unit_length(unit_rows):
    row = unit_rows(1)[0].astype(np.float64)
    for length in np.linspace(0.9985, 1.0015, 301):
        scaled = (row * length).astype(np.float32)
        assert accepted(scaled) is not bool(off_unit(lengths_of(scaled[None]))[0])
    assert not accepted(np.full(4, np.nan, np.float32))


def damage(gallery: Gallery, kind: str, person: str) -> int:
    """Damage the first template of somebody past the gallery; its id."""
    store, bound = gallery._binding.store, gallery._binding.collection()
    assert bound is not None
    with store.writing() as write:
        found = persons.require(store, write.connection, bound, person)
        key = persons.key_of(store, write.connection, found)
        query = select(schema.templates).where(schema.templates.c.person_id == found.id).limit(1)
        row = write.connection.execute(query).one()
        sealing = templates.template_bound(found.uuid, bound.contract_id)
        rows = {
            "bit": row.sealed[:20] + bytes([row.sealed[20] ^ 1]) + row.sealed[21:],
            "empty": b"",
            "short": key.seal(b"\0" * 12, sealing),
            "zero": key.seal(b"\0" * 4 * bound.dim, sealing),
            "nan": key.seal(np.full(bound.dim, np.nan, "<f4").tobytes(), sealing),
        }
        keys = schema.person_keys
        if kind == "key":
            write.connection.execute(update(keys).where(keys.c.person_id == found.id).values(sealed=b"x" * 60))
        elif kind == "no key":
            write.connection.execute(delete(keys).where(keys.c.person_id == found.id))
        else:
            mine = schema.templates.c.id == row.id
            write.connection.execute(update(schema.templates).where(mine).values(sealed=rows[kind]))
    return row.id


@pytest.mark.parametrize("kind", ["bit", "empty", "short", "zero", "nan", "key", "no key"])
def test_a_bad_row_is_set_aside_and_named_while_the_others_are_searched(
    gallery, place, recognizer, picture, kind, caplog
):
    gallery.enroll("alice", picture(0))
    gallery.enroll("bob", picture(1))
    bad = damage(gallery, kind, "alice")
    with Gallery.open(place, model=recognizer) as fresh:
        assert fresh.identify(picture(1, 7), fpir=0.01)[0].decision.person == "bob"
        assert fresh.identify(picture(0, 7), fpir=0.01)[0].decision.person is None
        assert any(f"template {bad}" in record.getMessage() for record in caplog.records)
        assert [(one.template, one.person) for one in fresh.custody.damaged()] == [(bad, "alice")]
        with pytest.raises(ProtectionError) as refused:
            fresh.custody.renew()
        assert (refused.value.code, refused.value.fields["template"]) == ("template_damaged", bad)
    answer = CliRunner().invoke(app, ["gallery", "audit", "--verify", "--gallery", str(place), "--json"])
    document = json.loads(answer.stdout)
    assert answer.exit_code == 1 and [one["template"] for one in document["damaged"]] == [bad]
    gallery.erase("alice")
    assert gallery.custody.damaged() == []


def test_a_gallery_whose_key_was_rotated_meanwhile_is_not_taken_for_damaged(gallery, place, recognizer, picture):
    gallery.enroll("alice", picture(0))
    with Gallery.open(place, model=recognizer) as other:
        gallery.custody.rotate_key()
        with pytest.raises(ProtectionError) as refused:
            other.identify(picture(0, 7), fpir=0.01)
        assert refused.value.code == "key_rotated"


def test_an_export_leaves_out_what_is_damaged_and_says_so(gallery, picture, tmp_path):
    gallery.configure(keep_crops=True)
    gallery.enroll("alice", picture(0), picture(0, 1))
    bad = damage(gallery, "bit", "alice")
    gallery.custody.export("alice", tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as files:
        told, names = json.loads(files.read("person.json")), files.namelist()
    assert [one["id"] for one in told["templates"] if one.get("damaged")] == [bad]
    assert len([name for name in names if name.startswith("templates/")]) == 1
