"""What the columns of a dataset tell of each picture: pose, size, sharpness, the detector's confidence; its group."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.evaluation.breakdown.conditions import Condition
from vultus.formats import read_table
from vultus.terminal import track

NOSE_DEPTH = 0.48
"""How far the tip of the nose lies before the eyes, in distances of the eyes.

Fitted on 6,141 photographs of LFW (YuNet's landmarks): under a turn by psi the nose moves by depth x tan(psi) eye
distances, and eye distance / height from eyes to mouth shrinks with cos(psi); with 0.48 the two agree to 1 % in every
tenth of the photographs. Noses differ, so the angle of one face is an estimate; their order is better known.
"""

CHUNK = 1024


def conditions(data: FaceDataset) -> list[Condition]:
    """What could be measured of the pictures of `data`; conditions that no picture has are left out.

    yaw, roll        degrees from the five landmarks in the photograph, without sign; yaw is an estimate
    eye_distance     pixels between the eyes in the photograph, along the line that joins them
    face_size        pixels: root of the box's area
    sharpness        variance of the Laplacian of the grey crop (Pech-Pacheco et al., ICPR 2000), grey levels squared
    detection_score  the detector's confidence
    """
    landmarks = _matrix(data.column("landmarks"), 10).reshape(-1, 5, 2)
    boxes = _matrix(data.column("box"), 4)
    yaw, roll, distance = pose(landmarks)
    # A dataset of aligned crops has no landmarks, and its boxes are the crops: they say nothing of the photograph.
    sides = np.where(np.isnan(distance)[:, None], np.nan, np.maximum(0, boxes[:, 2:] - boxes[:, :2]))
    scores = np.asarray(data.column("detection_score"), np.float64)
    found = [
        Condition("yaw", "head turned to the side", "degrees", "high", np.abs(yaw)),
        Condition("roll", "head tilted", "degrees", "high", np.abs(roll)),
        Condition("eye_distance", "distance of the eyes", "pixels", "low", distance),
        Condition("face_size", "size of the face", "pixels", "low", np.sqrt(sides.prod(axis=1))),
        Condition("sharpness", "sharpness of the crop", "grey levels²", "low", sharpness(data)),
        Condition("detection_score", "confidence of the detector", "", "low", scores),
    ]
    return [c for c in found if not np.isnan(c.values).all() and np.nanmin(c.values) < np.nanmax(c.values)]


def pose(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(yaw, roll) in degrees and the distance of the eyes, (N,) each, of landmarks (N, 5, 2); NaN stays NaN.

    Yaw is positive where the nose points to the right of the picture, roll where the eye on the right is lower.
    """
    eyes = landmarks[:, 1] - landmarks[:, 0]
    distance = np.hypot(eyes[:, 0], eyes[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        along = ((landmarks[:, 2] - landmarks[:, :2].mean(axis=1)) * eyes).sum(axis=1) / distance**2
        yaw = np.degrees(np.arctan(along / NOSE_DEPTH))
    return yaw, np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0])), distance


def sharpness(data: FaceDataset) -> np.ndarray:
    """(N,) variance of the Laplacian of the grey crops; higher is sharper."""
    values = np.empty(len(data))
    starts = range(0, len(data), CHUNK)
    for start in track(starts, "measure sharpness", len(starts), "chunks"):
        for k, crop in enumerate(data.crops(np.arange(start, min(start + CHUNK, len(data))))):
            values[start + k] = cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()
    return values


class GroupColumn(NamedTuple):
    """The group of each picture of a dataset."""

    name: str
    """Of the column, or of the CSV."""
    values: list[str | None]
    """(N,); None where nothing is said."""
    by_image: bool
    """Whether a group belongs to a picture, not to a person: a CSV by `source` says it of each picture."""


def group_column(data: FaceDataset, name: str | Path) -> GroupColumn:
    """The groups of `data`: from a column of the dataset, or a CSV with `group` and `identity` or `source`.

    Raises VultusError for a column that is not there, a CSV without these columns, two groups of one identity or
    source, or one that names nobody of the dataset.
    """
    path = Path(name)
    if path.suffix.lower() != ".csv":
        values = data.column(str(name))
        return GroupColumn(str(name), [None if v is None or v != v else str(v) for v in values], False)  # NaN != NaN
    key, table = _read_groups(path)
    wanted = [data.identities[label] for label in data.labels] if key == "identity" else data.sources
    if not table.keys() & set(wanted):
        raise VultusError(f"{path} names no {key} of {data.title}; is it the file of another dataset?")
    return GroupColumn(path.name, [table.get(value) for value in wanted], key == "source")


def _read_groups(path: Path) -> tuple[str, dict[str, str]]:
    """(identity or source, its groups)."""
    table: dict[str, str] = {}
    key = "identity"
    for number, row in read_table(path, ("group",)):
        key = next((name for name in ("identity", "source") if name in row), "")
        if not key:
            raise VultusError(f"{path} must have the columns identity,group or source,group; it has {', '.join(row)}")
        value, group = row[key], row["group"]
        if not value:
            raise VultusError(f"{path}, line {number}: {key} is empty")
        if table.setdefault(value, group) != group:
            raise VultusError(f"{path}, line {number}: {value} is {group!r} here and {table[value]!r} before")
    return key, table


def _matrix(rows: list[list[float] | None], width: int) -> np.ndarray:
    """(N, width) float64; NaN where a row is not of that length."""
    missing = [np.nan] * width
    return np.array([row if row is not None and len(row) == width else missing for row in rows], np.float64)
