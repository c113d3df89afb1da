"""How a head is turned, from five landmarks: the mean head, turned until its points fall on them."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from vultus.errors import VultusError

HEAD = np.array(
    [[-0.5, 0, 0], [0.5, 0, 0], [0, 0.5622, -0.4625], [-0.4356, 1.014, 0.1048], [0.4356, 1.014, 0.1048]], np.float64
)
"""(5, 3): eyes, tip of the nose, corners of the mouth in eye distances; x right, y down, z away from the camera.

The symmetric head that fits YuNet's landmarks of 6,141 LFW photographs best, each with a rotation and a scale of its
own (bundle adjustment under weak perspective); 1.2 % of an eye distance is left over (root mean square). It is turned
so that the median photograph has pitch 0."""

DISTANCE = 15.0
"""Of the camera in eye distances, about 1 m. Nearer or farther ones change the angles by less than a degree."""


class Pose(NamedTuple):
    """Degrees; the head is turned by pitch first, then yaw, then roll. All 0: looking into the camera, upright.

    The error depends on the landmarks, and noses differ. Yaw is the best known. Measured on LFW: YuNet, the default
    detector, draws points towards an upright frontal face, so that it shows about half of a roll beyond 20 degrees and
    little of a pitch; SCRFD's points show both. `benchmarks/quality_gate.py` prints the figures.
    """

    yaw: float
    """Above 0: the nose points to the right of the picture, the person's left."""
    pitch: float
    """Above 0: the nose points up."""
    roll: float
    """Above 0: turned clockwise as seen, so that the eye on the right of the picture is lower."""


def head_pose(landmarks: np.ndarray) -> Pose:
    """The pose of a head from (5, 2) landmarks in pixels of the photograph, ordered as those of a `Face`.

    A perspective-n-point problem with a distant camera (Terzakis and Lourakis, "SQPnP", ECCV 2020).
    Raises VultusError where the points are not finite, not five, or fall together.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise VultusError("a pose takes five finite landmarks; detect the face first")
    size = float(np.linalg.norm(points - points.mean(0), axis=1).mean())
    if size < 0.1 or np.linalg.norm(points[1] - points[0]) < 1e-3 * size:
        raise VultusError("the landmarks of the face fall together; use a photograph that shows the face larger")
    centred = (points - points.mean(0)) / size
    focal = DISTANCE / _SIZE
    camera = np.array([[focal, 0, 0], [0, focal, 0], [0, 0, 1]])
    found, turn, _ = cv2.solvePnP(HEAD - HEAD.mean(0), centred, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if not found:
        raise VultusError("the landmarks of the face fit no head; use another photograph")
    r = cv2.Rodrigues(turn)[0]
    yaw, pitch, roll = np.arcsin(np.clip(r[2, 0], -1, 1)), np.arctan2(-r[2, 1], r[2, 2]), np.arctan2(r[1, 0], r[0, 0])
    return Pose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))


_SIZE = float(np.linalg.norm((HEAD - HEAD.mean(0))[:, :2], axis=1).mean())
"""Mean distance of the frontal head's points from their centre, in eye distances."""
