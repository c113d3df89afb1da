"""Random operations on a gallery and on a plain-Python model of it: both say the same, whatever the order."""

from __future__ import annotations

import copy
import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.custody import ConsentGiven, restore
from vultus.gallery.decision import Kind, claim_threshold, search_threshold

from ..conftest import photo
from .observing import rows_in

FPIR, FMR = 0.01, 0.01
WHO = st.integers(0, 4)
SHOTS = st.lists(st.integers(0, 4), min_size=1, max_size=3)
TEAM = st.sampled_from(["red", "blue", None])
START = {"gates": False, "purpose": "doors", "outlier_fmr": None, "duplicate_fpir": None}


@dataclass
class Modelled:
    """One person."""

    name: str
    metadata: dict[str, Any]
    shots: list[int] = field(default_factory=list)
    """In the order of enrolment; each once."""
    consents: list[bool] = field(default_factory=list)
    """Whether each is still valid."""
    status: str = "active"
    retain: bool = False


class Machine(RuleBasedStateMachine):
    """`new_place`, `recognizer`: of the test that runs it."""

    new_place: Callable[[], str | Path]
    recognizer: Any
    folder: Path

    @initialize()
    def make(self) -> None:
        self.people: dict[str, Modelled] = {}
        self.required = False
        self.place = str(self.new_place())
        self.gallery = Gallery.open(self.place, self.recognizer, settings=START)
        self.gallery.create()
        self.other = self.opened()
        self.numbers = itertools.count()

    def teardown(self) -> None:
        for gallery in (getattr(self, "gallery", None), getattr(self, "other", None)):
            if gallery is not None:
                gallery.close()

    def opened(self) -> Gallery:
        return Gallery.open(self.place, self.recognizer)

    # Changes -------------------------------------------------------------------------------------------------

    @rule(who=WHO, shots=SHOTS, team=TEAM, named=st.booleans(), consent=st.booleans(), by_other=st.booleans())
    def enrol(self, who: int, shots: list[int], team: str | None, named: bool, consent: bool, by_other: bool) -> None:
        person, gallery = f"p{who}", self.other if by_other else self.gallery
        known = self.people.get(person)
        after = copy.deepcopy(known) or Modelled(person, {})
        if named:
            after.name = f"name {next(self.numbers)}"
        if team is not None:
            after.metadata = {"team": team}
        if consent:
            after.consents.append(True)
            after.status = "active"  # the consent is to the purpose, and valid
        refused = after.status == "suspended" or (self.required and not any(after.consents))
        new = [shot for shot in dict.fromkeys(shots) if shot not in after.shots]

        def attempt():
            return gallery.enroll(
                person,
                *(photo(who, shot) for shot in shots),
                name=after.name if named else None,
                metadata=None if team is None else after.metadata,
                consent=ConsentGiven("art. 9(2)(a)") if consent else None,
            )

        if refused:
            with pytest.raises(VultusError, match="consent"):
                attempt()
            return
        done = attempt()
        assert (done.templates, done.repeated) == (len(new), len(shots) - len(new))
        after.shots += new
        self.people[person] = after

    @rule(who=WHO, by_other=st.booleans())
    def erase(self, who: int, by_other: bool) -> None:
        gallery = self.other if by_other else self.gallery
        if f"p{who}" not in self.people:
            with pytest.raises(VultusError, match="is not enrolled"):
                gallery.erase(f"p{who}")
            return
        receipts = gallery.erase(f"p{who}")
        assert [receipt.templates for receipt in receipts] == [len(self.people.pop(f"p{who}").shots)]

    @precondition(lambda self: any(person.shots for person in self.people.values()))
    @rule(data=st.data())
    def remove_template(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from(sorted(name for name, one in self.people.items() if one.shots)))
        at = data.draw(st.integers(0, len(self.people[person].shots) - 1))
        self.gallery.custody.remove_template(person, self.gallery.custody.person(person).templates[at].id)
        del self.people[person].shots[at]

    @rule(who=WHO)
    def consent(self, who: int) -> None:
        if f"p{who}" not in self.people:
            with pytest.raises(VultusError, match="is not enrolled"):
                self.gallery.custody.record_consent(f"p{who}", basis="b")
            return
        self.gallery.custody.record_consent(f"p{who}", basis="b")
        self.people[f"p{who}"].consents.append(True)
        self.people[f"p{who}"].status = "active"

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from(sorted(self.people)))
        one = self.people[person]
        valid = sum(one.consents)
        suspends = self.required and one.status == "active"
        if not valid and not suspends:
            with pytest.raises(VultusError, match="withdrawn already"):
                self.gallery.custody.withdraw_consent(person)
            return
        assert len(self.gallery.custody.withdraw_consent(person)) == valid
        one.consents = [False] * len(one.consents)
        if suspends:
            one.status = "suspended"

    @rule(required=st.booleans(), most=st.integers(15, 20))
    def configure(self, required: bool, most: int) -> None:
        made = self.gallery.configure(require_consent=required, max_templates=most)
        assert (made.require_consent, made.max_templates) == (required, most)
        self.required = required

    @precondition(lambda self: self.people)
    @rule(data=st.data(), keep=st.booleans())
    def retain(self, data: st.DataObject, keep: bool) -> None:
        person = data.draw(st.sampled_from(sorted(self.people)))
        self.gallery.custody.retain(person, "2999-01-01" if keep else None)
        self.people[person].retain = keep

    @rule(dry=st.booleans())
    def sweep(self, dry: bool) -> None:
        due = {
            name for name, one in self.people.items() if self.required and one.consents and not any(one.consents)
        }  # fmt: skip
        swept = self.gallery.custody.sweep(dry_run=dry)
        assert {one.external_id for one in swept.due} == due
        assert len(swept.receipts) == (0 if dry else len(due))
        if not dry:
            self.people = {name: one for name, one in self.people.items() if name not in due}

    @rule()
    def renew(self) -> None:
        self.gallery.custody.renew()

    @rule(snapshot=st.booleans())
    def reopen(self, snapshot: bool) -> None:
        if snapshot:
            self.gallery.custody.snapshot()
        self.gallery.close()
        self.gallery = self.opened()

    @rule(data=st.data(), erasing=st.booleans())
    def restore_elsewhere(self, data: st.DataObject, erasing: bool) -> None:
        file = self.folder / f"backup-{uuid.uuid4()}"
        self.gallery.custody.backup(file)
        if erasing and self.people:
            person = data.draw(st.sampled_from(sorted(self.people)))
            self.gallery.erase(person)
            del self.people[person]
        before, self.place = self.place, str(self.new_place())
        restore(file, self.place, ledgers=[before])
        self.gallery.close()
        self.other.close()
        self.gallery, self.other = self.opened(), self.opened()

    # Questions -----------------------------------------------------------------------------------------------

    @rule(who=WHO, shot=st.integers(5, 9), team=TEAM, by_other=st.booleans())
    def search(self, who: int, shot: int, team: str | None, by_other: bool) -> None:
        gallery = self.other if by_other else self.gallery
        where = None if team is None else {"team": team}
        probe = self.recognizer.embed([photo(who, shot)])
        wanted, templates = self.ranking(probe[0], team)
        [found] = gallery.identify_embeddings(probe, self.recognizer.contract.id, FPIR, k=5, where=where)
        assert found.searched == templates
        assert found.threshold == search_threshold(self.recognizer.calibration, FPIR, templates)
        same_order(found.candidates, wanted)
        over = [person for person, score in wanted if score >= found.threshold.score]
        assert found.kind is (Kind.UNKNOWN if not over else Kind.MATCH if len(over) == 1 else Kind.AMBIGUOUS)
        [listed] = gallery.investigate(photo(who, shot), k=3, where=where, reason="a test")
        same_order(listed.investigation.candidates, wanted[:3])

    @rule(claimed=WHO, who=WHO, shot=st.integers(5, 9))
    def verify(self, claimed: int, who: int, shot: int) -> None:
        one = self.people.get(f"p{claimed}")
        if one is None or one.status == "suspended" or not one.shots:
            with pytest.raises(VultusError, match=r"not enrolled|suspended|without a template"):
                self.gallery.verify(f"p{claimed}", photo(who, shot), FMR)
            return
        found = self.gallery.verify(f"p{claimed}", photo(who, shot), FMR)
        score = float((self.rows(f"p{claimed}") @ self.recognizer.embed([photo(who, shot)])[0]).max())
        threshold = claim_threshold(self.recognizer.calibration, FMR, len(one.shots))
        assert found.templates == len(one.shots) and found.threshold == threshold
        assert abs(found.score - score) < 1e-4
        assert found.match == (found.score >= threshold.score)

    def rows(self, person: str) -> np.ndarray:
        return self.recognizer.embed([photo(int(person[1:]), shot) for shot in self.people[person].shots])

    def ranking(self, probe: np.ndarray, team: str | None) -> tuple[list[tuple[str, float]], int]:
        """Brute force: (person, best score) of everybody who is searched, best first; and how many templates."""
        searched = [
            name
            for name, one in self.people.items()
            if one.shots and one.status == "active" and (team is None or one.metadata.get("team") == team)
        ]
        scores = [(name, float((self.rows(name) @ probe).max())) for name in searched]
        return sorted(scores, key=lambda found: -found[1]), sum(len(self.people[name].shots) for name in searched)

    # What always holds ---------------------------------------------------------------------------------------

    @invariant()
    def the_same_people(self) -> None:
        if not hasattr(self, "other"):
            return
        for gallery in (self.gallery, self.other):
            listed = {
                p.external_id: (p.name, dict(p.metadata), p.templates, p.status) for p in gallery.persons()
            }  # fmt: skip
            assert listed == {n: (p.name, p.metadata, len(p.shots), p.status) for n, p in self.people.items()}
        for name, one in self.people.items():
            detail = self.gallery.custody.person(name)
            assert [consent.withdrawn_at is None for consent in detail.consents] == one.consents
            assert (detail.person.retain_until is not None) == one.retain
        assert self.gallery.custody.verify_log() == []
        assert rows_in(self.gallery._binding.existing()) == rows_in(self.other._binding.existing())


def same_order(found, wanted: list[tuple[str, float]]) -> None:
    """Candidates as brute force ranks them; those whose scores differ by rounding may stand either way."""
    assert len(found) == min(5, len(wanted))
    known = dict(wanted)
    for candidate, (_, score) in zip(found, wanted, strict=False):
        assert abs(candidate.score - score) < 1e-4
        assert abs(candidate.score - known[candidate.person]) < 1e-4


def drive(new_place, recognizer, tmp_path, examples: int, steps: int) -> None:
    class Here(Machine):
        pass

    Here.new_place, Here.recognizer, Here.folder = staticmethod(new_place), recognizer, tmp_path  # pyright: ignore
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=examples < 10,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_operations(new_place, recognizer, tmp_path, request):
    drive(new_place, recognizer, tmp_path, *((1, 10) if "postgresql" in request.node.name else (3, 20)))


@pytest.mark.slow
def test_many_random_operations(new_place, recognizer, tmp_path, request):
    drive(new_place, recognizer, tmp_path, 6 if "postgresql" in request.node.name else 30, 50)
