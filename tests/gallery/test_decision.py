from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import CalibrationError
from vultus.gallery import Candidate, Kind, explain
from vultus.gallery.decision import (
    FPIR,
    claim_threshold,
    decide,
    decide_claim,
    expected_fpir,
    fpir_warning,
    low_quality,
    require_calibration,
    search_threshold,
    weigh,
)
from vultus.gallery.investigation import investigation
from vultus.gallery.rates import relaxed


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


def test_a_search_among_nobody_says_so(threshold):
    assert str(decide([], threshold)) == "unknown (nobody was searched)"
    assert str(decide([], threshold, searched=3)) == "unknown (nobody found may be named)"


@pytest.mark.parametrize("fmr", [0, 1, 2, -0.1, float("nan")])
def test_a_false_match_rate_that_is_none_is_named_so(recognizer, fmr):
    with pytest.raises(CalibrationError, match=r"\(FMR\) lies between 0 and 1"):
        claim_threshold(recognizer.calibration, fmr, 2)


def test_people_are_called_by_name_and_told_apart_by_id(threshold):
    alice, other = Candidate("a-1", 0.9, 1, "Alice"), Candidate("a-2", 0.8, 2, "Alice")
    assert decide([alice], threshold).label == "Alice"
    assert decide([alice], threshold).person == "a-1"
    assert decide([alice, other], threshold).label == "Alice [a-1] or Alice [a-2]"


def test_a_probe_of_low_quality_is_an_answer_of_its_own_with_its_reasons(threshold):
    decision = low_quality(["too blurred: sharpness 0.2, at least 0.4; hold still", "pose"], threshold, position=7)
    assert decision.kind == "low_quality"
    assert (decision.person, decision.score, decision.candidates, decision.searched) == (None, None, (), 0)
    assert decision.label == "low quality: too blurred, pose"
    assert str(decision) == "low quality: too blurred: sharpness 0.2, at least 0.4; hold still; pose (not searched)"
    assert decision.to_dict()["reasons"] == ["too blurred: sharpness 0.2, at least 0.4; hold still", "pose"]


def test_the_threshold_of_a_search_rises_with_the_gallery(recognizer):
    few = search_threshold(recognizer.calibration, 0.01, 2)
    many = search_threshold(recognizer.calibration, 0.01, 100)
    assert many.score > few.score
    assert 1 - (1 - many.fmr) ** 100 == pytest.approx(0.01)
    assert "cautious" in explain(many)
    assert "0.01" in explain(many)


@pytest.mark.parametrize("templates", [0, 1, 10, 10**3, 10**6])
def test_without_a_rate_the_lowest_that_is_supported_is_used_and_announced(recognizer, templates):
    calibration = recognizer.calibration
    lowest = expected_fpir(calibration.floor, max(1, templates))
    threshold = search_threshold(calibration, None, templates)
    assert threshold.fpir == pytest.approx(max(FPIR, lowest))
    assert (relaxed(threshold) is not None) == (lowest > FPIR)
    if lowest > FPIR:
        assert threshold.score == calibration.points[-1].threshold  # the highest that was measured
    else:
        assert threshold == search_threshold(calibration, FPIR, templates)


def test_a_rate_that_no_data_supports_is_refused(recognizer):
    with pytest.raises(CalibrationError, match="supports"):
        search_threshold(recognizer.calibration, 0.001, 1_000_000)


def test_below_the_data_a_search_has_no_threshold(recognizer):
    calibration = recognizer.calibration
    assert calibration.extrapolated, "the invented people have a tail that can be fitted"
    fpir = expected_fpir(calibration.floor / 2, 100)
    with pytest.raises(CalibrationError, match="supports"):
        search_threshold(calibration, fpir, 100)


def test_a_claim_is_stricter_where_the_person_has_more_templates(recognizer):
    one = claim_threshold(recognizer.calibration, 0.01, 1)
    ten = claim_threshold(recognizer.calibration, 0.01, 10)
    assert one == recognizer.calibration.threshold_at(0.01)
    assert ten.score > one.score


def test_no_calibration_means_no_decision(recognizer):
    own = require_calibration(recognizer)
    assert own is recognizer.calibration
    for calibration, code in (
        (None, "no_calibration"),
        (dataclasses.replace(own, contract_id="x"), "calibration_contract"),
    ):
        other = copy.copy(recognizer)
        other.calibration = calibration
        with pytest.raises(CalibrationError) as refused:
            require_calibration(other)
        assert refused.value.code == code


@settings(max_examples=50, deadline=None)
@given(st.floats(-1, 1, width=32))
def test_the_fmr_of_a_score_is_the_lowest_rate_whose_threshold_it_reaches(recognizer, score):
    calibration = recognizer.calibration
    weight = weigh(score, calibration)
    if weight.fmr < 1:
        assert calibration.threshold_at(weight.fmr).score <= score
        assert weight.interval == calibration.threshold_at(weight.fmr).interval
    stricter = [point for point in calibration.points if point.fmr < weight.fmr]
    assert all(point.threshold > score for point in stricter)
    assert weight.below_floor == (weight.fmr == calibration.floor)
    assert weight.llr == calibration.llr(score)


def test_a_score_at_a_threshold_weighs_exactly_its_rate(recognizer):
    for point in recognizer.calibration.points:
        assert weigh(point.threshold, recognizer.calibration).fmr == point.fmr
        just_below = float(np.nextafter(np.float32(point.threshold), np.float32(-1)))
        assert weigh(just_below, recognizer.calibration).fmr > point.fmr


def test_a_score_below_all_thresholds_promises_nothing_and_above_them_no_more_than_the_data(recognizer):
    low, high = weigh(-1.0, recognizer.calibration), weigh(1.0, recognizer.calibration)
    assert (low.fmr, low.below_floor) == (1.0, False)
    assert (high.fmr, high.below_floor) == (recognizer.calibration.floor, True)
    assert "above all that was measured" in str(low)
    assert "below the floor" in str(high)
    assert low.llr < 0 < high.llr


def test_a_match_weighs_at_most_what_its_threshold_promised(recognizer):
    calibration = recognizer.calibration
    threshold = search_threshold(calibration, 0.05, 20)
    decision = decide([Candidate("alice", threshold.score, 1)], threshold, calibration, searched=20, position=3)
    assert decision.kind is Kind.MATCH
    assert decision.fmr == threshold.fmr_grid
    assert decision.fpir_at_score == decision.fpir == expected_fpir(threshold.fmr_grid, 20) <= 0.05
    better = decide([Candidate("alice", 0.999, 1)], threshold, calibration, searched=20)
    assert better.fpir_at_score is not None
    assert better.fpir_at_score < better.fpir


def test_expected_fpir():
    assert expected_fpir(1e-3, 1) == pytest.approx(1e-3)
    assert expected_fpir(1e-3, 2) == pytest.approx(1 - 0.999**2)
    assert expected_fpir(1e-18, 1000) == pytest.approx(1e-15)
    assert expected_fpir(1.0, 1) == 1
    assert expected_fpir(0.5, 0) == expected_fpir(1.0, 0) == 0


def test_many_named_strangers_are_worth_a_warning(recognizer):
    assert fpir_warning(0.05, 10_000) is None
    assert "10,000 templates enrolled, 1 in 10 strangers" in (fpir_warning(0.1, 10_000) or "")
    assert "80% of strangers" in (fpir_warning(0.8, 10_000) or "")
    threshold = recognizer.calibration.threshold_at(0.01)
    assert decide([], threshold, searched=2).warning is None
    assert "63% of strangers" in (decide([], threshold, searched=100).warning or "")


def test_decisions_are_json_with_the_same_keys_whatever_was_found(recognizer):
    calibration = recognizer.calibration
    threshold = search_threshold(calibration, 0.05, 20)
    people = [Candidate("alice", 0.99, 1, "Alice"), Candidate("bob", 0.98, 2)]
    found = [decide(people[:n], threshold, calibration, searched=20, position=9) for n in range(3)]
    plain = [decision.to_dict() for decision in (*found, low_quality(["pose"], threshold))]
    assert [each["kind"] for each in plain] == ["unknown", "match", "ambiguous", "low_quality"]
    assert len({tuple(each) for each in plain}) == 1
    for each in plain:
        assert json.loads(json.dumps(each, allow_nan=False)) == each, "plain values only"
    assert plain[1]["candidates"] == [{"person": "alice", "name": "Alice", "score": 0.99, "template": 1}]
    assert plain[1]["threshold"]["fpir"] == 0.05
    assert plain[1]["threshold"]["source"] == "invented patterns"
    assert all("\n" not in str(decision) for decision in found)


def test_a_verified_claim_carries_its_figures(recognizer):
    calibration = recognizer.calibration
    threshold = claim_threshold(calibration, 0.01, 10)
    yes = decide_claim(Candidate("alice", threshold.score, 1, "Alice"), 0.01, 10, calibration, position=4)
    no = decide_claim(Candidate("alice", threshold.score - 1e-4, 1), 0.01, 10, calibration)
    assert (bool(yes), bool(no)) == (True, False)
    assert yes.fmr == threshold.fmr_grid
    assert yes.claim_fmr == expected_fpir(threshold.fmr_grid, 10) <= 0.01
    assert no.fmr is not None
    assert no.fmr > threshold.fmr_grid
    plain = yes.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert (plain["match"], plain["templates"], plain["asked"], plain["position"]) == (True, 10, 0.01, 4)
    assert str(yes).startswith("match: Alice (score ")
    assert str(no).startswith("no match: alice (score ")


def test_an_investigation_ranks_and_decides_nothing(recognizer):
    people = [Candidate("alice", 0.99, 1, "Alice"), Candidate("bob", 0.1, 2)]
    listed = investigation(people, recognizer.calibration, searched=20, position=5)
    assert "no decision" in str(listed)
    assert "threshold" not in str(listed)
    plain = listed.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["decision"] is None
    assert [row["rank"] for row in plain["candidates"]] == [1, 2]
    assert plain["candidates"][0]["fmr"] == recognizer.calibration.floor
    assert plain["candidates"][0]["llr"] > plain["candidates"][1]["llr"]
    unweighed = investigation(people, None, searched=20)
    assert "no calibration" in str(unweighed)
    assert list(unweighed.to_dict()["candidates"][0]) == list(plain["candidates"][0])
