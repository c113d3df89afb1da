"""Everything that is held about one person, and nothing about anybody else."""

from __future__ import annotations

import io
import json
import stat
import zipfile

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.gallery.custody import export_person, record_consent, retain_until, withdraw_consent
from vultus.gallery.store import Sample, persons, schema, templates
from vultus.gallery.store.collections import rotation_bound


@pytest.fixture
def anna(new_people):
    """(people, her embeddings)"""
    people = new_people(purpose="door", require_consent=True, retention_days=90)
    rows = people.add("anna", 3, name="Änna", metadata={"badge": 7})
    people.add("bert", 2, name="Bert Unique-Name")
    record_consent(people.store, "staff", "anna", basis="consent", text="yes")
    retain_until(people.store, "staff", "anna", "2999-12-31")
    return people, rows


def test_a_zip_holds_everything(anna, tmp_path):
    people, rows = anna
    path = export_person(people.store, "staff", "anna", tmp_path / "anna.zip")
    assert path == tmp_path / "anna.zip" and stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(files["person.json"])
    assert set(files) == {
        "README.txt",
        "person.json",
        *(f"templates/000{n}.npy" for n in (1, 2, 3)),
        *(f"crops/000{n}.png" for n in (1, 2, 3)),
    }
    assert about["person"]["external_id"] == "anna" and about["person"]["name"] == "Änna"
    assert about["person"]["metadata"] == {"badge": 7} and about["person"]["status"] == "active"
    assert about["purpose"] == "door" and about["consent_required"]
    assert about["retention"] == {"retention_days": 90, "retain_until": "2999-12-31T00:00:00+00:00"}
    assert [consent["basis"] for consent in about["consents"]] == ["consent"]
    assert [entry["kind"] for entry in about["log"]] == ["consent_recorded", "retention_changed", "exported"]
    for told, row in zip(about["templates"], rows, strict=True):
        vector = np.load(io.BytesIO(files[told["file"]]), allow_pickle=False)
        assert vector.dtype == np.float32 and np.allclose(vector, row, atol=1e-6)
        assert files[told["crop"]] == b"\x89PNG " + row.tobytes()
        assert told["contract"] == "contract-1" and told["provenance"] == {"n": 1}
    assert not any(b"bert" in content.lower() for content in files.values())


def test_a_folder_holds_the_same(anna, tmp_path):
    people, _ = anna
    folder = export_person(people.store, "staff", "anna", tmp_path / "anna")
    assert {path.name for path in folder.iterdir()} == {"README.txt", "person.json", "templates", "crops"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_file()} == {0o600}
    assert sorted(p.name for p in tmp_path.iterdir() if ".part" in p.name) == []


def test_the_export_is_in_the_log(anna, tmp_path):
    people, _ = anna
    export_person(people.store, "staff", "anna", tmp_path / "anna.zip")
    entry = people.log()[-1]
    assert (entry.kind, entry.subject) == ("exported", people.pseudonym("anna"))
    assert entry.details == {"templates": 3, "crops": 3}


def test_what_could_not_be_written_is_not_in_the_log(anna, tmp_path, monkeypatch):
    people, _ = anna
    before = len(people.log())

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("vultus.gallery.custody.export.os.fsync", full)
        for name in ("anna.zip", "anna"):
            with pytest.raises(VultusError, match="No space left on device; make room"):
                export_person(people.store, "staff", "anna", tmp_path / name)
    assert len(people.log()) == before and not [p for p in tmp_path.iterdir() if "anna" in p.name]


def test_nothing_is_overwritten(anna, tmp_path):
    people, _ = anna
    (tmp_path / "full").mkdir()
    (tmp_path / "anna.zip").write_text("mine")
    (tmp_path / "link.zip").symlink_to(tmp_path / "nowhere")
    before = len(people.log())
    for name in ("full", "anna.zip", "link.zip"):
        with pytest.raises(VultusError, match=f"{name} is there already; choose another name"):
            export_person(people.store, "staff", "anna", tmp_path / name)
    with pytest.raises(VultusError, match=r"the folder .*missing does not exist; make it first"):
        export_person(people.store, "staff", "anna", tmp_path / "missing" / "anna.zip")
    with pytest.raises(VultusError, match="did you mean 'anna'"):
        export_person(people.store, "staff", "ana", tmp_path / "ana.zip")
    assert (tmp_path / "anna.zip").read_text() == "mine" and not (tmp_path / "nowhere").exists()
    assert len(people.log()) == before


def test_somebody_suspended_gets_their_data_too(anna, tmp_path):
    people, rows = anna
    withdraw_consent(people.store, "staff", "anna")
    folder = export_person(people.store, "staff", "anna", tmp_path / "anna")
    assert np.allclose(np.load(folder / "templates/0001.npy"), rows[0], atol=1e-6)
    assert json.loads((folder / "person.json").read_text())["person"]["status"] == "suspended"


def test_templates_of_the_next_model_are_told_apart(anna, tmp_path):
    people, _ = anna
    next_row, lost_row = np.eye(48, dtype=np.float32)[0], np.eye(16, dtype=np.float32)[0]
    store = people.store
    with store.writing() as write:
        sealed = store.key.wrap(b"\1" * 32, rotation_bound(people.collection.uuid))
        values = {"next_model": "m2", "next_contract_id": "contract-2", "next_dim": 48, "next_rotation_key": sealed}
        write.update(schema.collections, **values)
    with store.writing() as write:
        bound = people.collection
        person = persons.require(store, write.connection, bound, "anna")
        key, rotation = persons.key_of(store, write.connection, person), bound.successor.rotation
        more = {"rotation": rotation, "contract_id": "contract-2", "announce": False}
        templates.add(write, bound, person, key, [Sample(next_row)], **more)
        unknown = type(rotation)(b"\2" * 32, 16)
        templates.add(
            write, bound, person, key, [Sample(lost_row)], **more | {"rotation": unknown, "contract_id": "c0"}
        )
    folder = export_person(store, "staff", "anna", tmp_path / "anna")
    told = json.loads((folder / "person.json").read_text())["templates"]
    assert [one["contract"] for one in told] == ["contract-1"] * 3 + ["contract-2", "c0"]
    assert [one.get("still_rotated", False) for one in told] == [False] * 4 + [True]
    assert np.allclose(np.load(folder / told[3]["file"]), next_row, atol=1e-6)
    assert np.load(folder / told[4]["file"]).shape == (16,)


def test_the_look_alikes_in_remembered_answers_are_left_out(anna, tmp_path):
    people, _ = anna
    with people.store.writing() as write:
        result = {"person": "anna", "templates": 1, "duplicates": [{"person": "bert", "name": "Bert Unique-Name"}]}
        values = {"collection_id": people.collection.id, "client_key": "k1", "person_id": people.find("anna").id}
        values |= {"request": "0" * 64, "result": result, "at": write.now}
        write.connection.execute(schema.writes.insert().values(values))
    folder = export_person(people.store, "staff", "anna", tmp_path / "anna")
    [told] = json.loads((folder / "person.json").read_text())["remembered_requests"]
    assert told["client_key"] == "k1" and told["result"] == {"person": "anna", "templates": 1}
    assert "bert" not in (folder / "person.json").read_text().lower()
