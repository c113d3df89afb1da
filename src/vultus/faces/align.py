"""Five landmarks to an upright 112x112 crop: the similarity transform onto ArcFace's template."""

from __future__ import annotations

import cv2
import numpy as np

LANDMARKS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""The ArcFace template, (5, 2) in pixels of a 112x112 crop (Deng et al., CVPR 2019, reference alignment)."""


def similarity_transform(source: np.ndarray, target: np.ndarray = LANDMARKS) -> np.ndarray:
    """Least-squares rotation, scale and shift that takes `source` to `target`: Umeyama without reflection, closed form.

    As complex numbers the map is z -> a z + b, and a = sum(conj(s) t) / sum(|s|^2) over centred points: no SVD.

    Args:
        source: (..., N, 2) points; `target`: (N, 2).

    Returns:
        (..., 2, 3) float64 affine matrices. Not finite where all source points coincide.
    """
    s = np.asarray(source, np.float64)[..., 0] + 1j * np.asarray(source, np.float64)[..., 1]
    t = np.asarray(target, np.float64)[..., 0] + 1j * np.asarray(target, np.float64)[..., 1]
    s_mean, t_mean = s.mean(-1, keepdims=True), t.mean(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = (np.conj(s - s_mean) * (t - t_mean)).sum(-1) / (np.abs(s - s_mean) ** 2).sum(-1)
    b = t_mean[..., 0] - a * s_mean[..., 0]
    rows = [np.stack([a.real, -a.imag, b.real], -1), np.stack([a.imag, a.real, b.imag], -1)]
    return np.stack(rows, -2)


def align(image: np.ndarray, landmarks: np.ndarray, size: int = 112) -> np.ndarray:
    """Cut the face with these five landmarks, (5, 2) in pixels, out of an RGB picture.

    Returns:
        (size, size, 3) uint8 RGB; black where the photograph ends. Bilinear, as the published recognisers were trained.
        Faces much larger than the crop are first reduced by area, so that they do not alias.
    """
    matrix = similarity_transform(landmarks, LANDMARKS * (size / 112))
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:  # bilinear alone would skip pixels
        shrink = 2 * scale
        image, matrix = _reduced(image, landmarks, shrink, matrix)
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)


def _reduced(image: np.ndarray, landmarks: np.ndarray, shrink: float, matrix: np.ndarray):
    """The region round the face, reduced by `shrink`, with the matrix for it."""
    centre = landmarks.mean(0)
    reach = 4 * float(np.ptp(landmarks, axis=0).max()) + 8
    height, width = image.shape[:2]
    x0, y0 = (int(max(0, v)) for v in np.floor(centre - reach))
    x1, y1 = int(min(width, np.ceil(centre[0] + reach))), int(min(height, np.ceil(centre[1] + reach)))
    region = image[y0:y1, x0:x1]
    new = (max(1, round(region.shape[1] * shrink)), max(1, round(region.shape[0] * shrink)))
    factor = np.array([region.shape[1] / new[0], region.shape[0] / new[1]])
    small = cv2.resize(region, new, interpolation=cv2.INTER_AREA)
    moved = matrix.copy()
    # pixel centres: full = factor * (small + 0.5) - 0.5 + origin
    offset = 0.5 * factor - 0.5 + np.array([x0, y0])
    moved[:, 2] = matrix[:, :2] @ offset + matrix[:, 2]
    moved[:, :2] = matrix[:, :2] * factor
    return small, moved
