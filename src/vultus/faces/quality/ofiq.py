"""The mappings to 0..100 that OFIQ, the reference implementation of ISO/IEC 29794-5, publishes.

Applied to measures of five landmarks and a small crop they are comparable in meaning, but they are not the standard's
scores: those take 98 landmarks, a segmentation and a pose network. Sharpness (OFIQ: a random forest) and illumination
uniformity (other patches) have no entry here.
"""

from __future__ import annotations

import math

from vultus.faces.quality.quality import Quality


def ofiq_scores(quality: Quality) -> dict[str, int]:
    """Components by OFIQ's names, 0 (worst) to 100, by the mappings of OFIQ 1.x's sources and default configuration."""
    q = quality
    mean = _sigmoid(q.luminance, 0.2, 0.05) * (1 - _sigmoid(q.luminance, 0.8, 0.05))
    scores = {
        "LuminanceMean": 100 * mean,
        "UnderExposurePrevention": 120 * (0.832 - _sigmoid(q.under_exposure, 0.92, 0.05)),
        "OverExposurePrevention": 1 / (q.over_exposure + 0.01),
        "DynamicRange": 12.5 * q.dynamic_range,
        "HeadPoseYaw": _upright(q.pose_yaw),
        "HeadPosePitch": _upright(q.pose_pitch),
        "HeadPoseRoll": _upright(q.pose_roll),
        "InterEyeDistance": 100 * _sigmoid(q.inter_eye_distance, 70, 20),
        "SingleFacePresent": 100 * (1 - min(q.other_face, 1 / max(q.other_face, 1e-9))),
    }
    return {name: round(min(100.0, max(0.0, score))) for name, score in scores.items()}


def _sigmoid(x: float, centre: float, width: float) -> float:
    return 1 / (1 + math.exp(min(700.0, (centre - x) / width)))


def _upright(degrees: float) -> float:
    return 100 * math.cos(math.radians(degrees)) ** 2
