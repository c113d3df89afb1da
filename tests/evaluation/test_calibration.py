"""A threshold is a measured error rate, or an error."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from vultus.errors import CalibrationError, VultusError
from vultus.evaluation import Calibration, calibrate, verify_all_pairs
from vultus.evaluation.calibration import calibration_grid


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(60), 5)
    rows = rng.normal(size=(60, 32))[labels] + 0.9 * rng.normal(size=(300, 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


@pytest.fixture(scope="module")
def calibration(faces) -> Calibration:
    return calibrate(*faces, source="toy faces", contract_id="vultus1-00", data_digest="d1")


def test_the_grid_has_ten_rates_a_decade_down_to_ten_false_matches():
    grid = calibration_grid(100_000)
    assert grid[0] == 0.1
    assert grid[10] == 0.01
    assert grid[-1] == 1e-4
    assert len(grid) == 31
    assert calibration_grid(99_999)[-1] > 1e-4


def test_points_agree_with_verification(faces, calibration):
    found = verify_all_pairs(*faces, fars=[point.fmr for point in calibration.points])
    assert [point.threshold for point in calibration.points] == [point.threshold for point in found.points]
    for mine, other in zip(calibration.points, found.points, strict=True):
        assert mine.fnmr == pytest.approx(1 - other.tar, rel=1e-5)  # six digits are kept
        assert mine.fmr_low <= other.far_measured <= mine.fmr_high
        assert mine.fnmr_low <= mine.fnmr <= mine.fnmr_high
    assert (calibration.mated, calibration.non_mated) == (found.mated, found.non_mated)
    thresholds = [point.threshold for point in calibration.points]
    assert thresholds == sorted(thresholds)


def test_a_question_between_two_rates_gets_the_stricter_one(calibration):
    exact = calibration.threshold_at(0.01)
    assert exact.fmr_grid == 0.01
    between = calibration.threshold_at(0.0099)
    assert between.fmr_grid < 0.0099 < 0.01
    assert between.score >= exact.score
    assert calibration.threshold_at(0.5).fmr_grid == 0.1


def test_below_the_floor_it_refuses_and_says_what_it_would_take(calibration):
    calibration.threshold_at(calibration.floor)
    with pytest.raises(CalibrationError, match=r"1e-06 is below.*at least 10,000,000 non-mated pairs"):
        calibration.threshold_at(1e-6)
    with pytest.raises(CalibrationError, match=r"extrapolate=True for an estimate"):
        calibration.threshold_at(calibration.lowest)
    with pytest.raises(CalibrationError, match=r"estimates down to .*, no further"):
        calibration.threshold_at(1e-6, extrapolate=True)
    with pytest.raises(CalibrationError, match=r"FPIR 0\.001 over 1,000 templates"):
        calibration.threshold_for_fpir(0.001, 1000)
    for nonsense in (0, 1, -0.1, 2):
        with pytest.raises(CalibrationError, match="between 0 and 1"):
            calibration.threshold_at(nonsense)


def test_fpir_becomes_fmr_by_the_number_of_templates(calibration):
    assert Calibration.fmr_for_fpir(0.01, 1) == pytest.approx(0.01, rel=1e-12)
    fmr = Calibration.fmr_for_fpir(0.3, 17)
    assert 1 - (1 - fmr) ** 17 == pytest.approx(0.3, rel=1e-12)
    assert Calibration.fmr_for_fpir(1e-12, 10**6) == pytest.approx(1e-18, rel=1e-6)  # no cancellation
    assert Calibration.fmr_for_fpir(0.01, 0) == Calibration.fmr_for_fpir(0.01, 1)
    one, many = calibration.threshold_for_fpir(0.05, 1), calibration.threshold_for_fpir(0.05, 20)
    assert many.score > one.score
    assert (many.fpir, many.templates) == (0.05, 20)
    assert many.fmr_grid <= many.fmr


def test_json_round_trip(calibration):
    assert Calibration.from_json(calibration.to_json()) == calibration
    assert json.loads(calibration.to_json())["format"] == "vultus-calibration-3"


def test_foreign_json_is_refused(calibration):
    plain = calibration.to_dict()
    for damaged in (
        "{}",
        "[1]",
        "not json",
        json.dumps({**plain, "format": "vultus-calibration-9"}),
        json.dumps({k: v for k, v in plain.items() if k != "mated"}),
        json.dumps({**plain, "points": {name: [] for name in plain["points"]}}),
        json.dumps({**plain, "points": {"fmr": [1]}}),
        json.dumps({**plain, "points": {**plain["points"], "fmr": [0.1]}}),
        json.dumps({**plain, "points": 3}),
        json.dumps({**plain, "likelihood": {"slope": 1}}),
        json.dumps({**plain, "tail": {"u": 1}}),
        json.dumps({**plain, "people": {"dataset": "d"}}),
    ):
        with pytest.raises(CalibrationError, match="calibrat"):
            Calibration.from_json(damaged)


def test_a_threshold_and_a_calibration_describe_themselves(calibration):
    threshold = calibration.threshold_for_fpir(0.1, 10)
    line = str(threshold)
    assert "\n" not in line
    assert f"{threshold.score:.4f}" in line
    assert "FPIR 0.1 over 10 templates" in line
    assert "toy faces" in line
    described = "\n".join(calibration.describe())
    assert "toy faces" in described
    assert "FMR 0.01 " in described
    assert "FMR 0.0126" not in described


def test_the_cap_on_images_is_applied_and_recorded(faces):
    capped = calibrate(*faces, source="toy", contract_id="x", max_per_identity=2)
    assert (capped.images, capped.mated, capped.max_per_identity) == (120, 60, 2)


def test_too_few_pairs_are_refused(faces):
    embeddings, labels = faces
    with pytest.raises(CalibrationError, match="25 non-mated pairs support no false match rate"):
        calibrate(embeddings[:10], labels[:10], source="toy", contract_id="x")


def test_fit_on_a_list_of_pairs_is_the_same_as_all_pairs(faces, calibration):
    rows, labels = faces
    i, j = np.triu_indices(len(labels), 1)
    scores = np.clip((rows @ rows.T)[i, j], -1, 1)
    names = np.array([f"p{label:03d}" for label in labels])
    fitted = Calibration.fit(
        scores, labels[i] == labels[j], np.stack([names[i], names[j]], 1), source="toy faces", contract_id="vultus1-00"
    )
    assert not fitted.independent and fitted.identities == 60
    for ours, theirs in zip(fitted.points, calibration.points, strict=True):
        assert asdict(ours) == pytest.approx(asdict(theirs), rel=1e-4)  # another order of summation in the cosines
    for ours, theirs in zip(fitted.extrapolated, calibration.extrapolated, strict=True):
        assert asdict(ours) == pytest.approx(asdict(theirs), rel=0.01)
    assert fitted.likelihood.slope == pytest.approx(calibration.likelihood.slope, rel=1e-4)
    assert fitted.likelihood.min_cllr == pytest.approx(calibration.likelihood.min_cllr, rel=1e-3)


def test_pairs_of_unknown_people_say_so():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0.6, 0.1, 500), rng.normal(0, 0.1, 20_000)]).clip(-1, 1)
    found = Calibration.fit(scores, np.arange(20_500) < 500, source="a list", contract_id="x")
    assert found.independent and "pairs taken for independent" in found.describe()[1]
    assert "pairs of unknown people" in found.describe()[0]
    with pytest.raises(CalibrationError, match="identities of these pairs are unknown"):
        found.prediction(0.01, identities=100)


def test_a_face_that_was_not_found_is_a_miss_and_never_a_correct_rejection():
    scores = np.array([0.9] * 8 + [-np.inf] * 2 + [0.1] * 150 + [-np.inf] * 50)
    found = Calibration.fit(scores, np.arange(210) < 10, source="a list", contract_id="x")
    assert (found.mated, found.non_mated) == (10, 150)
    assert found.points[0].fnmr == 0.2  # 2 of 10, at a threshold above 0.1


def test_bad_lists_are_refused_by_row():
    same, people = np.array([True, False]), np.array([["a", "a"], ["a", "b"]])
    for scores, labels, identities, words in (
        ([0.5, np.nan], same, people, "score 1 is nan"),
        ([0.5, 40.0], same, people, r"score 1 is 40.0: .* a cosine in \[-1, 1\]"),
        ([0.5], same, people, "give .P,. and .P,."),
        ([0.5, 0.1], same, people[:1], "give .P, 2."),
        ([0.5, 0.1], ~same, people, "pair 0 of a and a is labelled non-mated: .* in 2 pairs"),
        ([0.5, 0.1], [True, True], None, "nobody to tell apart"),
        ([0.5, 0.1], [False, False], None, "no identity has two images"),
    ):
        with pytest.raises(VultusError, match=words):
            Calibration.fit(np.array(scores), np.array(labels), identities, source="x", contract_id="x")


def test_many_equal_scores_leave_no_false_match_and_an_honest_interval():
    scores = np.array([0.9] * 10 + [0.2] * 400)
    found = Calibration.fit(scores, np.arange(410) < 10, source="x", contract_id="x")
    assert {point.measured for point in found.points} == {0.0}
    assert all(point.fmr_high > 0.005 for point in found.points)
