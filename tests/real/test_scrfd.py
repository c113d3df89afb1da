"""SCRFD on real photographs, by two exports of InsightFace's weights that differ in size, names and batch axis."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from vultus.faces import Detector, Face, align, find_photographs, load_detector, read_image
from vultus.recognizer import load_recognizer
from vultus.zoo import licence

FILES = ("scrfd_500m_kps.onnx", "scrfd_2.5g_bnkps.onnx")


@pytest.fixture(params=FILES)
def scrfd(request: pytest.FixtureRequest, shared: Path) -> Detector:
    return load_detector(str(shared / "weights" / "scrfd" / request.param))


def central(faces: list[Face], image: np.ndarray) -> Face:
    middle = np.array(image.shape[1::-1]) / 2
    return min(faces, key=lambda face: float(np.hypot(*((face.box[:2] + face.box[2:]) / 2 - middle))))


def test_every_nose_is_found(scrfd: Detector, shared: Path) -> None:
    errors, extra = [], 0
    with (shared / "images" / "nose_points.csv").open() as file:
        for row in csv.DictReader(file):
            faces = scrfd.detect(read_image(shared / "images" / row["file"]))
            points = row["nose_points_x:y"].split()
            extra += len(faces) - len(points)
            for point in points:
                nose = np.array([float(value) for value in point.split(":")])
                errors.append(min(np.hypot(*(f.landmarks[2] - nose)) / (f.box[2] - f.box[0]) for f in faces))
    assert len(errors) == 46 and extra <= 3
    assert np.median(errors) < 0.05 and max(errors) < 0.15


def test_groups_are_counted(scrfd: Detector, shared: Path) -> None:
    for path in sorted((shared / "images" / "groups").glob("cf_0*_*.jpg")):
        assert len(scrfd.detect(read_image(path))) == int(path.stem.split("_")[2]), path.name


def test_landmarks_agree_with_yunet(scrfd: Detector, shared: Path) -> None:
    """On LFW's faces, about 90 pixels wide: within a few pixels, to no side, and the crops show the same person."""
    yunet = load_detector(str(shared / "weights" / "yunet" / "yunet_n_dynamic.onnx"))
    images = [read_image(path) for path in find_photographs(shared / "faces")[:60]]
    ours, theirs = (
        [central(faces, image) for faces, image in zip(detector.detect_batch(images), images, strict=True)]
        for detector in (scrfd, yunet)
    )
    offsets = np.array([a.landmarks - b.landmarks for a, b in zip(ours, theirs, strict=True)])
    distances = np.linalg.norm(offsets, axis=2).mean(1)
    assert np.median(distances) < 4 and distances.max() < 9
    assert np.abs(offsets.mean(0)).max() < 3
    embed = load_recognizer("sface").embed
    crops = [[align(image, f.landmarks) for image, f in zip(images, faces, strict=True)] for faces in (ours, theirs)]
    same = (embed(crops[0]) * embed(crops[1])).sum(1)
    assert same.min() > 0.8 and np.median(same) > 0.95


def test_batches_find_what_single_photographs_show(scrfd: Detector, shared: Path) -> None:
    """Without a batch axis the faces of a batch alternate in the outputs."""
    images = [read_image(path) for path in find_photographs(shared / "faces")[:8]]
    for image, faces in zip(images, scrfd.detect_batch(images), strict=True):
        alone = scrfd.detect(image)
        assert len(alone) == len(faces)
        for one, other in zip(alone, faces, strict=True):
            np.testing.assert_allclose(one.box, other.box, atol=0.5)
            np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.5)


def test_a_file_that_the_table_knows_keeps_its_licence(
    shared: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(licence, "_announced", set())
    load_detector.cache_clear()
    load_detector(str(shared / "weights" / "scrfd" / "scrfd_2.5g_bnkps.onnx"))
    assert "commercial use of scrfd-2.5g is forbidden" in capsys.readouterr().err
