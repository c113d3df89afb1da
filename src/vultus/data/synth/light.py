"""Light on a head: normals from depth, a key light with shadows, fill, sky, a little shine. Colours are linear RGB.

Images on their way through light and camera are planar, (3, SIZE, SIZE): numpy is several times faster on them.
"""

from __future__ import annotations

import cv2
import numpy as np

from vultus.data.synth.conditions import Conditions
from vultus.data.synth.trace import SIZE, View

# Light leaks through skin: the share of a softly wrapped light is largest in red, at the terminator.
_SOFT = np.array([0.75, 0.4, 0.25])
_WRAP = 0.42
_PAD = 20


def shade(view: View, albedo: np.ndarray, gloss: np.ndarray, c: Conditions) -> np.ndarray:
    """Light a head: `albedo` linear (3, SIZE, SIZE) in [0, 1], `gloss` (SIZE, SIZE); linear RGB float32."""
    pixel = 1 / abs(view.similarity[0])
    smooth = cv2.GaussianBlur(view.depth, (3, 3), 0.7)
    slope_x = np.clip(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=0.125 / pixel), -3.5, 3.5)
    slope_y = np.clip(cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=0.125 / pixel), -3.5, 3.5)
    nz = 1 / cv2.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
    key = [float(value) for value in c.key_direction]
    lambert = (key[2] - slope_x * key[0] - slope_y * key[1]) * nz
    lit = 1 - _shadow(smooth, key, pixel)
    lights = np.empty((4, SIZE, SIZE), np.float32)
    np.multiply(np.clip(lambert, 0, 1), lit, out=lights[0])
    np.multiply(np.clip((lambert + _WRAP) * (1 / (1 + _WRAP)), 0, 1), 0.3 + 0.7 * lit, out=lights[1])
    cavity = np.clip((cv2.blur(smooth, (15, 15)) - smooth) * 0.07, 0, 0.5)
    np.multiply(0.72 + 0.28 * slope_y * nz, 1 - cavity, out=lights[2])
    lights[3] = np.clip((slope_x * (0.8 if key[0] > 0 else -0.8) + 0.6) * nz, 0, 1)
    colors = np.stack([c.key_color * (1 - _SOFT), c.key_color * _SOFT, c.ambient, c.fill_color], axis=1)
    image = (colors.astype(np.float32) @ lights.reshape(4, -1)).reshape(albedo.shape)
    image *= albedo
    image += gloss * lit * _shine(slope_x, slope_y, nz, key) * float(c.key_color[1])
    return image


def _shine(slope_x: np.ndarray, slope_y: np.ndarray, nz: np.ndarray, key: list[float]) -> np.ndarray:
    """Blinn's highlight, a broad and a narrow lobe."""
    half = np.array([key[0], key[1], key[2] + 1])
    x, y, z = (half / np.linalg.norm(half)).tolist()
    shine = np.clip((z - slope_x * x - slope_y * y) * nz, 0.05, 1)  # above 0: denormal numbers are slow
    for _ in range(3):
        shine *= shine
    return (0.35 + shine * shine) * shine


def _shadow(depth: np.ndarray, key: list[float], pixel: float) -> np.ndarray:
    """How much of the key light something nearer to it takes: (SIZE, SIZE) in [0, 1], from the visible surface only."""
    flat = float(np.hypot(key[0], key[1]))
    if flat < 0.08:
        return np.zeros_like(depth)
    half = cv2.resize(depth, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA)
    padded = cv2.copyMakeBorder(half, _PAD, _PAD, _PAD, _PAD, cv2.BORDER_REPLICATE)
    rise = key[2] / flat * 2 * pixel
    worst = np.full_like(half, -9.0)
    for distance in (2.0, 4.0, 7.5, 12.0):
        dx, dy = round(key[0] / flat * distance), round(key[1] / flat * distance)
        there = padded[_PAD + dy : _PAD + dy + SIZE // 2, _PAD + dx : _PAD + dx + SIZE // 2]
        higher = there - half
        higher -= rise * distance
        higher *= 3.0 / (1.0 + 0.35 * distance)
        np.maximum(worst, higher, out=worst)
    dark = cv2.GaussianBlur(np.clip(worst * 0.4, 0, 1), (3, 3), 0.8)
    return 0.85 * cv2.resize(dark, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
