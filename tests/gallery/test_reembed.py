"""A collection moves to another model beside the present one, resumably, and then all at once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vultus.errors import VultusError
from vultus.gallery import Gallery, Kind
from vultus.gallery import reembed as steps

PEOPLE = ("alice", "bob", "carol")


@pytest.fixture
def people(place, recognizer, picture):
    settings = {"gates": False, "keep_crops": True}
    with Gallery.open(place, model=recognizer, settings=settings) as gallery:
        for number, name in enumerate(PEOPLE):
            gallery.enroll(name, picture(number), picture(number, 1))
        yield gallery


def test_kept_crops_make_the_new_templates_and_every_process_follows(people, place, picture, next_recognizer):
    with Gallery.open(place, model=people.recognizer) as other:
        assert other.identify(picture(0, 7), fpir=0.01)[0].decision.person == "alice"
        told = []
        moved = people.reembed(next_recognizer, progress=lambda *done: told.append(done))
        assert moved.done and moved.state.missing == () and moved.state.templates == 6
        assert told[-1] == (3, 3)
        assert people.info.contract_id == next_recognizer.contract.id
        assert [people.identify(picture(n, 7), fpir=0.01)[0].decision.person for n in range(3)] == list(PEOPLE)
        with pytest.raises(VultusError, match="was made with model 'other-pixels'"):
            other.identify(picture(0, 7), fpir=0.01)
    with Gallery.open(place, model=next_recognizer) as fresh:
        assert fresh.identify(picture(1, 8), fpir=0.01)[0].decision.person == "bob"
        assert fresh.custody.verify_log() == []


def test_whoever_has_no_crops_is_named_and_the_old_model_goes_on(place, recognizer, next_recognizer, picture):
    with Gallery.open(place, model=recognizer, settings={"gates": False}) as gallery:
        gallery.enroll("alice", picture(0))
        gallery.enroll("bob", picture(1))
        moved = gallery.reembed(next_recognizer)
        assert not moved.done and [one.person for one in moved.state.missing] == ["alice", "bob"]
        assert gallery.identify(picture(0, 7), fpir=0.01)[0].decision.person == "alice"
        moved = gallery.reembed(next_recognizer, {"alice": [picture(0, 2)]})
        assert not moved.done and [one.person for one in moved.state.missing] == ["bob"] and moved.state.ready == 1
        store = gallery._binding.store
        with pytest.raises(steps.IncompleteError) as refused:
            steps.cut_over(store, "default")
        assert [one.person for one in refused.value.missing] == ["bob"]
        moved = gallery.reembed(next_recognizer, leave_behind=True)
        assert moved.done
        assert gallery.identify(picture(0, 7), fpir=0.01)[0].decision.person == "alice"
        assert gallery.identify(picture(1, 7), fpir=0.01)[0].decision.kind is Kind.UNKNOWN
        assert {p.external_id: p.templates for p in gallery.persons()} == {"alice": 1, "bob": 0}
        gallery.enroll("bob", picture(1))
        assert gallery.identify(picture(1, 7), fpir=0.01)[0].decision.person == "bob"


def test_an_interrupted_move_goes_on_where_it_was(people, next_recognizer, picture, monkeypatch):
    embedded = []

    class Counting(type(next_recognizer)):
        def embed(self, faces):
            embedded.append(len(faces))
            if len(embedded) == 2:
                raise KeyboardInterrupt
            return super().embed(faces)

    counting = Counting(seed=1, name="other-pixels", calibration=next_recognizer.calibration)
    monkeypatch.setattr(steps, "AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        people.reembed(counting)
    assert people.identify(picture(0, 7), fpir=0.01)[0].decision.person == "alice", "the old model is in use"
    assert steps.state(people._binding.store, "default").ready == 1
    embedded[:] = [0, 0, 0]
    assert people.reembed(counting).done
    assert sum(embedded) == 4, "what was made before is not made again"


def test_it_can_be_given_up(people, recognizer, next_recognizer, picture):
    store = people._binding.store
    steps.begin(store, "default", next_recognizer)
    with pytest.raises(VultusError, match="being moved to 'other-pixels'"):
        steps.begin(store, "default", type(recognizer)(seed=2, name="third"))
    with pytest.raises(VultusError, match="already"):
        steps.begin(store, "default", recognizer)
    steps.abandon(store, "default")
    with pytest.raises(VultusError, match="not being moved"):
        steps.state(store, "default")
    assert people.identify(picture(0, 7), fpir=0.01)[0].decision.person == "alice"


def test_a_move_that_was_given_up_or_changed_is_not_finished(people, recognizer, next_recognizer, picture):
    store = people._binding.store
    first = next_recognizer.contract.id
    for step in (steps.cut_over, steps.abandon):
        with pytest.raises(VultusError, match="not being moved"):
            step(store, "default", contract_id=first)
    third = type(recognizer)(seed=2, name="third")
    steps.begin(store, "default", third)
    steps.from_crops(store, "default", third)
    head = store.head()
    for step in (steps.cut_over, steps.abandon):
        with pytest.raises(VultusError, match="now being moved to 'third'"):
            step(store, "default", contract_id=first)
    assert store.head() == head and steps.state(store, "default").templates == 6
    assert people.identify(picture(0, 7), fpir=0.01)[0].decision.person == "alice"
    assert steps.cut_over(store, "default", contract_id=third.contract.id).contract_id == third.contract.id


def test_one_that_is_given_up_just_before_the_cut_over_is_told(people, next_recognizer, monkeypatch):
    """The lock is what orders the two: whatever was read before it may be of the past."""
    store = people._binding.store
    steps.begin(store, "default", next_recognizer)
    steps.from_crops(store, "default", next_recognizer)
    writing = store.writing

    def late():
        monkeypatch.undo()
        steps.abandon(store, "default")
        return writing()

    monkeypatch.setattr(store, "writing", late)
    with pytest.raises(VultusError, match="not being moved"):
        steps.cut_over(store, "default")
    assert [person.templates for person in people.persons()] == [2, 2, 2]


def test_a_compatible_model_is_adopted_only_with_evidence(people, place, recognizer, picture, tmp_path):
    """The same projection under another contract: as compatible as can be."""
    new = type(recognizer)(seed=0, name="trained-on", calibration=None)
    new.contract = replace(new.contract, weights="trained-on")
    new.calibration = replace(recognizer.calibration, contract_id=new.contract.id)
    old_id, new_id = people.info.contract_id, new.contract.id
    assert old_id != new_id

    def evidence(**changes):
        told = {"contract": old_id, "verdicts": [{"far": 1e-3, "verdict": "compatible"}], **changes}
        (tmp_path / "figures.json").write_text(json.dumps({"contract": new_id, "against": told}))
        return tmp_path / "figures.json"

    head = people._binding.store.head()
    for bad, words in (
        (tmp_path / "none.json", "the evidence .* does not exist"),
        (evidence(verdicts=[{"far": 1e-3, "verdict": "not compatible"}]), "not compatible at FAR 0.001"),
    ):
        with pytest.raises(VultusError, match=words):
            people.reembed(new, compatible=bad)
    with pytest.raises(VultusError, match="no rate"):
        people.reembed(new, compatible=evidence(verdicts=[]))
    with pytest.raises(VultusError, match="measure these two"):
        people.reembed(new, compatible=evidence(contract="another"))
    assert people._binding.store.head() == head
    assert people.reembed(new, compatible=evidence()).state.templates == 6
    assert people.identify(picture(0, 7), fpir=0.01)[0].decision.person == "alice"
    detail = people.custody.person("alice")
    assert {template.provenance["made_by"] for template in detail.templates} == {old_id}
    assert people.custody.log(kind="model_adopted")[0].details["to"] == new_id
    with Gallery.open(place, model=new) as fresh:
        assert fresh.identify(picture(1, 7), fpir=0.01)[0].decision.person == "bob"
