"""How sharp a crop is: what a further blur takes away (after Crete et al., "The blur effect", SPIE 6492, 2007)."""

from __future__ import annotations

import cv2
import numpy as np

from vultus.faces.quality.light import face_region

BLUR = 2.5
"""Standard deviation of the further blur in pixels of the crop. Of 0, 1, 1.5, 2.5 and 4, with steps or their squares,
2.5 with squares told shaken photographs best from LFW's as they are, and blurred ones as well as any."""


def sharpness(crop: np.ndarray) -> float:
    """Share of the energy of the steps between neighbouring pixels that a further blur takes away; higher is sharper.

    In [0, 1], of an aligned crop, (112, 112, 3) uint8 RGB, so the sharpness that a recogniser sees: a photograph far
    larger than the crop may be blurred, one of a few pixels is not sharp. The less sharp of the two directions counts,
    so that motion blur is seen. Contrast and brightness leave it alone, unlike the variance of the Laplacian; noise is
    taken for detail. A crop without any detail has 0. Squares, unlike Crete's sums, are not fooled by the steps of
    rounding in a smooth picture.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    blurred = cv2.GaussianBlur(grey, (0, 0), BLUR)
    face = face_region()
    return min(_lost(grey, blurred, face), _lost(grey.T, blurred.T, face.T))


def _lost(grey: np.ndarray, blurred: np.ndarray, face: np.ndarray) -> float:
    inside = face[:, :-1] & face[:, 1:]
    before, after = (float(np.square(np.diff(picture, axis=1)[inside]).sum()) for picture in (grey, blurred))
    return max(0.0, 1 - after / before) if before else 0.0
