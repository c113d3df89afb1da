"""Real photographs: decoding, detection, alignment."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from vultus.data import FaceDataset, build_dataset
from vultus.errors import ImageError
from vultus.faces import align, find_photographs, load_detector, read_image
from vultus.recognizer import load_recognizer
from vultus.zoo import ZOO, find_file

NO_FACE = {"bilevel.png", "flat_480x2.png", "narrow_3x480.png", "one_pixel.jpg", "one_pixel.png"}


def test_every_format_is_read_and_shows_its_face(shared: Path) -> None:
    files = [path for path in sorted((shared / "images" / "formats").iterdir()) if path.is_file()]
    assert len(files) >= 30
    for path in files:
        image = read_image(path)
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3, path
        expected = 5 if path.name.startswith("huge") else 0 if path.name in NO_FACE else 1
        assert len(load_detector().detect(image)) == expected, path


def test_every_broken_file_is_refused_by_name(shared: Path) -> None:
    files = sorted((shared / "images" / "broken").iterdir())
    assert len(files) >= 10
    for path in files:
        if path.name == "bitflips.jpg":  # still decodes, to noise
            assert load_detector().detect(read_image(path)) == []
            continue
        with pytest.raises(ImageError, match=re.escape(path.name)):
            read_image(path)


def test_exif_turns_all_eight_upright(shared: Path) -> None:
    boxes = []
    for orientation in range(1, 9):
        (face,) = load_detector().detect(read_image(shared / "images" / "rotate" / f"exif_{orientation}.jpg"))
        boxes.append(face.box)
    assert np.abs(np.array(boxes) - boxes[0]).max() < 8


def test_groups_are_counted(shared: Path) -> None:
    """The number after the first underscore was counted by people."""
    for path in sorted((shared / "images" / "groups").glob("cf_0*_*.jpg")):
        assert len(load_detector().detect(read_image(path))) == int(path.stem.split("_")[2]), path.name


def test_noses_are_where_people_put_them(shared: Path) -> None:
    errors = []
    with (shared / "images" / "nose_points.csv").open() as file:
        for row in csv.DictReader(file):
            faces = load_detector().detect(read_image(shared / "images" / row["file"]))
            for point in row["nose_points_x:y"].split():
                nose = np.array([float(value) for value in point.split(":")])
                errors.append(min(np.hypot(*(f.landmarks[2] - nose)) / (f.box[2] - f.box[0]) for f in faces))
    assert len(errors) >= 40 and np.median(errors) < 0.06 and max(errors) < 0.35


def test_opencv_finds_the_same_faces(shared: Path) -> None:
    image = read_image(shared / "images" / "groups" / "cf_000_5.jpg")[:544, :800]
    network = cv2.FaceDetectorYN.create(str(find_file(ZOO["yunet"])), "", (800, 544), 0.7, 0.3)
    found = network.detect(np.ascontiguousarray(image[:, :, ::-1]))[1]
    ours = load_detector()._at_scales([image], [[1.0]], 0.7)[0]
    ours = ours[np.argsort(-ours[:, 14])]
    for row in found:
        nearest = ours[np.argmin(np.abs(ours[:, :2] - row[:2]).sum(1))]
        np.testing.assert_allclose(nearest[:2], row[:2], atol=1.5)
        np.testing.assert_allclose(nearest[4:14], row[4:14], atol=1.5)
        assert nearest[14] == pytest.approx(row[14], abs=0.02)


def test_batches_find_what_single_photographs_show(shared: Path) -> None:
    images = [read_image(path) for path in find_photographs(shared / "faces")[:12]]
    images.append(read_image(shared / "images" / "single" / "obama-1080p.jpg"))
    together = load_detector().detect_batch(images)
    for image, faces in zip(images, together, strict=True):
        alone = load_detector().detect(image)
        assert len(alone) == len(faces)
        for one, other in zip(alone, faces, strict=True):
            np.testing.assert_allclose(one.box, other.box, atol=0.5)


def test_one_picture_at_four_sizes_is_one_person(shared: Path) -> None:
    crops = []
    for size in ("240p", "480p", "720p", "1080p"):
        image = read_image(shared / "images" / "single" / f"obama-{size}.jpg")
        (face,) = load_detector().detect(image)
        crops.append(align(image, face.landmarks))
    embeddings = load_recognizer("sface").embed(crops)
    assert (embeddings @ embeddings.T).min() > 0.9


def test_build_on_real_photographs(shared: Path, tmp_path: Path) -> None:
    """Forty people, several processes; the named face is the one nearest the centre."""
    names = sorted(path.name for path in (shared / "faces").iterdir() if path.is_dir())[::70]
    listing = [f"{p},{name}" for name in names for p in find_photographs(shared / "faces" / name)]
    listing.append(f"{shared / 'images' / 'broken' / 'text.jpg'},nobody")
    (tmp_path / "list.csv").write_text("\n".join(["path,identity", *listing]))
    report = build_dataset(tmp_path / "list.csv", tmp_path / "data", workers=2)
    assert report.info["images"] == len(listing) - 1 and len(report.skipped) == 1
    assert FaceDataset.open(tmp_path / "data").crops().std() > 40
