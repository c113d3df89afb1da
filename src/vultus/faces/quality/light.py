"""How a face is lit: luminance, exposure, contrast, and whether one side lies in the dark.

Luminance is linear (IEC 61966-2-1 undone, weights of ITU-R BT.709), in 256 steps, and exposure and dynamic range are
defined as in OFIQ, the reference implementation of ISO/IEC 29794-5. The region differs: OFIQ takes the hull of 98
landmarks, here it is an ellipse inside the aligned crop, which holds skin, eyes, nose and mouth.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

DARK, BRIGHT = 25, 247
"""Luminance steps of 0..255 up to which, and from which on, a pixel is called dark or blown out (OFIQ)."""


class Light(NamedTuple):
    luminance: float
    """Mean linear luminance in [0, 1]."""
    under_exposure: float
    """Share of dark pixels in [0, 1]. Dark skin in good light has many, so a strict limit would refuse people."""
    over_exposure: float
    """Share of blown-out pixels in [0, 1]."""
    dynamic_range: float
    """Entropy of the luminance in bits, 0..8."""
    uniformity: float
    """Mean luminance of the darker half of the face / of the lighter half, in [0, 1].

    OFIQ intersects the histograms of two small patches of the cheeks; at 112 pixels a patch holds 120 pixels, too few:
    that figure is 0 for 1 % of LFW's photographs."""


def measure_light(crop: np.ndarray) -> Light:
    """Of an aligned crop, (112, 112, 3) uint8 RGB."""
    steps = luminance(crop)
    face, left, right = face_region(), *_halves()
    histogram = np.bincount(steps[face], minlength=256) / np.count_nonzero(face)
    seen = histogram[histogram > 0]
    sides = sorted((float(steps[left].mean()), float(steps[right].mean())))
    return Light(
        luminance=float(histogram @ np.arange(256)) / 255,
        under_exposure=float(histogram[: DARK + 1].sum()),
        over_exposure=float(histogram[BRIGHT:].sum()),
        dynamic_range=max(0.0, float(-(seen * np.log2(seen)).sum())),
        uniformity=sides[0] / sides[1] if sides[1] else 1.0,
    )


def luminance(crop: np.ndarray) -> np.ndarray:
    """(H, W) uint8 linear luminance of (H, W, 3) uint8 sRGB."""
    return np.rint(_linear()[crop] @ np.array([0.2126, 0.7152, 0.0722], np.float32)).astype(np.uint8)


@lru_cache(maxsize=1)
def face_region() -> np.ndarray:
    """(112, 112) bool: an ellipse from the brows to the chin of an aligned face; read only."""
    mask = cv2.ellipse(np.zeros((112, 112), np.uint8), (56, 72), (30, 38), 0, 0, 360, 1, -1).astype(bool)
    mask.flags.writeable = False
    return mask


@lru_cache(maxsize=1)
def _halves() -> tuple[np.ndarray, np.ndarray]:
    """Left and right of the nose, from the lower lids to above the chin."""
    rows, columns = np.indices((112, 112))
    band = face_region() & (rows >= 46) & (rows < 100)
    return band & (columns < 56), band & (columns >= 56)


@lru_cache(maxsize=1)
def _linear() -> np.ndarray:
    """(256,) float32: linear light, 0..255, of an sRGB step."""
    v = np.arange(256) / 255
    return (255 * np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)).astype(np.float32)
