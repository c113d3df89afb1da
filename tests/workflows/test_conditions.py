"""Pose, size and sharpness come out of a dataset's columns; groups from a column or a CSV beside it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vultus.data import CropWriter, FaceDataset
from vultus.data.dataset import encode_crop
from vultus.errors import FileError, VultusError
from vultus.evaluation.breakdown import tidy
from vultus.workflows.conditions import NOSE_DEPTH, conditions, group_column, pose

FRONTAL = [[10, 20], [50, 20], [30, 40], [15, 60], [45, 60]]  # eyes 40 apart, the nose between them


def row(identity: str, number: int, landmarks: list | None, crop: np.ndarray) -> dict:
    return {
        "crop": encode_crop(crop),
        "identity": identity,
        "source": f"{identity}/{number}.jpg",
        "box": [0.0, 0.0, 90.0, 40.0] if landmarks else [0.0, 0.0, 112.0, 112.0],
        "landmarks": np.ravel(landmarks).astype(float).tolist() if landmarks else [],
        "detection_score": 0.9 - number / 10 if landmarks else float("nan"),
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FaceDataset:
    noise = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
    turned = [*FRONTAL[:2], [50, 40], *FRONTAL[3:]]
    rows = [
        row("ann", 0, FRONTAL, noise),
        row("ann", 1, turned, cv2.GaussianBlur(noise, (0, 0), 3)),
        row("bob", 0, None, noise),
    ]
    root = tmp_path_factory.mktemp("data") / "set"
    writer = CropWriter(root, "plan")
    writer.add(0, rows)
    writer.finish(1, (112, 112), {})
    return FaceDataset.open(root)


def test_pose_by_hand():
    # Turned: the nose lies half an eye distance off the middle, so tan(yaw) = 0.5 / depth.
    turned = [*FRONTAL[:2], [50, 40], *FRONTAL[3:]]
    rolled = (np.array(FRONTAL) @ np.array([[0.8, 0.6], [-0.6, 0.8]])).tolist()  # by atan(0.6 / 0.8) = 36.87 degrees
    yaw, roll, distance = pose(np.array([FRONTAL, turned, rolled, np.full((5, 2), np.nan)]))
    assert yaw[:3] == pytest.approx([0, np.degrees(np.arctan(0.5 / NOSE_DEPTH)), 0])
    assert roll[:3] == pytest.approx([0, 0, np.degrees(np.arctan2(0.6, 0.8))])
    assert distance[:3] == pytest.approx([40, 40, 40])
    assert np.isnan([yaw[3], roll[3], distance[3]]).all()


def test_conditions_of_a_dataset(data: FaceDataset):
    found = {c.name: c for c in conditions(data)}
    assert found.keys() == {"yaw", "sharpness", "detection_score"}  # the others are the same for all: no breakdown
    assert found["yaw"].values[0] == pytest.approx(0, abs=1e-6)
    assert np.isnan(found["yaw"].values[2])  # aligned before: no landmarks
    assert found["yaw"].quality[2] == -np.inf
    sharp = found["sharpness"].values
    assert sharp[0] > 20 * sharp[1]
    view = conditions(data.subset(np.array([1, 2])))
    assert {c.name: c for c in view}["sharpness"].values[0] == pytest.approx(sharp[1])


def test_groups_come_from_a_column_or_a_csv(data: FaceDataset, tmp_path: Path):
    assert group_column(data, "identity") == ("identity", ["ann", "ann", "bob"], False)
    assert group_column(data, "detection_score").values[2] is None  # NaN says nothing
    by_identity, by_source = tmp_path / "a.csv", tmp_path / "b.csv"
    by_identity.write_text("identity,group\nann,x\nzoe,y\n")
    assert group_column(data, by_identity) == ("a.csv", ["x", "x", None], False)
    by_source.write_text("source,group\nann/0.jpg,none\nann/1.jpg,dark\nbob/0.jpg,bright\n")
    column = group_column(data, str(by_source))
    assert column == ("b.csv", ["none", "dark", "bright"], True)
    # One person's pictures may lie in two groups.
    codes, names, _ = tidy(data.labels, column.values, column.name, column.by_image)
    assert [names[code] for code in codes] == column.values


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("identity,age\nann,3\n", "has no column 'group'; its first line reads 'identity, age'"),
        ("age,group\n3,x\n", "must have the columns identity,group or source,group; it has age, group"),
        ("identity,group\nann,x\nann,y\n", "line 3: ann is 'y' here and 'x' before"),
        ("identity,group\n,x\n", "line 2: identity is empty"),
        ("identity,group\nzoe,x\n", "names no identity of set"),
    ],
)
def test_a_bad_csv_is_named_with_its_line(data: FaceDataset, tmp_path: Path, content: str, said: str):
    path = tmp_path / "groups.csv"
    path.write_text(content)
    with pytest.raises(VultusError, match=said):
        group_column(data, path)


def test_unknown_columns_and_files(data: FaceDataset, tmp_path: Path):
    with pytest.raises(VultusError, match="no column 'age'; it has crop, identity"):
        group_column(data, "age")
    with pytest.raises(FileError) as missing:
        group_column(data, tmp_path / "none.csv")
    assert missing.value.code == "no_file" and missing.value.fields["path"] == tmp_path / "none.csv"
