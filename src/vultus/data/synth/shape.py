"""The shape of a head at rest: a radius for every texel of the face plane, and where its features lie."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vultus.data.synth import plane
from vultus.data.synth.plane import AXIS, Bumps, smoothstep
from vultus.data.synth.space import Traits, between


@dataclass(frozen=True)
class Layout:
    """Where the features lie on the face plane, and how large they are (units of the plane)."""

    eye_a: float
    eye_b: float
    eye_wide: float
    eye_upper: float
    eye_lower: float
    eye_tilt: float
    brow_b: float
    nose_b: float  # the tip
    nose_a: float  # sideways bend of the tip
    nose_wing: float
    mouth_b: float
    mouth_wide: float
    mouth_tilt: float
    lip_upper: float
    lip_lower: float
    chin_b: float
    ear_a: float
    ear_b: float
    ear_high: float


def layout(t: Traits) -> Layout:
    """Place the features."""
    eye_b = -10.0 + 2.6 * t["eye_height"]
    nose_b = between(t["nose_length"], 6.0, 15.0)
    mouth_b = min(max(between(t["mouth_height"], 26.0, 35.5), nose_b + 14.5), nose_b + 21.0)
    opening = between(t["eye_open"], 0.62, 1.3)
    return Layout(
        eye_a=between(t["eye_spacing"], 15.0, 21.5),
        eye_b=eye_b,
        eye_wide=between(t["eye_width"], 6.6, 9.6),
        eye_upper=3.9 * opening,
        eye_lower=2.7 * opening**0.6,
        eye_tilt=between(t["eye_tilt"], -0.22, 0.24),
        brow_b=eye_b - between(t["brow_height"], 7.2, 12.6),
        nose_b=nose_b,
        nose_a=1.3 * t["nose_bend"],
        nose_wing=between(t["nose_wing"], 4.6, 9.6),
        mouth_b=mouth_b,
        mouth_wide=between(t["mouth_width"], 10.5, 19.0),
        mouth_tilt=between(t["mouth_tilt"], 2.0, -2.2),
        lip_upper=between(t["lip_upper"], 1.3, 5.4),
        lip_lower=between(t["lip_lower"], 2.0, 6.6),
        chin_b=mouth_b + between(t["chin_length"], 15.0, 24.0),
        ear_a=77.0,
        ear_b=between(t["ear_height"], -9.0, 7.0),
        ear_high=between(t["ear_size"], 8.5, 15.0),
    )


def head_radius(t: Traits, at: Layout) -> np.ndarray:
    """The head at rest without hair: float32 (TEXELS, TEXELS) radii."""
    return _skull(t, at) + _soft_parts(t, at).sum() + _nose(t, at) + _lips(t, at) + _ears(t, at)


def _skull(t: Traits, at: Layout) -> np.ndarray:
    """A superellipsoid whose lower half is the jaw."""
    x, y, z = plane.DIR_X, plane.DIR_Y, plane.DIR_Z
    wide = between(t["head_width"], 40.5, 51.0)
    upper = between(t["head_length"], 60.0, 72.0)
    lower = at.chin_b + 4.0
    deep = between(t["face_flat"], 53.5, 47.0)
    power = between(t["head_square"], 1.95, 2.7)
    below = smoothstep(y, -0.1, 0.75)
    width = wide * (1 + below * between(t["jaw_width"], -0.24, 0.1))
    height = np.where(y > 0, np.float32(lower), np.float32(upper))
    total = cv2.pow(np.abs(x) / width, power) + cv2.pow(np.abs(y) / height, power) + cv2.pow(np.abs(z) / deep, power)
    radius = cv2.pow(total, -1 / power)
    # The corner of the jaw stands out, or not, at four to five o'clock.
    corner = cv2.exp(((np.abs(x) - 0.62) ** 2 + (y - 0.62) ** 2) * (-1 / 0.05))
    return (radius * (1 + between(t["jaw_corner"], -0.05, 0.1) * corner)).astype(np.float32)


def _soft_parts(t: Traits, at: Layout) -> Bumps:
    bumps = Bumps()
    bumps.add(0, -36, 20, 11, between(t["forehead_bulge"], -2.5, 3.5))
    bumps.add(52, -22, 8, 12, between(t["temple"], -3.2, 0.6), pair=True)
    ridge = between(t["brow_ridge"], 0.2, 4.2)
    bumps.add(at.eye_a - 1, at.brow_b + 2, 9, 3.6, ridge, pair=True)
    bumps.add(0, at.brow_b + 3, 5, 3.5, 0.6 * ridge)
    depth = between(t["eye_depth"], 2.2, 6.4)
    bumps.add(at.eye_a, at.eye_b, 9.5, 6.0, -depth, pair=True)
    bumps.add(at.eye_a - 8.5, at.eye_b, 3.2, 3.8, -0.45 * depth, pair=True)
    bumps.add(at.eye_a, at.eye_b - 0.3, 5.6, 3.9, 3.2, pair=True)  # the eyeball under its lids
    bumps.add(at.eye_a, at.eye_b + 8, 6.5, 2.2, between(t["eye_bag"], -0.7, 1.3), pair=True)
    bumps.add(at.eye_a, at.eye_b + 11, 7.5, 1.6, between(t["eye_bag"], 0.1, -0.9), pair=True)
    bumps.add(30, 5, 8.5, 6.5, between(t["cheekbone"], -0.8, 4.8), pair=True)
    bumps.add(26, 24, 11, 11, between(t["cheek_full"], -4.6, 4.0), pair=True)
    bumps.add(0, at.mouth_b - 1, 15, 11, 3.4)  # the muzzle: teeth push the mouth forward
    bumps.add(0, at.mouth_b - 8, 1.5, 3.6, between(t["philtrum"], -0.1, -1.5))
    bumps.add(0, at.mouth_b + 9.0, 8, 2.4, -1.9)
    chin = between(t["chin_forward"], 0.5, 6.5)
    bumps.add(0, at.chin_b - 3, between(t["chin_width"], 5.0, 14.0), 6.0, chin)
    bumps.add(0, at.chin_b - 3, 1.3, 4.0, -1.8 * max(0.0, t["chin_cleft"]))
    return bumps


def _nose(t: Traits, at: Layout) -> np.ndarray:
    """A ridge that grows from the root to the tip, a ball at the tip, two wings."""
    root, tip = at.eye_b - 2.0, at.nose_b
    along = np.clip((AXIS - root) / (tip - root), 0, 1)
    forward = between(t["nose_forward"], 8.5, 16.5)
    bridge = between(t["nose_bridge"], 1.2, 6.6)
    ridge = bridge + (forward - bridge) * along**1.25
    ridge += between(t["nose_hump"], -1.8, 3.0) * np.exp(-0.5 * ((along - 0.45) / 0.17) ** 2)
    under = between(t["nose_upturn"], 0.9, 2.6)
    ridge = ridge * smoothstep(AXIS, root - 9, root + 3) * (1 - smoothstep(AXIS, tip - under, tip + 6.0 - under))
    spread = between(t["nose_width"], 2.1, 4.4)
    width = spread * (0.95 - 0.25 * np.sin(np.pi * along) + 0.55 * along**3)
    middle = at.nose_a * np.sin(np.pi * 0.75 * along)
    nose = np.zeros_like(plane.A)
    rows, columns = plane.window(-24, root - 10, 24, tip + 8)
    away = (AXIS[columns] - middle[rows, None]) / width[rows, None]
    nose[rows, columns] = ridge[rows, None] * np.exp(-0.5 * away * away)
    bumps = Bumps()
    ball = between(t["nose_tip"], 2.3, 5.0)
    bumps.add(at.nose_a * 0.7, tip + 0.5, ball, ball * 0.85, between(t["nose_tip"], 1.6, 4.2))
    bumps.add(at.nose_wing, tip + 2.2, 2.5, 2.6, 4.2, pair=True)
    bumps.add(at.nose_wing - 2.4, tip + 5.4, 1.5, 1.3, -2.0, pair=True)
    return (nose + bumps.sum()).astype(np.float32)


def mouth_line(at: Layout, a: np.ndarray) -> np.ndarray:
    """Where the lips meet, at sideways places `a`."""
    along = np.minimum(np.abs(a) * (1 / at.mouth_wide), 1)
    return at.mouth_b + at.mouth_tilt * (along * along - 0.25) + 0.5 * np.cos(np.minimum(along, 0.6) * (np.pi / 0.6))


def lip_profiles(t: Traits, at: Layout, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mouth's line, and the heights of the upper and the lower lip, at sideways places `a`."""
    along = np.clip(np.abs(a) / at.mouth_wide, 0, 1)
    rise = np.sqrt(1 - along**2)
    bow = between(t["lip_bow"], 0.0, 1.5)
    upper = at.lip_upper * rise * (1 - 0.25 * along) - bow * np.exp(-0.5 * (a / 1.9) ** 2) * 0.8
    upper += 0.45 * bow * np.exp(-0.5 * ((np.abs(a) - 4.0) / 2.2) ** 2)
    return mouth_line(at, a), np.maximum(upper, 0.0) * (along < 1), at.lip_lower * rise


def _lips(t: Traits, at: Layout) -> np.ndarray:
    radius = np.zeros_like(plane.A)
    rows, columns = plane.window(-24, at.mouth_b - 12, 24, at.mouth_b + 13)
    down = plane.B[rows, columns]
    line, upper, lower = lip_profiles(t, at, AXIS[columns])
    s = down - line
    rise = np.exp(-0.5 * ((s + 0.5 * upper) / (0.42 * upper + 0.7)) ** 2) * (0.5 + 0.33 * upper)
    rise += np.exp(-0.5 * ((s - 0.5 * lower) / (0.42 * lower + 0.7)) ** 2) * (0.5 + 0.33 * lower)
    fade = np.clip(1.15 - np.abs(AXIS[columns]) / at.mouth_wide, 0, 1) ** 0.6
    radius[rows, columns] = fade * (rise - 1.3 * np.exp(-0.5 * (s / 0.8) ** 2))
    return radius


def _ears(t: Traits, at: Layout) -> np.ndarray:
    out = between(t["ear_out"], 3.0, 12.5)
    x = (np.abs(AXIS) - at.ear_a) / 5.0
    y = (AXIS - at.ear_b) / at.ear_high
    y = y * (1 + 0.25 * y)  # wide above, a lobe below
    ear = np.outer(out * np.exp(-(y**4)), np.exp(-0.5 * x**2))
    inner = (np.abs(AXIS) - at.ear_a + 3.0) / 2.2
    hollow = np.outer(0.4 * out * np.exp(-0.5 * ((y - 0.1) / 0.4) ** 2), np.exp(-0.5 * inner**2))
    return (ear - hollow).astype(np.float32, copy=False)
