from __future__ import annotations

import dataclasses

import pytest

from vultus.errors import CalibrationError
from vultus.gallery import Candidate, Kind, explain
from vultus.gallery.decision import claim_threshold, decide, require_calibration, search_threshold


@pytest.fixture
def threshold(recognizer):
    return dataclasses.replace(recognizer.calibration.threshold_at(0.01), score=0.5)


def test_one_person_at_the_threshold_is_a_match(threshold):
    decision = decide([Candidate("alice", 0.5, 1), Candidate("bob", 0.4999, 2)], threshold)
    assert (decision.kind, decision.person, decision.label) == (Kind.MATCH, "alice", "alice")


def test_two_people_above_the_threshold_are_ambiguous_and_name_nobody(threshold):
    decision = decide([Candidate("alice", 0.9, 1), Candidate("bob", 0.5, 2), Candidate("eve", 0.1, 3)], threshold)
    assert decision.kind is Kind.AMBIGUOUS
    assert decision.person is None
    assert decision.label == "alice or bob"


def test_nobody_above_the_threshold_is_unknown_but_stays_a_candidate(threshold):
    decision = decide([Candidate("alice", 0.49, 1)], threshold)
    assert (decision.kind, decision.person, decision.score) == (Kind.UNKNOWN, None, 0.49)
    assert decision.candidates[0].person == "alice"
    assert "alice" not in str(decision), "a stranger is not called by the nearest name"


def test_an_empty_gallery_says_so(threshold):
    assert str(decide([], threshold)) == "unknown (nobody is enrolled)"


def test_the_threshold_of_a_search_rises_with_the_gallery(recognizer):
    few = search_threshold(recognizer.calibration, 0.01, 2)
    many = search_threshold(recognizer.calibration, 0.01, 100)
    assert many.score > few.score
    assert 1 - (1 - many.fmr) ** 100 == pytest.approx(0.01)
    assert "cautious" in explain(many)
    assert "0.01" in explain(many)


def test_a_rate_that_no_data_supports_is_refused(recognizer):
    with pytest.raises(CalibrationError, match="supports"):
        search_threshold(recognizer.calibration, 0.001, 1_000_000)


def test_a_claim_is_stricter_where_the_person_has_more_templates(recognizer):
    one = claim_threshold(recognizer.calibration, 0.01, 1)
    ten = claim_threshold(recognizer.calibration, 0.01, 10)
    assert one == recognizer.calibration.threshold_at(0.01)
    assert ten.score > one.score


def test_no_calibration_means_no_decision(recognizer):
    with pytest.raises(CalibrationError, match="no calibration"):
        require_calibration(None, "pixels", "vultus1-a")
    with pytest.raises(CalibrationError, match="calibrate this"):
        require_calibration(recognizer.calibration, "pixels", "vultus1-a")
