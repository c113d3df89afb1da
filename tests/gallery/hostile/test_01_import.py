"""An import decides who is new, and whose consent is recorded, in the transaction that enrolls them."""

from __future__ import annotations

import pytest
from PIL import Image

from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.custody import ConsentGiven
from vultus.workflows.bulk_enrol import bulk_enrol


@pytest.fixture
def folder(tmp_path, picture):
    for number, name in enumerate(("alice", "bob")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for sample in range(2):
            Image.fromarray(picture(number, sample)).save(tmp_path / "photos" / name / f"{sample}.png")
    return tmp_path / "photos"


def meanwhile(recognizer, step):
    """The recognizer, after whose first embedding another process does `step`."""
    todo = [step]

    class Slow(type(recognizer)):
        def embed(self, faces):
            rows = super().embed(faces)
            while todo:
                todo.pop()()
            return rows

    return Slow(name=recognizer.name, calibration=recognizer.calibration)


def test_who_was_enrolled_meanwhile_is_left_out_by_new_only(place, recognizer, folder, picture):
    with Gallery.open(place, model=recognizer, settings={"gates": False}) as other:
        other.create()
        slow = meanwhile(recognizer, lambda: other.enroll("alice", picture(0, 9)))
        with Gallery.open(place, model=slow) as gallery:
            done = bulk_enrol(gallery, folder, new_only=True)
        assert (done.left_out, done.people, done.templates, done.skipped) == (1, 1, 2, 0)
        assert {one.external_id: one.templates for one in other.persons()} == {"alice": 1, "bob": 2}
        with pytest.raises(VultusError) as refused:
            other.enroll("alice", picture(0, 5), new_only=True)
        assert refused.value.code == "enrolled_already"


@pytest.mark.parametrize("required", [False, True])
def test_a_consent_withdrawn_meanwhile_is_not_recorded_again(place, recognizer, folder, picture, required):
    settings = {"gates": False, "purpose": "door"}
    with Gallery.open(place, model=recognizer, settings=settings) as other:
        other.enroll("alice", picture(0, 9), consent=ConsentGiven("b", expires_at="2990-01-01"))
        other.configure(require_consent=required)
        slow = meanwhile(recognizer, lambda: other.custody.withdraw_consent("alice"))
        with Gallery.open(place, model=slow) as gallery:
            done = bulk_enrol(gallery, folder, consent=ConsentGiven("b"))
        consents = other.custody.person("alice").consents
        assert len(consents) == 1 and consents[0].withdrawn_at is not None
        assert len(other.custody.person("bob").consents) == 1
        told = [(one["what"], one["person"]) for one in done.listed]
        assert ("skipped" if required else "warning", "alice") in told
