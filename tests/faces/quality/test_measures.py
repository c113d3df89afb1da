"""What is measured of a face: each measure answers to its own fault, and to no other."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vultus.errors import VultusError
from vultus.faces import LANDMARKS, Face
from vultus.faces.quality import Pose, Quality, head_pose, measure_light, measure_quality, ofiq_scores, sharpness
from vultus.faces.quality.pose import DISTANCE, HEAD


def textured(mean: float = 140, contrast: float = 30) -> np.ndarray:
    """A crop with detail of all sizes, from eyelids to cheeks."""
    noise = np.random.default_rng(0).normal(size=(112, 112))
    field = np.sum([sigma * cv2.GaussianBlur(noise, (0, 0), sigma) for sigma in (1.5, 3, 6)], axis=0)
    grey = mean + contrast * field / field.std()
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def projected(yaw: float = 0, pitch: float = 0, roll: float = 0, eyes: float = 60) -> np.ndarray:
    """(5, 2) landmarks of the mean head, turned, seen by a pinhole camera."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    # head_pose names pitch as seen: the nose up is a negative turn about x where y points down.
    points = (HEAD - HEAD.mean(0)) @ (about_z @ about_y @ about_x).T
    return (points[:, :2] / (1 + points[:, 2:] / DISTANCE) * eyes + 200).astype(np.float32)


def face(crop: np.ndarray | None = None, landmarks: np.ndarray | None = None, side: float = 100) -> Face:
    box = np.array([0, 0, side, side], np.float32)
    points = projected() if landmarks is None else landmarks
    return Face(box, points, 0.95, textured() if crop is None else crop)


def test_blur_lowers_sharpness_and_brightness_does_not() -> None:
    crop = textured()
    blurred = [sharpness(cv2.GaussianBlur(crop, (0, 0), sigma)) for sigma in (1, 2, 4)]
    assert sharpness(crop) > blurred[0] > blurred[1] > blurred[2]
    assert sharpness(textured(mean=110, contrast=15)) == pytest.approx(sharpness(crop), abs=0.02)


def test_motion_blur_is_seen_in_either_direction() -> None:
    crop = textured()
    for kernel in ((15, 1), (1, 15)):
        assert sharpness(cv2.blur(crop, kernel)) < 0.6 * sharpness(crop)


def test_a_crop_without_detail_is_not_sharp() -> None:
    assert sharpness(np.full((112, 112, 3), 90, np.uint8)) == 0


def test_darkness_and_glare_are_told_apart() -> None:
    good, dark, glaring = (measure_light(textured(mean)) for mean in (140, 20, 300))
    assert good.under_exposure < 0.2 and good.over_exposure == 0
    assert dark.under_exposure > 0.95 and dark.over_exposure == 0
    assert glaring.over_exposure > 0.5 and glaring.under_exposure == 0
    assert dark.luminance < good.luminance < glaring.luminance


def test_dynamic_range_is_the_entropy_of_the_luminance() -> None:
    assert measure_light(np.full((112, 112, 3), 90, np.uint8)).dynamic_range == 0
    assert measure_light(textured(contrast=3)).dynamic_range < measure_light(textured(contrast=30)).dynamic_range <= 8


def test_a_black_crop_has_a_light_too() -> None:
    light = measure_light(np.zeros((112, 112, 3), np.uint8))
    assert (light.under_exposure, light.over_exposure, light.uniformity) == (1, 0, 1)


@pytest.mark.parametrize("dark_half", [slice(0, 56), slice(56, 112)])
def test_light_from_one_side_is_not_uniform(dark_half: slice) -> None:
    crop = textured()
    crop[:, dark_half] //= 3
    assert measure_light(crop).uniformity < 0.2
    assert measure_light(textured()).uniformity > 0.7


@given(st.floats(-60, 60), st.floats(-40, 40), st.floats(-170, 170))
def test_the_pose_of_a_turned_head_is_found(yaw: float, pitch: float, roll: float) -> None:
    found = head_pose(projected(yaw, pitch, roll))
    assert abs(found.yaw) == pytest.approx(abs(yaw), abs=1.5)
    assert abs(found.pitch) == pytest.approx(abs(pitch), abs=1.5)
    assert found.roll == pytest.approx(roll, abs=1.5)


def test_the_signs_of_a_pose() -> None:
    points = projected()
    right, up = points.copy(), points.copy()
    right[2, 0] += 15
    up[2, 1] -= 15
    assert head_pose(right).yaw > 5
    assert head_pose(up).pitch > 5
    turn = np.array([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    assert head_pose((points - 200) @ turn.T).roll == pytest.approx(math.degrees(0.3), abs=1)


def test_where_and_how_large_a_head_is_does_not_change_its_pose() -> None:
    points = projected(20, -10, 5)
    np.testing.assert_allclose(head_pose(points * 3 + 50), head_pose(points), atol=0.1)


@pytest.mark.parametrize(
    "points", [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.zeros((4, 2)), np.array([[5, 5]] * 2 + [[90, 80]] * 3)]
)
def test_landmarks_that_are_no_face_are_refused(points: np.ndarray) -> None:
    with pytest.raises(VultusError, match="landmarks"):
        head_pose(points)


def test_the_distance_of_the_eyes_is_that_of_the_head_looking_straight() -> None:
    straight = measure_quality(face(landmarks=projected(eyes=60))).inter_eye_distance
    turned = measure_quality(face(landmarks=projected(yaw=40, eyes=60))).inter_eye_distance
    assert straight == pytest.approx(60, rel=0.03)
    assert turned == pytest.approx(straight, rel=0.05)


def test_the_largest_other_face_counts_and_the_face_itself_does_not() -> None:
    one = face(side=100)
    assert measure_quality(one, [one]).other_face == 0
    assert measure_quality(one, [one, face(side=20), face(side=50)]).other_face == pytest.approx(0.5)


@pytest.mark.parametrize(
    "bad",
    [
        Face(np.array([0, 0, 9, 9], np.float32), LANDMARKS, 0.9),
        Face(np.array([0, 0, 9, 9], np.float32), LANDMARKS, 0.9, np.zeros((96, 112, 3), np.uint8)),
        Face(np.array([0, 0, 0, 9], np.float32), LANDMARKS, 0.9, np.zeros((112, 112, 3), np.uint8)),
        Face(np.array([0, 0, 9, 9], np.float32), LANDMARKS, math.nan, np.zeros((112, 112, 3), np.uint8)),
    ],
)
def test_a_face_that_was_not_detected_or_aligned_is_refused(bad: Face) -> None:
    with pytest.raises(VultusError):
        measure_quality(bad)


def test_a_quality_survives_json() -> None:
    quality = measure_quality(face())
    assert Quality.from_dict(quality.to_dict()) == quality


@pytest.mark.parametrize("change", [{"sharpness": math.nan}, {"sharpness": True}, {"sharpness": "0.5"}, {"sharp": 0.5}])
def test_a_quality_that_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(VultusError, match="sharp"):
        Quality.from_dict(measure_quality(face()).to_dict() | change)


def test_ofiqs_mappings_lie_in_0_to_100_and_fall_with_the_fault() -> None:
    good = ofiq_scores(measure_quality(face()))
    small = ofiq_scores(measure_quality(face(landmarks=projected(eyes=15))))
    turned = ofiq_scores(measure_quality(face(landmarks=projected(yaw=45))))
    assert all(0 <= score <= 100 for scores in (good, small, turned) for score in scores.values())
    assert good["SingleFacePresent"] == 100 and good["OverExposurePrevention"] == 100
    assert small["InterEyeDistance"] < 20 < good["InterEyeDistance"]
    assert turned["HeadPoseYaw"] == pytest.approx(50, abs=4) and good["HeadPoseYaw"] > 98


def test_a_pose_is_named() -> None:
    assert Pose(1, 2, 3)._asdict() == {"yaw": 1, "pitch": 2, "roll": 3}
