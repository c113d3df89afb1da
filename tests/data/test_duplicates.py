"""One photograph under two people is found; two copies under one person are no mistake of labels."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vultus.data import FaceDataset, build_dataset
from vultus.data.duplicates import shared_photographs


def test_one_photograph_under_two_people_is_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for person in ("ada", "bo", "cy"):
        (tmp_path / "people" / person).mkdir(parents=True)
        for image in range(2):
            smooth = cv2.resize(random.integers(0, 256, (7, 7, 3)).astype(np.uint8), (112, 112))
            Image.fromarray(smooth).save(tmp_path / "people" / person / f"{image}.png")
    people = tmp_path / "people"
    shutil.copy(people / "ada" / "0.png", people / "bo" / "copy.png")
    shutil.copy(people / "cy" / "1.png", people / "cy" / "copy.png")
    build_dataset(people, tmp_path / "out", aligned=True, workers=1)
    data = FaceDataset.open(tmp_path / "out")
    (rows,) = shared_photographs(data)
    assert [data.sources[row] for row in rows] == ["ada/0.png", "bo/copy.png"]
