"""Which photographs pass, and what is said of one that does not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from vultus.errors import VultusError
from vultus.faces import ENROL_GATE, OPEN_GATE, PROBE_GATE, Gate, Quality, ReasonCode

GOOD = Quality(
    sharpness=0.65,
    illumination_uniformity=0.8,
    under_exposure=0.1,
    over_exposure=0.0,
    dynamic_range=6.8,
    luminance=0.3,
    pose_yaw=9.0,
    pose_pitch=-3.0,
    pose_roll=2.0,
    inter_eye_distance=45.0,
    other_face=0.0,
    detection_score=0.93,
)
"""The median of LFW's photographs."""

BAD = {
    ReasonCode.SHARPNESS: 0.3,
    ReasonCode.ILLUMINATION_UNIFORMITY: 0.05,
    ReasonCode.OVER_EXPOSURE: 0.4,
    ReasonCode.DYNAMIC_RANGE: 1.0,
    ReasonCode.POSE_YAW: -70.0,
    ReasonCode.POSE_PITCH: -45.0,
    ReasonCode.POSE_ROLL: 30.0,
    ReasonCode.INTER_EYE_DISTANCE: 7.0,
}
"""What both gates refuse."""


def test_a_usual_photograph_passes() -> None:
    assert ENROL_GATE.reasons(GOOD) == PROBE_GATE.reasons(GOOD) == OPEN_GATE.reasons(GOOD) == ()


@pytest.mark.parametrize("code", BAD)
def test_each_fault_is_refused_by_its_own_name(code: ReasonCode) -> None:
    bad = replace(GOOD, **{code.value: BAD[code]})
    for gate in (ENROL_GATE, PROBE_GATE):
        (reason,) = gate.reasons(bad)
        assert (reason.code, reason.value) == (code, abs(BAD[code]))
        assert reason.limit == getattr(gate, code.value)
    assert OPEN_GATE.reasons(bad) == ()


def test_all_faults_are_named_at_once() -> None:
    everything = replace(GOOD, **{code.value: value for code, value in BAD.items()})
    assert {reason.code for reason in ENROL_GATE.reasons(everything)} == set(BAD)


def test_an_enrolment_asks_for_at_least_as_much_as_a_search() -> None:
    for code in ReasonCode:
        enrol, probe = getattr(ENROL_GATE, code.value), getattr(PROBE_GATE, code.value)
        if enrol is None or probe is None:
            assert probe is None
            continue
        at_probe = replace(GOOD, **{code.value: probe})
        assert not PROBE_GATE.reasons(at_probe)
        assert enrol == probe or [reason.code for reason in ENROL_GATE.reasons(at_probe)] == [code]


def test_the_limit_itself_passes() -> None:
    for code, limit in ENROL_GATE.to_dict().items():
        assert limit is None or not ENROL_GATE.reasons(replace(GOOD, **{code: limit}))


def test_a_reason_is_one_line_with_both_numbers_and_a_mend() -> None:
    (reason,) = Gate(sharpness=0.45).reasons(replace(GOOD, sharpness=0.44999))
    assert str(reason) == (
        "too blurred: sharpness 0.44999, at least 0.45; hold the camera still, focus on the face, or come nearer"
    )
    for code, value in BAD.items():
        (reason,) = ENROL_GATE.reasons(replace(GOOD, **{code.value: value}))
        assert "\n" not in str(reason) and ";" in str(reason)
        assert json.loads(json.dumps(reason.to_dict()))["code"] == code.value


def test_a_photograph_of_several_people_may_be_refused() -> None:
    (reason,) = Gate(other_face=0.5).reasons(replace(GOOD, other_face=0.8))
    assert reason.code is ReasonCode.OTHER_FACE


@pytest.mark.parametrize("gate", [ENROL_GATE, PROBE_GATE, OPEN_GATE])
def test_a_gate_survives_json(gate: Gate) -> None:
    assert Gate.from_dict(json.loads(json.dumps(gate.to_dict()))) == gate


def test_what_is_not_given_comes_from_the_base() -> None:
    assert Gate.from_dict({"sharpness": 0.6}, PROBE_GATE) == replace(PROBE_GATE, sharpness=0.6)
    assert Gate.from_dict({"pose_yaw": None}) == replace(ENROL_GATE, pose_yaw=None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sharpnes", "did you mean sharpness"),
        ("yaw", "did you mean pose_yaw"),
        ("Pose_Roll", "did you mean pose_roll"),
        ("beauty", "there are sharpness, "),
        ("x" * 5000, "there are sharpness, "),
    ],
)
def test_an_unknown_limit_names_the_nearest(name: str, said: str) -> None:
    with pytest.raises(VultusError, match=said) as error:
        Gate.from_dict({name: 1})
    assert len(str(error.value)) < 400 and "\n" not in str(error.value)


@pytest.mark.parametrize("limit", [math.nan, math.inf, -0.1, 1.5, True, "0.5", [0.5], "x\n" * 100])
def test_what_is_no_limit_is_refused(limit: Any) -> None:
    with pytest.raises(VultusError, match="quality limit sharpness") as error:
        Gate.from_dict({"sharpness": limit})
    assert "\n" not in str(error.value)
