"""The colours of a face at rest, painted on the face plane: skin, lips, brows, lines, marks."""

from __future__ import annotations

import cv2
import numpy as np

from vultus.data.synth import plane, texture
from vultus.data.synth.plane import AXIS, Bumps, smoothstep
from vultus.data.synth.shape import Layout, lip_profiles
from vultus.data.synth.space import Traits, between

_SKIN = np.array([[243, 205, 187], [226, 180, 154], [203, 152, 122], [164, 112, 82], [120, 78, 58], [82, 54, 44]])
_HAIR = np.array([[24, 20, 19], [52, 37, 29], [92, 63, 42], [142, 104, 66], [205, 168, 112]])
_COPPER = np.array([158.0, 72.0, 34.0])
_GREY = np.array([176.0, 174.0, 172.0])


def skin_color(t: Traits) -> np.ndarray:
    """The mean colour of the skin: RGB in 0..255."""
    color = ramp(_SKIN, 0.5 + 0.5 * t["skin_tone"])
    return color * np.array([1 + 0.02 * t["skin_warm"], 1.0, 1 - 0.07 * t["skin_warm"]])


def hair_color(t: Traits) -> np.ndarray:
    """The natural colour of the hair: RGB in 0..255."""
    color = ramp(_HAIR, between(t["hair_tone"], 0.0, 1.0) ** 1.3)
    color = color + 0.6 * max(0.0, t["hair_red"]) * (_COPPER - color)
    return color + 0.75 * max(0.0, t["age"] - 0.25) * (_GREY - color)


def ramp(stops: np.ndarray, value: float) -> np.ndarray:
    """Interpolate a table of colours at a value in [0, 1]."""
    place = np.clip(value, 0, 1) * (len(stops) - 1)
    return np.array([np.interp(place, range(len(stops)), stops[:, channel]) for channel in range(3)])


def paint_skin(t: Traits, at: Layout, radius: np.ndarray) -> np.ndarray:
    """The face's own colours without eyes: float32 (TEXELS, TEXELS, 3)."""
    red = _redness(t, at)
    shade = _shade(t, at, radius)
    color = skin_color(t)
    ruddy = between(t["skin_ruddy"], 0.3, 1.5)
    albedo = np.empty((plane.TEXELS, plane.TEXELS, 3), np.float32)
    for channel, (tone, pull) in enumerate(zip(color.tolist(), (0.03, -0.13, -0.12), strict=True)):
        albedo[..., channel] = shade * (tone + (tone * pull * ruddy) * red)
    _freckles(albedo, t)
    _lips(albedo, t, at, color)
    _brows(albedo, t, at)
    _marks(albedo, t, color)
    return albedo.clip(0, 255, out=albedo)


def _redness(t: Traits, at: Layout) -> np.ndarray:
    bumps = Bumps()
    bumps.add(25, 12, 10, 9, 0.6, pair=True)
    bumps.add(0, at.nose_b, 7, 6, 0.6)
    bumps.add(at.ear_a, at.ear_b, 7, 10, 1.3, pair=True)
    bumps.add(at.eye_a, at.eye_b + 5, 7, 3, 0.5, pair=True)
    bumps.add(0, at.mouth_b + 1, at.mouth_wide, 7, 0.4)
    size = plane.TEXELS
    return bumps.sum() + 0.22 * texture.slide(texture.mottle(), t["skin_ruddy"], t["skin_warm"], size, size)


def _shade(t: Traits, at: Layout, radius: np.ndarray) -> np.ndarray:
    """What darkens the skin whatever the light: pits of the shape, folds, nostrils, the shadow of lids."""
    # A wide blur needs no fine grid.
    small = cv2.resize(radius, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    pit = cv2.resize(cv2.GaussianBlur(small, (0, 0), 2.9 * plane.DENSITY), radius.shape) - radius
    shade = cv2.exp(-0.075 * np.maximum(pit, 0)) + 0.012 * np.clip(-pit, 0, 4)
    lines = Bumps()
    lines.add(at.nose_wing - 2.3, at.nose_b + 5.3, 1.9, 1.15, 0.75, pair=True)  # nostrils
    lines.add(at.eye_a, at.eye_b - 1, 8, 5, 0.10 + 0.06 * t["eye_depth"], pair=True)
    lines.add(at.eye_a - 2, at.eye_b + 6.5, 6, 1.8, max(0.0, 0.11 + 0.11 * t["eye_bag"]), pair=True)
    age = between(t["age"], 0.0, 1.0)
    for row in (-31.0, -36.5, -42.0):
        lines.add(0, row + 2 * t["brow_height"], 19, 0.8, 0.24 * max(0.0, age - 0.45))
    lines.add(3.2, at.brow_b + 3, 0.8, 3.2, 0.25 * max(0.0, age - 0.4), pair=True)
    shade *= 1 - np.clip(lines.sum(), 0, 0.9)
    # The fold from the wing of the nose to the corner of the mouth, deeper with age.
    start, end = at.nose_wing + 3.5, at.mouth_wide + 5.5
    rows, columns = plane.window(-36, at.nose_b - 3, 36, at.mouth_b + 8)
    along = (plane.B[rows, columns] - at.nose_b - 1) / (at.mouth_b + 2 - at.nose_b)
    away = np.abs(plane.A[rows, columns]) - (start + (end - start) * np.clip(along, 0, 2) ** 1.4)
    fold = np.exp(-0.5 * (away / 1.5) ** 2) * smoothstep(along, -0.1, 0.3) * (1 - smoothstep(along, 0.75, 1.2))
    shade[rows, columns] *= 1 - (0.02 + 0.16 * age**2) * fold
    size = plane.TEXELS
    shade *= 1 + 0.022 * texture.slide(texture.mottle(), t["skin_tone"], t["age"], size, size)
    return shade.astype(np.float32)


def _freckles(albedo: np.ndarray, t: Traits) -> None:
    amount = max(0.0, t["freckles"] - 0.2)
    if amount == 0:
        return
    rows, columns = plane.window(-48, -14, 48, 26)
    height, width = albedo[rows, columns].shape[:2]
    mask = texture.slide(texture.spots(), t["freckles"], t["skin_warm"], height, width)
    fade = np.exp(-0.5 * ((plane.B[rows, columns] - 5) / 13) ** 2) * np.exp(-0.5 * (plane.A[rows, columns] / 28) ** 4)
    albedo[rows, columns] *= 1 - (0.5 * amount * mask * fade)[..., None] * np.array([0.55, 0.85, 1.0], np.float32)


def lip_mask(t: Traits, at: Layout) -> np.ndarray:
    """Where the lips' red is: float32 (TEXELS, TEXELS) in [0, 1]."""
    mask = np.zeros_like(plane.A)
    rows, columns = plane.window(-23, at.mouth_b - 9, 23, at.mouth_b + 10)
    line, upper, lower = lip_profiles(t, at, AXIS[columns])
    s = plane.B[rows, columns] - line
    inside = smoothstep(s + upper, -0.7, 0.7) * (1 - smoothstep(s - lower, -0.8, 0.8))
    mask[rows, columns] = inside * np.clip(2.2 * (at.mouth_wide + 0.4 - np.abs(AXIS[columns])), 0, 1)
    return mask


def beard_mask(at: Layout) -> np.ndarray:
    """Where a beard grows: float32 (TEXELS, TEXELS) in [0, 1]."""
    mask = np.zeros_like(plane.A)
    rows, columns = plane.window(-plane.HALF, at.nose_b + 4, plane.HALF, plane.HALF)
    a, b = plane.A[:1], AXIS[rows, None]
    cheeks = smoothstep(np.hypot(a / 1.55, b - at.mouth_b + 3), 17, 24) * smoothstep(b - at.nose_b, 4, 20)
    moustache = np.exp(-0.5 * ((b - at.mouth_b + 6.5) / 2.0) ** 2) * (np.abs(a) < at.mouth_wide + 3)
    chin = np.exp(-0.5 * (a / 9) ** 2) * smoothstep(b, at.mouth_b + 10, at.mouth_b + 15)
    mask[rows, columns] = np.maximum(np.maximum(cheeks, moustache), chin)
    return mask


def _lips(albedo: np.ndarray, t: Traits, at: Layout, color: np.ndarray) -> None:
    rows, columns = plane.window(-23, at.mouth_b - 9, 23, at.mouth_b + 10)
    s = plane.B[rows, columns] - lip_profiles(t, at, AXIS[columns])[0]
    tone = between(t["lip_tone"], 0.35, 0.95)
    target = (color * np.array([0.86, 0.62, 0.64]) * (1 - 0.16 * tone)).astype(np.float32)
    weight = tone * lip_mask(t, at)[rows, columns] * np.where(s < 0, 1.0, 0.85)
    area = albedo[rows, columns]
    area += weight[..., None] * (target * np.where(s < 0, 0.9, 1.0)[..., None] - area)
    crease = np.exp(-0.5 * (s / 0.75) ** 2) * np.clip(at.mouth_wide + 1.2 - np.abs(AXIS[columns]), 0, 1)
    area *= 1 - 0.62 * crease[..., None]


def _brows(albedo: np.ndarray, t: Traits, at: Layout) -> None:
    inner = between(t["brow_gap"], 3.2, 9.5)
    outer = at.eye_a + between(t["brow_length"], 7.5, 15.0)
    rows, columns = plane.window(-40, at.brow_b - 10, 40, at.brow_b + 9)
    a = np.abs(plane.A[rows, columns])
    along = (a - inner) / (outer - inner)
    arch = between(t["brow_arch"], 0.0, 6.5)
    slant = between(t["brow_slant"], -4.0, 4.0)
    middle = at.brow_b + slant * (0.45 - along) - arch * (1 - ((along - 0.62) / 0.62) ** 2) + 0.6 * arch
    thick = between(t["brow_thick"], 0.9, 3.6) * (1.05 - 0.7 * np.clip(along, 0, 1) ** 1.6)
    away = np.abs(plane.B[rows, columns] - middle) / thick
    inside = (1 - smoothstep(away, 0.45, 1.25)) * smoothstep(along, -0.08, 0.1) * (1 - smoothstep(along, 0.85, 1.06))
    height, width = a.shape
    hairs = texture.slide(texture.mottle(), t["brow_arch"], t["brow_slant"], height, width)
    alpha = np.clip(inside * between(t["brow_dark"], 0.45, 0.98) * (1 + 0.22 * hairs), 0, 1)
    color = (0.72 * hair_color(t) + 0.05 * skin_color(t)).astype(np.float32)
    area = albedo[rows, columns]
    area += alpha[..., None] * (color - area)


def _marks(albedo: np.ndarray, t: Traits, color: np.ndarray) -> None:
    for name in ("mole1", "mole2"):
        size = 0.7 + 1.3 * t[f"{name}_size"]
        if size > 0.3:
            a, b = 34 * t[f"{name}_x"], 7 + 33 * t[f"{name}_y"]
            rows, columns = plane.window(a - 6, b - 6, a + 6, b + 6)
            away = np.hypot(plane.A[rows, columns] - a, plane.B[rows, columns] - b)
            alpha = 0.85 * (1 - smoothstep(away, 0.6 * size, 0.6 * size + 1.2))
            albedo[rows, columns] += alpha[..., None] * (0.3 * color.astype(np.float32) - albedo[rows, columns])
    size = t["scar_size"] - 0.35
    if size > 0:
        a, b, turn = 34 * t["scar_x"], 30 * t["scar_y"], np.pi * t["scar_angle"]
        rows, columns = plane.window(a - 16, b - 16, a + 16, b + 16)
        x, y = plane.A[rows, columns] - a, plane.B[rows, columns] - b
        along, away = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        alpha = 0.8 * np.exp(-0.5 * (away / 0.9) ** 2) * (1 - smoothstep(np.abs(along), 12 * size, 12 * size + 4))
        pale = (0.45 * color + 0.55 * np.array([235, 190, 180])).astype(np.float32)
        albedo[rows, columns] += alpha[..., None] * (pale - albedo[rows, columns])
