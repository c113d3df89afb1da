"""One detected face, and which of several is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from vultus.errors import VultusError

Select = Literal["center", "largest", "all"]


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photograph. Coordinates in pixels of the upright picture, x to the right, y down."""

    box: np.ndarray
    """(4,) float32: left, top, right, bottom. May reach beyond the picture."""
    landmarks: np.ndarray
    """(5, 2) float32: right eye, left eye, nose, right and left mouth corner of the person (left to right as seen)."""
    score: float
    """Detector confidence in [0, 1]."""
    crop: np.ndarray | None = None
    """(112, 112, 3) uint8 RGB, aligned; None until it was cut."""

    @property
    def area(self) -> float:
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


def select_faces(faces: list[Face], shape: tuple[int, int], how: Select) -> list[Face]:
    """The faces meant in a picture of `shape` (height, width): all, the largest, or the one nearest the centre."""
    if how not in get_args(Select):
        raise VultusError(f"unknown selection {how!r}; choose center, largest or all")
    if how == "all" or len(faces) < 2:
        return list(faces)
    if how == "largest":
        return [max(faces, key=lambda face: face.area)]
    centre = np.array([shape[1], shape[0]], np.float32) / 2

    def distance(face: Face) -> float:
        return float(np.linalg.norm((face.box[:2] + face.box[2:]) / 2 - centre))

    return [min(faces, key=distance)]
