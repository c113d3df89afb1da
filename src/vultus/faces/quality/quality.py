"""What can be told of the quality of one face, in the words of ISO/IEC 29794-5:2025."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.faces.face import Face
from vultus.faces.quality.light import measure_light
from vultus.faces.quality.pose import head_pose
from vultus.faces.quality.sharpness import sharpness


@dataclass(frozen=True)
class Quality:
    """Measures of one face in their natural units: none is the standard's score (see `ofiq_scores`).

    Occlusion is not measured: five landmarks and a crop do not tell a mask or a hand from a face.
    """

    sharpness: float
    """Share of the crop's fine detail that a further blur takes away, [0, 1]; higher is sharper."""
    illumination_uniformity: float
    """Luminance of the darker half of the face / of the lighter half, [0, 1]."""
    under_exposure: float
    """Share of dark pixels, [0, 1]."""
    over_exposure: float
    """Share of blown-out pixels, [0, 1]."""
    dynamic_range: float
    """Entropy of the luminance in bits, [0, 8]."""
    luminance: float
    """Mean linear luminance, [0, 1]."""
    pose_yaw: float
    """Degrees; above 0 the nose points to the right of the picture."""
    pose_pitch: float
    """Degrees; above 0 the nose points up. Poorly known with YuNet's landmarks (see `Pose`)."""
    pose_roll: float
    """Degrees; above 0 turned clockwise as seen."""
    inter_eye_distance: float
    """Pixels of the photograph between the eyes, as if the head were not turned: divided by the cosine of yaw."""
    other_face: float
    """Size of the largest other face / size of this one (roots of the boxes' areas); 0 where there is no other."""
    detection_score: float
    """The detector's confidence, [0, 1]. Detectors differ: YuNet's is at least 0.88 on all of LFW."""

    def to_dict(self) -> dict[str, float]:
        """JSON numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Quality:
        """Raises VultusError for a missing, unknown or unreadable measure."""
        names = {field.name for field in fields(cls)}
        if wrong := sorted(names ^ set(plain)):
            raise VultusError(f"a quality with missing or unknown measures: {', '.join(wrong)}")
        values = {}
        for name, value in plain.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise VultusError(f"quality measure {name} is {str(value)[:40]!r}; it must be a finite number")
            values[name] = float(value)
        return cls(**values)


def measure_quality(face: Face, others: Sequence[Face] = ()) -> Quality:
    """The quality of a detected, aligned face; under a millisecond.

    others: further faces of the same photograph; this one among them does not count.
    Raises VultusError for a face without crop, box, landmarks or score.
    """
    crop = face.crop
    if crop is None or crop.shape != (112, 112, 3) or crop.dtype != np.uint8:
        raise VultusError("quality is measured on an aligned crop of 112x112 RGB uint8; align the face first")
    if not (np.isfinite(face.box).all() and np.isfinite(face.score) and face.area > 0):
        raise VultusError("quality needs the box and the score of a detected face; detect it first")
    pose = head_pose(face.landmarks)
    light = measure_light(crop)
    eyes = np.asarray(face.landmarks[1], np.float64) - face.landmarks[0]
    rivals = [max(0.0, other.area) for other in others if other is not face]
    return Quality(
        sharpness=sharpness(crop),
        illumination_uniformity=light.uniformity,
        under_exposure=light.under_exposure,
        over_exposure=light.over_exposure,
        dynamic_range=light.dynamic_range,
        luminance=light.luminance,
        pose_yaw=pose.yaw,
        pose_pitch=pose.pitch,
        pose_roll=pose.roll,
        # Beyond 60 degrees the points are too uncertain to divide by so small a cosine.
        inter_eye_distance=float(np.hypot(*eyes)) / max(0.5, math.cos(math.radians(pose.yaw))),
        other_face=math.sqrt(max(rivals, default=0.0) / face.area),
        detection_score=float(face.score),
    )
