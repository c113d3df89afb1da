"""Bulk enrolment with a small true recogniser: 16x16 grey pixels through a fixed random projection."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation import calibrate
from vultus.faces import LANDMARKS, Face, read_image
from vultus.gallery import Gallery
from vultus.gallery.custody import ConsentGiven
from vultus.terminal import Terminated
from vultus.workflows import bulk_enrol as bulk
from vultus.workflows.bulk_enrol import bulk_enrol
from vultus.workflows.bulk_sources import value_of
from vultus.zoo import Contract

DIM = 32


def photo(identity: int, sample: int = 0) -> np.ndarray:
    base = np.random.default_rng(identity).uniform(40, 215, (16, 16))
    noise = np.random.default_rng([identity, sample]).normal(0, 12, (16, 16))
    grey = cv2.resize(base + noise, (112, 112), interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


class Pixels:
    """A picture of height 112 is a row of faces; a blank one shows none."""

    name = "pixels"
    contract = Contract("pixels", DIM, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
    calibration = crops = None
    projection = np.random.default_rng(0).normal(size=(256, DIM)).astype(np.float32)

    def __init__(self) -> None:
        self.read: list[str] = []

    def faces(self, image, select: str = "all") -> list[Face]:
        self.read.append(str(image))
        pixels = read_image(image)
        if pixels.std() < 1:
            return []
        found = []
        for left in range(0, pixels.shape[1] - 111, 112):
            box = np.array([left, 0, left + 112, 112], np.float32)
            found.append(Face(box, LANDMARKS + [left, 0], 0.9, pixels[:, left : left + 112].copy()))
        return found if select == "all" else found[:1]

    def embed(self, faces) -> np.ndarray:
        crops = [np.asarray(face.crop if isinstance(face, Face) else face) for face in faces]
        small = [cv2.resize(crop[:, :, 0], (16, 16), interpolation=cv2.INTER_AREA) for crop in crops]
        rows = (np.stack(small).reshape(len(small), -1).astype(np.float32) - 127.5) @ self.projection
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def calibration():
    labels = np.repeat(np.arange(250), 4)
    crops = [photo(10_000 + int(label), n % 4) for n, label in enumerate(labels)]
    return calibrate(Pixels().embed(crops), labels, source="patterns", contract_id=Pixels.contract.id)


@pytest.fixture
def pixels(calibration, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("VULTUS_GALLERY_KEY", raising=False)
    made = Pixels()
    made.calibration = calibration
    return made


@pytest.fixture
def people(tmp_path, pixels):
    with Gallery.open(tmp_path / "people.db", model=pixels) as gallery:
        yield gallery


def put(path: Path, *pictures: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.concatenate(pictures, axis=1))
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "photos"
    for number, name in enumerate(("alice", "bob", "carol")):
        for sample in range(2):
            put(root / name / f"{sample}.png", photo(number, sample))
    return root


def test_a_folder_a_person_is_enrolled_and_again_is_a_repetition(people, folder):
    done = bulk_enrol(people, folder)
    assert (done.people, done.enrolled, done.templates, done.skipped) == (3, 3, 6, 0)
    assert [one.external_id for one in people.persons()] == ["alice", "bob", "carol"]
    again = bulk_enrol(people, folder)
    assert (again.enrolled, again.templates, again.repeated) == (3, 0, 6)


def test_the_unfit_are_skipped_with_their_reasons_and_the_rest_is_enrolled(people, folder, tmp_path):
    put(folder / "alice" / "two.png", photo(0, 3), photo(1, 3))
    put(folder / "bob" / "blank.png", np.zeros((112, 112, 3), np.uint8))
    (folder / "carol" / "text.png").write_text("no picture")
    put(folder / "dora" / "blur.png", cv2.GaussianBlur(photo(3), (0, 0), 12))
    (folder / "emil").mkdir()
    put(folder / "stray.png", photo(8))
    report = tmp_path / "report.csv"
    done = bulk_enrol(people, folder, report=report)
    assert (done.people, done.enrolled, done.templates) == (5, 3, 6)
    assert {"several_faces", "no_face", "malformed", "no_photographs", "no_person"} <= set(done.reasons)
    rows = list(csv.DictReader(report.open()))
    assert len(rows) == done.skipped == 6 and report.stat().st_mode & 0o777 == 0o600
    assert next(row["person"] for row in rows if "two.png" in row["image"]) == "alice"
    assert not any(row["reason"].startswith(str(folder)) for row in rows)
    assert all(row["codes"] for row in rows)


def test_select_takes_one_face_of_several(people, folder):
    put(folder / "alice" / "two.png", photo(0, 3), photo(9, 3))
    assert bulk_enrol(people, folder, select="largest").skipped == 0
    with pytest.raises(VultusError, match="middle"):
        bulk_enrol(people, folder, select="middle")


def test_a_table_gives_names_and_metadata(people, folder, tmp_path):
    table = tmp_path / "people.csv"
    table.write_text(
        "person,image,name,select,room,badge\n"
        "a1,photos/alice/0.png,Alice,,12,007\n"
        "a1,photos/alice/1.png,,,,\n"
        "b2,photos/bob/0.png,,largest,,\n"
        "c3,photos/nobody.png,,,,\n"
    )
    done = bulk_enrol(people, table)
    assert (done.people, done.enrolled, dict(done.reasons)) == (3, 2, {"no_file": 1})
    alice, bob = people.persons()
    assert (alice.name, alice.templates, dict(alice.metadata)) == ("Alice", 2, {"room": 12, "badge": "007"})
    assert (bob.name, dict(bob.metadata)) == ("b2", {})
    assert [one.external_id for one in people.persons({"badge": "007"})] == ["a1"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("person,file\na,b\n", "image"),
        ("person,image\na\n", "line 2"),
        ("person,image\n,x.png\n", "person is empty"),
        ("person,image,select\na,x.png,middle\n", "middle"),
        ("person,image,city\na,x.png,Rome\na,y.png,Oslo\n", "two values"),
        ("person,image,\na,x.png,1\n", "a name of its own"),
        ("person,image\na,x.png\nb,y.png\na,z.png\n", "'a' lie apart"),
        ("person,image\n", "no rows"),
        ("", "person"),
    ],
)
def test_a_wrong_table_is_told_before_anybody_is_enrolled(people, tmp_path, text, told):
    table = tmp_path / "people.csv"
    table.write_text(text)
    with pytest.raises(VultusError, match=told) as caught:
        bulk_enrol(people, table)
    assert "\n" not in str(caught.value) and "people.csv" in str(caught.value)
    assert people.persons() == []


def test_other_sources_are_told(people, tmp_path):
    (tmp_path / "latin.csv").write_bytes("person,image\nZoë,a\n".encode("latin-1"))
    (tmp_path / "flat").mkdir()
    put(tmp_path / "flat" / "a.png", photo(1))
    for name, told in (("none", "does not exist"), ("latin.csv", "UTF-8"), ("flat", "one folder")):
        with pytest.raises(VultusError, match=told):
            bulk_enrol(people, tmp_path / name)


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_an_interruption_keeps_what_was_done_and_goes_on(stop, code, people, pixels, folder, tmp_path, monkeypatch):
    faces, report = pixels.faces, tmp_path / "report.csv"

    def interrupted(image, select="all"):
        if "carol" in str(image):
            raise stop
        return faces(image, select)

    monkeypatch.setattr(pixels, "faces", interrupted)
    done = bulk_enrol(people, folder, report=report)
    assert done.interrupted == code and done.enrolled == 2 and report.exists()
    assert [one.templates for one in people.persons()] == [2, 2]
    monkeypatch.setattr(pixels, "faces", faces)
    pixels.read.clear()
    done = bulk_enrol(people, folder, new_only=True)
    assert (done.left_out, done.enrolled) == (2, 1)
    assert all("carol" in image for image in pixels.read)


def test_no_more_templates_than_the_collection_keeps(people, folder):
    people.create()
    people.configure(max_templates=3)
    put(folder / "alice" / "00.png", np.zeros((112, 112, 3), np.uint8))
    for sample in range(2, 6):
        put(folder / "alice" / f"{sample}.png", photo(0, sample))
    done = bulk_enrol(people, folder)
    assert people.persons()[0].templates == 3
    assert dict(done.reasons) == {"no_face": 1, "too_many_templates": 3}
    again = bulk_enrol(people, folder)
    assert (again.templates, again.reasons) == (0, done.reasons)


def test_people_who_look_like_others_are_told(people, folder):
    bulk_enrol(people, folder)
    more = folder.parent / "more"
    put(more / "alicia" / "0.png", photo(0, 7))
    done = bulk_enrol(people, more)
    assert done.lookalikes == 1 and "'alice'" in done.listed[0]["reason"]


def test_consent_is_recorded_once_and_asked_for_where_required(people, folder):
    people.create()
    people.configure(purpose="door", require_consent=True)
    with pytest.raises(VultusError, match="consent"):
        bulk_enrol(people, folder)
    given = ConsentGiven("GDPR art. 9(2)(a)")
    for _ in range(2):
        assert bulk_enrol(people, folder, consent=given).enrolled == 3
    assert len(people.custody.person("bob").consents) == 1


def test_who_is_enrolled_without_a_valid_consent_is_given_that_of_the_import(people, folder):
    people.create()
    people.configure(purpose="door")
    bulk_enrol(people, folder)
    people.custody.record_consent("bob", basis="mine")
    people.configure(require_consent=True)
    done = bulk_enrol(people, folder, consent=ConsentGiven("theirs"))
    assert (done.enrolled, done.skipped, done.listed) == (3, 0, [])
    agreed = {name: [one.basis for one in people.custody.person(name).consents] for name in ("alice", "bob")}
    assert agreed == {"alice": ["theirs"], "bob": ["mine"]}


def test_an_import_does_not_undo_a_withdrawal(people, folder):
    people.create()
    people.configure(purpose="door", require_consent=True)
    given = ConsentGiven("theirs")
    bulk_enrol(people, folder, consent=given)
    people.custody.withdraw_consent("bob")
    done = bulk_enrol(people, folder, consent=given)
    assert done.enrolled == 2 and people.custody.person("bob").person.status == "suspended"
    assert any(one["person"] == "bob" and "consent add" in one["reason"] for one in done.listed)


def test_it_gives_up_when_everybody_is_refused_for_another_reason(people, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(bulk, "GIVE_UP", 2)
    table, image = tmp_path / "people.csv", folder / "alice" / "0.png"
    table.write_text("person,image,note\n" + "".join(f"p{n},{image},{'x' * 20_000}\n" for n in range(4)))
    report = tmp_path / "report.csv"
    with pytest.raises(VultusError, match=r"stopped.*metadata"):
        bulk_enrol(people, table, report=report)
    assert len(list(csv.DictReader(report.open()))) == 2


def test_values_are_what_json_takes_them_for_or_text():
    given = ["12", "1.5", "true", "null", '"12"', "012", "NaN", "Rome", "[1]", "1e999", "12345678901234567890", "-"]
    meant = [12, 1.5, True, None, "12", "012", "NaN", "Rome", "[1]", "1e999", "12345678901234567890", "-"]
    assert [value_of(text) for text in given] == meant
