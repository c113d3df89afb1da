"""Light on a head: normals from depth, a key light with shadows, fill, sky, a little shine. Colours are linear RGB.

Images on their way through light and camera are planar, (3, SIZE, SIZE): numpy is several times faster on them.
"""

from __future__ import annotations

import math

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
    # Sobel's wide kernel smooths the depth as well.
    slope_x = cv2.Sobel(view.depth, cv2.CV_32F, 1, 0, ksize=5, scale=1 / (128 * pixel))
    slope_y = cv2.Sobel(view.depth, cv2.CV_32F, 0, 1, ksize=5, scale=1 / (128 * pixel))
    slope_x.clip(-3.5, 3.5, out=slope_x)
    slope_y.clip(-3.5, 3.5, out=slope_y)
    nz = slope_x * slope_x
    nz += slope_y * slope_y
    nz += 1
    np.divide(1, cv2.sqrt(nz, nz), out=nz)
    nx, ny = np.multiply(slope_x, nz, out=slope_x), np.multiply(slope_y, nz, out=slope_y)  # they point into the head

    key: list[float] = c.key_direction.tolist()
    lambert = _toward(nx, ny, nz, key)
    half = cv2.resize(view.depth, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA)
    lit = _lit(half, key, pixel)
    lights = np.empty((4, SIZE, SIZE), np.float32)
    cv2.addWeighted(lambert, 1 / (1 + _WRAP), lambert, 0.0, _WRAP / (1 + _WRAP), lights[1])
    lights[1].clip(0, 1, out=lights[1])
    lights[1] *= cv2.addWeighted(lit, 0.7, lit, 0.0, 0.3)
    lambert.clip(0, 1, out=lambert)
    np.multiply(lambert, lit, out=lights[0])
    cv2.addWeighted(ny, 0.28, ny, 0.0, 0.72, lights[2])
    lights[2] *= _open(half)
    cv2.addWeighted(nx, 0.8 if key[0] > 0 else -0.8, nz, 0.6, 0.0, lights[3])
    lights[3].clip(0, 1, out=lights[3])
    colors = np.array([c.key_color * (1 - _SOFT), c.key_color * _SOFT, c.ambient, c.fill_color], np.float32)
    image = (colors.T @ lights.reshape(4, -1)).reshape(albedo.shape)
    image *= albedo
    highlight = cv2.multiply(gloss, lit, None, float(c.key_color[1]))
    highlight *= _shine(nx, ny, nz, key)
    image += highlight
    return image


def _toward(nx: np.ndarray, ny: np.ndarray, nz: np.ndarray, direction: list[float]) -> np.ndarray:
    """The cosine between normals and a direction."""
    x, y, z = direction
    return cv2.scaleAdd(nz, z, cv2.addWeighted(nx, -x, ny, -y, 0.0))


def _shine(nx: np.ndarray, ny: np.ndarray, nz: np.ndarray, key: list[float]) -> np.ndarray:
    """Blinn's highlight, a broad and a narrow lobe."""
    x, y, z = key
    length = math.hypot(x, y, z + 1)
    shine = _toward(nx, ny, nz, [x / length, y / length, (z + 1) / length])
    shine.clip(0.05, 1, out=shine)  # above 0: denormal numbers are slow
    for _ in range(3):
        shine *= shine
    narrow = shine * shine
    narrow += 0.35
    shine *= narrow
    return shine


def _open(half: np.ndarray) -> np.ndarray:
    """How much of the sky reaches a place, less in cavities: (SIZE, SIZE), from depths on half of the crop's grid."""
    sky = cv2.addWeighted(cv2.blur(half, (7, 7)), -0.07, half, 0.07, 1.0)
    return cv2.resize(sky.clip(0.5, 1, out=sky), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def _lit(half: np.ndarray, key: list[float], pixel: float) -> np.ndarray:
    """How much of the key light nothing nearer to it takes: (SIZE, SIZE) in [0, 1], from the visible surface only."""
    flat = math.hypot(key[0], key[1])
    if flat < 0.08:
        return np.ones((SIZE, SIZE), np.float32)
    padded = cv2.copyMakeBorder(half, _PAD, _PAD, _PAD, _PAD, cv2.BORDER_REPLICATE)
    rise = key[2] / flat * 2 * pixel
    dark = np.zeros_like(half)
    for distance in (2.0, 4.0, 7.5, 12.0):
        dx, dy = round(key[0] / flat * distance), round(key[1] / flat * distance)
        there = padded[_PAD + dy : _PAD + dy + SIZE // 2, _PAD + dx : _PAD + dx + SIZE // 2]
        steep = 1.2 / (1.0 + 0.35 * distance)
        cv2.max(dark, cv2.addWeighted(there, steep, half, -steep, -steep * rise * distance), dark)
    dark = cv2.GaussianBlur(dark.clip(0, 1, out=dark), (3, 3), 0.8)
    np.multiply(dark, -0.85, out=dark)
    dark += 1
    return cv2.resize(dark, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
