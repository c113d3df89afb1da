"""The identity space: named axes, each a number in [-1, 1], and the draw of a point.

The axes are continuous, so that nearby points are lookalikes. They are drawn from an arcsine-like law, which favours
the ends: strangers then differ in many axes at once, as caricatures do, and a small network can learn the differences.
"""

from __future__ import annotations

import numpy as np

AXES: tuple[str, ...] = (
    # head and jaw
    *("head_width", "head_length", "head_square", "face_flat", "jaw_width", "jaw_corner", "chin_length", "chin_width"),
    *("chin_forward", "chin_cleft", "cheekbone", "cheek_full", "forehead_bulge", "brow_ridge", "temple"),
    # eyes
    *("eye_spacing", "eye_height", "eye_width", "eye_open", "eye_tilt", "eye_depth", "eye_fold", "eye_peak", "eye_bag"),
    *("iris_hue", "iris_light", "iris_size"),
    # brows
    *("brow_height", "brow_thick", "brow_arch", "brow_slant", "brow_length", "brow_gap", "brow_dark"),
    # nose
    *("nose_length", "nose_bridge", "nose_width", "nose_tip", "nose_forward", "nose_wing", "nose_upturn", "nose_hump"),
    *("nose_bend",),
    # mouth
    *("mouth_width", "mouth_height", "lip_upper", "lip_lower", "lip_bow", "mouth_tilt", "philtrum", "lip_tone"),
    # ears
    *("ear_size", "ear_out", "ear_height"),
    # hair: the line where it begins, and what it is when neither dyed nor covered
    *("hair_line", "hair_peak", "hair_tone", "hair_red", "hair_thick", "beard"),
    # skin
    *("skin_tone", "skin_warm", "skin_ruddy", "freckles", "age"),
    # marks: two moles and a scar
    *("mole1_x", "mole1_y", "mole1_size", "mole2_x", "mole2_y", "mole2_size"),
    *("scar_x", "scar_y", "scar_angle", "scar_size"),
)

Traits = dict[str, float]


def draw_point(rng: np.random.Generator) -> np.ndarray:
    """Draw an identity: float32 (len(AXES),), each in [-1, 1]."""
    return np.sin(0.5 * np.pi * rng.uniform(-0.95, 0.95, len(AXES))).astype(np.float32)


def traits(point: np.ndarray) -> Traits:
    """Name the coordinates of a point."""
    return dict(zip(AXES, np.asarray(point, np.float32).tolist(), strict=True))


def between(value: float, low: float, high: float) -> float:
    """Map a trait in [-1, 1] linearly to [low, high]."""
    return low + (high - low) * 0.5 * (value + 1.0)
