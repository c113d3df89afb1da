"""What every detector network says of itself: pixels in, outputs out, thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

STRIDES = (8, 16, 32)
"""Pixels between the cells of the three grids, in YuNet and in SCRFD."""


class Decoder(Protocol):
    """How one family of detectors is fed and read."""

    @property
    def score_threshold(self) -> float:
        """Faces below it are left out, where the caller names no other."""
        ...

    @property
    def nms_iou(self) -> float:
        """Of two boxes that overlap more, the one with the lower score goes."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the network's outputs that `decode` reads."""
        ...

    def prepare(self, pictures: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB, sides multiples of 32 -> (N, 3, H, W) float32 as the network wants them."""
        ...

    def decode(
        self, outputs: Mapping[str, np.ndarray], row: int, size: tuple[int, int], threshold: float
    ) -> np.ndarray:
        """Faces of picture `row` of a batch of `size` (height, width): (K, 15) float32, box xyxy, points xy, score."""
        ...
