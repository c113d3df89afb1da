"""A change of model loses no acknowledged template: what is complete is decided where it is cut over, by template."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from vultus.gallery import Gallery
from vultus.gallery import reembed as steps
from vultus.gallery.store import schema


@pytest.fixture
def gallery(place, recognizer):
    with Gallery.open(place, model=recognizer, settings={"gates": False, "keep_crops": True}) as made:
        yield made


def templates_of(gallery: Gallery) -> dict[str, int]:
    return {one.external_id: one.templates for one in gallery.persons()}


def interrupted(recognizer, *meanwhile):
    """The recognizer, whose n-th embedding is followed by the n-th of what others do meanwhile."""
    todo = list(meanwhile)

    class Slow(type(recognizer)):
        def embed(self, faces):
            rows = super().embed(faces)
            if todo:
                todo.pop(0)()
            return rows

    return Slow(seed=1, name=recognizer.name, calibration=recognizer.calibration)


def missing(moved) -> dict[str, int]:
    return {one.person: len(one.templates) for one in moved.state.missing}


def test_photographs_enrolled_while_the_crops_are_embedded_are_moved_too(gallery, place, picture, next_recognizer):
    gallery.enroll("alice", picture(0))
    with Gallery.open(place, model=gallery.recognizer) as other:
        slow = interrupted(
            next_recognizer,
            lambda: other.enroll("alice", *(picture(0, n) for n in (1, 2, 3))),
            lambda: other.enroll("bob", picture(1)),
        )
        moved = gallery.reembed(slow)
    assert moved.done and moved.state.missing == ()
    assert templates_of(gallery) == {"alice": 4, "bob": 1}


def test_between_the_last_look_and_the_cut_over_nobody_is_lost(gallery, picture, next_recognizer):
    gallery.enroll("alice", picture(0))
    store = gallery._binding.store
    steps.begin(store, "default", next_recognizer)
    before = steps.from_crops(store, "default", next_recognizer)
    assert before.missing == ()
    gallery.enroll("alice", picture(0, 1))
    for leave_behind in ((), before.missing):
        with pytest.raises(steps.IncompleteError) as refused:
            steps.cut_over(store, "default", leave_behind=leave_behind)
        assert refused.value.code == "move_incomplete"
        assert [(one.person, len(one.templates)) for one in refused.value.missing] == [("alice", 1)]
        assert refused.value.to_dict()["missing"][0]["person"] == "alice"
    assert templates_of(gallery) == {"alice": 2}


@pytest.mark.parametrize("leave_behind", [False, True])
def test_who_is_always_enrolling_is_never_lost(gallery, picture, next_recognizer, monkeypatch, leave_behind):
    """The move gives up after some passes, and is not done."""
    gallery.enroll("alice", picture(0))
    cut_over, number = steps.cut_over, iter(range(1, 100))

    def late(*args, **options):
        gallery.enroll("alice", picture(0, next(number)))
        return cut_over(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(steps, "cut_over", late)
        moved = gallery.reembed(next_recognizer, leave_behind=leave_behind)
    assert not moved.done and missing(moved) == {"alice": 1}
    enrolled = templates_of(gallery)
    assert gallery.reembed(next_recognizer).done and templates_of(gallery) == enrolled


def test_a_template_without_a_crop_is_named_until_a_photograph_is_given(gallery, picture, next_recognizer, unit_rows):
    contract = gallery.recognizer.contract.id
    gallery.enroll("alice", picture(0))
    gallery.enroll_embeddings("alice", gallery.recognizer.embed([picture(0, 5)[:, :, :]]), contract)
    moved = gallery.reembed(next_recognizer)
    assert not moved.done and missing(moved) == {"alice": 1} and moved.state.ready == 0
    ids = [one.id for one in gallery.custody.person("alice").templates]
    assert moved.state.missing[0].templates == (ids[1],) and moved.state.missing[0].crops == ()
    moved = gallery.reembed(next_recognizer, {"alice": [picture(0, 6)]})
    assert moved.done and templates_of(gallery) == {"alice": 2}


def test_a_photograph_does_not_stand_for_what_is_enrolled_after_it_was_given(gallery, picture, next_recognizer):
    gallery.configure(keep_crops=False)
    gallery.enroll("alice", picture(0))
    slow = interrupted(next_recognizer, lambda: gallery.enroll("alice", picture(0, 1)))
    moved = gallery.reembed(slow, {"alice": [picture(0, 6)]})
    assert not moved.done and missing(moved) == {"alice": 1} and templates_of(gallery) == {"alice": 2}
    moved = gallery.reembed(next_recognizer, {"alice": [picture(0, 6)]})  # the same one, for both now
    assert moved.done and templates_of(gallery) == {"alice": 1}


def test_what_is_left_behind_is_named(gallery, picture, next_recognizer):
    gallery.enroll("alice", picture(0))
    gallery.configure(keep_crops=False)
    gallery.enroll("alice", picture(0, 1))
    gallery.enroll("bob", picture(1))
    moved = gallery.reembed(next_recognizer, leave_behind=True)
    assert moved.done and missing(moved) == {"alice": 1, "bob": 1}
    assert templates_of(gallery) == {"alice": 1, "bob": 0}
    assert gallery.custody.log(kind="cut_over")[0].details["left_behind"] == 2


def test_suspended_people_are_moved_and_erased_ones_are_not_missed(gallery, picture, next_recognizer):
    gallery.configure(purpose="door")
    for number, name in enumerate(("alice", "bob")):
        gallery.enroll(name, picture(number))
        gallery.custody.record_consent(name, basis="consent")
    gallery.configure(require_consent=True)
    gallery.custody.withdraw_consent("alice")
    slow = interrupted(next_recognizer, lambda: gallery.erase("bob"))
    assert gallery.reembed(slow).done
    assert templates_of(gallery) == {"alice": 1}


def test_the_crop_of_an_erased_person_makes_no_template_of_who_comes_after_them(gallery, picture, next_recognizer):
    gallery.enroll("alice", picture(0))

    def another():
        gallery.erase("alice")
        gallery.enroll("alice", picture(7))

    assert gallery.reembed(interrupted(next_recognizer, another)).done
    assert templates_of(gallery) == {"alice": 1}
    assert gallery.identify(picture(7, 3), fpir=0.01)[0].decision.person == "alice"


@pytest.mark.parametrize("late", [False, True])
def test_a_template_removed_during_the_move_does_not_come_back(gallery, picture, next_recognizer, late):
    gallery.enroll("alice", picture(0), picture(0, 1))
    gone = gallery.custody.person("alice").templates[0].id
    store = gallery._binding.store
    steps.begin(store, "default", next_recognizer)
    if late:
        steps.from_crops(store, "default", next_recognizer)
        gallery.custody.remove_template("alice", gone)
    else:
        slow = interrupted(next_recognizer, lambda: gallery.custody.remove_template("alice", gone))
        steps.from_crops(store, "default", slow)
    steps.cut_over(store, "default")
    with store.reading() as connection:
        assert len(connection.execute(select(schema.templates.c.id)).all()) == 1


def test_a_damaged_crop_is_named_and_the_others_are_embedded(gallery, picture, next_recognizer, caplog):
    gallery.enroll("alice", picture(0))
    gallery.enroll("bob", picture(1))
    with gallery._binding.store.writing() as write:
        first = select(schema.crops.c.id).limit(1).scalar_subquery()
        write.connection.execute(update(schema.crops).where(schema.crops.c.id == first).values(sealed=b"x" * 60))
    moved = gallery.reembed(next_recognizer)
    assert not moved.done and missing(moved) == {"alice": 1} and len(moved.state.missing[0].crops) == 1
    assert any(record.levelname == "WARNING" for record in caplog.records)
    assert gallery.reembed(next_recognizer, leave_behind=True).done
    assert templates_of(gallery) == {"alice": 0, "bob": 1}
