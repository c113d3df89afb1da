"""Photographs without a face take mated comparisons away, and the person they belong to is known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from vultus.data import FaceDataset, build_dataset
from vultus.data.failures import lost_comparisons, photographs_without_face


def test_lost_comparisons_by_identity(tmp_path: Path) -> None:
    for person, images in (("ada", 3), ("bo", 1)):
        (tmp_path / "people" / person).mkdir(parents=True)
        for image in range(images):
            Image.fromarray(np.full((112, 112, 3), 40 * image, np.uint8)).save(
                tmp_path / "people" / person / f"{image}.png"
            )
    (tmp_path / "people" / "bo" / "broken.jpg").write_bytes(b"no picture")
    build_dataset(tmp_path / "people", tmp_path / "out", aligned=True, workers=1)
    data = FaceDataset.open(tmp_path / "out")
    assert photographs_without_face(data).tolist() == [0, 0]  # a broken file is no failure of the recogniser
    with (tmp_path / "out" / "skipped.csv").open("a", newline="") as file:
        csv.writer(file).writerows([("ada/7.png", "ada", "no face found"), ("ada/8.png", "ada", "no face found")])
        csv.writer(file).writerow(("cy/0.png", "cy", "no face found"))  # in no view: nothing of cy was found
    assert photographs_without_face(data).tolist() == [2, 0]
    # ada: 3 crops with 2 lost ones are 6 comparisons, and the lost two with one another make the seventh.
    assert lost_comparisons(data).tolist() == [7, 0]


def test_skipped_photographs_keep_their_identity(tmp_path: Path) -> None:
    (tmp_path / "bo").mkdir()
    Image.fromarray(np.full((112, 112, 3), 90, np.uint8)).save(tmp_path / "bo" / "0.png")
    (tmp_path / "bo" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "list.csv").write_text("path,identity\nbo/0.png,somebody\nbo/broken.jpg,somebody\n")
    build_dataset(tmp_path / "list.csv", tmp_path / "out", aligned=True, workers=1)
    with (tmp_path / "out" / "skipped.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["identity"]) == ("bo/broken.jpg", "somebody")
