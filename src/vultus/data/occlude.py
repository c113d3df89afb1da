"""A medical mask on an aligned crop: the landmarks of a crop are where the template puts them, so none are needed."""

from __future__ import annotations

import cv2
import numpy as np

_CLOTH = np.array(
    [[236, 240, 242], [150, 195, 225], [120, 175, 205], [35, 36, 40], [90, 95, 100], [225, 205, 190], [60, 80, 120]],
    np.float32,
)
"""White, two surgical blues, black, grey, beige, navy; RGB."""
_SIDE = 112
_EDGE = np.array(
    [[15, 70], [32, 65], [56, 60], [80, 65], [97, 70], [95, 96], [80, 116], [32, 116], [17, 96]], np.float32
)
"""Outline on ArcFace's template: over the nose, down the cheeks, under the chin; (9, 2) in pixels of a 112 crop."""
_FREE = 3.0
"""Standard deviation, in pixels, of each outline point; faces are not the template."""


def medical_mask(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Cover nose, mouth and chin of a crop (H, W, 3) uint8 RGB with a cloth of random colour, height and folds."""
    height, width = crop.shape[:2]
    outline = _EDGE + random.normal(0, _FREE, _EDGE.shape).astype(np.float32)
    outline[:5, 1] += random.normal(0, 4.0)  # worn higher or lower
    fraction = 3  # bits of sub-pixel position
    scale = np.array([width / _SIDE, height / _SIDE], np.float32)
    points = np.round(_curve(outline) * scale * (1 << fraction)).astype(np.int32)
    alpha = np.zeros((height, width), np.uint8)
    cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, fraction)
    if random.random() < 0.6:
        _straps(alpha, outline * scale, random)
    cloth = _shade(random, height, width)
    share = (alpha.astype(np.float32) / 255)[:, :, None]
    # the light of the photograph falls on the cloth too
    light = np.float32(
        np.clip(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[alpha > 127].mean() / 128 if alpha.any() else 1, 0.35, 1.3)
    )
    return np.clip(crop * (1 - share) + cloth * (0.4 + 0.6 * light) * share, 0, 255).astype(np.uint8)


def _curve(outline: np.ndarray) -> np.ndarray:
    """A smooth closed line through the points: Chaikin's corner cutting, three times."""
    for _ in range(3):
        following = np.roll(outline, -1, axis=0)
        outline = np.stack([0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following], 1).reshape(-1, 2)
    return outline


def _straps(alpha: np.ndarray, outline: np.ndarray, random: np.random.Generator) -> None:
    for corner, side in ((0, -1), (4, 1), (5, 1), (8, -1)):
        x, y = outline[corner]
        end = (int(x + side * 30), int(y - random.uniform(0, 16)))
        cv2.line(alpha, (int(x), int(y)), end, 200, 1, cv2.LINE_AA)


def _shade(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Cloth with light from one side and pleats, (H, W, 3) float32."""
    colour = np.clip(_CLOTH[random.integers(len(_CLOTH))] + random.normal(0, 12, 3), 0, 255).astype(np.float32)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    tone = 1 + np.float32(random.uniform(-0.25, 0.25)) * across - np.float32(random.uniform(0, 0.3)) * across**2
    pleats = np.float32(random.uniform(0, 0.08)) * np.sin(down * np.float32(random.uniform(30, 70)))
    grain = random.normal(0, 2.0, (height, width)).astype(np.float32)
    return colour * (tone + pleats)[:, :, None] + grain[:, :, None]
