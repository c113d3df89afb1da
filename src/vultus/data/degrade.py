"""A crop as a distant or cheap camera would have taken it: few pixels, blurred, compressed."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from vultus.data.dataset import decode_crop
from vultus.data.occlude import medical_mask

FACE = 100
"""Pixels of the long side of a face in a 112 crop: from the hairline to the chin (ArcFace's template)."""
SIDES = (16.0, 32.0)
"""Long side of the degraded face in pixels, drawn evenly."""
QUALITY = (30, 90)
"""JPEG quality, drawn evenly."""


def low_quality(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Reduce the face of a crop (H, W, 3) uint8 RGB to 16 to 32 pixels, blur, compress as JPEG, enlarge again."""
    height, width = crop.shape[:2]
    factor = random.uniform(*SIDES) / FACE
    small = (max(4, round(width * factor)), max(4, round(height * factor)))
    way = cv2.INTER_AREA if random.random() < 0.5 else cv2.INTER_LINEAR  # a sensor's, or a careless resize
    reduced = cv2.resize(crop, small, interpolation=way)
    sigma = float(random.uniform(0.0, 0.8))
    if sigma > 0.3:
        reduced = cv2.GaussianBlur(reduced, (3, 3), sigma)
    quality = int(random.integers(QUALITY[0], QUALITY[1] + 1))
    content = cv2.imencode(".jpg", np.ascontiguousarray(reduced[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.resize(decode_crop(content.tobytes()), (width, height), interpolation=cv2.INTER_CUBIC)


SHIFTS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "mask": medical_mask,
    "low_quality": low_quality,
}
"""Conditions that a copy of a dataset can show, by the names that `Augmentation` gives them."""
