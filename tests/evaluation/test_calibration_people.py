"""A threshold is never judged on the people that it was set on."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import CalibrationError
from vultus.evaluation import Calibration, calibrate
from vultus.evaluation.calibration import People

NAMES = [f"person {k}" for k in range(300)]


def test_people_of_both_are_counted_and_some_are_named():
    first, last = People.of(NAMES[:100], "digest"), NAMES[100:]
    first.refuse(last, "digest")
    with pytest.raises(
        CalibrationError,
        match=r"12 of the 200 identities of the test were also in the calibration \(e\.g\. person 100, person 101, ",
    ):
        People.of(NAMES[:112], "digest").refuse(last, "digest")
    with pytest.raises(CalibrationError, match=r"1 of the 2 identities of the test was .* \(person 7\)"):
        first.refuse(["person 7", "somebody else"], "digest")


def test_a_calibration_knows_its_people_without_their_names():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 3, 8)) + 3 * rng.normal(size=(40, 1, 8))
    rows = (rows / np.linalg.norm(rows, axis=2, keepdims=True)).reshape(120, 8).astype(np.float32)
    people = People.of(NAMES[:40], dataset="digest-1")
    made = calibrate(rows, np.repeat(np.arange(40), 3), source="x", contract_id="x", people=people)
    text = made.to_json()
    assert "person" not in text.replace('"people"', "").replace("images_of_people", "")
    kept = Calibration.from_json(text).people
    assert kept is not None and kept == people
    kept.refuse(NAMES[40:], "digest-1")
    assert kept.among(["person 3", "person 50"], "digest-1") == ["person 3"]
    with pytest.raises(CalibrationError, match="10 of the 20 identities"):
        kept.refuse(NAMES[30:50], "digest-1")


def test_a_name_of_another_dataset_is_another_person():
    people = People.of(["0001"], dataset="digest-1")
    assert people.among(["0001"], "digest-2") == []
    assert People.of(["0001"], dataset="digest-2").hashes != people.hashes
