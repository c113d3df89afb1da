"""Training augmentation on uint8 crops by OpenCV: each operation happens with its own probability.

OpenCV on uint8 is 15 to 20 times faster here than per-image float transforms, so it never holds the network up.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np

from vultus.data.degrade import low_quality
from vultus.data.occlude import medical_mask
from vultus.errors import VultusError

_TO_GREY = np.tile(np.array([0.299, 0.587, 0.114], np.float32), (3, 1))
"""Each channel becomes the luma of ITU-R BT.601."""
_KEEP = np.eye(3, dtype=np.float32)
_LEVELS = np.arange(256, dtype=np.float32)


@dataclass(frozen=True)
class Augmentation:
    """Probabilities in [0, 1] of each operation; the strengths follow AdaFace's recipe (Kim et al., CVPR 2022) widened
    by colour, and are drawn anew for each crop."""

    flip: float = 0.5
    """Mirror left and right."""
    shift: float = 0.0
    """Rotate up to 10 degrees, scale 0.9 to 1.1, move up to 6 pixels: alignment error."""
    crop: float = 0.0
    """Keep a rectangle of 60 to 100 % of each side and stretch it to the full crop."""
    low_resolution: float = 0.0
    """Shrink to 20 to 100 % of the side and enlarge again, by a random interpolation."""
    blur: float = 0.0
    """Gaussian blur, sigma 0.4 to 2 pixels."""
    color: float = 0.0
    """Brightness, contrast and saturation, each times 0.6 to 1.4."""
    grey: float = 0.0
    """Drop the colour."""
    erase: float = 0.0
    """Paint a random rectangle of 10 to 40 % of each side in one colour: occlusion."""
    mask: float = 0.0
    """Put a medical mask on (`occlude.medical_mask`)."""
    low_quality: float = 0.0
    """A face of 16 to 32 pixels, blurred and compressed (`degrade.low_quality`)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 1:
                raise VultusError(f"augment.{field.name} is a probability in [0, 1], not {getattr(self, field.name)}")

    def __call__(self, crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """An altered copy of one crop, (H, W, 3) uint8 RGB. The same generator state gives the same crop."""
        draw = random.random(10)
        if draw[0] < self.flip:
            crop = cv2.flip(crop, 1)
        if draw[9] < self.mask:
            crop = medical_mask(crop, random)  # first, while the landmarks are where the template has them
        if draw[1] < self.shift:
            crop = _shift(crop, random)
        if draw[2] < self.crop:
            crop = _crop(crop, random)
        if draw[3] < self.low_resolution:
            crop = _low_resolution(crop, random)
        if draw[4] < self.blur:
            crop = _blur(crop, float(random.uniform(0.4, 2.0)))
        if draw[5] < self.color:
            crop = _color(crop, random)
        if draw[6] < self.grey:
            crop = cv2.transform(crop, _TO_GREY)
        if draw[7] < self.erase:
            crop = _erase(crop, random)
        if draw[8] < self.low_quality:
            crop = low_quality(crop, random)  # the camera comes last
        return crop


def _shift(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    height, width = crop.shape[:2]
    angle, scale = random.uniform(-10, 10), random.uniform(0.9, 1.1)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(angle), float(scale))
    matrix[:, 2] += random.uniform(-6, 6, 2)
    return cv2.warpAffine(crop, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def _crop(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    height, width = crop.shape[:2]
    h, w = (int(side * random.uniform(0.6, 1.0)) for side in (height, width))
    top, left = int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1))
    return cv2.resize(crop[top : top + h, left : left + w], (width, height), interpolation=cv2.INTER_LINEAR)


def _blur(crop: np.ndarray, sigma: float) -> np.ndarray:
    side = 2 * int(2 * sigma + 0.5) + 1  # two sigma to each side; the rest is below what a grey level shows
    return cv2.GaussianBlur(crop, (max(3, side),) * 2, sigma)


def _low_resolution(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    height, width = crop.shape[:2]
    side = random.uniform(0.2, 1.0)
    small = (max(8, int(width * side)), max(8, int(height * side)))
    ways = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC)
    down, up = random.integers(0, 4, 2)
    reduced = cv2.resize(crop, small, interpolation=ways[down])
    return cv2.resize(reduced, (width, height), interpolation=ways[up])


def _color(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    brightness, contrast, saturation = random.uniform(0.6, 1.4, 3)
    mean = sum(cv2.mean(crop)[:3]) / 3
    table = cv2.convertScaleAbs(  # saturates at 255; a level below 0 is at most a few dark pixels and is clipped first
        np.maximum(_LEVELS * (brightness * contrast) + mean * brightness * (1 - contrast), 0)
    )
    mix = np.float32(saturation) * _KEEP + np.float32(1 - saturation) * _TO_GREY
    return cv2.transform(cv2.LUT(crop, table.reshape(-1)), mix)


def _erase(crop: np.ndarray, random: np.random.Generator) -> np.ndarray:
    height, width = crop.shape[:2]
    h, w = (int(side * random.uniform(0.1, 0.4)) for side in (height, width))
    top, left = int(random.integers(0, height - h)), int(random.integers(0, width - w))
    crop = crop.copy()
    crop[top : top + h, left : left + w] = random.integers(0, 256, 3)
    return crop
